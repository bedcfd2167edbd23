"""The fastest attention for training on short texts on a CPU.

With gradients and short texts, torch's fused kernel in bf16 takes up to six times as long as plain
products (`benchmarks/attention.py`). transformers' plain attention computes the softmax in fp32 and
saves five arrays of ``[batch, heads, seq, seq]`` for the backward pass; this one saves one, in
bf16. Longer batches go to the fused kernel, which is faster there and never stores the scores.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tailorbird.models.device import Device

NAME = "tailorbird_short"
_LONGEST_SHORT = 128


@contextmanager
def fastest_attention(model: nn.Module, device: Device) -> Iterator[None]:
    """Use plain attention for short batches in training on a CPU, then restore the model's."""
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.masking_utils import eager_mask

    base = next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
    before = getattr(getattr(base, "config", None), "_attn_implementation", None)
    slow = device.kind == "cpu" and device.precision == "bf16"
    if base is None or before != "sdpa" or not slow:
        yield
        return
    AttentionInterface.register(NAME, short_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    base.set_attn_implementation(NAME)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def short_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return ``[batch, seq, heads, size]`` from query, key, value ``[batch, heads, seq, size]``.

    The signature is transformers' for attention functions; `dropout` is off in training here.
    """
    # Rotary embeddings leave query and key in fp32 under autocast.
    query, key = query.to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # grouped-query attention
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if query.shape[2] > _LONGEST_SHORT:
        bias = None if attention_mask is None else attention_mask.to(query.dtype)
        fused = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=scale
        )
        return fused.transpose(1, 2).contiguous(), None
    mixed: torch.Tensor = _ShortAttention.apply(  # type: ignore[no-untyped-call]
        query, key, value, attention_mask, scale
    )
    return mixed.transpose(1, 2).contiguous(), None


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            scores = torch.matmul(query, key.transpose(-1, -2)).mul_(scale)
            if mask is not None:
                scores.add_(mask.to(scores.dtype))
            shares = torch.softmax(scores, dim=-1)
            ctx.save_for_backward(query, key, value, shares)
            ctx.scale = scale
            return torch.matmul(shares, value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        query, key, value, shares = ctx.saved_tensors
        grad = grads[0].to(value.dtype)
        grad_value = torch.matmul(shares.transpose(-1, -2), grad)
        grad_shares = torch.matmul(grad, value.transpose(-1, -2))
        grad_scores = torch._softmax_backward_data(grad_shares, shares, -1, shares.dtype)
        grad_scores.mul_(ctx.scale)
        grad_query = torch.matmul(grad_scores, key)
        grad_key = torch.matmul(grad_scores.transpose(-1, -2), query)
        return grad_query, grad_key, grad_value, None, None
