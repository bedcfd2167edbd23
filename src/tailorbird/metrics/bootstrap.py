"""Scores of resamples, and paired tests of scores that are no mean over examples."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tailorbird.metrics.intervals import Floats, percentiles, resamples
from tailorbird.metrics.names import is_at_most_one
from tailorbird.metrics.stats import holm
from tailorbird.records import Comparison, Score

Weighted = Callable[[Floats], Mapping[str, Floats]]
"""From weights ``[n, draws]`` of the examples to each score ``[draws]``."""
Sums = Callable[[Floats], Floats]
"""From sums over examples ``[columns, draws]`` to one score ``[draws]``."""

SWAPS = 10_000
# A score may be left out (NaN) of most resamples where it is costly, not of nearly all.
_FEWEST = 50


def scores_of(
    runs: Sequence[Weighted], examples: int, columns: int, seed: int = 13, *, moved: bool = True
) -> dict[str, Score]:
    """Return scores with 95 % bootstrap intervals: percentiles.

    Args:
        runs: How to score each seed of an arm; a value is the mean over them, and a resample takes
            the same examples of each.
        examples: How many examples there are.
        columns: How many numbers the scoring makes of each example; bounds the memory.
        seed: Seed of the bootstrap.
        moved: Move the percentiles so that the resamples' mean is the value: labels drop out of
            resamples, which makes F1 lower there. Of scores with a long tail (R²) that would
            move them far beyond it.
    """

    def mean(weights: Floats) -> dict[str, Floats]:
        each = [run(weights) for run in runs]
        return {name: np.mean([found[name] for found in each], axis=0) for name in each[0]}

    values = {name: float(found[0]) for name, found in mean(np.ones((examples, 1))).items()}
    draws = [mean(weights) for weights in resamples(examples, columns, seed)]
    return {
        name: _interval(name, value, np.concatenate([draw[name] for draw in draws]), moved)
        for name, value in values.items()
    }


def _interval(name: str, value: float, draws: Floats, is_moved: bool) -> Score:
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(known) < _FEWEST:
        return Score(value, value, value)
    low, high = (float(bound) for bound in percentiles(known))
    moved = value - float(known.mean()) if is_moved else 0.0
    ceiling = 1.0 if is_at_most_one(name) else np.inf
    return Score(value, min(value, low + moved), max(value, min(ceiling, high + moved)))


def compare_sums(
    best: str, features: Mapping[str, Floats], score: Sums, seed: int = 13
) -> tuple[Comparison, ...]:
    """Test one arm against each other arm by a score that is a function of sums, such as an F1.

    The test is approximate randomisation (Noreen 1989; Yeh 2000, arXiv cs/0008005): if two arms
    were alike, each example's outcome could as well have been the other's. Two-sided, 10,000
    seeded draws, Holm-corrected; the difference has a paired bootstrap interval.

    Args:
        best: The arm to compare with, a key of `features`.
        features: Per arm what each example adds to the sums, ``[n, columns]``; of several seeds
            the mean.
        score: The score of sums.
        seed: Seed of the draws.
    """
    others = [name for name in features if name != best]
    each = [_against(features[best], features[name], score, seed) for name in others]
    corrected = holm([p for _, p in each])
    test = f"approximate randomisation, {SWAPS:,} draws"
    return tuple(
        Comparison(best, name, difference, p, p_holm, test)
        for name, (difference, p), p_holm in zip(others, each, corrected, strict=True)
    )


def _against(a: Floats, b: Floats, score: Sums, seed: int) -> tuple[Score, float]:
    if a.shape != b.shape:
        raise ValueError(f"arms scored on {len(a)} and {len(b)} examples are not paired")
    together = (a + b).sum(axis=0)[:, None]
    value = float(score(a.sum(axis=0)[:, None])[0] - score(b.sum(axis=0)[:, None])[0])
    differ = np.flatnonzero((a != b).any(axis=1))
    apart = (a - b)[differ]
    start = b.sum(axis=0)[:, None]
    rng = np.random.default_rng(seed)
    beyond = 0
    for draws in np.array_split(np.arange(SWAPS), max(1, SWAPS * len(differ) // 4_000_000)):
        swapped = rng.integers(0, 2, size=(len(differ), len(draws))).astype(np.float64)
        first = start + apart.T @ swapped
        gaps = score(first) - score(together - first)
        beyond += int((np.abs(gaps) >= abs(value) - 1e-12).sum())
    both = [
        score(a.T @ weights) - score(b.T @ weights)
        for weights in resamples(len(a), a.shape[1], seed)
    ]
    low, high = (float(bound) for bound in percentiles(np.concatenate(both)))
    return Score(value, min(value, low), max(value, high)), (1 + beyond) / (1 + SWAPS)
