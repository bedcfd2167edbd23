"""Scores of single-label classification.

All but log-loss and calibration follow from three counts per class, so a score is a function of
`Counts`. The counts may have further axes (one column per bootstrap resample).

Throughout: ``probabilities`` is ``[n, classes]`` with rows that sum to one, ``target`` is ``[n]``
class ids, and the predicted class is the most probable one (the first on ties).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tailorbird.metrics.intervals import Floats, wilson
from tailorbird.records import CalibrationBin, ClassScore, Score

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.floating]
Classes = npt.NDArray[np.integer]

BINS = 15
SMALLEST_PROBABILITY = 1e-15


class Counts(NamedTuple):
    """Examples per class, ``[classes, ...]``: true, predicted, and both."""

    target: Floats
    predicted: Floats
    hits: Floats


def count(predicted: Classes, target: Classes, classes: int) -> Counts:
    """Count the examples of each class."""
    hits = target[predicted == target]
    target_n, predicted_n, hits_n = (
        np.bincount(ids, minlength=classes).astype(np.float64) for ids in (target, predicted, hits)
    )
    return Counts(target_n, predicted_n, hits_n)


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with 0 for a zero denominator (scikit-learn's convention)."""
    out = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def class_f1(counts: Counts) -> Floats:
    """Return F1 per class, the harmonic mean of precision and recall."""
    return divide(2 * counts.hits, counts.target + counts.predicted)


def macro_f1(counts: Counts) -> Floats:
    """Return the mean F1 of the classes that occur, as a label or as a prediction.

    A class that does neither says nothing about the model; scikit-learn leaves it out too.
    """
    occurs = (counts.target + counts.predicted) > 0
    return divide(class_f1(counts).sum(axis=0), occurs.sum(axis=0).astype(np.float64))


def weighted_f1(counts: Counts) -> Floats:
    """Return the mean F1 of the classes, each weighted by its number of examples."""
    total = (class_f1(counts) * counts.target).sum(axis=0)
    return divide(total, counts.target.sum(axis=0))


def mcc(counts: Counts) -> Floats:
    """Return Matthews' correlation coefficient for any number of classes (Gorodkin 2004, eq. 8).

    0 if all examples have, or are predicted, one label, as in scikit-learn.
    """
    examples = counts.target.sum(axis=0)
    covariance = counts.hits.sum(axis=0) * examples - (counts.target * counts.predicted).sum(axis=0)
    spread_target = examples**2 - (counts.target**2).sum(axis=0)
    spread_predicted = examples**2 - (counts.predicted**2).sum(axis=0)
    return divide(covariance, np.sqrt(spread_target * spread_predicted))


def losses(probabilities: Numbers, target: Classes) -> Floats:
    """Return each example's loss ``[n]``, in nats, with probabilities clipped away from 0."""
    own = probabilities[np.arange(len(target)), target].astype(np.float64)
    return -np.log(np.clip(own, SMALLEST_PROBABILITY, 1.0))


def log_loss(probabilities: Numbers, target: Classes) -> float:
    """Return the mean loss per example, in nats."""
    return float(losses(probabilities, target).mean())


def confidence_bins(probabilities: Numbers) -> tuple[Floats, Ints]:
    """Return each example's confidence and its equal-width bin ``(b/15, (b+1)/15]``."""
    confidence = probabilities.max(axis=-1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)
    return confidence, bins


def expected_calibration_error(probabilities: Numbers, target: Classes) -> float:
    """Return the expected calibration error over 15 bins (Guo et al. 2017, eq. 3)."""
    confidence, bins = confidence_bins(probabilities)
    gap = confidence - (probabilities.argmax(axis=-1) == target)
    return float(np.abs(np.bincount(bins, weights=gap, minlength=BINS)).sum() / len(target))


def confusion(probabilities: Numbers, target: Classes) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix: true class by row, predicted class by column."""
    classes = probabilities.shape[-1]
    cells = target.astype(np.int64) * classes + probabilities.argmax(axis=-1)
    table = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    return tuple(tuple(row) for row in table.tolist())


def class_scores(
    probabilities: Numbers, target: Classes, labels: tuple[str, ...]
) -> tuple[ClassScore, ...]:
    """Return the scores of each class, its F1 with an interval.

    F1 is ``2j / (1 + j)`` of the Jaccard index ``j = hits / (hits + misses + false alarms)``, and
    ``j`` is a proportion of the examples that involve the class. So Wilson's interval of ``j``
    gives one of F1 that is valid even for a class with three examples, all correct.

    Args:
        probabilities: ``[n, classes]``, or ``[seeds, n, classes]`` for the seeds of one arm: then
            the scores come from the mean counts over seeds.
    """
    runs = probabilities.reshape(-1, *probabilities.shape[-2:])
    per_seed = [count(run.argmax(axis=-1), target, len(labels)) for run in runs]
    counts = Counts(*(np.mean(parts, axis=0) for parts in zip(*per_seed, strict=True)))
    return scores_of_counts(counts, labels)


def scores_of_counts(
    counts: Counts, labels: Sequence[str], thresholds: Sequence[float | None] = ()
) -> tuple[ClassScore, ...]:
    """Return the scores of each class from its counts ``[classes]``, see `class_scores`.

    Args:
        thresholds: Of each label, for multilabel.
    """
    precision = divide(counts.hits, counts.predicted)
    recall = divide(counts.hits, counts.target)
    return tuple(
        ClassScore(
            label=label,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=f1_score(*(float(part[i]) for part in counts)),
            support=int(counts.target[i]),
            threshold=thresholds[i] if thresholds else None,
        )
        for i, label in enumerate(labels)
    )


def f1_score(target: float, predicted: float, hits: float) -> Score:
    """Return a class's F1 with the interval of its Jaccard index, see `class_scores`.

    Args:
        target: The number of examples of the class.
        predicted: The number of predictions of the class.
        hits: The number of both.
    """
    if target + predicted == 0:
        return Score(0.0, 0.0, 1.0)
    value = 2 * hits / (target + predicted)
    low, high = wilson(hits, target + predicted - hits)
    return Score(value, min(value, 2 * low / (1 + low)), max(value, 2 * high / (1 + high)))


def calibration(probabilities: Numbers, target: Classes) -> tuple[CalibrationBin, ...]:
    """Return the non-empty bins of `expected_calibration_error`, least confident first."""
    confidence, bins = confidence_bins(probabilities)
    right = (probabilities.argmax(axis=-1) == target).astype(np.float64)
    sizes = np.bincount(bins, minlength=BINS)
    claimed = np.bincount(bins, weights=confidence, minlength=BINS)
    correct = np.bincount(bins, weights=right, minlength=BINS)
    return tuple(
        CalibrationBin(float(claimed[b] / sizes[b]), float(correct[b] / sizes[b]), int(sizes[b]))
        for b in np.flatnonzero(sizes)
    )


def softmax(logits: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """Return ``[n, classes]`` probabilities, summing to 1 in float32."""
    if not logits.size:
        return logits
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(
        np.float32
    )
    return shares
