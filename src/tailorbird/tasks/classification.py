"""Single-label classification."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.data.encode import Text
from tailorbird.metrics import classification as metrics
from tailorbird.metrics.classification_intervals import score_all
from tailorbird.metrics.intervals import Groups
from tailorbird.models.linear_fit import fit_classes
from tailorbird.records import (
    TASKS,
    ArmReport,
    ClassScore,
    Example,
    Neighbour,
    Score,
    Split,
    Target,
    WrongExample,
)
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.head_base import MOST_ERRORS, HeadTask, Runs
from tailorbird.tasks.head_scoring import load_probabilities
from tailorbird.tasks.predictions import Prediction, top_probabilities

if TYPE_CHECKING:
    from tailorbird.models.head_logits import Predicted
    from tailorbird.train.head_losses import LossSum


class Classification(HeadTask):
    """Truths are class ids ``[n]``, outputs probabilities ``[n, classes]``."""

    spec = TASKS["classification"]
    adds_labels = True

    def truths(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """See `HeadTask.truths`."""
        index = {label: i for i, label in enumerate(target.labels)}
        return np.asarray([index[str(e.label)] for e in examples], dtype=np.int64)

    def quality(
        self, outputs: np.ndarray, truth: np.ndarray, target: Target
    ) -> tuple[float, float]:
        """Return accuracy and minus log-loss."""
        return float((outputs.argmax(1) == truth).mean()), -metrics.log_loss(outputs, truth)

    def losses(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """Return 1 for each wrong prediction."""
        wrong: np.ndarray = outputs.argmax(axis=1) != truth
        return wrong.astype(np.float64)

    def scores(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target],
        groups: Groups | None = None,
    ) -> dict[str, Score]:  # fmt: skip
        """See `HeadTask.scores`."""
        return score_all(np.stack(runs), truth, targets[0].labels, groups)

    def per_class(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target]
    ) -> tuple[ClassScore, ...]:
        """See `HeadTask.per_class`."""
        return metrics.class_scores(np.stack(runs), truth, targets[0].labels)

    def headline_values(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.headline_values`: whether it is right."""
        return np.asarray(outputs.argmax(axis=1) == truth, dtype=np.float64)

    def plain(self, example: Example, target: Target) -> Any:
        """See `HeadTask.plain`."""
        return example.label

    def row(self, outputs: np.ndarray, target: Target) -> dict[str, Any]:
        """Return the prediction; with many classes, the five most likely."""
        best = int(np.argsort(-outputs, kind="stable")[0])
        return {
            "predicted": target.labels[best],
            "confidence": round(float(outputs[best]), 6),
            "probabilities": top_probabilities(outputs, target.labels),
        }

    def prediction(
        self, outputs: np.ndarray, target: Target, neighbours: tuple[Neighbour, ...], text: Text
    ) -> Prediction:
        """See `HeadTask.prediction`."""
        best = int(outputs.argmax())
        probabilities = dict(zip(target.labels, map(float, outputs), strict=True))
        return Prediction(target.labels[best], float(outputs[best]), probabilities, neighbours)

    def errors(
        self, report: ArmReport, outputs: np.ndarray, truth: np.ndarray,
        examples: Sequence[Example], target: Target,
    ) -> ArmReport:  # fmt: skip
        """Return the wrong examples, most confident first, with confusion and calibration."""
        losses, labels = metrics.losses(outputs, truth), target.labels
        wrong = [
            WrongExample(e.row, e.text, str(e.label), labels[p], float(row[p]), loss=float(loss))
            for e, p, row, loss in zip(
                examples, outputs.argmax(axis=1), outputs, losses, strict=True
            )
            if labels[p] != e.label
        ]
        return replace(
            report,
            confusion=metrics.confusion(outputs, truth),
            calibration=metrics.calibration(outputs, truth),
            errors=tuple(sorted(wrong, key=lambda e: (-e.confidence, e.row))[:MOST_ERRORS]),
        )

    def validation_figures(
        self, predicted: "Predicted", targets: np.ndarray, truth: np.ndarray, loss: "LossSum",
        target: Target,
    ) -> tuple[float, float]:  # fmt: skip
        """See `HeadTask.validation_figures`."""
        from tailorbird.models.head_logits import loss_and_accuracy
        from tailorbird.train.head_losses import cross_entropy_sum

        if loss is cross_entropy_sum:
            return loss_and_accuracy(predicted.logits, targets)
        return super().validation_figures(predicted, targets, truth, loss, target)

    def votes(self, examples: Sequence[Example], target: Target) -> None:
        """See `HeadTask.votes`."""

    def constant(self, split: Split, target: Target) -> dict[str, Any]:
        """Return each label's share of the training examples."""
        counts = Counter(example.label for example in split.train)
        return {label: counts[label] / len(split.train) for label in split.labels}

    def fit_linear(
        self, x: np.ndarray, y: np.ndarray, c: float = 1.0, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a logistic regression."""
        return fit_classes(x, y, c, **how)

    def tested(self, split: Split) -> int:
        """See `Task.tested`: the classes' counts add up to it."""
        return 0

    def worst_rows(self, report: Mapping[str, Any], folder: RunFolder, split: Split) -> set[int]:
        """Return the indices of all misclassified test examples."""
        target = self.target(split)
        answers = load_probabilities(folder)["test"].argmax(axis=1)
        return set(map(int, np.flatnonzero(answers != self.truths(split.test, target))))


TASK = Classification()
