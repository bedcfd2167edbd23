"""Where the weights of a training are: whole on every rank, or sharded among the ranks.

Sharding is torch's FSDP2 (`fully_shard`; Zhao et al. 2023, arXiv 2304.11277): a rank holds its part
of every block's weights, gradients and moments, and gathers a block while it computes that block.
All ranks must then run the same blocks in the same order. A rank with fewer passes therefore runs
one whose loss is multiplied by 0, and a roll call precedes each exchange: when one rank runs out of
memory, or fails otherwise, all abandon the pass at the same point and may repeat it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import distributed, nn

from tailorbird.errors import UserError
from tailorbird.train.distributed import OtherRankFailed, RankGroup, connected

if TYPE_CHECKING:
    from tailorbird.train.step import Workload

_ENOUGH_BLOCKS = 2


class Replicated:
    """Every rank holds the whole model; gradients are summed once a batch."""

    def __init__(self, model: nn.Module, work: "Workload", ranks: RankGroup) -> None:
        self.model, self.work, self.ranks = model, work, ranks

    def loss_sum(self, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss of a micro-batch in nats, differentiable."""
        return self.work.loss_sum(self.model, indices)

    def passes(
        self, parts: list[np.ndarray], batch: np.ndarray
    ) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield the examples of each pass, and whether their loss counts."""
        yield from ((part, True) for part in parts)

    def leave(self, error: Exception, largest: int) -> int:
        """Clean up after a failed pass.

        Args:
            largest: Examples in this rank's largest micro-batch.

        Returns:
            The maximum over all ranks that must repeat the pass together.
        """
        return largest

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Sum the gradients of all ranks."""
        self.ranks.sum_gradients(parameters)

    @contextmanager
    def whole(self, call: Callable[[], Any]) -> Iterator[None]:
        """Give this rank, the leading one, the whole model.

        Args:
            call: Makes the other ranks call `gather`.
        """
        yield

    def gather(self) -> None:
        """Take part in `whole` or `dissolve` of the leading rank."""

    def dissolve(self, call: Callable[[], Any]) -> None:
        """Restore the plain, whole model on this rank."""

    def whole_states(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the optimizer's state of whole parameters; all ranks take part."""
        return optimizer.state_dict()

    def own_states(
        self, optimizer: torch.optim.Optimizer, states: dict[str, Any]
    ) -> dict[str, Any]:
        """Return this rank's part of what `whole_states` returned."""
        return states


class Sharded(Replicated):
    """Each rank holds its part of every weight, gradient and moment.

    Raises:
        UserError: The model's weights cannot be sharded, or torch is too old.
    """

    def __init__(self, model: nn.Module, work: "Workload", ranks: RankGroup, kind: str) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if not hasattr(distributed, "all_gather_single"):
            raise UserError(
                f"train.shard needs torch 2.13 or newer, and this is {torch.__version__}",
                "install a newer torch, or leave train.shard out",
            )
        super().__init__(model, work, ranks)
        self._before = [_Attributes.of(module) for module in model.modules()]
        self._pass = _Pass(model, work)
        mesh = init_device_mesh(kind, (ranks.count,))
        self._blocks: list[Any] = list(_blocks(model))
        try:
            for block in self._blocks:
                fully_shard(block, mesh=mesh)
            self._root: Any = fully_shard(self._pass, mesh=mesh, reshard_after_forward=False)
            for part in self._parts:
                # Sums: the loss is already divided by the weight of the whole batch.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
                part.set_custom_all_gather(_AllGather(ranks))
                part.set_custom_reduce_scatter(_ReduceScatter(ranks))
        except ValueError as error:
            raise UserError(
                f"this model's weights cannot be sharded: {str(error).splitlines()[0][:200]}",
                "leave train.shard out",
            ) from error

    @property
    def _parts(self) -> list[Any]:
        return [self._root, *self._blocks]

    def loss_sum(self, indices: np.ndarray) -> torch.Tensor:
        """See `Replicated.loss_sum`."""
        return cast(torch.Tensor, self._pass(indices))

    def passes(
        self, parts: list[np.ndarray], batch: np.ndarray
    ) -> Iterator[tuple[np.ndarray, bool]]:
        """See `Replicated.passes`: the same number on every rank."""
        most = int(self.ranks.gather_numbers((len(parts),)).max())
        yield from ((part, True) for part in parts)
        yield from ((batch[:1], False) for _ in range(most - len(parts)))
        self.ranks.roll_call()

    def leave(self, error: Exception, largest: int) -> int:
        """See `Replicated.leave`: the other ranks fail too, at their next exchange."""
        if not isinstance(error, OtherRankFailed):
            self.ranks.roll_call(fault=error)
        # Gradients of a gathered block would otherwise be added to those of the next pass.
        self._pass.zero_grad(set_to_none=True)
        self._root.reset_iter_state()
        return int(self.ranks.gather_numbers((largest,)).max())

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Do nothing: the backward pass has summed them."""

    @contextmanager
    def whole(self, call: Callable[[], Any]) -> Iterator[None]:
        """See `Replicated.whole`."""
        call()
        for block in self._blocks:  # each would otherwise free its weights after its forward pass
            block.set_reshard_after_forward(False)
        try:
            self._unshard(keep=True)
            yield
        finally:
            for part in self._parts:
                part.reshard()
            # FSDP2 prefetches in the order of earlier passes; this rank's own must not count.
            self._root.reset_iter_state()
            for block in self._blocks:
                block.set_reshard_after_forward(True)

    def gather(self) -> None:
        """See `Replicated.gather`: each block is freed at once."""
        with suppress(OtherRankFailed):  # the leading rank reports the fault
            self._unshard(keep=False)

    def _unshard(self, *, keep: bool) -> None:
        try:
            for part in self._parts:
                part.unshard()
                if not keep:
                    part.reshard()
        except OtherRankFailed:
            raise
        except Exception as error:
            self.ranks.roll_call(fault=error)
            raise

    def dissolve(self, call: Callable[[], Any]) -> None:
        """See `Replicated.dissolve`."""
        call()
        self._unshard(keep=True)
        plain: dict[int, nn.Parameter] = {}
        for attributes in self._before:
            module = attributes.module
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    trained = parameter.requires_grad
                    own = nn.Parameter(parameter.detach(), requires_grad=trained)
                    module._parameters[name] = plain.setdefault(id(parameter), own)
            attributes.restore()

    def whole_states(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """See `Replicated.whole_states`."""
        states = optimizer.state_dict()
        with connected():
            whole = {
                index: {name: _whole(value) for name, value in state.items()}
                for index, state in states["state"].items()
            }
        return states | {"state": whole}

    def own_states(
        self, optimizer: torch.optim.Optimizer, states: dict[str, Any]
    ) -> dict[str, Any]:
        """See `Replicated.own_states`."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        own = {
            index: {name: _part(value, parameters[index]) for name, value in state.items()}
            for index, state in states["state"].items()
        }
        return states | {"state": own}


class _Pass(nn.Module):
    """A pass over a micro-batch as one module, within which all parameters above blocks are whole.

    The workload may then use any part of the model, as it does without sharding.
    """

    def __init__(self, model: nn.Module, work: "Workload") -> None:
        super().__init__()
        self.model, self._work = model, work

    def forward(self, indices: np.ndarray) -> torch.Tensor:
        return self._work.loss_sum(self.model, indices)


@dataclass(frozen=True)
class _Attributes:
    """A module's class and its attributes, except parameters, buffers and submodules."""

    module: nn.Module
    kind: type[nn.Module]
    values: dict[str, Any]

    @classmethod
    def of(cls, module: nn.Module) -> "_Attributes":
        values = {
            name: copy(value) if isinstance(value, dict) else value
            for name, value in vars(module).items()
            if name not in _CONTENTS
        }
        return cls(module, type(module), values)

    def restore(self) -> None:
        """Restore them, and remove attributes that were added since."""
        self.module.__class__ = self.kind
        contents = {name: vars(self.module)[name] for name in _CONTENTS}
        vars(self.module).clear()
        vars(self.module).update(self.values | contents)


_CONTENTS = ("_parameters", "_buffers", "_modules")


class _Exchange:
    """The common part of both exchanges of FSDP2."""

    def __init__(self, ranks: RankGroup) -> None:
        self._ranks = ranks

    def allocate(
        self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """Return an empty tensor for the exchange."""
        return torch.empty(*size, dtype=dtype, device=device)


class _AllGather(_Exchange):
    """Gathers a block after a roll call."""

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any,
        async_op: bool = False,
    ) -> Any:  # fmt: skip
        self._ranks.roll_call(output_tensor.numel())
        return distributed.all_gather_single(
            output_tensor, input_tensor, group=group, async_op=async_op
        )


class _ReduceScatter(_Exchange):
    """Sums gradients and scatters the sums after a roll call."""

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, op: Any,
        async_op: bool = False,
    ) -> Any:  # fmt: skip
        self._ranks.roll_call(input_tensor.numel())
        return distributed.reduce_scatter_single(
            output=output_tensor, input=input_tensor, group=group, op=op, async_op=async_op
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of a model: the items of its outermost lists of modules of one class."""
    for child in module.children():
        kinds = {type(part) for part in child.children()}
        layered = isinstance(child, nn.ModuleList) and len(kinds) == 1
        if layered and len(list(child.children())) >= _ENOUGH_BLOCKS:
            yield from child.children()
        else:
            yield from _blocks(child)


def _whole(value: Any) -> Any:
    from torch.distributed.tensor import DTensor

    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _part(value: Any, parameter: Any) -> Any:
    """Return this rank's part of a state of `parameter`; step counts as they are."""
    from torch.distributed.tensor import distribute_tensor

    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    place = value.to(parameter.device)
    return distribute_tensor(place, parameter.device_mesh, parameter.placements, src_data_rank=None)
