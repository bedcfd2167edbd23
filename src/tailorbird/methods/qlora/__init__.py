"""QLoRA: what can be set."""

from typing import Literal

from tailorbird.config.method import Defaults, MethodSpec
from tailorbird.methods.lora import SPACE, LowRankOptions, parameters


class QloraOptions(LowRankOptions):
    """LoRA's, and the bits of the frozen weights."""

    bits: Literal[4, 8] = 4
    """4 (NF4 with double quantisation) or 8 bits for the frozen weights."""


SPEC = MethodSpec(
    words="QLoRA",
    options=QloraOptions,
    defaults=Defaults(learning_rate=5e-4, epochs=3, writing_factor=10, cost=1.2),
    space=SPACE,
    library="peft",
    quantises=True,
    parameters=parameters,
)
