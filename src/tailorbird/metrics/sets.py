"""Scores of multi-label classification: any number of labels per example.

Throughout: ``probabilities`` and ``target`` are ``[n, labels]``, the target 0 and 1, and a label is
given from `threshold` on. Averages are scikit-learn's: a label that nobody gives has an F1 of 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tailorbird.metrics.intervals import RESAMPLES, Floats, wilson
from tailorbird.metrics.labels import SMALLEST_PROBABILITY, Numbers, divide
from tailorbird.metrics.resampled import Weighted, scores_of
from tailorbird.records import ClassScore, Score

_THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)
# Ranking every label anew for every resample of a large test set would take minutes: of so many
# cells in all, fewer resamples are ranked.
_MOST_RANKED = 100_000_000


def counts(probabilities: Numbers, target: Numbers, threshold: float) -> Floats:
    """Return what each example adds to the counts ``[n, 3 * labels]``: has, given, and both."""
    given = probabilities >= threshold
    has = target > 0.5
    return np.concatenate([has, given, has & given], axis=1).astype(np.float64)


def micro_f1(sums: Floats) -> Floats:
    """Return F1 over all labels ``[draws]`` from sums ``[3 * labels, draws]`` of `counts`."""
    has, given, both = (part.sum(axis=0) for part in np.split(sums, 3))
    return divide(2 * both, has + given)


def macro_f1(sums: Floats) -> Floats:
    """Return the mean F1 of the labels ``[draws]``."""
    has, given, both = np.split(sums, 3)
    return np.asarray(divide(2 * both, has + given).mean(axis=0))


def hamming(sums: Floats, examples: Floats) -> Floats:
    """Return the share of all label decisions that are wrong ``[draws]``."""
    has, given, both = (part.sum(axis=0) for part in np.split(sums, 3))
    return np.asarray((has + given - 2 * both) / (examples * (len(sums) // 3)))


def losses(probabilities: Numbers, target: Numbers) -> Floats:
    """Return each example's mean binary cross-entropy over the labels ``[n]``, in nats."""
    kept = np.clip(probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    other = np.clip(1 - probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    each = -(target * np.log(kept) + (1 - target) * np.log(other))
    return np.asarray(each.mean(axis=1), dtype=np.float64)


def best_threshold(probabilities: Numbers, target: Numbers) -> float:
    """Return the threshold with the best macro-F1; of equal ones the middle one."""
    scores = np.asarray(
        [
            float(macro_f1(counts(probabilities, target, t).sum(axis=0)[:, None])[0])
            for t in _THRESHOLDS
        ]
    )
    equal = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(_THRESHOLDS[equal[len(equal) // 2]])


class _Ranking:
    """Average precision of each label for any weights of the examples (scikit-learn's).

    The examples are sorted once; weights only move the sums.
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
        total = np.zeros(weights.shape[1])
        occurs = np.zeros(weights.shape[1])
        for label in range(self.order.shape[1]):
            sorted_weights = weights[self.order[:, label]]
            ends = np.flatnonzero(self.last[:, label])
            hits = np.cumsum(sorted_weights * self.has[:, label, None], axis=0)[ends]
            seen = np.cumsum(sorted_weights, axis=0)[ends]
            gained = np.diff(hits, axis=0, prepend=0.0)
            average = divide((gained * divide(hits, seen)).sum(axis=0), hits[-1])
            total += average
            occurs += hits[-1] > 0
        return divide(total, occurs)


def score_all(
    runs: Sequence[Numbers], target: Numbers, thresholds: Sequence[float], seed: int = 13
) -> dict[str, Score]:
    """Return every score with its 95 % interval.

    Args:
        runs: The probabilities ``[n, labels]`` of each seed of an arm.
        target: 0 and 1 ``[n, labels]``.
        thresholds: Each seed's, as chosen on validation.
        seed: Seed of the bootstrap.
    """
    pairs = list(zip(runs, thresholds, strict=True))
    scorers = [_scorer(run, target, threshold) for run, threshold in pairs]
    found = scores_of(scorers, len(target), 3 * target.shape[1], seed)
    exact = float(np.mean([((run >= t) == (target > 0.5)).all(axis=1) for run, t in pairs]))
    low, high = wilson(exact * len(target), len(target))
    scores = found | {"exact_sets": Score(exact, low, high)}
    # A score of 1 without an error to resample is not certain.
    return {
        name: Score(1.0, low, 1.0)
        if name in ("macro_f1", "micro_f1", "mean_average_precision") and score.low > 1 - 1e-9
        else score
        for name, score in scores.items()
    }


def _scorer(probabilities: Numbers, target: Numbers, threshold: float) -> Weighted:
    features = counts(probabilities, target, threshold)
    loss = losses(probabilities, target)
    ranking = _Ranking(probabilities, target)
    share = min(1.0, _MOST_RANKED / (RESAMPLES * target.size))

    def score(weights: Floats) -> Mapping[str, Floats]:
        sums, examples = features.T @ weights, weights.sum(axis=0)
        ranked = np.full(weights.shape[1], np.nan)
        few = max(1, round(share * len(ranked)))
        ranked[:few] = ranking.mean(weights[:, :few])
        return {
            "macro_f1": macro_f1(sums),
            "micro_f1": micro_f1(sums),
            "mean_average_precision": ranked,
            "hamming": hamming(sums, examples),
            "log_loss": (loss @ weights) / examples,
        }

    return score


def label_scores(
    runs: Sequence[Numbers], target: Numbers, thresholds: Sequence[float], labels: Sequence[str]
) -> tuple[ClassScore, ...]:
    """Return how each label fared, from the mean counts over seeds."""
    each = [
        counts(run, target, t).sum(axis=0).reshape(3, -1)
        for run, t in zip(runs, thresholds, strict=True)
    ]
    has, given, both = np.mean(each, axis=0)
    precision, recall = divide(both, given), divide(both, has)
    return tuple(
        ClassScore(
            label=label,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=_f1(float(has[i]), float(given[i]), float(both[i])),
            support=int(has[i]),
        )
        for i, label in enumerate(labels)
    )


def _f1(has: float, given: float, both: float) -> Score:
    """Return an F1 with the interval of its Jaccard index (see `labels.class_scores`)."""
    if has + given == 0:
        return Score(0.0, 0.0, 1.0)
    low, high = wilson(both, has + given - both)
    return Score(2 * both / (has + given), 2 * low / (1 + low), 2 * high / (1 + high))
