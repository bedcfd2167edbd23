"""One optimizer step: the gradient of a batch, in as many passes as the memory asks for."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from tailorbird import log
from tailorbird.errors import OutOfMemory, TrainingDiverged, is_out_of_memory
from tailorbird.methods.base import trained_parameters
from tailorbird.train.checkpoint import State
from tailorbird.train.randomness import random_state, restore_random
from tailorbird.train.settings import Settings


class Workload(Protocol):
    """What is trained on: the one thing in which tasks differ for the loop."""

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each example."""
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


@dataclass(frozen=True)
class Stepper:
    """Does optimizer steps.

    Attributes:
        model: As `Accelerator.prepare` returned it.
        title: What the run is called in words to the person.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    work: Workload
    settings: Settings
    title: str

    def step(self, batch: np.ndarray, state: State) -> float:
        """Do one step on `batch` and return its mean loss.

        When memory runs out, the step is done again with micro-batches of half the size, from the
        same random numbers; the batch, and so the gradient, stays what it was.

        Raises:
            TrainingDiverged: The loss became NaN or infinite.
            OutOfMemory: Not even one example fits.
        """
        before = random_state()
        while True:
            parts = self._micro_batches(batch, state.halvings)
            try:
                mean = self._accumulate(batch, parts)
                break
            except Exception as error:
                if not is_out_of_memory(error) or self.accelerator.num_processes > 1:
                    raise
                largest = max(len(part) for part in parts)
                if largest == 1:
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
        parameters = [p for _, p in trained_parameters(self.model)]
        self.accelerator.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return mean

    def _micro_batches(self, batch: np.ndarray, halvings: int) -> list[np.ndarray]:
        """Return this rank's part of the batch, cut into what goes through the model at once."""
        mine = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        parts = self.work.micro_batches(mine) or [mine]
        for _ in range(halvings):
            parts = [half for part in parts for half in np.array_split(part, 2) if len(half)]
        return parts

    def _accumulate(self, batch: np.ndarray, parts: list[np.ndarray]) -> float:
        """Add up the gradient of the batch's mean loss, and return that loss."""
        accelerator, world = self.accelerator, self.accelerator.num_processes
        # The whole batch's weight, on every rank: micro-batches and ranks of any size then add up
        # to the gradient of one pass over all of it.
        weight = self.work.weight(batch)
        loss_sum = torch.zeros((), device=accelerator.device)
        for number, indices in enumerate(parts):
            last = number == len(parts) - 1
            with _together(accelerator, self.model, last):
                with accelerator.autocast():
                    loss = self.work.loss_sum(self.model, indices)
                # Ranks average their gradients, so `world` makes it the sum over all of them.
                accelerator.backward(loss * (world / weight))
                loss_sum += loss.detach()
        mean = float(accelerator.reduce(loss_sum, "sum")) / weight
        if not math.isfinite(mean):
            rate = self.optimizer.param_groups[0]["lr"]
            raise TrainingDiverged(
                f"the loss became {mean} (learning rate {rate:.2g})",
                "lower train.learning_rate, lengthen train.warmup, or use model.precision=fp32",
            )
        return mean


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


def _together(accelerator: Accelerator, model: nn.Module, last: bool) -> Any:
    # Gradients travel between ranks once per batch, not once per micro-batch.
    from contextlib import nullcontext

    return nullcontext() if last else accelerator.no_sync(model)
