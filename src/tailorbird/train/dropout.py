"""Dropout with cheap random numbers (measured by `benchmarks/dropout.py`).

On a CPU torch draws one uniform number per element, which costs more than the rest of the layer.
One random byte per element suffices: the rate is rounded to a multiple of 1/256 and the scale uses
the rounded rate, so the expectation is exact. Draws come from torch's default generator, so seeding
and resuming work as usual.
"""

from types import MethodType
from typing import Any

import torch
from torch import nn


def set_dropout(model: nn.Module, rate: float | None) -> None:
    """Set the base model's dropout for training; None keeps the model's own rates.

    Dropout on attention weights is always off, since with it torch does not use the fused attention
    kernel. Dropout of a method (LoRA's, an adapter's) is unchanged.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and not _is_methods_own(name):
            if rate is not None or _is_on_attention(name):
                module.p = 0.0 if _is_on_attention(name) else float(rate or 0.0)
            if module.p > 0:
                module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _is_methods_own(name: str) -> bool:
    return "lora_dropout" in name or ".adapter." in name


# BERT's family; GPT-2; others.
_ON_ATTENTION = (".self.dropout", ".attn_dropout", ".attention_dropout", ".attention.dropout")


def _is_on_attention(name: str) -> bool:
    return name.endswith(_ON_ATTENTION)


def _forward(layer: nn.Dropout, x: torch.Tensor) -> torch.Tensor:
    if not layer.training or layer.p == 0:
        return x
    if x.device.type != "cpu":
        return nn.functional.dropout(x, layer.p, training=True)
    dropped: torch.Tensor = _ByteDropout.apply(x, layer.p)  # type: ignore[no-untyped-call]
    return dropped


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rate: float) -> torch.Tensor:
        threshold = min(max(round(rate * 256), 1), 255)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)
        # With from/to, since plain random_() leaves the sign bit, and so that of every 8th byte, at
        # zero.
        words.random_(-(2**63), None)
        mask = words.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        ctx.save_for_backward(mask)
        ctx.scale = 256 / (256 - threshold)
        dropped: torch.Tensor = torch.ops.aten.native_dropout_backward(
            x.contiguous(), mask, ctx.scale
        )
        return dropped

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return torch.ops.aten.native_dropout_backward(grads[0].contiguous(), mask, ctx.scale), None
