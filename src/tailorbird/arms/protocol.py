"""What every arm offers: one leaf file and one line in the table each."""

from abc import ABC, abstractmethod
from typing import ClassVar

from tailorbird.arms.predictor import Predictor
from tailorbird.records import ArmReport, TaskSpec
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.job import ArmJob

RETRIEVAL, MIX = "rag", "rag+"
"""Names in comparisons: of the arm that retrieves training examples, and what begins those of arms
that answer with a tuned one as well: ``rag+lora``."""


class Arm(ABC):
    """A way of answering.

    Attributes:
        key: Its key in the table; kept in the folder of what it made.
        words: What it does, in a few words, for help and docs.
        trains: Whether a model is trained: with several seeds, a search, weights to export.
        mixes: Whether it answers with a tuned arm's help as well.
    """

    key: ClassVar[str]
    words: ClassVar[str]
    trains: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    @abstractmethod
    def names(self, spec: TaskSpec) -> tuple[str, ...]:
        """Return what it is called in comparisons of a task, the cheapest first; () if nowhere."""

    def has_name(self, name: str, spec: TaskSpec) -> bool:
        """Say whether `name` in a comparison of this task is this arm."""
        return name in self.names(spec)

    def why_not(self, spec: TaskSpec) -> str:
        """Return why it is skipped for a task although it has a name there; empty: it is not."""
        return ""

    @abstractmethod
    def run(self, job: ArmJob) -> ArmReport:
        """Make it, score it, and leave everything in `job.folder`.

        Raises:
            UserError: The model, the data or a setting does not fit.
            Interrupted: Ctrl-C; `job.resume` goes on from there.
            OverBudget: It would not end before the deadline.
        """

    @abstractmethod
    def open(self, folder: RunFolder, *, trust: bool) -> Predictor:
        """Return what `run` left, ready to predict exactly as it did.

        Args:
            folder: Where it was left.
            trust: Whether code may run that came with its model.

        Raises:
            UserError: The folder is incomplete or damaged, or its base model is not there.
        """
