"""The attention kernel that trains fastest.

On a CPU, torch's fused kernel in bf16 takes up to six times as long as plain products when
gradients are wanted and texts are short (`benchmarks/attention.py` prints by how much). From a few
hundred tokens on the fused kernel wins, and it never stores the scores.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from tailorbird.models.device import Device

_LONGEST_PLAIN = 256


@contextmanager
def fastest_attention(model: nn.Module, device: Device, longest: int) -> Iterator[None]:
    """Use plain attention while training short texts on a CPU; the model's own again afterwards.

    Args:
        model: What is trained.
        device: Where.
        longest: The longest training text in tokens.
    """
    from transformers import PreTrainedModel

    base = next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
    before = getattr(getattr(base, "config", None), "_attn_implementation", None)
    plain = device.kind == "cpu" and device.precision == "bf16" and longest <= _LONGEST_PLAIN
    if base is None or before != "sdpa" or not plain:
        yield
        return
    base.set_attn_implementation("eager")
    try:
        yield
    finally:
        base.set_attn_implementation(before)
