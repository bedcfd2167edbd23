"""Shares equal weights between models, such as runs on one base."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

import numpy as np

if TYPE_CHECKING:
    from torch import nn

_SMALLEST = 4096
"""The fewest elements of a shared tensor: smaller ones are not worth comparing."""


class SharedWeights:
    """The weights of all opened models.

    Every run is opened with a base of its own, which only its adapters change. Tensors that are
    then equal, to the last bit, are replaced by one shared tensor, whatever the method. A tensor is
    released with the last model that uses it.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], list[ReferenceType[Any]]] = {}
        self.saved_bytes = 0
        """What all models together would hold more if each had weights of its own."""

    def share(self, owner: object) -> None:
        """Replace tensors in an object's models by equal shared ones.

        Only for models that are never trained again.
        """
        for model in _models(owner):
            for module in model.modules():
                for name, tensor in module._parameters.items():
                    if tensor is None or tensor.numel() < _SMALLEST or not _is_plain(tensor):
                        continue
                    same = self._same(tensor)
                    if same is not tensor:
                        module._parameters[name] = same
                        self.saved_bytes += tensor.numel() * tensor.element_size()

    def _same(self, tensor: Any) -> Any:
        """Return the shared tensor equal to this one, possibly itself."""
        import torch

        beginning = tensor.detach().flatten()[:8].float().cpu().numpy().tobytes()
        key = (tuple(tensor.shape), tensor.dtype, str(tensor.device), beginning)
        alike = [one for one in self._alike.get(key, ()) if one() is not None]
        self._alike[key] = alike
        for other in (one() for one in alike):
            if other is tensor or (other is not None and torch.equal(other, tensor)):
                return other
        alike.append(ref(tensor))
        return tensor


def _is_plain(tensor: Any) -> bool:
    """Return whether a parameter is a plain tensor, unlike quantised ones with scales."""
    import torch

    return type(tensor) is torch.nn.Parameter and tensor.is_floating_point()


def _models(owner: object) -> Iterator["nn.Module"]:
    """Yield an object's models, also nested ones."""
    from torch import nn

    stack: list[object] = [owner]
    visits: set[int] = set()
    while stack:
        one = stack.pop()
        if id(one) in visits or isinstance(one, str | bytes | np.ndarray | type):
            continue
        visits.add(id(one))
        if isinstance(one, nn.Module):
            yield one
        elif isinstance(one, list | tuple):
            stack += one
        elif isinstance(one, dict):
            stack += one.values()
        elif type(one).__module__.startswith("tailorbird."):
            stack += getattr(one, "__dict__", {}).values()
