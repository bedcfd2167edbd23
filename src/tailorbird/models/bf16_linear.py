"""Prepared linear layers: weights in the number format and memory layout of their products.

On a CPU oneDNN reorders a weight before every product, which for a few tokens takes as long as the
product (`benchmarks/generate_speed.py`). The numbers are equal bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tailorbird.models.device import Device, has_fast_bf16

if TYPE_CHECKING:
    import torch
    from torch import nn


def computes_bf16(device: Device) -> bool:
    """Return whether products on the device are in bf16, on a CPU with instructions for it."""
    import torch

    on_cpu = (device.kind, device.precision) == ("cpu", "bf16") and has_fast_bf16("cpu")
    return on_cpu and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def shrink_frozen(model: "nn.Module", device: Device) -> None:
    """Store frozen matrices in the device's number format: half the memory, the same products.

    Only weights that autocast would cast at every step are cast, so a plain fp32 copy of the model
    under autocast predicts the same bit for bit; norms and embeddings are unchanged.
    """
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if device.precision == "fp32":
        return
    for module in model.modules():
        if not isinstance(module, nn.Linear | Conv1D):
            continue
        for parameter in (module.weight, module.bias):
            if parameter is None or parameter.requires_grad:
                continue
            if parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(device.dtype)


@contextmanager
def reordered(model: "nn.Module", device: Device) -> Iterator[None]:
    """Make `model` multiply by reordered weights inside the context, with autocast's results.

    Applies only where autocast uses bf16 on such a CPU. The weights must not change meanwhile, and
    gradients are not available.
    """
    import torch

    layers = [
        layer
        for layer in (model.modules() if computes_bf16(device) else ())
        if type(layer) is torch.nn.Linear and "forward" not in vars(layer)
    ]
    cast = SharedCast(torch.bfloat16)
    try:
        with torch.no_grad():
            for layer in layers:
                vars(layer)["forward"] = Product(layer, cast=cast)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


class SharedCast:
    """Casts a tensor once for consecutive layers that read it."""

    def __init__(self, dtype: "torch.dtype") -> None:
        self.dtype = dtype
        self._source: torch.Tensor | None = None
        self._result: torch.Tensor | None = None

    def __call__(self, x: "torch.Tensor") -> "torch.Tensor":
        """Return `x` in the format, reusing the last cast if `x` is the same tensor."""
        if x.dtype == self.dtype:
            return x
        if self._result is None or self._source is not x:
            self._source, self._result = x, x.to(self.dtype)
        return self._result

    def forget(self) -> None:
        """Release the tensors."""
        self._source = self._result = None


class Product:
    """Linear layers with the same input, as one product in bf16.

    Args:
        layers: Their outputs are concatenated.
        cast: Returns the input in bf16.
    """

    def __init__(
        self, *layers: Any, cast: "Callable[[torch.Tensor], torch.Tensor] | None" = None
    ) -> None:
        import torch

        self._cast = cast or torch.Tensor.bfloat16
        weights = [layer.weight.bfloat16() for layer in layers]
        whole = torch.cat(weights) if len(weights) > 1 else weights[0]
        self._weight = torch.ops.mkldnn._reorder_linear_weight(whole)
        biases = [layer.bias for layer in layers]
        self._bias = None if biases[0] is None else torch.cat(biases).bfloat16()
        self._multiply = torch.ops.mkldnn._linear_pointwise

    def __call__(self, states: "torch.Tensor") -> "torch.Tensor":
        """Return ``[..., all outputs]`` for the states ``[..., width]``."""
        product: torch.Tensor = self._multiply(
            self._cast(states), self._weight, self._bias, "none", [], ""
        )
        return product
