"""Traces a training step on shapes alone, with an account of its memory.

The step is the real one: the method attached, the workload's own attention, autocast, the chunked
loss. Its tensors are torch's fake ones, which have sizes and no memory. A dispatch mode counts
every storage from creation to release; the peak is the plan.
"""

import logging
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tailorbird.methods.base import trained_parameters
from tailorbird.models import chunked_cross_entropy as loss_in_chunks
from tailorbird.models.device import Device

KINDS = ("activations", "logits", "casts", "gradients", "temporary")


@dataclass
class MemoryAccount:
    """The live memory of a step besides the weights.

    Attributes:
        peak: The peak in bytes.
        parts: The live bytes at the peak, by kind.
        loose: The live bytes besides gradients when the loss is computed.
        flops: Of matrix products and attention, backward passes included.
    """

    peak: int = 0
    loose: int = 0
    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    flops: int = 0


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all live storages, by kind.

    Args:
        model: Its weights are counted elsewhere.
        vocabulary: Tensors whose last dimension has this size are logits.
    """

    def __init__(self, model: nn.Module, vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.account = MemoryAccount()
        self.kind = "activations"
        self._vocabulary = vocabulary
        self._alive = 0
        self._by_kind = dict.fromkeys(KINDS, 0)
        self._sizes: dict[int, tuple[int, str]] = {}
        self._shapes: set[tuple[int, ...]] = set()
        self._hooks: list[Any] = []
        for tensor in (*model.parameters(), *model.buffers()):
            self._sizes[_key(tensor)] = (0, "activations")
        for parameter in model.parameters():
            if parameter.ndim > 1:
                self._shapes.add(tuple(parameter.shape))
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._is_gradient)  # type: ignore[no-untyped-call]
                self._hooks.append(hook)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count its outputs."""
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if count is not None:
            self.account.flops += count(*args, **(kwargs or {}), out_val=result)
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return result

    def count(self, tensor: torch.Tensor, kind: str | None = None) -> None:
        """Count a tensor's storage, if it is new."""
        key = _key(tensor)
        if key in self._sizes:
            return
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        kind = kind or self._kind(tensor)
        self._sizes[key] = (size, kind)
        self._by_kind[kind] += size
        self._alive += size
        weakref.finalize(storage, self._forget, key)
        if self._alive > self.account.peak:
            self.account.peak = self._alive
            self.account.parts = dict(self._by_kind)

    def mark_loose(self) -> None:
        """Note what is alive now, which is linear in the number of layers, as a peak is not."""
        self.account.loose = self._alive - self._by_kind["gradients"]

    def close(self) -> None:
        """Release the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _kind(self, tensor: torch.Tensor) -> str:
        if tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary:
            return "logits"
        if tuple(tensor.shape) in self._shapes and self.kind == "activations":
            return "casts"
        return self.kind

    def _forget(self, key: int) -> None:
        size, kind = self._sizes.pop(key)
        self._by_kind[kind] -= size
        self._alive -= size

    def _is_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        key = _key(parameter.grad)
        size, kind = self._sizes.get(key, (0, "gradients"))
        self._by_kind[kind] -= size
        self._by_kind["gradients"] += size
        self._sizes[key] = (size, "gradients")


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class _AsOnGpu(TorchFunctionMode):
    """Runs norms and softmax in fp32, as autocast does on a GPU but not on a CPU."""

    _WIDE = (nn.functional.layer_norm, nn.functional.softmax, torch.softmax)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in self._WIDE and torch.is_autocast_enabled("cpu"):
            args = (args[0].float(), *args[1:])
        return function(*args, **(kwargs or {}))


@contextmanager
def fake(model: nn.Module, device: Device) -> Iterator[FakeTensorMode]:
    """Permanently replace a model's meta tensors by fake ones."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    swapped: dict[int, torch.Tensor] = {}
    with mode:
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    if id(parameter) not in swapped:
                        empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                        swapped[id(parameter)] = nn.Parameter(empty, parameter.requires_grad)
                    module._parameters[name] = swapped[id(parameter)]  # type: ignore[assignment]
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    with ExitStack() as stack:
        # We report an untraceable model in one line; torch's log of it is a page.
        library = logging.getLogger("torch._subclasses.fake_tensor")
        stack.callback(library.setLevel, library.level)
        library.setLevel(logging.CRITICAL)
        stack.enter_context(mode)
        if device.kind != "cpu":
            stack.enter_context(_AsOnGpu())
            chunks = loss_in_chunks._CHUNK_BYTES
            stack.enter_context(patch.dict(chunks, cpu=chunks.get(device.kind, chunks["cpu"])))
        yield mode


def training_step(
    model: nn.Module, device: Device, loss_sum: Any, vocabulary: int, *, accumulated: bool
) -> MemoryAccount:
    """Return the account of a forward and a backward pass; call it inside `fake`.

    Args:
        model: With its method attached, in training mode, with fake tensors.
        device: The number format of products.
        loss_sum: Returns the summed loss of a micro-batch.
        vocabulary: The width of logits.
        accumulated: Gradients of earlier micro-batches exist.
    """
    live = LiveTensors(model, vocabulary)
    if accumulated:
        for _, parameter in trained_parameters(model):
            parameter.grad = torch.empty_like(parameter)
            live.count(parameter.grad, "gradients")
    with live:
        with _autocast(device):
            loss = loss_sum()
            live.mark_loose()
        live.kind = "temporary"
        loss.backward()
    live.close()
    model.zero_grad(set_to_none=True)
    return live.account


def reading(model: nn.Module, device: Device, forward: Any, vocabulary: int) -> MemoryAccount:
    """Return the account of a forward pass without gradients; call it inside `fake`."""
    live = LiveTensors(model, vocabulary)
    with torch.no_grad(), live, _autocast(device):
        forward()
    live.close()
    return live.account


def _autocast(device: Device) -> Any:
    return nullcontext() if device.precision == "fp32" else torch.autocast("cpu", device.dtype)
