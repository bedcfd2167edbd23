"""LoRA's forward and backward as one operation, used while training.

PEFT writes ``base(x) + B(A(x)) * scale``: under autocast that casts ``x`` to fp32 and back, scales
and adds in passes of their own, and does as much again backwards. Here the update is accumulated
into the base's product (``addmm``), in the number format of the frozen weight. Parameters, names
and files stay PEFT's; in evaluation PEFT's own forward runs.
"""

from types import MethodType
from typing import Any

import torch
from torch import nn


def speed_up(model: nn.Module) -> int:
    """Use the joint operation in every plain LoRA layer of `model`; return how many there are.

    Variants (DoRA), layers with LoRA dropout and quantised layers keep PEFT's forward.
    """
    from peft.tuners.lora import Linear

    count = 0
    for module in model.modules():
        if not isinstance(module, Linear) or type(module.base_layer) is not nn.Linear:
            continue
        (adapter,) = module.active_adapters
        plain = adapter not in module.lora_variant and not module.lora_bias[adapter]
        if plain and isinstance(module.lora_dropout[adapter], nn.Identity):
            module.forward = MethodType(_forward, module)
            count += 1
    return count


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Run the joint operation while training, PEFT's own forward otherwise."""
    frozen = layer.base_layer.weight
    if (
        not layer.training
        or not torch.is_grad_enabled()
        or layer.disable_adapters
        or layer.merged
        or args
        or kwargs
    ):
        plain: torch.Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return plain
    (adapter,) = layer.active_adapters
    y: torch.Tensor = _LowRankLinear.apply(  # type: ignore[no-untyped-call]
        x.to(frozen.dtype),
        frozen,
        layer.base_layer.bias,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )
    return y


class _LowRankLinear(torch.autograd.Function):
    """``x W^T + b + scale * (x A^T) B^T``.

    Shapes: ``x [..., in]``, ``W [out, in]``, ``b [out]``, ``A [r, in]``, ``B [out, r]``.
    """

    @staticmethod
    def forward(  # noqa: D102
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
        y = flat @ weight.T if bias is None else torch.addmm(bias, flat, weight.T)
        y.addmm_(inner, thin_b.T)
        ctx.save_for_backward(flat, inner, weight, thin_a, thin_b)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:  # noqa: D102
        flat, inner, weight, thin_a, thin_b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        grad_inner = grad @ thin_b
        grad_a = (grad_inner.T @ flat).to(ctx.dtype)
        grad_b = (grad.T @ inner).to(ctx.dtype).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_inner, thin_a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None
