"""A base model with a method attached: training and saving, shared by all tasks."""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.config import Config, dump_config, load_config
from tailorbird.errors import TrainingDiverged, UserError
from tailorbird.methods.base import Method
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device, choose
from tailorbird.models.load import Base
from tailorbird.records import ArmReport, CurvePoint, Split
from tailorbird.runs.atomic import check_space
from tailorbird.runs.folder import CHECKPOINTS, CONFIG, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.distributed import RankGroup
    from tailorbird.train.loop import Trained, TrainJob
    from tailorbird.train.settings import Settings
    from tailorbird.train.step import Workload

_ATTEMPTS = 3
_DECREASE = 0.99


class TaskFit(ABC):
    """A model to train, and its scoring afterwards.

    Attributes:
        best_criterion: The criterion of the best validation, as arguments of `TrainJob`.
    """

    base: Base
    model: "nn.Module"
    limit: int
    settings: "Settings"
    best_criterion: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, job: ArmJob) -> None:
        self.job = job
        self.method: Method = get_method(job.config.method.name)
        self.device: Device = choose(job.config.model.device, job.config.model.precision)
        check_sharding(job.config, self.device.precision)
        self.notes: list[str] = []

    @abstractmethod
    def work(self) -> "Workload":
        """Return the workload of the loop, after everything that precedes the first step."""

    @abstractmethod
    def validate(self, model: "nn.Module") -> tuple[float, float]:
        """Return mean loss and metric on the validation examples."""

    @abstractmethod
    def predict(self) -> None:
        """Predict the test examples, before the model is saved."""

    @abstractmethod
    def score(self, report: ArmReport, trained: "Trained") -> ArmReport:
        """Return the report with scores, and write them with their outputs to the arm's folder."""

    def train(self) -> "Trained":
        """Train `model` in place, with `train.processes` processes.

        Raises:
            UserError: Its checkpoints would not fit the disk.
        """
        from tailorbird.train.launch import training_ranks
        from tailorbird.train.loop import train

        job = self.job
        check_disk_space(self.model, job)
        with training_ranks(job.config.train.processes) as ranks:
            started = time.monotonic()
            parts = (job.name, job.config, job.split, job.folder.path)
            with ranks.calling(train_along, *parts):
                work = self.work()
            before = time.monotonic() - started
            trained = train(self.model, self._loop_job(work, ranks))
        return replace(trained, seconds=trained.seconds + before)

    def _loop_job(self, work: "Workload", ranks: "RankGroup") -> "TrainJob":
        from tailorbird.train.loop import TrainJob

        job = self.job
        return TrainJob(
            work=work,
            settings=self.settings,
            device=self.base.device,
            folder=job.folder,
            validate=self.validate,
            title=job.name,
            resume=job.resume,
            deadline=job.deadline,
            observe=job.observe,
            ranks=ranks,
            shard=job.config.train.shard,
            **self.best_criterion,
        )

    def save(self, place: RunFolder | None = None) -> int:
        """Write the model and its tokenizer into the arm's folder; return the size in bytes."""
        place = place or self.job.folder
        with place.new_folder(MODEL) as folder:
            self.method.save(self.model, folder)
            self.base.tokenizer.save_pretrained(folder)
        return place.size_bytes(MODEL)

    def report_settings(self) -> dict[str, Any]:
        """Return the settings of the arm for the report."""
        config = self.job.config
        return {
            "model": config.model.name,
            "device": self.device.name,
            "precision": self.device.precision,
            "method": {"name": self.method.name} | self.method.options(config.method),
            "train": asdict(self.settings),
            "max_length": self.limit,
        }


def fit_model(job: ArmJob, *, scored: bool = True) -> "tuple[TaskFit, Trained]":
    """Train a model; if the training collapses, train again with half the learning rate.

    A training has collapsed if its loss became NaN or infinite, or if neither the mean training
    loss from the first to the last epoch nor the validation loss decreased by 1 %: too high a rate
    can push a model to where it only predicts the classes' shares (the failed runs of Mosbach et
    al. 2021, arXiv 2006.04884). Which rate is too high depends on the data, so a default can be. A
    rate set by the user is kept, with a warning. There are three attempts at most; the settings of
    the last are in the arm's folder.

    Raises:
        UserError: As `TaskFit.train`; the loss of the last attempt became NaN or infinite.
    """
    attempts = 1
    if job.config.train.learning_rate is None:
        attempts, job = _ATTEMPTS, _with_saved_rate(job)
    seconds, notes = 0.0, []
    while True:
        attempts -= 1
        started = time.monotonic()
        fit, trained, collapse = _attempt(job, scored=scored, last=not attempts)
        spent = time.monotonic() - started
        late = job.deadline is not None and time.monotonic() + spent > job.deadline
        last = not attempts or (late and trained is not None)
        if collapse:
            advice = "set a lower train.learning_rate" if last else "trained again with half of it"
            rate = f"learning rate {fit.settings.learning_rate:.2g}"
            notes.append(f"with {rate} the training collapsed: {collapse}; {advice}")
            log.warn(f"{job.name}: {notes[-1]}")
        if trained is not None and (last or not collapse):
            seconds += trained.seconds
            return fit, replace(trained, seconds=seconds, notes=(*notes, *trained.notes))
        seconds += spent
        # In this order, so that a resumed run cannot continue the old checkpoint at the new rate.
        drop_checkpoints(job)
        job = _with_rate(job, fit.settings.learning_rate / 2)
        del fit  # its memory is needed


def _attempt(job: ArmJob, *, scored: bool, last: bool) -> "tuple[TaskFit, Trained | None, str]":
    """Train once; return the model, the result if there is one, and how the training collapsed.

    Raises:
        TrainingDiverged: The loss of the last attempt became NaN or infinite.
    """
    from tailorbird.tasks.registry import get_task

    job.folder.write(CONFIG, dump_config(job.config))
    fit = get_task(job.split.task).fit(job, scored=scored)
    try:
        trained = fit.train()
    except TrainingDiverged as error:
        if last:
            raise
        return fit, None, str(error)
    return fit, trained, _collapse(trained.curve)


def _with_saved_rate(job: ArmJob) -> ArmJob:
    """Return the job with the rate of the attempt that it resumes."""
    file = job.folder.file(CONFIG)
    rate = load_config(file).train.learning_rate if job.resume and file.is_file() else None
    return job if rate is None else _with_rate(job, rate)


def _with_rate(job: ArmJob, rate: float) -> ArmJob:
    return replace(job, config=job.config.replace(train={"learning_rate": rate}))


def _collapse(curve: Sequence[CurvePoint]) -> str:
    """Return how the losses failed to decrease over whole epochs; empty if one decreased."""
    # The validation that ends an epoch may come a little later than it.
    first = [point.train_loss for point in curve if point.epoch <= 1.25] or [curve[0].train_loss]
    end = curve[-1].epoch
    last = [point.train_loss for point in curve[len(first) :] if point.epoch > end - 1]
    if end < 2 or not last:  # both would be means over different examples
        return ""
    before, after = fmean(first), fmean(last)
    validation = min(point.validation_loss for point in curve)
    if after <= _DECREASE * before or validation <= _DECREASE * curve[0].validation_loss:
        return ""
    return f"its mean loss was {before:.3f} in the first epoch, {after:.3f} in the last"


def train_along(ranks: "RankGroup", name: str, config: Config, split: Split, folder: Path) -> None:
    """Train with the leading rank, which validates, writes and scores."""
    from tailorbird.tasks.registry import get_task
    from tailorbird.train.loop import train

    with ranks.beginning():
        job = ArmJob(name, config, split, RunFolder(folder))
        fit = get_task(split.task).fit(job, scored=False)
        work = fit.work()
    train(fit.model, fit._loop_job(work, ranks))


def check_sharding(config: Config, precision: str = "") -> None:
    """Refuse settings that exclude sharding.

    Args:
        precision: The device's number format, once it is known.

    Raises:
        UserError: One of these is set together with `train.shard`.
    """
    if not config.train.shard:
        return
    if get_method(config.method.name).spec.quantises:
        raise UserError(
            f"train.shard does not work with method {config.method.name!r}: sharding packed "
            "weights is broken in the libraries (accelerate#3983, bitsandbytes#1945)",
            "leave train.shard out: each process then holds the whole packed model, which is "
            "small; or use --method lora",
        )
    if config.train.optimizer == "adamw8bit":
        raise UserError(
            "train.shard does not work with train.optimizer=adamw8bit, whose moments cannot be "
            "sharded",
            "use train.optimizer=adamw",
        )
    if precision == "fp16":
        raise UserError("train.shard does not work with model.precision=fp16", "use bf16 or fp32")


def check_disk_space(model: "nn.Module", job: ArmJob) -> None:
    """Check that the training's files fit the disk.

    Raises:
        UserError: There is too little space.
    """
    from tailorbird.methods.base import trained_parameters

    trained_bytes = sum(p.numel() * 4 for _, p in trained_parameters(model))
    # Space for the saved model, the best weights of three validations, and three checkpoints
    # (weights and two moments): two kept and one being written.
    check_space(job.folder.path, trained_bytes * 13 + 20_000_000)


def drop_checkpoints(job: ArmJob) -> None:
    """Delete the checkpoints of an arm whose report is written."""
    shutil.rmtree(job.folder.file(CHECKPOINTS), ignore_errors=True)
