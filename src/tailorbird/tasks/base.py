"""What every task offers to arms and flows: one leaf file and one line in the table each."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tailorbird.config.losses import check_loss
from tailorbird.metrics.significance import Outcomes
from tailorbird.records import (
    ArmReport,
    ReloadCheck,
    Split,
    TaskName,
    TaskSpec,
)
from tailorbird.runs.folder import RunFolder

if TYPE_CHECKING:
    from tailorbird.config import Config
    from tailorbird.methods.base import Method
    from tailorbird.tasks.arm_job import ArmJob
    from tailorbird.tasks.fit import TaskFit
    from tailorbird.train.settings import Settings

Places = Mapping[str, Sequence[RunFolder]]
"""The folders of each arm that succeeded, one per training, by name; the saved model's first."""


class Task(ABC):
    """A task: how a model is fitted for it, and how arms are scored, joined and compared.

    Attributes:
        spec: Its plain facts.
        joined_words: What of an arm with several trainings is the saved model's, beside its curve.
        worst_field: Which field of an arm's report holds what it got wrong.
        resembles: Whether training examples can be shown that resemble a text it got wrong.
    """

    spec: TaskSpec
    joined_words: str
    worst_field: str
    resembles: bool = True

    @property
    def name(self) -> TaskName:
        """The task's name in data, settings and reports."""
        return self.spec.name

    def check(self, config: "Config", labels: tuple[str, ...]) -> None:
        """Refuse settings that do not fit the task.

        Raises:
            UserError: They do not; it says why.
        """
        check_loss(config, self.name, labels)

    def check_space(self, space: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to do
        """Refuse a search over settings under which validations do not compare.

        Raises:
            UserError: `space` has such a setting.
        """

    @abstractmethod
    def fit(self, job: "ArmJob", *, scored: bool = True) -> "TaskFit":
        """Return a base model with the job's method attached and the split encoded for it.

        Args:
            scored: Whether the arm is tested after training; a search's trials are not.

        Raises:
            UserError: The model, the data or a setting does not fit.
        """

    @abstractmethod
    def settings(self, config: "Config", method: "Method", split: Split) -> "Settings":
        """Return how an arm is trained, defaults filled in, without loading its model."""

    @property
    def judged_by(self) -> str:
        """The metric that validations are judged by."""
        return self.spec.headline

    @abstractmethod
    def on_validation(self, report: ArmReport) -> tuple[float, float]:
        """Return what decides between trained arms before the test: higher is better."""

    def headline(self, places: Places) -> str:
        """Return the metric of the verdict on these arms."""
        return self.spec.headline

    def tested(self, split: Split) -> int:
        """Return how many test examples are scored; 0 where counts by class say it."""
        return 0

    def answered(self, places: Places) -> int:
        """Return how many test prompts the arms answered in words."""
        return 0

    @abstractmethod
    def join(
        self, report: ArmReport, reports: Sequence[ArmReport], folders: Sequence[RunFolder],
        split: Split,
    ) -> ArmReport:  # fmt: skip
        """Return `report`, the saved model's, with the scores of all trainings."""

    @abstractmethod
    def outcomes(self, places: Places, split: Split, headline: str) -> Outcomes:
        """Return what the headline score of each arm is the mean of, example by example."""

    @abstractmethod
    def reload_check(self, predictor: Any, folder: RunFolder, split: Split) -> ReloadCheck:
        """Say whether an arm that was loaded again predicts what it did when it was saved."""

    def worst_rows(self, report: Mapping[str, Any], folder: RunFolder, split: Split) -> set[int]:
        """Return the indices of the test examples that an arm answered worst."""
        index = {example.row: i for i, example in enumerate(split.test)}
        return {index[answer["row"]] for answer in report[self.worst_field]}
