"""Measures training time by running the real loop on a model of the same shapes for a few seconds.

Weights are random, so nothing is downloaded. A deep model is measured at two small depths and
extrapolated linearly; a long step is measured with fewer tokens.
"""

import io
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.planning.memory import encoded_rows, virtual_tokens
from tailorbird.planning.model_shape import Shape, depths, with_depth
from tailorbird.planning.workload import Work, settings_for

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.loop import TrainJob

# The most operations of a measured step: a few seconds on a laptop.
_MOST_FLOPS = 2e12
_LEAST_TOKENS, _SECONDS, _MOST_STEPS = 32, 2.0, 12
_IDS = (200, 900)
"""The number of ids that every vocabulary has."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A machine's speed for one kind of example.

    Attributes:
        train_seconds: Time to train on an example.
        read_seconds: Time of a forward pass for one.
    """

    train_seconds: float
    read_seconds: float


def probe(shape: Shape, config: Config, work: Work, device: Device, flops: float) -> Pace:
    """Measure the time to train on, and to read, an example of average length on this machine.

    Args:
        shape: The model.
        config: The method and the settings of a run.
        work: The training workload.
        device: This machine's.
        flops: Operations of an optimizer step on texts of the longest length.

    Raises:
        UserError: The method or the task does not fit the model.
    """
    length = max(2, round(work.mean_length or work.length))
    batch = settings_for(shape, config, get_method(config.method.name), work).batch_size
    step = flops * length / work.length
    deep = (shape.layers,) if step <= _MOST_FLOPS else depths(shape.config)
    share = min(1.0, _MOST_FLOPS * shape.layers / deep[-1] / step)
    rows = max(1, round(batch * share))
    short = max(_LEAST_TOKENS, round(length * batch * share)) if batch * share < 1 else length
    tried = replace(work, length=min(short, length), mean_length=None)
    with redirect_stderr(io.StringIO()):  # losses of random words are meaningless
        paces = [_measured(shape, config, tried, device, layers, rows) for layers in deep]
    times = np.asarray([[p.train_seconds, p.read_seconds] for p in paces]) * length / tried.length
    line = times[0]
    if len(deep) > 1:
        line = times[0] + (shape.layers - deep[0]) / (deep[1] - deep[0]) * (times[1] - times[0])
    return Pace(*(float(max(t, least)) for t, least in zip(line, times[-1], strict=True)))


def _measured(
    shape: Shape, config: Config, work: Work, device: Device, layers: int, rows: int
) -> Pace:
    with tempfile.TemporaryDirectory() as place:
        cut = shape.config if layers == shape.layers else with_depth(shape.config, layers)
        _save_random(cut, work, Path(place) / "model", config)
        config = config.model_copy(
            update={
                "model": config.model.model_copy(update={"name": str(Path(place) / "model")}),
                "train": config.train.model_copy(
                    update={"batch_size": rows, "epochs": 1.0, "tensorboard": False,
                            "evaluate_every": 10**6}
                ),
            }
        )  # fmt: skip
        return _pace(config, work, device, rows, Path(place) / "run")


def _pace(config: Config, work: Work, device: Device, rows: int, place: Path) -> Pace:
    from tailorbird.train.loop import train

    # The first steps include memory set-up; they count only if they take long.
    model, job = synthetic_job(config, replace(work, rows=2 * rows), device, place / "first")
    trained = train(model, job)
    each = rows / trained.examples_per_second
    if each < 2 * _SECONDS:
        steps = max(2, min(_MOST_STEPS, round(_SECONDS / each)))
        config = config.model_copy(
            update={"train": config.train.model_copy(update={"epochs": steps / 2})}
        )
        _, job = synthetic_job(config, replace(work, rows=2 * rows), device, place / "next", model)
        trained = train(model, job)
    began = time.perf_counter()
    job.validate(model)
    read = (time.perf_counter() - began) / (2 * rows)
    return Pace(1 / trained.examples_per_second, read)


def synthetic_job(
    config: Config, work: Work, device: Device, place: Path, model: "nn.Module | None" = None
) -> tuple["nn.Module", "TrainJob"]:
    """Return a model with its method attached, and the loop's job on random tokens.

    Args:
        config: Model, method and settings; unset ones are filled in as in a run.
        work: The number of rows and their length, which is `work.length` for all.
        device: The device.
        place: The folder for the loop's files.
        model: An existing model for the same work; None: it is loaded.
    """
    make = _writing if work.target is None else _labels
    return make(config, work, device, place, model)


def _rows_of_ids(work: Work, length: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(*_IDS, length).astype(np.int32) for _ in range(work.rows)]


def _labels(
    config: Config, work: Work, device: Device, place: Path, model: Any
) -> tuple["nn.Module", "TrainJob"]:
    from tailorbird.config.losses import loss_name
    from tailorbird.models.classifier import load_classifier
    from tailorbird.runs.folder import RunFolder
    from tailorbird.tasks.registry import head_task
    from tailorbird.train.loop import TrainJob
    from tailorbird.train.loss import make_loss
    from tailorbird.train.settings import resolve

    method, target = get_method(config.method.name), work.target
    assert target is not None
    task = head_task(target.task)
    settings = resolve(config, method, work.rows, len(target.labels), bi_encoder=target.bi_encoder)
    if model is None:
        options = method.load_options(config.method, ("classifier", "pooler.dense"), device)
        model = method.attach(load_classifier(config.model, target, device, options), config)
    limit = int(model.config.get_text_config().max_position_embeddings or work.length)
    width = min(work.length, limit - virtual_tokens(config))
    encoded = encoded_rows(work.rows, width, target, _rows_of_ids(work, width))
    assert encoded.targets is not None
    loss = make_loss(loss_name(config, target.task), config.train, target, encoded.targets)

    def validate(current: Any) -> tuple[float, float]:
        task.predict(current, encoded, 0, device, target)
        return 1.0, 0.5

    labels = task.work(encoded, 0, device, settings.micro_batch_size, loss)
    title = f"measuring {method.name}"
    return model, TrainJob(labels, settings, device, RunFolder(place), validate, title=title)


def _writing(
    config: Config, work: Work, device: Device, place: Path, model: Any
) -> tuple["nn.Module", "TrainJob"]:
    from tailorbird.data.tokens import Tokens
    from tailorbird.models.load import load_writer
    from tailorbird.models.packed import sequence_losses
    from tailorbird.runs.folder import RunFolder
    from tailorbird.train.loop import TrainJob
    from tailorbird.train.settings import resolve_writing
    from tailorbird.train.workloads import WritingWork

    method = get_method(config.method.name)
    if model is None:
        options = method.load_options(config.method, ("lm_head",), device)
        whole = {} if method.spec.trains_all else {"dtype": device.dtype}
        model = method.attach(load_writer(config.model, device, whole | options), config)
    ids = _rows_of_ids(work, max(2, work.length - virtual_tokens(config)))
    tokens = Tokens(ids, [np.arange(len(row)) > 0 for row in ids], [], np.arange(len(ids)))
    hidden = int(model.config.get_text_config().hidden_size)
    settings = resolve_writing(config, method, len(ids), hidden)
    training = WritingWork(tokens, model, device, settings)

    def validate(current: Any) -> tuple[float, float]:
        losses = sequence_losses(training.reader, tokens, device)
        return losses.per_token, losses.accuracy

    title = f"measuring {method.name}"
    job = TrainJob(training, settings, device, RunFolder(place), validate, keep="loss", title=title)
    return model, job


def _save_random(cut: Any, work: Work, place: Path, config: Config) -> None:
    """Save a model with random weights, and a tokenizer, which loading requires."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    from tailorbird.models.load import load_tokenizer

    kind: Any = AutoModel if work.target is not None else AutoModelForCausalLM
    kind.from_config(cut, dtype=torch.bfloat16).save_pretrained(place)
    usual = config.model.model_copy(update={"name": "builtin:minilm", "revision": None})
    load_tokenizer(usual).save_pretrained(place)
