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
    "prompt": Prompt(),
    "qlora": Qlora(),
}

BY_COST = tuple(sorted(TABLE, key=lambda name: TABLE[name].defaults.cost))
"""The methods, the cheapest first."""


def quantisation_works() -> str:
    """Return an empty string when 4-bit layers work here, else why not."""
    try:
        import torch
        from bitsandbytes.nn import Linear4bit

        device = "cuda" if torch.cuda.is_available() else "cpu"
        layer = Linear4bit(64, 64, quant_type="nf4", compute_dtype=torch.bfloat16).to(device)
        layer(torch.ones(1, 64, device=device, dtype=torch.bfloat16))
    except Exception as error:
        return f"bitsandbytes does not work here: {type(error).__name__}: {error}"
    return ""


def get_method(name: str) -> Method:
    """Return the method called `name`.

    Raises:
        UserError: There is none.
    """
    if name not in TABLE:
        raise UserError(
            f"there is no method {name!r}{did_you_mean(name, TABLE)}", f"use {', '.join(TABLE)}"
        )
    return TABLE[name]
