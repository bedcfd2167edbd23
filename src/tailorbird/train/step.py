"""One optimizer step: the gradient of a batch, in as many passes as memory requires."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.errors import OutOfMemory, TrainingDiverged, is_out_of_memory
from tailorbird.methods.base import trained_parameters
from tailorbird.models.device import Device
from tailorbird.train.randomness import random_state, restore_random
from tailorbird.train.resume_checkpoint import State
from tailorbird.train.settings import Settings
from tailorbird.train.shard import Replicated


class Workload(Protocol):
    """The training data of a task, as the loop uses it: the only part that differs by task."""

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each example."""
        ...

    @property
    def divisible(self) -> bool:
        """Whether the losses of a batch's parts add up to the batch's loss."""
        ...

    def batches(self, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return one epoch's batches, which depend on seed and epoch only."""
        ...

    def weight(self, indices: np.ndarray) -> float:
        """Return the denominator of a batch's mean loss: examples, or trained tokens."""
        ...

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Split a batch into micro-batches, each one pass through the model."""
        ...

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss in nats of a micro-batch, differentiable."""
        ...

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return the context in which forward and backward passes run."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a step, the same on every rank.

    Attributes:
        loss: Mean loss of the batch in nats.
        stop: Whether any rank received a request to stop.
    """

    loss: float
    stop: bool


@dataclass(frozen=True)
class Stepper:
    """Runs optimizer steps.

    Attributes:
        layout: The model, its workload, and where its weights are.
        title: The run's name in messages.
        scaler: The gradient scaler, for fp16.
    """

    layout: Replicated
    optimizer: torch.optim.Optimizer
    device: Device
    settings: Settings
    title: str
    scaler: torch.amp.GradScaler

    def step(self, batch: np.ndarray, state: State, *, stop: bool = False) -> Step:
        """Run one step on `batch`.

        If a rank runs out of memory, it repeats its share with micro-batches of half the size and
        the same random numbers; the batch, and so the gradient, stays the same.

        Raises:
            TrainingDiverged: The loss became NaN or infinite.
            OutOfMemory: Not even one example fits, or the batch is not divisible.
            ProcessLost: Another rank cannot continue.
        """
        loss_sum, fault = 0.0, None
        try:
            loss_sum = self._gradient(batch, state)
        except Exception as error:
            fault = error
        numbers = (loss_sum, state.halvings, stop)
        sums, halvings, stops = self.layout.ranks.gather_numbers(numbers, fault).T
        if halvings.max() > state.halvings:
            log.warn(f"{self.title}: out of memory in another process: micro-batches are halved")
            state.halvings = int(halvings.max())
        mean = float(sums.sum()) / self.layout.work.weight(batch)
        if not math.isfinite(mean):
            rate = self.optimizer.param_groups[0]["lr"]
            raise TrainingDiverged(
                f"the loss became {mean} (learning rate {rate:.2g})",
                "lower train.learning_rate, lengthen train.warmup, or use model.precision=fp32",
            )
        parameters = [p for _, p in trained_parameters(self.layout.model)]
        self.layout.sum_gradients(parameters)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return Step(mean, bool(stops.any()))

    def _gradient(self, batch: np.ndarray, state: State) -> float:
        """Compute this rank's part of the gradient of the mean loss; return its summed loss."""
        before, work = random_state(), self.layout.work
        while True:
            parts = self._micro_batches(batch, state.halvings)
            try:
                return self._accumulate(work.weight(batch), self.layout.passes(parts, batch))
            except Exception as error:
                largest = self.layout.leave(error, max((len(part) for part in parts), default=1))
                if not is_out_of_memory(error):
                    raise
                if largest == 1 or not work.divisible:
                    raise _nothing_fits(error) from error
            # Outside the handler, where the error would keep its graph's tensors alive.
            self.optimizer.zero_grad(set_to_none=True)
            restore_random(before)
            _release_memory()
            state.halvings += 1
            log.warn(
                f"{self.title}: out of memory: at most {math.ceil(largest / 2)} instead of "
                f"{largest} examples at once from now on; the batch size stays "
                f"{self.settings.batch_size}"
            )

    def _micro_batches(self, batch: np.ndarray, halvings: int) -> list[np.ndarray]:
        """Return this rank's share of the batch, split into micro-batches."""
        own = self.layout.ranks.share_of(batch)
        parts = self.layout.work.micro_batches(own) if len(own) else []
        for _ in range(halvings):
            parts = [half for part in parts for half in np.array_split(part, 2) if len(half)]
        return parts

    def _accumulate(self, weight: float, passes: Iterator[tuple[np.ndarray, bool]]) -> float:
        """Accumulate the gradient; return the summed loss.

        Args:
            weight: Of the whole batch on all ranks, so that parts of any size add up to the
                gradient of one pass over all of it.
            passes: The examples of each pass, and whether their loss counts.
        """
        loss_sum = torch.zeros((), device=self.device.name)
        for indices, counted in passes:
            with self.device.autocast():
                loss = self.layout.loss_sum(indices)
            if not counted:
                loss = 0 * loss
            self.scaler.scale(loss / weight).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
        return float(loss_sum)


def _nothing_fits(error: Exception) -> OutOfMemory:
    first = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return OutOfMemory(
        f"out of memory with one example at a time: {first}",
        "lower data.max_length, use train.gradient_checkpointing=true or method.name=qlora, or "
        "take a smaller model",
    )


def _release_memory() -> None:
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
