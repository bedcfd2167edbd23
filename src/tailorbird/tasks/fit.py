"""A base model with a method attached: trained by the loop, and what every task shares of it."""

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
from tailorbird.methods.table import get_method
from tailorbird.models.device import Device, choose
from tailorbird.models.load import Base, length_limit
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

DEFAULT_LENGTH, _DEFAULT_WRITING_LENGTH = 512, 2048

# Names that transformers gives to what stands between its backbones and the labels or words.
HEADS = (
    *("classifier", "score", "pre_classifier", "classification_head", "pooler.dense"),
    *("lm_head", "embed_out", "output_projection", "predictions.decoder"),
)


class TaskFit(ABC):
    """What is trained, and how it is scored afterwards.

    Attributes:
        job: The arm.
        method: How the model is made trainable.
        device: Where it is trained, and in which number format.
        base: The base model and its tokenizer.
        model: The base model with the method attached.
        limit: Tokens of a text at most.
        settings: How it is trained, defaults filled in.
        notes: What a person should know of the model and the data.
        kept_by: What the loop keeps the best validation by, as arguments of its `TrainJob`.
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
        self.notes: list[str] = []

    @abstractmethod
    def work(self) -> "Workload":
        """Return what the loop trains on; whatever comes before the first step is done here."""

    @abstractmethod
    def validate(self, model: "nn.Module") -> tuple[float, float]:
        """Return mean loss and figure on the validation examples."""

    @abstractmethod
    def predict(self) -> None:
        """Predict the test examples, before the model is saved."""

    @abstractmethod
    def score(self, report: ArmReport, trained: "Trained") -> ArmReport:
        """Return the report with scores, and leave them with their outputs in the arm's folder."""

    def train(self) -> "Trained":
        """Train `model` in place, with as many processes as `train.processes` says.

        Raises:
            UserError: Its checkpoints would not fit the disk.
        """
        from tailorbird.train.launch import crew
        from tailorbird.train.loop import train

        check_room(self.model, self.job)
        job = self.job
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
            **self.kept_by,
        )

    def save(self, place: RunFolder | None = None) -> int:
        """Write the model and its tokenizer into the arm's folder, and return the size in bytes.

        Args:
            place: Another folder, where it is to be that one.
        """
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
    from tailorbird.tasks import get_task
    from tailorbird.train.loop import train

    with ranks.beginning():
        job = ArmJob(name, config, split, RunFolder(folder))
        fit = get_task(split.task).fit(job, scored=False)
        work = fit.work()
    train(fit.model, fit._loop_job(work, ranks))


def reading_limit(base: Base) -> int:
    """Return how many tokens the base model reads at most."""
    return length_limit(base.tokenizer, base.model.config)


def max_length(config: Config, base: Base, method: Method) -> int:
    """Return how many tokens of a text are read; virtual tokens take their share of the limit.

    Raises:
        UserError: `data.max_length` is more than the model takes, or leaves no room for text.
    """
    virtual = int(method.options(config.method).get("virtual_tokens") or 0)
    usual = _DEFAULT_WRITING_LENGTH if base.writes else DEFAULT_LENGTH
    return text_room(config, reading_limit(base), virtual, usual)


def text_room(config: Config, limit: int, virtual: int, usual: int = DEFAULT_LENGTH) -> int:
    """Return how many tokens of a text are read; see `max_length`.

    Args:
        config: Whose `data.max_length` counts, where it is set.
        limit: What the model reads at most.
        virtual: Virtual tokens before the text.
        usual: How many are read where nothing is set.
    """
    longest = config.data.max_length
    if longest is not None and longest > limit:
        raise UserError(
            f"data.max_length is {longest}, but {config.model.name} reads at most {limit} tokens",
            f"set it to {limit} or less",
        )
    # Batches are padded to multiples of 8, and that too must fit beside the virtual tokens.
    room = min((longest or min(limit, usual + virtual)) - virtual, (limit - virtual) // 8 * 8)
    if room < 4:
        raise UserError(
            f"{virtual} virtual tokens leave {max(room, 0)} of {longest or limit} for the text",
            "use fewer method.virtual_tokens or a longer data.max_length",
        )
    return room


def check_room(model: "nn.Module", job: ArmJob) -> None:
    """Refuse to train what would not fit the disk.

    Raises:
        UserError: There is too little space.
    """
    from tailorbird.methods.base import trained_parameters

    trained_bytes = sum(p.numel() * 4 for _, p in trained_parameters(model))
    # The saved model, the best weights of three validations, and three checkpoints (weights and two
    # moments): two that are kept and one being written.
    check_space(job.folder.path, trained_bytes * 13 + 20_000_000)


def drop_checkpoints(job: ArmJob) -> None:
    """Remove the checkpoints of an arm whose report is written: nothing is left to resume."""
    shutil.rmtree(job.folder.file(CHECKPOINTS), ignore_errors=True)


def count_parameters(model: "nn.Module") -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are."""
    trained = total = 0
    for parameter in model.parameters():
        # bitsandbytes packs two 4-bit weights into a byte.
        state: Any = getattr(parameter, "quant_state", None)
        count = state.shape.numel() if state is not None else parameter.numel()
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total
