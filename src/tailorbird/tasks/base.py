"""The interface of a task to arms and flows; each task is one module and one line in the table."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tailorbird.config.losses import check_loss
from tailorbird.metrics.significance import Outcomes
from tailorbird.records import ArmReport, ReloadCheck, Split, TaskName, TaskSpec
from tailorbird.runs.folder import RunFolder

if TYPE_CHECKING:
    from tailorbird.config import Config
    from tailorbird.methods.base import Method
    from tailorbird.tasks.arm_job import ArmJob
    from tailorbird.tasks.fit import TaskFit
    from tailorbird.train.settings import Settings

Places = Mapping[str, Sequence[RunFolder]]
"""The folders of each successful arm by name, one per training; the saved model's comes first."""


class Task(ABC):
    """A task: how a model is fitted for it, and how arms are scored, pooled and compared.

    Attributes:
        spec: Plain facts about the task.
        joined_words: What the report shows from the saved model alone when an arm has several
            trainings, beside its learning curve.
        worst_field: The report field that holds an arm's worst errors.
        resembles: Whether training examples similar to a misclassified text can be shown.
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
        """Check that the settings fit the task.

        Raises:
            UserError: A setting does not fit; the message says why.
        """
        check_loss(config, self.name, labels)

    def check_space(self, space: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to do
        """Check that the validation scores of all trials in a search are comparable.

        Raises:
            UserError: `space` contains a setting that makes them incomparable.
        """

    @abstractmethod
    def fit(self, job: "ArmJob", *, scored: bool = True) -> "TaskFit":
        """Return the base model with the job's method attached, and the encoded split.

        Args:
            scored: Whether the arm is tested after training; the trials of a search are not.

        Raises:
            UserError: The model, the data or a setting does not fit.
        """

    @abstractmethod
    def settings(self, config: "Config", method: "Method", split: Split) -> "Settings":
        """Return the training settings of an arm, defaults filled in, without loading its model."""

    @property
    def validation_metric(self) -> str:
        """The metric of the validation score."""
        return self.spec.headline

    @abstractmethod
    def on_validation(self, report: ArmReport) -> tuple[float, float]:
        """Return the validation scores that rank trained arms before the test; higher is better."""

    def headline(self, places: Places) -> str:
        """Return the metric that the verdict on these arms uses."""
        return self.spec.headline

    def tested(self, split: Split) -> int:
        """Return the number of scored test examples; 0 if the counts by class show it."""
        return 0

    def answered(self, places: Places) -> int:
        """Return the number of test prompts that the arms answered with text."""
        return 0

    @abstractmethod
    def join(
        self, report: ArmReport, reports: Sequence[ArmReport], folders: Sequence[RunFolder],
        split: Split,
    ) -> ArmReport:  # fmt: skip
        """Return `report`, of the saved model, with the scores of all trainings added."""

    @abstractmethod
    def outcomes(self, places: Places, split: Split, headline: str) -> Outcomes:
        """Return each arm's per-example values, whose mean is the headline score."""

    @abstractmethod
    def reload_check(self, predictor: Any, folder: RunFolder, split: Split) -> ReloadCheck:
        """Check that a reloaded arm makes the predictions that it made when it was saved."""

    def worst_rows(self, report: Mapping[str, Any], folder: RunFolder, split: Split) -> set[int]:
        """Return the indices of the test examples with an arm's worst errors."""
        index = {example.row: i for i, example in enumerate(split.test)}
        return {index[answer["row"]] for answer in report[self.worst_field]}


def reload_result(
    examples: int, difference: float, rounding: float, numbers: str, changed: int, outputs: str
) -> ReloadCheck:
    """Return a check's result: no output may change, and `numbers` differ by `rounding` at most."""
    why = f"{changed} {outputs} changed" if changed else ""
    if not changed and not difference <= rounding:
        why = f"{numbers} changed by more than rounding"
    return ReloadCheck(not why, examples, difference, why)
