"""The one training loop, for every method and model; read it from top to bottom."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count, islice
from typing import Literal

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.errors import Interrupted, OverBudget
from tailorbird.methods.base import trained_parameters
from tailorbird.models.device import Device
from tailorbird.records import CurvePoint
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.interrupt import patient_interrupt
from tailorbird.train.distributed import ALONE, RankGroup
from tailorbird.train.dropout import set_dropout
from tailorbird.train.early_stopping import validate
from tailorbird.train.journal import Journal
from tailorbird.train.optim import make_optimizer, rate_factor, set_rate
from tailorbird.train.randomness import random_state, seed_rank
from tailorbird.train.resume_checkpoint import Checkpoints, Saved, State, frozen_digest
from tailorbird.train.settings import Settings
from tailorbird.train.shard import Replicated, Sharded
from tailorbird.train.step import Step, Stepper, Workload

_CHECKPOINT_SECONDS = 60.0
_STEPS_BEFORE_FORECAST = 8
# The commands of the leading rank to the others between steps.
_GO, _SAVE, _GATHER, _END = "go", "save", "gather", "end"


@dataclass(frozen=True)
class TrainJob:
    """The inputs of the training loop.

    Attributes:
        validate: Returns (mean loss in nats, accuracy) of the model on the validation examples.
        keep: The criterion of the best validation: the highest accuracy or the lowest loss.
        figure: The name of the task's own metric, if it replaces the accuracy.
        deadline: `time.monotonic` at which training must be over, or None.
        shard: Whether weights, gradients and moments are sharded among the ranks.
        observe: Called with each validation's number, from 1, and its score (higher is better); may
            raise `Hopeless` to end the training.
    """

    work: Workload
    settings: Settings
    device: Device
    folder: RunFolder
    validate: Callable[[nn.Module], tuple[float, float]]
    keep: Literal["accuracy", "loss"] = "accuracy"
    figure: str = "accuracy"
    title: str = "training"
    resume: bool = False
    deadline: float | None = None
    observe: Callable[[int, float], None] = lambda number, score: None
    ranks: RankGroup = ALONE
    shard: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of the loop; the model now holds the best weights.

    Attributes:
        best: The best validation result, the deciding metric first; higher is better.
        notes: Settings that could not be followed, and what was done instead, in words.
    """

    steps: int
    best_step: int
    stopped_early: bool
    seconds: float
    examples_per_second: float
    tokens_per_second: float
    curve: tuple[CurvePoint, ...]
    best: tuple[float, float] = (float("-inf"), float("-inf"))
    notes: tuple[str, ...] = ()


def train(model: nn.Module, job: TrainJob) -> Trained:
    """Train `model` in place and leave the weights of the best validation in it.

    Ranks other than 0 do not validate or write, and keep the last weights.

    Raises:
        TrainingDiverged: The loss became NaN or infinite.
        Interrupted: Ctrl-C; a checkpoint was written.
        OverBudget: The remaining work would not end before `TrainJob.deadline`.
        OutOfMemory: Not even one example fits.
        ProcessLost: Another rank has ended.
        Hopeless: `TrainJob.observe` raised it.
    """
    settings, ranks = job.settings, job.ranks
    set_dropout(model, settings.dropout)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    total, every = plan_steps(job)
    with ranks.working():
        checkpoints = Checkpoints(job.folder, job.title)
        stepper, state = _begin(model, checkpoints, job)
        with job.work.reading(model), patient_interrupt() as interrupted:
            if not ranks.leads:
                _follow(stepper, state, job, interrupted)
                return _trained(state, total, job)
            lead = _Lead(model, stepper, checkpoints, job, total, every, interrupted)
            lead.run(state)
    model.zero_grad(set_to_none=True)  # frees gradients before weights of the same size are read
    checkpoints.restore_best(model)
    model.eval()
    return _trained(state, total, job)


def _begin(model: nn.Module, checkpoints: Checkpoints, job: TrainJob) -> tuple[Stepper, State]:
    """Bring every rank to the start or to the checkpoint; return its stepper and that state."""
    ranks, settings = job.ranks, job.settings
    saved = None
    with ranks.beginning():
        if job.resume and ranks.leads:
            saved = checkpoints.load(model, ranks.count)
        facts = {} if ranks.count == 1 else _facts(model, job)
    ranks.agree(facts)
    saved = ranks.share(saved)
    ranks.same_weights(parameter for _, parameter in trained_parameters(model))
    stepper = _stepper(model, job)
    if saved is None:
        seed_rank(settings.seed, ranks.index)
        return stepper, State()
    if ranks.leads:
        log.say(f"{job.title}: continuing after step {saved.state.step}")
    optimizer = stepper.optimizer
    saved = replace(saved, optimizer=stepper.layout.own_states(optimizer, saved.optimizer))
    saved.restore(optimizer, stepper.scaler, ranks.index, settings.seed)
    return stepper, saved.state


def _stepper(model: nn.Module, job: TrainJob) -> Stepper:
    layout = Replicated(model, job.work, job.ranks)
    if job.shard and job.ranks.count > 1:
        layout = Sharded(model, job.work, job.ranks, job.device.kind)
    elif job.shard:
        log.warn("train.shard is ignored: there is one process (see train.processes)")
    optimizer = make_optimizer(model, job.settings)
    scaler = torch.amp.GradScaler(job.device.kind, enabled=job.device.precision == "fp16")
    return Stepper(layout, optimizer, job.device, job.settings, job.title, scaler)


def _facts(model: nn.Module, job: TrainJob) -> dict[str, str]:
    """Return the values that must be equal on all ranks, by name."""
    from importlib.metadata import version

    packages = ("tailorbird", "torch", "transformers", "peft")
    trained = [(name, tuple(p.shape)) for name, p in trained_parameters(model)]
    parts = {
        "base model": frozen_digest(model),
        "set of trained weights": repr(trained),
        "data": job.work.lengths.astype("int64").tobytes().hex(),
        "number format": job.device.precision,
    }
    digests = {name: sha256(part.encode()).hexdigest()[:12] for name, part in parts.items()}
    return {f"version of {name}": version(name) for name in packages} | digests


@dataclass
class _Lead:
    """The loop of the rank that validates, writes and decides."""

    model: nn.Module
    stepper: Stepper
    checkpoints: Checkpoints
    job: TrainJob
    total: int
    every: int
    interrupted: Callable[[], bool]

    def run(self, state: State) -> None:
        """Train until the last step or an early stop."""
        job, settings, total = self.job, self.job.settings, self.total
        with (
            Journal(job.folder, tensorboard=settings.tensorboard, after_step=state.step) as journal,
            log.progress(
                job.title, total * settings.batch_size, "examples", state.step * settings.batch_size
            ) as bar,
        ):
            self.journal, self.saved = journal, time.monotonic()
            self.began = self.saved - state.seconds
            self.model.train()
            if self._next(ended=state.bad >= settings.patience or state.step >= total):
                return
            for batch in batches_from(state.step, total, job):
                rate = settings.learning_rate * rate_factor(state.step, total, settings)
                step = _step(self.stepper, batch, rate, state, job, stop=self.interrupted())
                state.seconds = time.monotonic() - self.began
                journal.write("step", state.step, loss=step.loss, learning_rate=rate)
                bar.advance(len(batch), f"loss {state.loss_sum / state.loss_count:.3f}")
                try:
                    ended = self._after(state, rate, stop=step.stop)
                except BaseException:
                    job.ranks.share(_END)
                    raise
                if self._next(ended=ended):
                    return

    def _next(self, *, ended: bool) -> bool:
        """Start the next step on all ranks, or end, with the whole model on this one."""
        ranks = self.job.ranks
        try:
            if ended:
                self.stepper.layout.dissolve(self._gather)
        finally:
            ranks.share(_END if ended else _GO)
        return ended

    def _gather(self) -> None:
        self.job.ranks.share(_GATHER)

    def _after(self, state: State, rate: float, *, stop: bool) -> bool:
        """Validate and save as due after a step; return whether it was the last one."""
        job, last = self.job, state.step == self.total
        stopped = False
        if state.step % self.every == 0 or last:
            with self.stepper.layout.whole(self._gather):
                stopped = validate(self.model, state, rate, job, self.journal, self.checkpoints)
            state.seconds = time.monotonic() - self.began
        stop = stop or self.interrupted()
        if stop or last or stopped or _is_due(job.settings, state.step, self.saved):
            self._save(state)
        if stop:
            raise Interrupted(f"stopped after step {state.step} of {self.total}")
        _check_deadline(state, self.total, job)
        return last or stopped

    def _save(self, state: State) -> None:
        stepper = self.stepper
        self.job.ranks.share(_SAVE)
        random = self.job.ranks.gather(random_state())
        states = stepper.layout.whole_states(stepper.optimizer)
        saved = Saved(state, states, random, stepper.scaler.state_dict())
        with stepper.layout.whole(self._gather):
            self.checkpoints.save(self.model, saved)
        self.saved = time.monotonic()


def _follow(stepper: Stepper, state: State, job: TrainJob, interrupted: Callable[[], bool]) -> None:
    """Take part in every step until the leading rank ends the training."""
    settings = job.settings
    total, _ = plan_steps(job)
    stepper.layout.model.train()
    batches = batches_from(state.step, total, job)
    while _goes_on(stepper, job.ranks):
        rate = settings.learning_rate * rate_factor(state.step, total, settings)
        _step(stepper, next(batches), rate, state, job, stop=interrupted())


def _goes_on(stepper: Stepper, ranks: RankGroup) -> bool:
    """Do what the leading rank commands between steps; return whether another step follows."""
    while (order := ranks.share(_GO)) in (_SAVE, _GATHER):
        if order == _GATHER:
            stepper.layout.gather()
            continue
        ranks.gather(random_state())
        stepper.layout.whole_states(stepper.optimizer)
    return order == _GO


def _step(
    stepper: Stepper, batch: np.ndarray, rate: float, state: State, job: TrainJob, *, stop: bool
) -> Step:
    set_rate(stepper.optimizer, rate)
    started = time.monotonic()
    step = stepper.step(batch, state, stop=stop)
    state.step_seconds += time.monotonic() - started
    _count(state, batch, step.loss, job)
    return step


def _trained(state: State, total: int, job: TrainJob) -> Trained:
    return Trained(
        steps=state.step,
        best_step=state.best_step,
        stopped_early=state.step < total,
        seconds=state.seconds,
        examples_per_second=state.examples / state.step_seconds,
        tokens_per_second=state.tokens / state.step_seconds,
        curve=tuple(state.curve),
        best=state.best,
        notes=_notes(state, job),
    )


def _notes(state: State, job: TrainJob) -> tuple[str, ...]:
    notes = []
    if job.ranks.count > 1:
        shared = ", each with its part of the weights" if job.shard else ""
        notes.append(f"trained by {job.ranks.count} processes together{shared}")
    if state.halvings:
        notes.append(
            f"out of memory: micro-batches were reduced to 1/{2**state.halvings} of the setting; "
            f"the batch size stayed {job.settings.batch_size}"
        )
    return tuple(notes)


def _is_due(settings: Settings, step: int, saved: float) -> bool:
    """Return whether a checkpoint is due."""
    if settings.checkpoint_every is not None:
        return step % settings.checkpoint_every == 0
    return time.monotonic() - saved > _CHECKPOINT_SECONDS


def plan_steps(job: TrainJob) -> tuple[int, int]:
    """Return the number of optimizer steps, and of steps between validations."""
    per_epoch = len(job.work.batches(job.settings.batch_size, job.settings.seed, 0))
    total = max(1, round(per_epoch * job.settings.epochs))
    return total, job.settings.steps_between_validations(per_epoch)


def batches_from(step: int, total: int, job: TrainJob) -> Iterator[np.ndarray]:
    """Yield the batches of steps `step` to `total`; a batch depends on seed and step only."""
    size, seed = job.settings.batch_size, job.settings.seed
    passes = (job.work.batches(size, seed, epoch) for epoch in count())
    return islice((batch for batches in passes for batch in batches), step, total)


def _count(state: State, batch: np.ndarray, loss: float, job: TrainJob) -> None:
    state.step += 1
    state.examples += len(batch)
    state.tokens += int(job.work.lengths[batch].sum())
    weight = job.work.weight(batch)
    state.loss_sum += loss * weight
    state.loss_count += weight


def _check_deadline(state: State, total: int, job: TrainJob) -> None:
    if job.deadline is None or state.step < _STEPS_BEFORE_FORECAST:
        return
    left = job.deadline - time.monotonic()
    needed = state.seconds / state.step * (total - state.step)
    if needed > left:
        raise OverBudget(
            f"needs about {(state.seconds + needed) / 60:.1f} min for {total} steps; "
            f"{(state.seconds + max(left, 0)) / 60:.1f} min of the budget were left"
        )
