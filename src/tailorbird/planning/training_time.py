"""Training time: measured on this machine by a few seconds of the real loop, or by a data sheet.

The measured model has the real one's shapes and random weights, so nothing is downloaded. One batch
has the mean length of the shorter half of the texts, the next one that of the longer half. A deep
model is measured at two small depths and extrapolated linearly; a long step is measured with fewer
tokens.
"""

import io
import math
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config, for_arm
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.planning.data_size import Work, settings_for
from tailorbird.planning.device_fit import Planner
from tailorbird.planning.devices import HEADROOM, PlannedDevice
from tailorbird.planning.memory_by_tracing import encoded_rows, text_tokens
from tailorbird.planning.model_shape import Shape, depths, with_depth
from tailorbird.records import TASKS
from tailorbird.records.planning import MemoryPlan, TimePlan
from tailorbird.train.settings import READING

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.loop import TrainJob

SHARE = 0.35
"""Share of a card's nominal rate that training reaches; assumed, not measured."""
# The most operations of a measured step: a few seconds on a laptop.
_MOST_FLOPS = 2e12
_LEAST_TOKENS, _SECONDS, _MOST_STEPS = 32, 2.0, 12
_HEAD_ROWS = 500
_IDS = (200, 900)
"""The number of ids that every vocabulary has."""


def plan_time(
    planner: Planner, memory: MemoryPlan, place: PlannedDevice, price_per_hour: float | None
) -> TimePlan | None:
    """Return a method's training time; None if no rate is known or it would not fit.

    Args:
        planner: The model, the settings and the data.
        memory: The method's memory, with the operations of its step.
        place: The device.
        price_per_hour: Price of an hour of the device.
    """
    method = memory.method
    work, config = planner.work, for_arm(planner.config, method)
    settings = settings_for(planner.shape, config, get_method(method), work)
    if place.here and memory.bytes * HEADROOM <= place.capacity_bytes and planner.shape.config:
        pace = probe(planner.shape, config, work, place.device, float(memory.flops))
        each, read, start = pace.train_seconds, pace.read_seconds, pace.start_seconds
        how = "the run's own step, measured on this machine"
    elif place.flops and memory.flops:
        flops = memory.flops / settings.batch_size * work.mean_length / work.length
        each = flops / (SHARE * place.flops)
        read = each * READING
        start = 0.0
        share = f"{100 * SHARE:.0f} % of the products per second"
        how = f"{share} in the maker's data sheet; not measured"
    else:
        return None
    if settings.head_start:
        from tailorbird.train.head_init import MOST_EXAMPLES

        start += min(work.rows, MOST_EXAMPLES) * read
    steps = math.ceil(work.rows / settings.batch_size)
    total = max(1, round(steps * settings.epochs))
    validations = math.ceil(total / settings.steps_between_validations(steps))
    seconds = start + total / steps * work.rows * each + validations * work.validation * read
    epoch = (seconds - start) / settings.epochs
    plan = TimePlan(method, settings.epochs, epoch, seconds, read, start_seconds=start, how=how)
    return plan if price_per_hour is None else replace(plan, price=seconds / 3600 * price_per_hour)


@dataclass(frozen=True, slots=True)
class Pace:
    """A machine's speed for one kind of example.

    Attributes:
        train_seconds: Time to train on an example.
        read_seconds: Time of a forward pass for one.
        start_seconds: Time from the loaded model to the first step, without reading for a new head.
    """

    train_seconds: float
    read_seconds: float
    start_seconds: float = 0.0


def probe(shape: Shape, config: Config, work: Work, device: Device, flops: float) -> Pace:
    """Measure the time to train on, and to read, an example on this machine.

    Args:
        shape: The model.
        config: The method and the settings of a run.
        work: The training workload.
        device: This machine's.
        flops: Operations of an optimizer step on texts of the longest length.

    Raises:
        UserError: The method or the task does not fit the model.
    """
    settings = settings_for(shape, config, get_method(config.method.name), work)
    length, batch = max(2.0, work.mean_length), settings.batch_size
    step = flops * length / work.length
    deep = (shape.layers,) if step <= _MOST_FLOPS else depths(shape.config)
    share = min(1.0, _MOST_FLOPS * shape.layers / deep[-1] / step)
    rows = max(1, round(batch * share))
    short = min(1.0, max(batch * share, _LEAST_TOKENS / length))
    halves = [max(2.0, half * short) for half in work.halves or (length, length)]
    tried = replace(work, halves=(halves[0], halves[1]))
    with redirect_stderr(io.StringIO()):  # losses of random words are meaningless
        paces = [_measured(shape, config, tried, device, layers, rows) for layers in deep]
    times = np.asarray([astuple(pace) for pace in paces])
    times[:, :2] *= length / tried.mean_length
    line = times[0]
    if len(deep) > 1:
        line = times[0] + (shape.layers - deep[0]) / (deep[1] - deep[0]) * (times[1] - times[0])
    train, read, start = (float(t) for t in np.maximum(line, times[-1]))
    if settings.head_start:
        start += _head_seconds(work, shape.size("hidden_size", 768))
    return Pace(train, read, start)


def _head_seconds(work: Work, width: int) -> float:
    """Return the time to fit a new head on the features of examples (`train/head_init.py`)."""
    from tailorbird.train.head_init import MOST_EXAMPLES, fit_head

    target = work.target
    assert target is not None
    outputs = len(target.labels)
    if TASKS[target.task].per_word or not outputs:
        return 0.0
    examples = min(work.rows, MOST_EXAMPLES)
    rows = min(examples, max(_HEAD_ROWS, outputs))
    random = np.random.default_rng(0)
    targets = np.arange(rows) % outputs
    if not TASKS[target.task].one_label:
        targets = targets[:, None] == np.arange(outputs)
    features = random.standard_normal((rows, width), dtype=np.float32)
    began = time.perf_counter()
    fit_head(features, targets, target.task)
    return (time.perf_counter() - began) * examples / rows


def _measured(
    shape: Shape, config: Config, work: Work, device: Device, layers: int, rows: int
) -> Pace:
    with tempfile.TemporaryDirectory() as place:
        cut = shape.config if layers == shape.layers else with_depth(shape.config, layers)
        _save_random(cut, work, Path(place) / "model", config)
        train = {"batch_size": rows, "epochs": 1.0, "tensorboard": False, "evaluate_every": 10**6}
        config = config.replace(model={"name": str(Path(place) / "model")}, train=train)
        return _pace(config, work, device, rows, Path(place) / "run")


def _pace(config: Config, work: Work, device: Device, rows: int, place: Path) -> Pace:
    from tailorbird.train.loop import train

    # The first steps include memory set-up; they count only if they take long.
    work = replace(work, rows=2 * rows)
    model, job = synthetic_job(config, work, device, place / "first")
    trained = train(model, job)
    each = rows / trained.examples_per_second
    pairs = max(1, min(_MOST_STEPS, round(_SECONDS / each)) // 2)
    config = config.replace(train={"epochs": float(pairs)})
    began = time.perf_counter()
    _, job = synthetic_job(config, work, device, place / "next", model)
    start = time.perf_counter() - began
    if each < 2 * _SECONDS:
        trained = train(model, job)
    began = time.perf_counter()
    job.validate(model)
    read = (time.perf_counter() - began) / work.rows
    return Pace(1 / trained.examples_per_second, read, start)


def synthetic_job(
    config: Config, work: Work, device: Device, place: Path, model: "nn.Module | None" = None
) -> tuple["nn.Module", "TrainJob"]:
    """Return a model with its method attached, and the loop's job on random tokens.

    Args:
        config: Model, method and settings; unset ones are filled in as in a run.
        work: The number of rows and their lengths: those of `work.halves`, or `work.length`.
        device: The device.
        place: The folder for the loop's files.
        model: An existing model for the same work; None: it is loaded.
    """
    from tailorbird.runs.folder import RunFolder
    from tailorbird.train.loop import TrainJob

    build = _generative_work if work.target is None else _head_work
    model, training, settings, validate = build(config, work, device, model)
    return model, TrainJob(
        training, settings, device, RunFolder(place), validate,
        keep="loss" if work.target is None else "accuracy",
        title=f"measuring {config.method.name}",
    )  # fmt: skip


def _rows_of_ids(work: Work, model: "nn.Module", config: Config) -> list[np.ndarray]:
    """Return random tokens: as many short texts as long ones."""
    random = np.random.default_rng(0)
    short, long = work.halves or (work.length, work.length)
    lengths = [round(short)] * (work.rows // 2) + [round(long)] * (work.rows - work.rows // 2)
    sizes = [text_tokens(length, model, config) for length in lengths]
    return [random.integers(*_IDS, size).astype(np.int32) for size in sizes]


def _head_work(config: Config, work: Work, device: Device, model: Any) -> tuple[Any, ...]:
    """Return the model, the workload, the settings and the validation of a head's training."""
    from tailorbird.config.losses import loss_name
    from tailorbird.models.classifier import load_classifier
    from tailorbird.tasks.registry import head_task
    from tailorbird.train.head_losses import make_loss
    from tailorbird.train.settings import resolve

    method, target = get_method(config.method.name), work.target
    assert target is not None
    task = head_task(target.task)
    settings = resolve(config, method, work.rows, len(target.labels), bi_encoder=target.bi_encoder)
    if model is None:
        options = method.load_options(config.method, ("classifier", "pooler.dense"), device)
        model = method.attach(load_classifier(config.model, target, device, options), config)
    encoded = encoded_rows(_rows_of_ids(work, model, config), target)
    assert encoded.targets is not None
    loss = make_loss(loss_name(config, target.task), config.train, target, encoded.targets)

    def validate(current: Any) -> tuple[float, float]:
        task.predict(current, encoded, 0, device, target)
        return 1.0, 0.5

    training = task.work(encoded, 0, device, settings.micro_batch_size, loss)
    return model, training, settings, validate


def _generative_work(config: Config, work: Work, device: Device, model: Any) -> tuple[Any, ...]:
    """Return the same of a training on answers."""
    from tailorbird.data.tokens import Tokens
    from tailorbird.models.load import load_generative
    from tailorbird.models.packed import sequence_losses
    from tailorbird.train.settings import resolve_generative
    from tailorbird.train.workloads import GenerativeWork

    method = get_method(config.method.name)
    if model is None:
        options = method.load_options(config.method, ("lm_head",), device)
        whole = {} if method.spec.trains_all else {"dtype": device.dtype}
        model = method.attach(load_generative(config.model, device, whole | options), config)
    ids = _rows_of_ids(work, model, config)
    tokens = Tokens(ids, [np.arange(len(row)) > 0 for row in ids], [], np.arange(len(ids)))
    hidden = int(model.config.get_text_config().hidden_size)
    settings = resolve_generative(config, method, len(ids), hidden)
    training = GenerativeWork(tokens, model, device, settings)

    def validate(current: Any) -> tuple[float, float]:
        losses = sequence_losses(training.reader, tokens, device)
        return losses.per_token, losses.accuracy

    return model, training, settings, validate


def _save_random(cut: Any, work: Work, place: Path, config: Config) -> None:
    """Save a model with random weights, and a tokenizer, which loading requires."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    from tailorbird.models.load import load_tokenizer

    kind: Any = AutoModel if work.target is not None else AutoModelForCausalLM
    kind.from_config(cut, dtype=torch.bfloat16).save_pretrained(place)
    usual = config.model.replace(name="builtin:minilm", revision=None)
    load_tokenizer(usual).save_pretrained(place)
