"""LoRA's forward and backward pass as one operation, used in training.

PEFT computes ``base(x) + B(A(x)) * scale``; under autocast it casts ``x`` to fp32 and back, scales
and adds in separate passes, and does as much again in the backward pass. Here the update is
accumulated into the base's product (``addmm``), in the number format of the frozen weight, and
layers that read the same input (query, key, value) share one cast of it. A 4-bit base is unpacked
for the product and again for the backward pass, never stored unpacked. Parameters, names and files
are PEFT's; evaluation runs PEFT's own forward.
"""

from copy import copy
from types import MethodType
from typing import Any

import torch
from torch import nn

from tailorbird.models.bf16_linear import SharedCast
from tailorbird.models.device import Device


def speed_up(model: nn.Module, device: Device) -> int:
    """Use the fused operation in every plain LoRA layer of `model`; return their number.

    Variants (DoRA), layers with LoRA dropout and 8-bit layers keep PEFT's forward.
    """
    from peft.tuners.lora import LoraLayer

    cast, count = SharedCast(device.dtype), 0
    for module in model.modules():
        if not isinstance(module, LoraLayer) or not _is_plain(module):
            continue
        module.joint_cast = cast
        module.forward = MethodType(_forward, module)
        count += 1
    return count


def _is_plain(layer: Any) -> bool:
    from bitsandbytes.nn import Linear4bit

    (adapter,) = layer.active_adapters
    return (
        type(layer.base_layer) in (nn.Linear, Linear4bit)
        and adapter not in layer.lora_variant
        and not layer.lora_bias[adapter]
        and isinstance(layer.lora_dropout[adapter], nn.Identity)
    )


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Run the fused operation in training, PEFT's own forward otherwise."""
    if (
        not layer.training
        or not torch.is_grad_enabled()
        or layer.disable_adapters
        or layer.merged
        or args
        or kwargs
    ):
        layer.joint_cast.forget()
        plain: torch.Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return plain
    (adapter,) = layer.active_adapters
    frozen = layer.base_layer
    y: torch.Tensor = _LowRankLinear.apply(  # type: ignore[no-untyped-call]
        layer.joint_cast(x),
        frozen.weight,
        frozen.bias,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )
    return y


def _unpacked(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the frozen matrix ``[out, in]`` in `dtype`."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.to(dtype)
    from bitsandbytes.functional import dequantize_4bit

    # Unpack directly to the product's format: same numbers as casting from fp32, half the time.
    state = copy(state)
    state.dtype = dtype
    plain: torch.Tensor = dequantize_4bit(weight.data, state)
    return plain


class _LowRankLinear(torch.autograd.Function):
    """``x W^T + b + scale * (x A^T) B^T``.

    Shapes: ``x [..., in]``, ``W [out, in]``, ``b [out]``, ``A [r, in]``, ``B [out, r]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        thin_a = a.to(x.dtype)
        thin_b = (b * scale).to(x.dtype)
        inner = flat @ thin_a.T
        plain = _unpacked(weight, x.dtype)
        y = flat @ plain.T if bias is None else torch.addmm(bias.to(x.dtype), flat, plain.T)
        y.addmm_(inner, thin_b.T)
        ctx.save_for_backward(flat, inner, thin_a, thin_b)
        # Saved outside autograd, which need not watch a frozen weight; 4-bit stays packed.
        ctx.weight, ctx.scale, ctx.shape, ctx.dtype = weight, scale, x.shape, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        flat, inner, thin_a, thin_b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1]).to(flat.dtype)
        grad_inner = grad @ thin_b
        grad_a = (grad_inner.T @ flat).to(ctx.dtype)
        grad_b = (grad.T @ inner).to(ctx.dtype).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            plain = _unpacked(ctx.weight, grad.dtype)
            grad_x = (grad @ plain).addmm_(grad_inner, thin_a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None
