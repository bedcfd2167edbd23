"""One optimizer step: the gradient of a batch, in as many passes as the memory asks for."""

import math
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
from tailorbird.train.checkpoint import State
from tailorbird.train.distributed import ALONE, RankGroup
from tailorbird.train.randomness import random_state, restore_random
from tailorbird.train.settings import Settings


class Workload(Protocol):
    """What is trained on: the one thing in which tasks differ for the loop."""

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each example."""
        ...

    @property
    def divisible(self) -> bool:
        """Whether the losses of a batch's parts add up to the loss of the batch."""
        ...

    def batches(self, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return the batches of one pass over the examples: a function of seed and epoch only."""
        ...

    def weight(self, indices: np.ndarray) -> float:
        """Return what the loss of a batch is a mean over: examples, or trained tokens."""
        ...

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Cut a batch into what goes through the model at once."""
        ...

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss in nats of a micro-batch, differentiable."""
        ...

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return the context in which forward and backward passes run."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to, the same on every rank.

    Attributes:
        loss: Mean loss of the batch in nats.
        stop: Whether any rank was asked to stop.
    """

    loss: float
    stop: bool


@dataclass(frozen=True)
class Stepper:
    """Does optimizer steps.

    Attributes:
        title: What the run is called in words to the person.
        scaler: Of the gradients, where fp16 would lose the small ones.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: Device
    work: Workload
    settings: Settings
    title: str
    scaler: torch.amp.GradScaler
    ranks: RankGroup = ALONE

    def step(self, batch: np.ndarray, state: State, *, stop: bool = False) -> Step:
        """Do one step on `batch`.

        When memory runs out on a rank, it does its part again with micro-batches of half the size,
        from the same random numbers; the batch, and so the gradient, stays what it was.

        Raises:
            TrainingDiverged: The loss became NaN or infinite.
            OutOfMemory: Not even one example fits, or what does not fit cannot be divided.
            ProcessLost: Another rank cannot go on.
        """
        loss_sum, fault = 0.0, None
        try:
            loss_sum = self._gradient(batch, state)
        except Exception as error:
            fault = error
        sums, halvings, stops = self.ranks.gather_numbers((loss_sum, state.halvings, stop), fault).T
        if halvings.max() > state.halvings:
            log.warn(f"{self.title}: out of memory in another process: micro-batches are halved")
            state.halvings = int(halvings.max())
        mean = float(sums.sum()) / self.work.weight(batch)
        if not math.isfinite(mean):
            rate = self.optimizer.param_groups[0]["lr"]
            raise TrainingDiverged(
                f"the loss became {mean} (learning rate {rate:.2g})",
                "lower train.learning_rate, lengthen train.warmup, or use model.precision=fp32",
            )
        parameters = [p for _, p in trained_parameters(self.model)]
        self.ranks.sum_gradients(parameters)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return Step(mean, bool(stops.any()))

    def _gradient(self, batch: np.ndarray, state: State) -> float:
        """Leave this rank's part of the gradient of the mean loss; return its summed loss."""
        before = random_state()
        while True:
            parts = self._micro_batches(batch, state.halvings)
            try:
                return self._accumulate(self.work.weight(batch), parts)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                largest = max(len(part) for part in parts)
                if largest == 1 or not self.work.divisible:
                    raise _nothing_fits(error) from error
            # Here and not above: while an error is handled, it holds the tensors of its graph.
            self.optimizer.zero_grad(set_to_none=True)
            restore_random(before)
            _release_memory()
            state.halvings += 1
            log.warn(
                f"{self.title}: out of memory: at most {math.ceil(largest / 2)} instead of "
                f"{largest} examples at once from here on; the batch stays "
                f"{self.settings.batch_size}"
            )

    def _micro_batches(self, batch: np.ndarray, halvings: int) -> list[np.ndarray]:
        """Return this rank's part of the batch, cut into what goes through the model at once."""
        own = self.ranks.share_of(batch)
        parts = self.work.micro_batches(own) if len(own) else []
        for _ in range(halvings):
            parts = [half for part in parts for half in np.array_split(part, 2) if len(half)]
        return parts

    def _accumulate(self, weight: float, parts: list[np.ndarray]) -> float:
        """Add up the gradient; return the summed loss.

        Args:
            weight: Of the whole batch, on every rank: parts of any size then add up to the
                gradient of one pass over all of it.
            parts: The examples of each pass.
        """
        loss_sum = torch.zeros((), device=self.device.name)
        for indices in parts:
            with self.device.autocast():
                loss = self.work.loss_sum(self.model, indices)
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
