"""Scores with intervals, and paired tests between arms on the same test examples."""

from collections.abc import Mapping, Sequence
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tailorbird.metrics import labels as scoring
from tailorbird.metrics.intervals import RESAMPLES, Floats, percentiles, resamples, wilson
from tailorbird.records import Comparison, Score

if TYPE_CHECKING:
    from tailorbird.metrics.labels import Classes, Numbers

Bools = npt.NDArray[np.bool_]

METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc", "log_loss", "ece")
AT_MOST_ONE = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc")


def score_all(
    probabilities: "Numbers", target: "Classes", labels: Sequence[str], seed: int = 13
) -> dict[str, Score]:
    """Return every score of `METRICS` with its 95 % interval.

    The intervals are over the choice of test examples, from 2,000 bootstrap resamples: the
    percentiles, moved so that the resamples' mean is the value. (Classes drop out of a resample:
    with four examples of each of 77 classes its macro F1 is 2 points low on average.)
    Two scores go their own way, because the bootstrap is known to mislead there: accuracy (and
    micro F1, which equals it) has Wilson's interval, and that of ECE is reflected at the value.
    No interval says how another training run would have turned out.

    Args:
        probabilities: ``[n, classes]``; or ``[seeds, n, classes]`` for several seeds of one arm:
            then a value is the mean over seeds, and a resample takes the same examples of each.
        target: Class ids ``[n]``.
        labels: A label per class.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: The shapes do not fit, or rows are not probabilities.
    """
    runs = _checked_runs(probabilities, target, labels)
    features = [_features(run, target) for run in runs]

    def over_seeds(weights: Floats) -> Floats:
        total = sum(_scores(part @ weights, len(labels)) for part in features)
        return np.divide(total, len(features))

    values = over_seeds(np.ones((len(target), 1)))
    columns = features[0].shape[0]
    draws = np.concatenate([over_seeds(w) for w in resamples(len(target), columns, seed)], axis=1)
    bounds = {
        name: _interval(name, float(value), row)
        for name, value, row in zip(METRICS, values[:, 0], draws, strict=True)
    }
    right = (runs.argmax(axis=-1) == target).mean(axis=0)
    proportion = accuracy_score(right, len(runs))
    scores = bounds | {"accuracy": proportion, "micro_f1": proportion}
    return _without_false_certainty(scores)


def _interval(name: str, value: float, draws: Floats) -> Score:
    low, high = (float(bound) for bound in percentiles(draws))
    if name == "ece":
        # An average of absolute values: chance alone raises it, and resampling raises it once
        # more, so that the percentiles of a calibrated model lie above the truth nearly always.
        # The basic interval (Davison and Hinkley 1997, section 5.2) moves as far down instead.
        return Score(value, max(0.0, 2 * value - high), max(value, 2 * value - low))
    moved = value - float(draws.mean())
    ceiling = 1.0 if name in AT_MOST_ONE else np.inf
    return Score(value, min(value, low + moved), max(value, min(ceiling, high + moved)))


def _without_false_certainty(scores: dict[str, Score]) -> dict[str, Score]:
    """Lower the bounds of scores that are 1 only because no error was seen to resample."""
    bound = scores["accuracy"].low
    return {
        name: Score(1.0, bound, 1.0) if name in AT_MOST_ONE and score.low > 1 - 1e-9 else score
        for name, score in scores.items()
    }


def accuracy_score(right: Floats, seeds: int = 1) -> Score:
    """Return accuracy with Wilson's interval.

    Seeds that agree on an example are one observation of it, seeds that differ are more: the
    trials are the effective number (Korn and Graubard 1998), between ``n`` and ``n * seeds``.

    Args:
        right: The share of seeds that were right on each example, ``[n]``.
        seeds: How many seeds there were.
    """
    n, value = len(right), float(right.mean())
    alone = value * (1 - value)
    spread = max(float(right.var()), alone / seeds)
    trials = n * alone / spread if spread > 0 else float(n)
    return Score(value, *wilson(value * trials, trials))


def compare_with(
    best: str, correct: Mapping[str, npt.NDArray[np.bool_]], seed: int = 13
) -> tuple[Comparison, ...]:
    """Test one arm against each other arm, in pairs of the same test examples.

    With one seed on both sides the test is McNemar's in its exact form (binomial on the examples
    that one arm got right and the other wrong); with more, it is the exact sign-flip test on each
    example's mean correctness over seeds, of which McNemar's is the case of one seed. The p-values
    are Holm-corrected over the comparisons made here.

    Args:
        best: The arm to compare with, a key of ``correct``.
        correct: Per arm whether it was right: ``[n]``, or ``[seeds, n]``; the number of seeds may
            differ between arms, the examples and their order may not.
        seed: Seed of the bootstrap of the difference.

    Returns:
        One comparison per other arm, in the order of ``correct``; ``a`` is ``best``.
    """
    others = [name for name in correct if name != best]
    pairs = [_differences(correct[best], correct[name]) for name in others]
    tests = [_test(differences, parts) for differences, parts in pairs]
    corrected = holm([p for p, _ in tests])
    return tuple(
        Comparison(best, name, difference_score(differences / parts, seed), p, p_holm, test)
        for name, (differences, parts), (p, test), p_holm in zip(
            others, pairs, tests, corrected, strict=True
        )
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (McNemar 1947; Fay 2010).

    Args:
        only_a: Examples that only the first arm got right.
        only_b: Examples that only the second arm got right.
    """
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def sign_flip(differences: npt.NDArray[np.int64]) -> float:
    """Return the exact two-sided p-value of the paired sign-flip test (Fisher 1935, section 21).

    If the arms were alike, each difference could as well have had the other sign. Of all ``2**n``
    ways to choose the signs, p is the share whose sum is at least as far from 0 as the one seen.

    Args:
        differences: Whole-numbered paired differences ``[n]``.
    """
    observed, sizes = abs(int(differences.sum())), np.abs(differences)
    reach = int(sizes.sum())
    if observed == 0:
        return 1.0
    # A coin-flipped +-v has the characteristic function cos(v t), independent ones multiply, and
    # the transform of the product is the sum's distribution: exact, with no draws to be made.
    angles = 2 * np.pi * np.arange(reach + 1) / (2 * reach + 1)
    product = np.ones(reach + 1)
    for size, times in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        product *= np.cos(size * angles) ** int(times)
    chance = np.fft.irfft(product, 2 * reach + 1)
    p = 2 * float(chance[observed : reach + 1].sum())
    return min(1.0, max(p, float(np.finfo(np.float64).eps)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = running
    return corrected


def difference_score(differences: Floats, seed: int = 13) -> Score:
    """Return the mean of paired differences in [-1, 1] with a paired bootstrap interval.

    One imagined win for each side is added to the pool that is drawn from (Bonett and Price 2012):
    two arms that agree on all of 20 examples have not been shown to be equal.
    """
    n = len(differences)
    # Examples with equal differences are interchangeable: draw how many of each, not which.
    pool = np.concatenate([differences, [-1.0, 1.0]])
    sizes, counts = np.unique(np.round(pool, 12), return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n, counts / (n + 2), size=RESAMPLES)
    low, high = percentiles(draws @ sizes / n)
    value = float(differences.mean())
    return Score(value, min(value, float(low)), max(value, float(high)))


def _test(differences: npt.NDArray[np.int64], parts: int) -> tuple[float, str]:
    if parts == 1:
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum())), "exact McNemar"
    return sign_flip(differences), "exact sign-flip over seeds"


def _differences(a: Bools, b: Bools) -> tuple[npt.NDArray[np.int64], int]:
    """Return how much oftener ``a`` was right per example, in whole parts, and parts per 1."""
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"arms scored on {a.shape[-1]} and {b.shape[-1]} examples are not paired")
    parts = lcm(len(a), len(b))
    right_a = a.sum(axis=0, dtype=np.int64) * (parts // len(a))
    right_b = b.sum(axis=0, dtype=np.int64) * (parts // len(b))
    return right_a - right_b, parts


def _checked_runs(
    probabilities: "Numbers", target: "Classes", labels: Sequence[str]
) -> npt.NDArray[np.floating[Any]]:
    """Return ``probabilities`` as ``[seeds, n, classes]``."""
    runs = probabilities[None] if probabilities.ndim == 2 else probabilities
    if runs.ndim != 3 or runs.shape[1:] != (len(target), len(labels)) or not runs.size:
        expected = f"([seeds,] {len(target)}, {len(labels)})"
        raise ValueError(f"probabilities have the shape {probabilities.shape}, not {expected}")
    if not np.all(np.abs(runs.sum(axis=-1, dtype=np.float64) - 1) < 0.01):
        raise ValueError("probabilities must be finite and sum to 1 in every row")
    return runs


def _features(probabilities: "Numbers", target: "Classes") -> Any:
    """Return what each example adds to the sums that the scores are made of.

    A sparse ``[3 * classes + 15 + 1, n]``: a count of its class, of its predicted class, of its
    class if hit; confidence minus correctness in its bin; and its loss.
    """
    from scipy.sparse import csr_matrix

    n, classes = probabilities.shape
    predicted = probabilities.argmax(axis=-1)
    hit = (predicted == target).astype(np.float64)
    confidence, bins = scoring.confidence_bins(probabilities)
    last = 3 * classes + scoring.BINS
    blocks = [
        (target, np.ones(n)),
        (classes + predicted, np.ones(n)),
        (2 * classes + target, hit),
        (3 * classes + bins, confidence - hit),
        (np.full(n, last), scoring.losses(probabilities, target)),
    ]
    rows = np.concatenate([row for row, _ in blocks])
    values = np.concatenate([value for _, value in blocks])
    return csr_matrix((values, (rows, np.tile(np.arange(n), len(blocks)))), shape=(last + 1, n))


def _scores(sums: Floats, classes: int) -> Floats:
    """Return the scores of `METRICS` ``[metrics, resamples]`` from ``_features`` summed up."""
    counts = scoring.Counts(*sums[: 3 * classes].reshape(3, classes, -1))
    n = counts.target.sum(axis=0)
    return np.stack(
        [
            scoring.accuracy(counts),
            scoring.macro_f1(counts),
            scoring.micro_f1(counts),
            scoring.weighted_f1(counts),
            scoring.mcc(counts),
            sums[-1] / n,
            np.abs(sums[3 * classes : -1]).sum(axis=0) / n,
        ]
    )
