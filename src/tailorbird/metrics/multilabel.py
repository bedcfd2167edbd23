"""Scores of multilabel classification: any number of labels per example.

Throughout: ``probabilities`` and ``target`` are ``[n, labels]``, the target 0 and 1. A label is
predicted from its threshold on; `thresholds` are one number, one per label ``[labels]``, or for
rows of several models one per row and label ``[n, labels]``. Averages are scikit-learn's: a label
without examples or predictions has an F1 of 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tailorbird.metrics.classification import (
    SMALLEST_PROBABILITY,
    Counts,
    Numbers,
    divide,
    scores_of_counts,
)
from tailorbird.metrics.classification_intervals import macro_f1_score
from tailorbird.metrics.intervals import (
    Floats,
    Groups,
    Weighted,
    combine,
    design_effect,
    interval_of,
    scores_of,
    wilson,
)
from tailorbird.records import ClassScore, Score

Thresholds = float | Sequence[float] | Sequence[Sequence[float]] | Floats

# In equal steps of the log odds: probabilities of rare labels differ below 0.05.
THRESHOLDS = np.unique(
    np.round(1 / (1 + np.exp(-np.linspace(np.log(0.005 / 0.995), np.log(0.95 / 0.05), 120))), 3)
)
_ODDS = np.log(THRESHOLDS / (1 - THRESHOLDS))
# An F1 over n rows with the label has about this uncertainty divided by the root of n.
_CAUTION = 0.5


def decisions(probabilities: Numbers, thresholds: Thresholds) -> np.ndarray:
    """Return the predicted labels, as booleans ``[n, labels]``."""
    # In the probabilities' dtype: 0.06 as fp32 is less than 0.06.
    decided: np.ndarray = probabilities >= np.asarray(thresholds, dtype=probabilities.dtype)
    return decided


def counts(probabilities: Numbers, target: Numbers, thresholds: Thresholds) -> Floats:
    """Return each example's counts ``[n, 3 * labels]``: true, predicted, and both."""
    predicted, has = decisions(probabilities, thresholds), target > 0.5
    return np.concatenate([has, predicted, has & predicted], axis=1).astype(np.float64)


def micro_f1(sums: Floats) -> Floats:
    """Return F1 over all labels ``[draws]`` from sums ``[3 * labels, draws]`` of `counts`."""
    has, predicted, both = (part.sum(axis=0) for part in np.split(sums, 3))
    return divide(2 * both, has + predicted)


def macro_f1(sums: Floats) -> Floats:
    """Return the mean F1 of the labels ``[draws]``."""
    has, predicted, both = np.split(sums, 3)
    return np.asarray(divide(2 * both, has + predicted).mean(axis=0))


def hamming(sums: Floats, examples: Floats) -> Floats:
    """Return the share of wrong label decisions ``[draws]``."""
    has, predicted, both = (part.sum(axis=0) for part in np.split(sums, 3))
    return np.asarray((has + predicted - 2 * both) / (examples * (len(sums) // 3)))


def losses(probabilities: Numbers, target: Numbers) -> Floats:
    """Return each example's mean binary cross-entropy over the labels ``[n]``, in nats."""
    yes = np.clip(probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    no = np.clip(1 - probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    each = -(target * np.log(yes) + (1 - target) * np.log(no))
    return np.asarray(each.mean(axis=1), dtype=np.float64)


def best_thresholds(
    probabilities: Numbers, target: Numbers, caution: float = _CAUTION
) -> tuple[float, ...]:
    """Return a threshold for each label.

    It maximises the label's F1 less a penalty for the distance (in log odds) from the best common
    threshold, larger for labels with fewer rows. So a label with few rows, whose best threshold is
    mostly chance, stays near the common one, and one without rows has it.
    `benchmarks/thresholds.py` measures the gain.
    """
    f1 = f1_by_threshold(probabilities, target)
    away = np.abs(_ODDS - _ODDS[middle_best(f1.mean(axis=1))])
    fine = caution / np.sqrt(1 + (target > 0.5).sum(axis=0))
    return tuple(THRESHOLDS[(f1 - away[:, None] * fine).argmax(axis=0)].tolist())


def middle_best(scores: Floats) -> int:
    """Return the index of the highest score; on ties the middle one."""
    equal = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(equal[len(equal) // 2])


def f1_by_threshold(probabilities: Numbers, target: Numbers) -> Floats:
    """Return the F1 of each label at each of `THRESHOLDS` ``[thresholds, labels]``."""
    steps, (_, labels) = len(THRESHOLDS), target.shape
    # The number of thresholds that a probability reaches; a row that reaches i counts for all of
    # them.
    reached = np.searchsorted(THRESHOLDS.astype(probabilities.dtype), probabilities, "right")
    places = (reached + np.arange(labels) * (steps + 1)).ravel()

    def at_each(weights: Numbers) -> Floats:
        flat = np.bincount(places, weights.ravel(), labels * (steps + 1))
        sums = flat.reshape(labels, steps + 1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        return np.asarray(sums[:, 1:].T)

    has = (target > 0.5).astype(np.float64)
    return divide(2 * at_each(has), has.sum(axis=0) + at_each(np.ones_like(has)))


class _Ranking:
    """Average precision of each label (scikit-learn's), for any weights of the examples.

    The examples are sorted once; weights only change the sums.
    """

    def __init__(self, probabilities: Numbers, target: Numbers) -> None:
        self.order = np.argsort(-probabilities, axis=0, kind="stable")
        self.has = np.take_along_axis(target, self.order, axis=0) > 0.5
        ranked = np.take_along_axis(probabilities, self.order, axis=0)
        self.last = np.concatenate(
            [ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), bool)], axis=0
        )

    def mean(self, weights: Floats) -> Floats:
        """Return the mean average precision of the labels that occur ``[draws]``."""
        precisions, occurs = self.each(weights)
        return divide(precisions.sum(axis=0), occurs.sum(axis=0).astype(np.float64))

    def each(self, weights: Floats) -> tuple[Floats, np.ndarray]:
        """Return each label's average precision, and whether it occurs, ``[labels, draws]``."""
        precisions, occurs = [], []
        for label in range(self.order.shape[1]):
            sorted_weights = weights[self.order[:, label]]
            ends = np.flatnonzero(self.last[:, label])
            hits = np.cumsum(sorted_weights * self.has[:, label, None], axis=0)[ends]
            cumulated = np.cumsum(sorted_weights, axis=0)[ends]
            gained = np.diff(hits, axis=0, prepend=0.0)
            average = divide((gained * divide(hits, cumulated)).sum(axis=0), hits[-1])
            precisions.append(average)
            occurs.append(hits[-1] > 0)
        return np.stack(precisions), np.stack(occurs)


def score_all(
    runs: Sequence[Numbers],
    target: Numbers,
    thresholds: Sequence[Thresholds],
    groups: Groups | None = None,
) -> dict[str, Score]:
    """Return every score with its 95 % interval.

    Args:
        runs: The probabilities ``[n, labels]`` of each training of an arm.
        target: 0 and 1 ``[n, labels]``.
        thresholds: Each training's, tuned on validation.
    """
    pairs = list(zip(runs, thresholds, strict=True))
    scores = scores_of([_scorer(run, target, own) for run, own in pairs], len(target), groups)
    right = np.mean([(decisions(run, t) == (target > 0.5)).all(axis=1) for run, t in pairs], axis=0)
    exact, trials = float(right.mean()), len(target) / design_effect(right, groups)
    low, high = wilson(exact * trials, trials)
    sums = np.mean([counts(run, target, t).sum(axis=0) for run, t in pairs], axis=0)
    scores["macro_f1"] = macro_f1_score(
        Counts(*np.split(sums, 3)),
        scores["macro_f1"],
        np.eye(target.shape[1]),
        len(target) / trials,
    )
    return scores | {
        "exact_sets": Score(exact, low, high),
        "mean_average_precision": _mean_precision(
            scores["mean_average_precision"], runs, target, len(target) / trials
        ),
        "log_loss": _log_loss(scores["log_loss"].value, runs, target, groups),
    }


def _mean_precision(
    jackknife: Score, runs: Sequence[Numbers], target: Numbers, effect: float
) -> Score:
    """Return mean average precision with the wider of two intervals, as in `macro_f1_score`.

    A label's average precision is a mean over its positive examples, so its own interval is
    Wilson's with that many trials; for a label without examples it is the whole scale.
    """
    ones = np.ones((len(target), 1))
    each = np.mean([_Ranking(run, target).each(ones)[0][:, 0] for run in runs], axis=0)
    trials = target.sum(axis=0) / effect
    bounds = np.asarray([wilson(p * m, m) for p, m in zip(each, trials, strict=True)])
    parts = np.where(trials > 0, each, 0.5)
    low, high = combine(parts, bounds[:, 0], bounds[:, 1], np.eye(len(parts)))
    value = jackknife.value
    return Score(
        value, max(0.0, min(value, low, jackknife.low)), min(1.0, max(value, high, jackknife.high))
    )


def _log_loss(
    value: float, runs: Sequence[Numbers], target: Numbers, groups: Groups | None
) -> Score:
    """Return the mean loss with Student's interval on its logarithm.

    Rare labels make up most of the loss, and few examples may show none of them. So the variance is
    at least its value for correct probabilities: ``p (1 - p) logit(p)^2`` per decision.
    """
    each = np.mean([losses(run, target) for run in runs], axis=0)
    shares = np.mean(runs, axis=0, dtype=np.float64)
    shares = np.clip(shares, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    implied = (shares * (1 - shares) * (np.log(shares) - np.log1p(-shares)) ** 2).sum(axis=1)
    expected = -(shares * np.log(shares) + (1 - shares) * np.log1p(-shares)).mean(axis=1)
    least = float(implied.mean()) / target.shape[1] ** 2 + float(expected.var())
    widen = max(1.0, (least / max(float(each.var()), 1e-300)) ** 0.5) if each.var() > 0 else 1.0
    return interval_of("log_loss", value, value + (each - each.mean()) * widen, groups)


def _scorer(probabilities: Numbers, target: Numbers, thresholds: Thresholds) -> Weighted:
    features = counts(probabilities, target, thresholds)
    loss = losses(probabilities, target)
    ranking = _Ranking(probabilities, target)

    def score(weights: Floats) -> Mapping[str, Floats]:
        sums, examples = features.T @ weights, weights.sum(axis=0)
        return {
            "macro_f1": macro_f1(sums),
            "micro_f1": micro_f1(sums),
            "mean_average_precision": ranking.mean(weights),
            "hamming": hamming(sums, examples),
            "log_loss": (loss @ weights) / examples,
        }

    return score


def label_scores(
    runs: Sequence[Numbers],
    target: Numbers,
    thresholds: Sequence[Thresholds],
    labels: Sequence[str],
) -> tuple[ClassScore, ...]:
    """Return the scores of each label, from the mean counts over seeds."""
    each = [
        counts(run, target, t).sum(axis=0).reshape(3, -1)
        for run, t in zip(runs, thresholds, strict=True)
    ]
    own = np.asarray(thresholds[0])
    # Several seeds, and folds, have no single threshold.
    common = own.tolist() if len(runs) == own.ndim == 1 else ()
    return scores_of_counts(Counts(*np.mean(each, axis=0)), labels, common)
