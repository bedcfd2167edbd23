"""Multilabel classification."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailorbird.data.encode import Text
from tailorbird.data.targets import labels_text
from tailorbird.metrics import multilabel as metrics
from tailorbird.metrics.intervals import Groups, row_influences
from tailorbird.models.linear_fit import fit_labels
from tailorbird.records import TASKS, ArmReport, ClassScore, Example, Neighbour, Score, Target
from tailorbird.tasks.head_base import HeadTask, Runs, worst
from tailorbird.tasks.predictions import LabelSet, top_probabilities


class Multilabel(HeadTask):
    """Truths are 0 and 1 ``[n, labels]``, outputs a probability for each label."""

    spec = TASKS["multilabel"]

    def truths(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """See `HeadTask.truths`."""
        index = {label: i for i, label in enumerate(target.labels)}
        truth = np.zeros((len(examples), len(index)), dtype=np.float32)
        for row, example in zip(truth, examples, strict=True):
            row[[index[label] for label in example.labels]] = 1.0
        return truth

    def outputs(self, logits: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.outputs`."""
        from scipy.special import expit

        return np.asarray(expit(logits.astype(np.float64)), dtype=np.float32)

    def settle(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> Target:
        """Tune the thresholds."""
        return replace(target, thresholds=metrics.best_thresholds(outputs, truth))

    def quality(
        self, outputs: np.ndarray, truth: np.ndarray, target: Target
    ) -> tuple[float, float]:
        """Return macro-F1 at the best thresholds and minus the mean loss."""
        thresholds = metrics.best_thresholds(outputs, truth)
        sums = metrics.counts(outputs, truth, thresholds).sum(axis=0)[:, None]
        return float(metrics.macro_f1(sums)[0]), -float(metrics.losses(outputs, truth).mean())

    def losses(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.losses`."""
        return metrics.losses(outputs, truth)

    def scores(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target],
        groups: Groups | None = None,
    ) -> dict[str, Score]:  # fmt: skip
        """See `HeadTask.scores`."""
        return metrics.score_all(runs, truth, [target.thresholds for target in targets], groups)

    def per_class(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target]
    ) -> tuple[ClassScore, ...]:
        """See `HeadTask.per_class`."""
        thresholds = [target.thresholds for target in targets]
        return metrics.label_scores(runs, truth, thresholds, targets[0].labels)

    def headline_values(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.headline_values`: what macro-F1 owes to it."""
        return row_influences(metrics.counts(outputs, truth, target.thresholds), metrics.macro_f1)

    def changed(self, a: np.ndarray, b: np.ndarray, target: Target) -> int:
        """See `HeadTask.changed`."""
        before, after = (metrics.decisions(outputs, target.thresholds) for outputs in (a, b))
        return int((before != after).any(axis=1).sum())

    def plain(self, example: Example, target: Target) -> Any:
        """See `HeadTask.plain`."""
        return list(example.labels)

    def row(self, outputs: np.ndarray, target: Target) -> dict[str, Any]:
        """See `HeadTask.row`."""
        labels = chosen_labels(outputs, target)
        few = max(5, len(labels))
        return {
            "predicted": list(labels),
            "probabilities": top_probabilities(outputs, target.labels, few),
        }

    def prediction(
        self, outputs: np.ndarray, target: Target, neighbours: tuple[Neighbour, ...], text: Text
    ) -> LabelSet:
        """See `HeadTask.prediction`."""
        probabilities = dict(zip(target.labels, map(float, outputs), strict=True))
        return LabelSet(chosen_labels(outputs, target), probabilities, neighbours)

    def errors(
        self, report: ArmReport, outputs: np.ndarray, truth: np.ndarray,
        examples: Sequence[Example], target: Target,
    ) -> ArmReport:  # fmt: skip
        """Return the examples with a wrong set of labels, the highest loss first."""
        wrong = (metrics.decisions(outputs, target.thresholds) != (truth > 0.5)).any(axis=1)
        errors = worst(
            examples,
            metrics.losses(outputs, truth),
            lambda i: bool(wrong[i]),
            lambda i: str(examples[i].label),
            lambda i: labels_text(chosen_labels(outputs[i], target.of_row(i))),
        )
        return replace(report, errors=errors)

    def fit_linear(
        self, x: np.ndarray, y: np.ndarray, c: float = 1.0, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a logistic regression for each label."""
        return fit_labels(x, y, c)


TASK = Multilabel()


def chosen_labels(outputs: np.ndarray, target: Target) -> tuple[str, ...]:
    """Return the labels that reach their threshold, the most likely first."""
    reached = metrics.decisions(outputs, target.thresholds)
    return tuple(target.labels[int(i)] for i in np.argsort(-outputs, kind="stable") if reached[i])
