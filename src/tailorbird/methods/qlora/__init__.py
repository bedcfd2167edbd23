"""Options and facts of QLoRA, and whether it works on this machine."""

from typing import Literal

from tailorbird.config.method import Defaults, MethodSpec
from tailorbird.methods.lora import SPACE, LowRankOptions, parameters


class QloraOptions(LowRankOptions):
    """The options of QLoRA."""

    bits: Literal[4, 8] = 4
    """bits per frozen weight: 4 (NF4 with double quantisation) or 8."""


SPEC = MethodSpec(
    words="QLoRA",
    options=QloraOptions,
    defaults=Defaults(learning_rate=5e-4, epochs=3, generative_factor=10, cost=1.2),
    space=SPACE,
    library="peft",
    quantises=True,
    parameters=parameters,
)


def quantisation_works() -> str:
    """Return why 4-bit layers do not work on this machine; empty if they do."""
    try:
        import torch
        from bitsandbytes.nn import Linear4bit

        device = "cuda" if torch.cuda.is_available() else "cpu"
        layer = Linear4bit(64, 64, quant_type="nf4", compute_dtype=torch.bfloat16).to(device)
        layer(torch.ones(1, 64, device=device, dtype=torch.bfloat16))
    except Exception as error:
        return f"bitsandbytes does not work here: {type(error).__name__}: {error}"
    return ""
