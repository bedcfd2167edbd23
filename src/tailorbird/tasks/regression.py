"""Regression: one or several numbers per text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailorbird.data.encode import Text
from tailorbird.data.targets import values_text
from tailorbird.metrics import regression as metrics
from tailorbird.metrics.intervals import Groups
from tailorbird.models.linear_fit import fit_values
from tailorbird.records import TASKS, ArmReport, Example, Neighbour, Residual, Score, Split, Target
from tailorbird.tasks.head_base import HeadTask, Runs, worst
from tailorbird.tasks.predictions import Value

_MOST_RESIDUALS = 500


class Regression(HeadTask):
    """Truths and outputs are values in their own units ``[n, targets]``; a head learns z-scores."""

    spec = TASKS["regression"]

    def target(self, split: Split) -> Target:
        """See `HeadTask.target`."""
        values = np.asarray([e.values for e in split.train], dtype=np.float64)
        spread = values.std(axis=0)
        spread[spread == 0] = 1.0
        mean, deviation = tuple(values.mean(axis=0).tolist()), tuple(spread.tolist())
        return replace(super().target(split), mean=mean, deviation=deviation)

    def truths(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """See `HeadTask.truths`."""
        values = [e.values for e in examples]
        return np.asarray(values, dtype=np.float64).reshape(len(examples), len(target.labels))

    def training_targets(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """Return the values standardised."""
        truth = self.truths(examples, target)
        scaled: np.ndarray = (truth - np.asarray(target.mean)) / np.asarray(target.deviation)
        return scaled.astype(np.float32)

    def outputs(self, logits: np.ndarray, target: Target) -> np.ndarray:
        """Return values in their own units."""
        values = logits * np.asarray(target.deviation) + np.asarray(target.mean)
        return np.asarray(values, np.float64)

    def quality(
        self, outputs: np.ndarray, truth: np.ndarray, target: Target
    ) -> tuple[float, float]:
        """Return R² and minus the mean loss."""
        explained = float(metrics.explained(outputs, truth).mean())
        return explained, -float(metrics.losses(outputs, truth, target.deviation).mean())

    def losses(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.losses`."""
        return metrics.losses(outputs, truth, target.deviation)

    def scores(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target],
        groups: Groups | None = None,
    ) -> dict[str, Score]:  # fmt: skip
        """See `HeadTask.scores`."""
        return metrics.score_all(runs, truth, groups)

    def headline_values(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.headline_values`: what it adds to R²."""
        return metrics.explained(outputs, truth)

    def changed(self, a: np.ndarray, b: np.ndarray, target: Target) -> int:
        """Return 0: the caller decides by how much values may differ."""
        return 0

    def plain(self, example: Example, target: Target) -> Any:
        """See `HeadTask.plain`."""
        named = dict(zip(target.labels, example.values, strict=True))
        return example.values[0] if len(named) == 1 else named

    def row(self, outputs: np.ndarray, target: Target) -> dict[str, Any]:
        """See `HeadTask.row`."""
        values = {name: float(v) for name, v in zip(target.labels, outputs, strict=True)}
        return {"predicted": next(iter(values.values())) if len(values) == 1 else values}

    def prediction(
        self, outputs: np.ndarray, target: Target, neighbours: tuple[Neighbour, ...], text: Text
    ) -> Value:
        """See `HeadTask.prediction`."""
        return Value(dict(zip(target.labels, map(float, outputs), strict=True)), neighbours)

    def errors(
        self, report: ArmReport, outputs: np.ndarray, truth: np.ndarray,
        examples: Sequence[Example], target: Target,
    ) -> ArmReport:  # fmt: skip
        """Return the examples with the largest errors, and truths with predictions for the plot."""
        errors = worst(
            examples,
            metrics.losses(outputs, truth, target.deviation),
            lambda i: True,
            lambda i: str(examples[i].label),
            lambda i: values_text(target.labels, outputs[i].tolist(), digits=3),
        )
        most = min(len(truth), _MOST_RESIDUALS)
        places = np.unique(np.linspace(0, len(truth) - 1, most).astype(int))
        residuals = [
            Residual(name, float(truth[i, j]), float(outputs[i, j]))
            for j, name in enumerate(target.labels)
            for i in places
        ]
        return replace(report, errors=errors, residuals=tuple(residuals))

    def votes(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """See `HeadTask.votes`: an example votes for its own numbers."""
        return self.truths(examples, target)

    def fit_linear(
        self, x: np.ndarray, y: np.ndarray, c: float = 1.0, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a ridge regression."""
        return fit_values(x, y, c)


TASK = Regression()
