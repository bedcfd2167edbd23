"""Scores of regression; ``predicted`` and ``truth`` are ``[n, targets]`` in their own units.

With several targets each score is the plain mean over them, as scikit-learn's uniform average.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tailorbird.metrics.classification import divide
from tailorbird.metrics.intervals import Floats, Groups, Weighted, scores_of
from tailorbird.records import Score


def score_all(
    runs: Sequence[Floats], truth: Floats, groups: Groups | None = None
) -> dict[str, Score]:
    """Return every score with its 95 % interval.

    Args:
        runs: The predictions ``[n, targets]`` of each training of an arm.
        truth: ``[n, targets]``.
    """
    scorers = [_scorer(np.asarray(run, dtype=np.float64), truth) for run in runs]
    return scores_of(scorers, len(truth), groups, scale=float(truth.std()) or 1.0)


def explained(predicted: Floats, truth: Floats) -> Floats:
    """Return each example's part ``[n]`` of R², whose mean is R², for pairing arms."""
    spread = truth.var(axis=0)
    squares = (np.asarray(predicted, dtype=np.float64) - truth) ** 2
    # Constant values have no variance to explain.
    shares = np.where(spread > 0, divide(squares, np.broadcast_to(spread, squares.shape)), 1.0)
    return np.asarray(1 - shares.mean(axis=1))


def losses(predicted: Floats, truth: Floats, deviation: Sequence[float]) -> Floats:
    """Return each example's mean distance ``[n]``, in standard deviations of the training data."""
    apart = np.abs(np.asarray(predicted, dtype=np.float64) - truth) / np.asarray(deviation)
    return np.asarray(apart.mean(axis=1), dtype=np.float64)


def _scorer(predicted: Floats, truth: Floats) -> Weighted:
    columns = [_Column(predicted[:, i], truth[:, i]) for i in range(truth.shape[1])]

    def score(weights: Floats) -> Mapping[str, Floats]:
        each = [column.scores(weights) for column in columns]
        return {name: np.mean([scores[name] for scores in each], axis=0) for name in each[0]}

    return score


class _Column:
    """One target's scores for any weights of the examples."""

    def __init__(self, predicted: Floats, truth: Floats) -> None:
        self.predicted, self.truth = predicted, truth
        self.ranks = [_Ranks(predicted), _Ranks(truth)]

    def scores(self, weights: Floats) -> dict[str, Floats]:
        total = weights.sum(axis=0)
        error = self.predicted - self.truth
        mse = (error**2) @ weights / total
        mean = self.truth @ weights / total
        spread = np.maximum((self.truth**2) @ weights / total - mean**2, 0.0)
        ranks = [ranking.ranks(weights) for ranking in self.ranks]
        return {
            "r2": np.where(spread > 0, 1 - divide(mse, spread), 0.0),
            "spearman": _pearson(ranks[0], ranks[1], weights),
            "pearson": _pearson(self.predicted[:, None], self.truth[:, None], weights),
            "rmse": np.sqrt(mse),
            "mae": np.abs(error) @ weights / total,
            "mse": mse,
        }


def _pearson(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Return Pearson's correlation ``[draws]``; 0 if one side is constant."""
    total = weights.sum(axis=0)

    def centred(x: Floats) -> Floats:
        return np.asarray(x - (x * weights).sum(axis=0) / total)

    a, b = centred(a), centred(b)
    both = (a * b * weights).sum(axis=0)
    product = (a**2 * weights).sum(axis=0) * (b**2 * weights).sum(axis=0)
    # Rounding makes a constant vary in its last bits.
    product[product < 1e-24 * total**2] = 0.0
    return np.clip(divide(both, np.sqrt(product)), -1.0, 1.0)


class _Ranks:
    """Mid-ranks for any weights; the values are sorted once."""

    def __init__(self, values: Floats) -> None:
        different, self.group = np.unique(values, return_inverse=True)
        self.order = np.argsort(self.group, kind="stable")
        sizes = np.bincount(self.group, minlength=len(different))
        self.ends = np.cumsum(sizes) - 1

    def ranks(self, weights: Floats) -> Floats:
        """Return the rank of each example in each resample ``[n, draws]``."""
        upto = np.cumsum(weights[self.order], axis=0)[self.ends]
        before = np.concatenate([np.zeros((1, weights.shape[1])), upto[:-1]])
        return np.asarray(((before + upto + 1) / 2)[self.group])
