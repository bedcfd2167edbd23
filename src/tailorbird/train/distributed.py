"""Data-parallel training: each process has the whole model and its share of each batch.

Gradients are summed once per batch, after all passes of all ranks, not during the backward pass as
in torch's DistributedDataParallel. So each rank may split its share into as many passes as its
memory requires and repeat them when memory runs out, parameters without a gradient need no search,
and a workload may use any part of the model.

Rank 0 leads: it validates, writes and decides; the others receive its decisions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from torch import distributed, nn

from tailorbird.errors import OutOfMemory, ProcessLost, UserError, is_out_of_memory

_BUCKET = 1 << 24
"""Elements of one message between ranks: 64 MB."""

Value = TypeVar("Value")
_READY, _FAILED, _OUT_OF_MEMORY = 0, 1, 2


class OtherRankFailed(RuntimeError):
    """This rank cannot continue because another one has failed."""


@dataclass(frozen=True)
class RankGroup:
    """The processes of one training; by default this one alone.

    Attributes:
        index: The rank of this process; 0 leads.
        threads: Threads of each, if they share a machine's cores; 0: the default.
    """

    count: int = 1
    index: int = 0
    threads: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and decides."""
        return self.index == 0

    def share_of(self, batch: np.ndarray) -> np.ndarray:
        """Return this rank's examples of a batch."""
        return batch[self.index :: self.count]

    def share(self, value: Value) -> Value:
        """Return the leader's value on every rank; it must be picklable."""
        if self.count == 1:
            return value
        box = [value]
        with connected():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """Return all ranks' values on every rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with connected():
            distributed.all_gather_object(values, value)
        return values

    def gather_numbers(
        self, numbers: Sequence[float], fault: Exception | None = None
    ) -> np.ndarray:
        """Return ``[ranks, numbers]`` float64 on every rank.

        Args:
            numbers: This rank's.
            fault: An error that stops this rank; all ranks then raise.

        Raises:
            OutOfMemory, ProcessLost: Another rank cannot continue.
        """
        own = torch.tensor([*numbers, float(fault is not None)], dtype=torch.float64)
        rows = [own]
        if self.count > 1:
            rows = [torch.empty_like(own) for _ in range(self.count)]
            with connected():
                distributed.all_gather(rows, own)
        table = torch.stack(rows).numpy()
        if table[:, -1].any():
            self._raise(fault)
        return table[:, :-1]

    def _raise(self, fault: Exception | None) -> NoReturn:
        own = None
        if fault is not None and not isinstance(fault, OtherRankFailed):
            own = (f"{type(fault).__name__}: {fault}", is_out_of_memory(fault))
        answers = self.gather(own)
        if fault is not None and own:
            raise fault
        index, answer = next((i, a) for i, a in enumerate(answers) if a)
        kind = OutOfMemory if answer[1] else ProcessLost
        raise kind(f"process {index} of {self.count} failed: {answer[0]}")

    def roll_call(self, size: int = 0, fault: Exception | None = None) -> None:
        """Wait until all ranks are ready for the same exchange, or one of them has failed.

        Args:
            size: Numbers to exchange.
            fault: The reason why this rank cannot take part.

        Raises:
            OtherRankFailed: Another rank has failed; the message says whether it ran out of memory.
            UserError: The ranks are ready for different exchanges.
        """
        flag = _READY
        if fault is not None:
            flag = _OUT_OF_MEMORY if is_out_of_memory(fault) else _FAILED
        own = torch.tensor([flag, size])
        rows = [torch.empty_like(own) for _ in range(self.count)]
        with connected():
            distributed.all_gather(rows, own)
        flags, sizes = torch.stack(rows).T
        if fault is not None:
            return
        if (worst := int(flags.max())) != _READY:
            raise OtherRankFailed(
                "out of memory in another process"
                if worst == _OUT_OF_MEMORY
                else "failed elsewhere"
            )
        if (sizes != size).any():
            raise UserError(
                "the processes do not use the same weights of this model in a step",
                "leave train.shard out",
            )

    @contextmanager
    def calling(self, function: Callable[..., None], *arguments: Any) -> Iterator[None]:
        """Have the others call `function` with their ranks and `arguments`; prepare inside."""
        if self.count == 1:
            yield
            return
        self.share((function, arguments))
        with self.beginning():
            yield

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Notify all ranks if this one fails inside; otherwise `agree` follows."""
        try:
            yield
        except ProcessLost:
            raise
        except Exception as error:
            if self.count > 1:
                self.agree(None, str(error))
            raise

    def agree(self, facts: dict[str, Any] | None, why: str = "") -> None:
        """Check that all ranks agree on facts that must be equal.

        Args:
            facts: The facts by name; None: this rank cannot begin.
            why: The reason then.

        Raises:
            UserError: They differ, or another rank cannot begin.
        """
        answers = self.gather((facts, why))
        for index, (other, reason) in enumerate(answers):
            if other is None and index != self.index:
                raise UserError(f"process {index} of {self.count} cannot start: {reason}")
        if facts is None:
            return
        first = answers[0][0] or {}
        for index, (other, _) in enumerate(answers):
            for name, value in (other or {}).items():
                if value != first[name]:
                    raise UserError(
                        f"process {index} differs from process 0 in the {name}: {value} instead "
                        f"of {first[name]}",
                        "install the same versions and the same model on every machine",
                    )

    def same_weights(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every rank the leader's weights."""
        if self.count == 1:
            return
        with torch.no_grad(), connected():
            for parameter in parameters:
                weights = parameter.data.contiguous()
                distributed.broadcast(weights, src=0)
                parameter.copy_(weights)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all ranks, bit for bit equal on every rank."""
        if self.count == 1:
            return
        for group in _buckets(parameters):
            # Flags for a gradient on any rank are included: an optimizer decays weights with a zero
            # gradient and skips those without one.
            flags = [float(p.grad is not None) for p in group]
            parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
            flat = torch.cat(
                [part.reshape(-1).float() for part in parts]
                + [torch.tensor(flags, device=parts[0].device)]
            )
            with connected():
                distributed.all_reduce(flat)
            *sums, counts = flat.split([*(p.numel() for p in group), len(group)])  # type: ignore[no-untyped-call]
            for parameter, gradient, count in zip(group, sums, counts.tolist(), strict=True):
                if count:
                    parameter.grad = gradient.view_as(parameter).to(parameter.dtype)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Use this rank's share of the cores inside the context."""
        before = torch.get_num_threads()
        if self.threads:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


ALONE = RankGroup()


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield parameters in groups of about `_BUCKET` numbers."""
    group: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        group.append(parameter)
        size += parameter.numel()
        if size >= _BUCKET:
            yield group
            group, size = [], 0
    if group:
        yield group


@contextmanager
def connected() -> Iterator[None]:
    """Report a closed connection as the end of another process."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ProcessLost(
            "another process of this training has ended",
            "continue with --resume, with any number of processes",
        ) from error
