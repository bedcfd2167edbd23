"""The shared part of tasks with a head: labels and numbers.

Shapes: logits and outputs ``[n, outputs]``, or ``[words, outputs]`` with a label per word; truths
as each task's `truths` returns them.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.data.encode import Encoded, Text, as_read, encode, encode_apart
from tailorbird.metrics.intervals import Groups
from tailorbird.metrics.significance import Outcomes
from tailorbird.records import (
    ArmReport,
    ClassScore,
    Example,
    Neighbour,
    ReloadCheck,
    Score,
    Split,
    Target,
    WrongExample,
)
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import CHECKED
from tailorbird.tasks.base import Places, Task, reload_result
from tailorbird.tasks.head_scoring import group_ids, load_probabilities, load_target
from tailorbird.tasks.predictions import Answer

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.config import Config
    from tailorbird.methods.base import Method
    from tailorbird.models.device import Device
    from tailorbird.models.head_logits import Model, Predicted
    from tailorbird.tasks.arm_job import ArmJob
    from tailorbird.tasks.fit import TaskFit
    from tailorbird.train.head_losses import LossSum
    from tailorbird.train.settings import Settings
    from tailorbird.train.workloads import LabelWork

Runs = Sequence[np.ndarray]
"""An arm's outputs for each seed."""

MOST_ERRORS = 200
"""The most wrong examples in a report."""

# Largest rounding difference in float32 between orders of summation.
_ROUNDING = 1e-6
# A label without evidence is unlikely, not impossible: log-loss stays finite.
SMOOTHING = 0.02


class HeadTask(Task):
    """A task with a head; a subclass defines the meaning of outputs and their scores.

    Attributes:
        adds_labels: Whether examples with new labels can be added to a loaded run.
        constant_type: The type of a `constant` read from a file.
    """

    constant_type: Any = dict[str, float]
    adds_labels = False
    joined_words = "figures and wrong examples"
    worst_field = "errors"

    # --- meaning and scores, defined by each task -------------------------------------------------

    @abstractmethod
    def truths(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """Return the true target of each example (or word), as an array."""

    @abstractmethod
    def quality(
        self, outputs: np.ndarray, truth: np.ndarray, target: Target
    ) -> tuple[float, float]:
        """Return the quality of outputs, headline metric first; higher is better."""

    @abstractmethod
    def losses(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """Return each example's loss, by which slices are compared."""

    @abstractmethod
    def scores(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target],
        groups: Groups | None = None,
    ) -> dict[str, Score]:  # fmt: skip
        """Return every metric with its interval, averaged over trainings.

        Groups are integers ``[n]``, equal for related examples.
        """

    @abstractmethod
    def headline_values(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """Return a value for each example ``[n]``, whose mean is the headline score."""

    @abstractmethod
    def row(self, outputs: np.ndarray, target: Target) -> dict[str, Any]:
        """Return the prediction for one text, as plain values."""

    @abstractmethod
    def prediction(
        self, outputs: np.ndarray, target: Target, neighbours: tuple[Neighbour, ...], text: Text
    ) -> Answer:
        """Return the prediction from the outputs of one text."""

    @abstractmethod
    def plain(self, example: Example, target: Target) -> Any:
        """Return an example's truth as plain values."""

    @abstractmethod
    def errors(
        self, report: ArmReport, outputs: np.ndarray, truth: np.ndarray,
        examples: Sequence[Example], target: Target,
    ) -> ArmReport:  # fmt: skip
        """Return the arm's report with its wrong examples and the data of its figures."""

    @abstractmethod
    def fit_linear(
        self, x: np.ndarray, y: np.ndarray, c: float = 1.0, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return weights ``[outputs, d]`` and intercepts of a linear model on vectors ``[n, d]``.

        Args:
            c: Inverse strength of the penalty.
            how: Further arguments of scikit-learn's logistic regression, for classes.
        """

    def target(self, split: Split) -> Target:
        """Return the target of a head for this split."""
        pairs = bool(split.train and split.train[0].pair)
        return Target(self.name, split.labels, pairs=pairs)

    def training_targets(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """Return the training targets of a head."""
        return self.truths(examples, target)

    def outputs(self, logits: np.ndarray, target: Target) -> np.ndarray:
        """Return probabilities, or values in their own units."""
        from tailorbird.metrics.classification import softmax

        return softmax(logits)

    def settle(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> Target:
        """Return the target completed with thresholds tuned on validation outputs."""
        return target

    def per_class(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target]
    ) -> tuple[ClassScore, ...]:
        """Return the scores of each label."""
        return ()

    def changed(self, a: np.ndarray, b: np.ndarray, target: Target) -> int:
        """Return the number of different predictions between two sets of outputs."""
        return int((a.argmax(axis=1) != b.argmax(axis=1)).sum())

    def votes(self, examples: Sequence[Example], target: Target) -> np.ndarray | None:
        """Return each example's vote as a neighbour; None: for its single label."""
        truth = self.truths(examples, target)
        smoothed: np.ndarray = (1 - SMOOTHING) * truth + SMOOTHING * truth.mean(axis=0)
        return smoothed

    def constant(self, split: Split, target: Target) -> dict[str, Any]:
        """Return the prediction from the training labels alone: output by label."""
        shares = self.truths(split.train, target).mean(axis=0)
        return dict(zip(split.labels, shares.tolist(), strict=True))

    def constant_fault(self, constant: Mapping[str, Any], target: Target) -> str:
        """Return what is wrong with a `constant` read from a file, or an empty text."""
        finite = bool(np.isfinite([*constant.values()]).all())
        fits = list(constant) == list(target.labels) and finite
        return "" if fits else "its labels are not those of the run"

    def constant_outputs(
        self, constant: Mapping[str, Any], texts: Sequence[Text], target: Target
    ) -> np.ndarray:
        """Return the outputs of `constant` for texts, all equal."""
        shares = np.asarray(list(constant.values()), dtype=np.float32)
        return np.tile(shares, (len(texts), 1))

    # --- encoding and prediction ------------------------------------------------------------------

    def encode(
        self, texts: Sequence[Text], tokenizer: Any, model: "nn.Module", limit: int,
        target: Target, targets: np.ndarray | None = None,
    ) -> Encoded:  # fmt: skip
        """Return the encoded texts or pairs.

        Raises:
            UserError: The tokenizer is not the model's.
        """
        from tailorbird.models.generation_inputs import check_ids
        from tailorbird.models.load import reads_segments

        if target.bi_encoder:
            encoded = encode_apart(texts, tokenizer, limit, targets)
        else:
            encoded = encode(texts, tokenizer, limit, targets, reads_segments(model.config))
        check_ids(model, [*encoded.ids, *(encoded.seconds or ())])
        return encoded

    def predict(
        self, model: "Model", encoded: Encoded, pad: int, device: "Device", target: Target,
        title: str = "",
    ) -> "Predicted":  # fmt: skip
        """Return the model's logits."""
        from tailorbird.models.head_logits import predict

        return predict(model, encoded, pad, device, title)

    def validation_figures(
        self, predicted: "Predicted", targets: np.ndarray, truth: np.ndarray, loss: "LossSum",
        target: Target,
    ) -> tuple[float, float]:  # fmt: skip
        """Return the mean training loss of validation logits, and the headline figure."""
        from tailorbird.train.head_losses import mean_loss

        figure, _ = self.quality(self.outputs(predicted.logits, target), truth, target)
        return mean_loss(loss, predicted.logits, targets), figure

    def work(
        self, train: Encoded, pad: int, device: "Device", size: int, loss: "LossSum"
    ) -> "LabelWork":
        """Return the workload of the loop."""
        from tailorbird.train.workloads import LabelWork

        return LabelWork(train, pad, device, size, loss)

    def by_text(self, outputs: np.ndarray, texts: Sequence[Any]) -> list[np.ndarray]:
        """Return the outputs of each text."""
        return list(outputs)

    # --- the interface of arms and flows -----------------------------------------------------

    def fit(self, job: "ArmJob", *, scored: bool = True) -> "TaskFit":
        """See `Task.fit`."""
        from tailorbird.tasks.fit_head import HeadFit

        return HeadFit(self, job, scored=scored)

    def settings(self, config: "Config", method: "Method", split: Split) -> "Settings":
        """See `Task.settings`."""
        from tailorbird.tasks.fit_head import head_settings, trained_target

        return head_settings(config, method, split, trained_target(self, config, split))

    def on_validation(self, report: ArmReport) -> tuple[float, float]:
        """See `Task.on_validation`; of equal arms the one with the lower loss."""
        scores = report.validation
        loss = next((name for name in ("log_loss", "rmse") if name in scores), None)
        return scores[self.spec.headline].value, -scores[loss].value if loss else 0.0

    def tested(self, split: Split) -> int:
        """See `Task.tested`."""
        return len(split.test)

    def join(
        self, report: ArmReport, reports: Sequence[ArmReport], folders: Sequence[RunFolder],
        split: Split,
    ) -> ArmReport:  # fmt: skip
        """See `Task.join`."""
        arrays = [load_probabilities(folder) for folder in folders]
        targets = [load_target(folder) for folder in folders]
        truth, judges = (self.truths(part, targets[0]) for part in (split.test, split.validation))
        on_test = [each["test"] for each in arrays]
        return replace(
            report,
            validation=self.scores([each["validation"] for each in arrays], judges, targets),
            test=self.scores(on_test, truth, targets, group_ids(split.test)),
            per_class=self.per_class(on_test, truth, targets),
        )

    def outcomes(self, places: Places, split: Split, headline: str) -> Outcomes:
        """See `Task.outcomes`."""
        values = {
            name: np.stack([self._values(folder, split) for folder in folders])
            for name, folders in places.items()
        }
        return Outcomes(values, group_ids(split.test))

    def _values(self, folder: RunFolder, split: Split) -> np.ndarray:
        target, outputs = load_target(folder), load_probabilities(folder)["test"]
        return self.headline_values(outputs, self.truths(split.test, target), target)

    def reload_check(self, predictor: Any, folder: RunFolder, split: Split) -> ReloadCheck:
        """See `Task.reload_check`: the first test examples are predicted again."""
        texts = [as_read(example) for example in split.test[:CHECKED]]
        saved = load_probabilities(folder)["check"]
        again = predictor.probabilities(texts)
        apart = np.abs(again - saved)
        if predictor.target.deviation:
            apart = apart / np.maximum(1.0, np.abs(saved))  # relative, since values have any scale
        difference = float(apart.max())
        changed = self.changed(again, saved, predictor.target)
        return reload_result(
            len(texts), difference, _ROUNDING, "predictions", changed, "predicted labels"
        )


def worst(
    examples: Sequence[Example],
    losses: np.ndarray,
    wrong: Callable[[int], bool],
    truth: Callable[[int], str],
    answer: Callable[[int], str],
) -> tuple[WrongExample, ...]:
    """Return the wrong examples with the highest losses."""
    order: Iterable[int] = (int(i) for i in np.argsort(-losses, kind="stable"))
    places = islice((i for i in order if wrong(i)), MOST_ERRORS)
    return tuple(
        WrongExample(
            examples[i].row, examples[i].text, truth(i), answer(i), 0.0, loss=float(losses[i])
        )
        for i in places
    )
