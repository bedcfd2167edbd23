"""Slices of the test examples, and whether an arm is significantly worse on one of them."""

from collections.abc import Mapping

import numpy as np

from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.significance import holm
from tailorbird.records import Slice

FEWEST = 10
_ALPHA = 0.05
_MOST = 30


def slices(losses: Floats, parts: Mapping[str, np.ndarray]) -> tuple[Slice, ...]:
    """Compare each slice with the rest; return the worst first, at most 30.

    Losses of 0 and 1 are compared by Fisher's exact test, others by Welch's t-test; one-sided,
    Holm-corrected over the slices.

    Args:
        losses: Each example's loss ``[n]``.
        parts: By name, the mask of a slice's examples ``[n]``; slices with fewer than 10 inside or
            outside are left out.
    """
    large = {
        name: inside
        for name, inside in parts.items()
        if FEWEST <= int(inside.sum()) <= len(losses) - FEWEST
    }
    p_values = [_p_value(losses[inside], losses[~inside]) for inside in large.values()]
    ranked = [
        Slice(
            name=name,
            count=int(inside.sum()),
            loss=float(losses[inside].mean()),
            rest=float(losses[~inside].mean()),
            p_holm=p,
            worse=p < _ALPHA,
        )
        for (name, inside), p in zip(large.items(), holm(p_values), strict=True)
    ]
    return tuple(sorted(ranked, key=lambda s: (not s.worse, s.rest - s.loss))[:_MOST])


def _p_value(inside: Floats, outside: Floats) -> float:
    from scipy.stats import fisher_exact, ttest_ind

    if np.isin(inside, (0.0, 1.0)).all() and np.isin(outside, (0.0, 1.0)).all():
        table = [[int(part.sum()), int(len(part) - part.sum())] for part in (inside, outside)]
        return float(fisher_exact(table, alternative="greater").pvalue)
    if np.ptp(inside) == 0 and np.ptp(outside) == 0:
        return 1.0
    return float(ttest_ind(inside, outside, equal_var=False, alternative="greater").pvalue)


def by_length(words: np.ndarray) -> dict[str, np.ndarray]:
    """Return the shortest and the longest quarter of texts, measured in words."""
    if not len(words):
        return {}
    low, high = np.quantile(words, [0.25, 0.75])
    return {
        f"short texts ({low:.0f} words or fewer)": words <= low,
        f"long texts ({high:.0f} words or more)": words >= high,
    }
