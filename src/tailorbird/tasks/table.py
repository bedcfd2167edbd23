"""The table of tasks: for each, what its outputs mean and how they are judged.

The plain facts of a task (its losses, its headline) stand in `records.KINDS`; here is what is
computed. Shapes: logits and outputs ``[n, outputs]``; truths as `data.targets.truths` returns them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailorbird.data.targets import shown_labels, shown_values
from tailorbird.metrics import entities
from tailorbird.metrics import labels as single
from tailorbird.metrics import multilabel as sets
from tailorbird.metrics import regression as values
from tailorbird.metrics.bootstrap import compare_sums
from tailorbird.metrics.significance import compare_values
from tailorbird.metrics.stats import compare_with, score_all
from tailorbird.records import (
    ArmReport,
    ClassScore,
    Comparison,
    Example,
    Residual,
    Score,
    Target,
    Task,
    WrongExample,
)
from tailorbird.tasks import words as by_word
from tailorbird.tasks.worst import MOST_ERRORS, worst

Runs = Sequence[np.ndarray]
"""The outputs of each seed of an arm."""

_MOST_RESIDUALS = 500
_ALL_CLASSES = 20


@dataclass(frozen=True, slots=True)
class Tools:
    """What is computed for a task.

    Attributes:
        outputs: Logits to probabilities, or to values in their own units.
        settle: Chooses on validation outputs what prediction needs (thresholds).
        quality: How good outputs are, the headline figure first; higher is better.
        losses: Each example's loss: what slices are compared by.
        scores: Every metric with its interval; of several seeds the mean.
        per_class: How each label fared.
        compare: The best arm against each other one, on the same examples.
        changed: How many answers differ between two sets of outputs.
        row: What is predicted, as plain values.
        look: The arm's report with its wrong examples and what its figures need.
    """

    outputs: Callable[[np.ndarray, Target], np.ndarray]
    settle: Callable[[np.ndarray, np.ndarray, Target], Target]
    quality: Callable[[np.ndarray, np.ndarray, Target], tuple[float, float]]
    losses: Callable[[np.ndarray, np.ndarray, Target], np.ndarray]
    scores: Callable[[Runs, np.ndarray, Sequence[Target]], dict[str, Score]]
    per_class: Callable[[Runs, np.ndarray, Sequence[Target]], tuple[ClassScore, ...]]
    compare: Callable[
        [str, Mapping[str, Runs], np.ndarray, Mapping[str, Sequence[Target]]],
        tuple[Comparison, ...],
    ]
    changed: Callable[[np.ndarray, np.ndarray, Target], int]
    row: Callable[[np.ndarray, Target], dict[str, Any]]
    look: Callable[[ArmReport, np.ndarray, np.ndarray, Sequence[Example], Target], ArmReport]


# --- one label of a set ----------------------------------------------------------------------


def _wrong(outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
    wrong: np.ndarray = outputs.argmax(axis=1) != truth
    return wrong.astype(np.float64)


def _compare_labels(
    best: str,
    arms: Mapping[str, Runs],
    truth: np.ndarray,
    targets: Mapping[str, Sequence[Target]],
) -> tuple[Comparison, ...]:
    right = {
        name: np.stack([run.argmax(1) == truth for run in runs]) for name, runs in arms.items()
    }
    return compare_with(best, right)


def _row_of_label(outputs: np.ndarray, target: Target) -> dict[str, Any]:
    """Return what is predicted; of many classes the five most likely."""
    labels = target.labels
    order = np.argsort(-outputs, kind="stable")
    shown = order[: len(labels) if len(labels) <= _ALL_CLASSES else 5]
    return {
        "predicted": labels[int(order[0])],
        "confidence": round(float(outputs[order[0]]), 6),
        "probabilities": {labels[int(i)]: round(float(outputs[i]), 6) for i in shown},
    }


def _look_at_labels(
    report: ArmReport,
    outputs: np.ndarray,
    truth: np.ndarray,
    examples: Sequence[Example],
    target: Target,
) -> ArmReport:
    """Return the wrong examples, the most confident first, confusion and calibration."""
    losses = single.losses(outputs, truth)
    wrong = [
        WrongExample(e.row, e.text, str(e.label), target.labels[p], float(row[p]), loss=float(loss))
        for e, p, row, loss in zip(examples, outputs.argmax(axis=1), outputs, losses, strict=True)
        if target.labels[p] != e.label
    ]
    return replace(
        report,
        confusion=single.confusion(outputs, truth),
        calibration=single.calibration(outputs, truth),
        errors=tuple(sorted(wrong, key=lambda e: (-e.confidence, e.row))[:MOST_ERRORS]),
    )


# --- any number of labels --------------------------------------------------------------------


def _sigmoid(logits: np.ndarray, target: Target) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(logits.astype(np.float64)), dtype=np.float32)


def _with_thresholds(outputs: np.ndarray, truth: np.ndarray, target: Target) -> Target:
    return replace(target, thresholds=sets.best_thresholds(outputs, truth))


def _thresholds(targets: Sequence[Target]) -> list[sets.Thresholds]:
    return [target.thresholds for target in targets]


def _quality_of_sets(outputs: np.ndarray, truth: np.ndarray, target: Target) -> tuple[float, float]:
    thresholds = sets.best_thresholds(outputs, truth)
    sums = sets.counts(outputs, truth, thresholds).sum(axis=0)[:, None]
    return float(sets.macro_f1(sums)[0]), -float(sets.losses(outputs, truth).mean())


def _compare_sets(
    best: str,
    arms: Mapping[str, Runs],
    truth: np.ndarray,
    targets: Mapping[str, Sequence[Target]],
) -> tuple[Comparison, ...]:
    features = {
        name: np.mean(
            [
                sets.counts(run, truth, thresholds)
                for run, thresholds in zip(runs, _thresholds(targets[name]), strict=True)
            ],
            axis=0,
        )
        for name, runs in arms.items()
    }
    return compare_sums(best, features, sets.macro_f1)


def _changed_sets(a: np.ndarray, b: np.ndarray, target: Target) -> int:
    before, after = (sets.given(outputs, target.thresholds) for outputs in (a, b))
    return int((before != after).any(axis=1).sum())


def given_labels(outputs: np.ndarray, target: Target) -> tuple[str, ...]:
    """Return the labels whose probability reaches their threshold, the most likely first."""
    said = sets.given(outputs, target.thresholds)
    return tuple(target.labels[int(i)] for i in np.argsort(-outputs, kind="stable") if said[i])


def _row_of_set(outputs: np.ndarray, target: Target) -> dict[str, Any]:
    given = given_labels(outputs, target)
    order = np.argsort(-outputs, kind="stable")
    few = len(target.labels) if len(target.labels) <= _ALL_CLASSES else max(5, len(given))
    shown = {target.labels[int(i)]: round(float(outputs[i]), 6) for i in order[:few]}
    return {"predicted": list(given), "probabilities": shown}


def _look_at_sets(
    report: ArmReport,
    outputs: np.ndarray,
    truth: np.ndarray,
    examples: Sequence[Example],
    target: Target,
) -> ArmReport:
    """Return the examples whose set of labels is wrong, the highest loss first."""
    losses = sets.losses(outputs, truth)
    wrong = (sets.given(outputs, target.thresholds) != (truth > 0.5)).any(axis=1)
    errors = worst(
        examples,
        losses,
        lambda i: bool(wrong[i]),
        lambda i: str(examples[i].label),
        lambda i: shown_labels(given_labels(outputs[i], target.of_row(i))),
    )
    return replace(report, errors=errors)


# --- numbers ---------------------------------------------------------------------------------


def _in_units(logits: np.ndarray, target: Target) -> np.ndarray:
    return np.asarray(logits * np.asarray(target.deviation) + np.asarray(target.mean), np.float64)


def _quality_of_values(
    outputs: np.ndarray, truth: np.ndarray, target: Target
) -> tuple[float, float]:
    explained = float(values.explained(outputs, truth).mean())
    return explained, -float(values.losses(outputs, truth, target.deviation).mean())


def _compare_numbers(
    best: str,
    arms: Mapping[str, Runs],
    truth: np.ndarray,
    targets: Mapping[str, Sequence[Target]],
) -> tuple[Comparison, ...]:
    parts = {
        name: np.stack([values.explained(run, truth) for run in runs])
        for name, runs in arms.items()
    }
    return compare_values(best, parts)


def _row_of_values(outputs: np.ndarray, target: Target) -> dict[str, Any]:
    found = {name: float(v) for name, v in zip(target.labels, outputs, strict=True)}
    return {"predicted": next(iter(found.values())) if len(found) == 1 else found}


def _look_at_values(
    report: ArmReport,
    outputs: np.ndarray,
    truth: np.ndarray,
    examples: Sequence[Example],
    target: Target,
) -> ArmReport:
    """Return the examples that are farthest off, and truths with predictions for the plot."""
    losses = values.losses(outputs, truth, target.deviation)
    errors = worst(
        examples,
        losses,
        lambda i: True,
        lambda i: str(examples[i].label),
        lambda i: shown_values(target.labels, outputs[i].tolist(), digits=3),
    )
    chosen = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), _MOST_RESIDUALS)).astype(int))
    residuals = [
        Residual(name, float(truth[i, j]), float(outputs[i, j]))
        for j, name in enumerate(target.labels)
        for i in chosen
    ]
    return replace(report, errors=errors, residuals=tuple(residuals))


TOOLS: dict[Task, Tools] = {
    "classification": Tools(
        outputs=lambda logits, target: single.softmax(logits),
        settle=lambda outputs, truth, target: target,
        quality=lambda outputs, truth, target: (
            float((outputs.argmax(1) == truth).mean()),
            -single.log_loss(outputs, truth),
        ),
        losses=_wrong,
        scores=lambda runs, truth, targets: score_all(np.stack(runs), truth, targets[0].labels),
        per_class=lambda runs, truth, targets: single.class_scores(
            np.stack(runs), truth, targets[0].labels
        ),
        compare=_compare_labels,
        changed=lambda a, b, target: int((a.argmax(1) != b.argmax(1)).sum()),
        row=_row_of_label,
        look=_look_at_labels,
    ),
    "multilabel": Tools(
        outputs=_sigmoid,
        settle=_with_thresholds,
        quality=_quality_of_sets,
        losses=lambda outputs, truth, target: sets.losses(outputs, truth),
        scores=lambda runs, truth, targets: sets.score_all(runs, truth, _thresholds(targets)),
        per_class=lambda runs, truth, targets: sets.label_scores(
            runs, truth, _thresholds(targets), targets[0].labels
        ),
        compare=_compare_sets,
        changed=_changed_sets,
        row=_row_of_set,
        look=_look_at_sets,
    ),
    "regression": Tools(
        outputs=_in_units,
        settle=lambda outputs, truth, target: target,
        quality=_quality_of_values,
        losses=lambda outputs, truth, target: values.losses(outputs, truth, target.deviation),
        scores=lambda runs, truth, targets: values.score_all(runs, truth),
        per_class=lambda runs, truth, targets: (),
        compare=_compare_numbers,
        changed=lambda a, b, target: 0,
        row=_row_of_values,
        look=_look_at_values,
    ),
    "tokens": Tools(
        outputs=lambda logits, target: single.softmax(logits),
        settle=lambda outputs, truth, target: target,
        quality=by_word.quality,
        losses=by_word.losses,
        scores=lambda runs, truth, targets: entities.score_all(
            [by_word.features(run, truth, targets[0]) for run in runs]
        ),
        per_class=by_word.per_type,
        compare=by_word.compare,
        changed=lambda a, b, target: int((a.argmax(1) != b.argmax(1)).sum()),
        row=by_word.row,
        look=by_word.look,
    ),
}
"""The tasks of `records.KINDS`."""
