"""Options and facts of prompt tuning."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from tailorbird.config.method import WEIGHTS, Defaults, MethodSpec, Options

if TYPE_CHECKING:
    import numpy as np


class PromptOptions(Options):
    """The options of prompt tuning."""

    virtual_tokens: int = Field(20, ge=1)
    """number of trained tokens before the text; data.max_length includes them."""
    init_text: str | None = None
    """start from the embeddings of this text; default: of random tokens."""


def arrays(folder: Path, base: Mapping[str, "np.ndarray"]) -> Mapping[str, "np.ndarray"]:
    """Return the base's weights with the virtual tokens and the head; see `MethodSpec.arrays`."""
    from tailorbird.models.numpy_bert import read_weights

    return {**base, **read_weights(folder / WEIGHTS, "base_model.")}


SPEC = MethodSpec(
    words="Prompt tuning",
    options=PromptOptions,
    defaults=Defaults(
        learning_rate=3e-2, epochs=3, generative_rate=3e-2, generative_epochs=3, cost=1.2
    ),
    space={"method.virtual_tokens": (5, 10, 20, 50, 100)},
    rate_around=10.0,
    library="peft",
    reads_weights=("init_text",),
    parameters=lambda o, hidden, inner, layers: float(hidden * int(o["virtual_tokens"])),
    arrays=arrays,
)
