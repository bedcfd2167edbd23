"""How a model is made trainable: one file a method, one line each here."""

from tailorbird.errors import UserError, did_you_mean
from tailorbird.methods.adapter import Adapter
from tailorbird.methods.base import Method
from tailorbird.methods.full import Full
from tailorbird.methods.lora import Lora
from tailorbird.methods.prompt import Prompt
from tailorbird.methods.qlora import Qlora

TABLE: dict[str, Method] = {
    "full": Full(),
    "adapter": Adapter(),
    "lora": Lora(),
    "qlora": Qlora(),
    "prompt": Prompt(),
}


def get_method(name: str) -> Method:
    """Return the method called `name`.

    Raises:
        UserError: There is none.
    """
    if name not in TABLE:
        raise UserError(f"there is no method {name!r}{did_you_mean(name, TABLE)}", f"use {', '.join(TABLE)}")
    return TABLE[name]
