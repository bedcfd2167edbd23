"""A base model with a method attached: training and saving, shared by all tasks."""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.methods.base import Method
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device, choose
from tailorbird.models.load import Base
from tailorbird.records import ArmReport, Split
from tailorbird.runs.atomic import check_space
from tailorbird.runs.folder import CHECKPOINTS, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.distributed import RankGroup
    from tailorbird.train.loop import Trained, TrainJob
    from tailorbird.train.settings import Settings
    from tailorbird.train.step import Workload


class TaskFit(ABC):
    """A model to train, and its scoring afterwards.

    Attributes:
        kept_by: The criterion of the best validation, as arguments of `TrainJob`.
    """

    base: Base
    model: "nn.Module"
    limit: int
    settings: "Settings"
    kept_by: Mapping[str, Any] = MappingProxyType({})

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
        from tailorbird.train.launch import crew
        from tailorbird.train.loop import train

        job = self.job
        check_room(self.model, job)
        with crew(job.config.train.processes) as ranks:
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
            **self.kept_by,
        )

    def save(self, place: RunFolder | None = None) -> int:
        """Write the model and its tokenizer into the arm's folder; return the size in bytes."""
        place = place or self.job.folder
        with place.new_folder(MODEL) as folder:
            self.method.save(self.model, folder)
            self.base.tokenizer.save_pretrained(folder)
        return place.size_bytes(MODEL)

    def described(self) -> dict[str, Any]:
        """Return the settings of the arm for the report."""
        config = self.job.config
        return {
            "model": config.model.name,
            "device": self.device.name,
            "precision": self.device.precision,
            "method": {"name": self.method.name} | self.method.options(config.method),
            "train": self.settings.to_json(),
            "max_length": self.limit,
        }


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


def check_room(model: "nn.Module", job: ArmJob) -> None:
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
