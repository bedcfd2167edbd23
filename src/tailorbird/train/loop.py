"""One training loop for every method and model, to be read from top to bottom."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from tailorbird import log
from tailorbird.data.batch import shuffled_batches
from tailorbird.errors import Interrupted, OverBudget
from tailorbird.metrics.names import is_share, metric_words
from tailorbird.models.device import Device
from tailorbird.records import CurvePoint
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.interrupt import patient_interrupt
from tailorbird.train.checkpoint import Checkpoints, State
from tailorbird.train.dropout import set_dropout
from tailorbird.train.journal import Journal
from tailorbird.train.optim import make_optimizer, rate_factor, set_rate
from tailorbird.train.settings import Settings
from tailorbird.train.step import Stepper, Workload

_CHECKPOINT_SECONDS = 60.0
_STEPS_BEFORE_FORECAST = 8


@dataclass(frozen=True)
class Job:
    """What the loop is given.

    Attributes:
        validate: Returns (mean loss in nats, accuracy) of the model on the validation examples.
        keep: What makes a validation the best: the highest accuracy or the lowest loss.
        figure: What stands in the place of the accuracy where the task has its own figure.
        deadline: `time.monotonic` at which the work must be over, or None.
        observe: Told each validation's number, from 1, and how good it was (higher is better); may
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


@dataclass(frozen=True, slots=True)
class Trained:
    """What the loop did; the model it was given now holds the best weights.

    Attributes:
        best: What the best validation found, the deciding figure first; higher is better.
        notes: What had to be done otherwise than asked, in words.
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


def train(model: nn.Module, job: Job) -> Trained:
    """Train `model` in place and leave the best validated weights in it.

    Raises:
        TrainingDiverged: The loss became NaN or infinite.
        Interrupted: Ctrl-C; a checkpoint was written.
        OverBudget: The remaining work would not end before `Job.deadline`.
        OutOfMemory: Not even one example fits.
        Hopeless: `Job.observe` said so.
    """
    settings = job.settings
    accelerator = _accelerator(job.device)
    set_dropout(model, settings.dropout)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    optimizer = make_optimizer(model, settings)
    checkpoints = Checkpoints(job.folder, job.title)
    state = None
    if job.resume:
        state = checkpoints.load(model, optimizer, accelerator.scaler)
        if state is not None:
            log.say(f"{job.title}: going on after step {state.step}")
    state = state or State()
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    stepper = Stepper(wrapped, optimizer, accelerator, job.work, settings, job.title)
    total, every = _plan(job)

    with (
        job.work.reading(model),
        patient_interrupt() as interrupted,
        Journal(job.folder, tensorboard=settings.tensorboard, after_step=state.step) as journal,
        log.progress(job.title, total * settings.batch_size, "examples", _seen(state, job)) as bar,
    ):
        began, saved = time.monotonic() - state.seconds, time.monotonic()
        stopped = state.bad >= settings.patience
        model.train()
        for batch in _batches_from(state.step, total, job):
            if stopped:
                break
            rate = settings.learning_rate * rate_factor(state.step, total, settings)
            set_rate(optimizer, rate)
            started = time.monotonic()
            loss = stepper.step(batch, state)
            state.step_seconds += time.monotonic() - started
            state.seconds = time.monotonic() - began
            _count(state, batch, loss, job)
            journal.write("step", state.step, loss=loss, learning_rate=rate)
            bar.advance(len(batch), f"loss {state.loss_sum / state.loss_count:.3f}")

            if state.step % every == 0 or state.step == total:
                stopped = _validate(model, state, rate, job, journal, checkpoints)
                state.seconds = time.monotonic() - began
            if (
                interrupted()
                or state.step == total
                or stopped
                or _is_due(settings, state.step, saved)
            ):
                checkpoints.save(model, optimizer, state, accelerator.scaler)
                saved = time.monotonic()
            if interrupted():
                raise Interrupted(f"stopped after step {state.step} of {total}")
            _check_deadline(state, total, job)

    # Accelerate leaves its autocast in the model's forward; the format is the caller's choice.
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    checkpoints.restore_best(model)
    model.eval()
    return _trained(state, total, settings)


def _trained(state: State, total: int, settings: Settings) -> Trained:
    return Trained(
        steps=state.step,
        best_step=state.best_step,
        stopped_early=state.step < total,
        seconds=state.seconds,
        examples_per_second=state.examples / state.step_seconds,
        tokens_per_second=state.tokens / state.step_seconds,
        curve=tuple(state.curve),
        best=state.best,
        notes=_notes(state, settings),
    )


def _notes(state: State, settings: Settings) -> tuple[str, ...]:
    if not state.halvings:
        return ()
    return (
        f"memory ran out: micro-batches were cut to 1/{2**state.halvings} of what was asked; the "
        f"batch stayed {settings.batch_size}",
    )


def _is_due(settings: Settings, step: int, saved: float) -> bool:
    """Say whether it is time for a checkpoint."""
    if settings.checkpoint_every is not None:
        return step % settings.checkpoint_every == 0
    return time.monotonic() - saved > _CHECKPOINT_SECONDS


def _accelerator(device: Device) -> Accelerator:
    # One process may train several times with different formats; Accelerate remembers the first.
    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = {"fp32": "no"}.get(device.precision, device.precision)
    return Accelerator(cpu=device.kind == "cpu", mixed_precision=mixed)


def _plan(job: Job) -> tuple[int, int]:
    """Return the number of optimizer steps, and how many lie between validations."""
    per_epoch = math.ceil(len(job.work.lengths) / job.settings.batch_size)
    total = max(1, round(per_epoch * job.settings.epochs))
    return total, job.settings.evaluate_every or max(1, math.ceil(per_epoch / 2))


def _batches_from(step: int, total: int, job: Job) -> Iterator[np.ndarray]:
    """Yield the batches of steps `step` to `total`; a batch depends on seed and step only."""
    settings = job.settings
    per_epoch = math.ceil(len(job.work.lengths) / settings.batch_size)
    while step < total:
        epoch, position = divmod(step, per_epoch)
        batches = shuffled_batches(job.work.lengths, settings.batch_size, settings.seed, epoch)
        for batch in batches[position:]:
            if step == total:
                return
            yield batch
            step += 1


def _seen(state: State, job: Job) -> int:
    return state.step * job.settings.batch_size


def _count(state: State, batch: np.ndarray, loss: float, job: Job) -> None:
    state.step += 1
    state.examples += len(batch)
    state.tokens += int(job.work.lengths[batch].sum())
    weight = job.work.weight(batch)
    state.loss_sum += loss * weight
    state.loss_count += weight


def _validate(
    model: nn.Module,
    state: State,
    rate: float,
    job: Job,
    journal: Journal,
    checkpoints: Checkpoints,
) -> bool:
    """Score the model, keep it if it is the best, and say whether to stop."""
    model.eval()
    loss, accuracy = job.validate(model)
    model.train()
    point = CurvePoint(
        step=state.step,
        epoch=round(state.examples / len(job.work.lengths), 4),
        train_loss=state.loss_sum / max(1.0, state.loss_count),
        validation_loss=loss,
        validation_accuracy=accuracy,
        learning_rate=rate,
    )
    state.curve.append(point)
    state.loss_sum, state.loss_count = 0.0, 0.0
    journal.write("validation", state.step, loss=loss, accuracy=accuracy)
    found = (accuracy, -loss) if job.keep == "accuracy" else (-loss, accuracy)
    if found > state.best:
        state.best, state.best_step, state.bad = found, state.step, 0
        checkpoints.save_best(model, state.step)
    else:
        state.bad += 1
    log.say(
        f"{job.title}: epoch {point.epoch:.2f}, training loss {point.train_loss:.3f}, validation "
        f"loss {loss:.3f}, {_told(job.figure, accuracy)}{'' if state.bad else ' (best)'}"
    )
    job.observe(len(state.curve), found[0])
    return state.bad >= job.settings.patience


def _told(name: str, value: float) -> str:
    return f"{metric_words(name)} {f'{100 * value:.1f} %' if is_share(name) else f'{value:.3f}'}"


def _check_deadline(state: State, total: int, job: Job) -> None:
    if job.deadline is None or state.step < _STEPS_BEFORE_FORECAST:
        return
    left = job.deadline - time.monotonic()
    needed = state.seconds / state.step * (total - state.step)
    if needed > left:
        raise OverBudget(
            f"needs about {(state.seconds + needed) / 60:.1f} min for {total} steps; "
            f"{(state.seconds + max(left, 0)) / 60:.1f} min of the budget were left"
        )
