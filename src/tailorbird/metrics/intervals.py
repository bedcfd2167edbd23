"""Intervals of uncertainty: what every score and every difference is reported with."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
Z = 1.959963984540054  # the normal's 97.5 % point: two-sided 95 %
_CHUNK_BYTES = 16 * 2**20  # of one temporary; four or five live at the same time


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927).

    It keeps its coverage for small samples and for proportions of 0 and 1 (Brown, Cai and
    DasGupta 2001, section 4), where a bootstrap would claim certainty: 20 of 20 right is
    0.84 to 1, not 1 to 1.

    Args:
        successes: How many succeeded; need not be whole.
        trials: How many were tried, at least ``successes``; need not be whole.
    """
    if trials <= 0:
        return 0.0, 1.0
    share = successes / trials
    shrink = 1 + Z**2 / trials
    centre = (share + Z**2 / (2 * trials)) / shrink
    half = Z / shrink * (share * (1 - share) / trials + Z**2 / (4 * trials**2)) ** 0.5
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= trials else min(1.0, centre + half)
    return low, high


def resamples(examples: int, columns: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap resamples as weights, some at a time (Efron 1979).

    A weight says how often an example was drawn, so that a sum over a resample is a matrix
    product and not a copy of the rows.

    Args:
        examples: How many examples there are to draw from, and how many to draw.
        columns: How many sums the caller makes of each resample; bounds the memory.
        seed: Seed of the draws; the same seed and number of examples draw the same rows.

    Yields:
        Weights ``[examples, some resamples]``; over all of them, `RESAMPLES` resamples.
    """
    rng = np.random.default_rng(seed)
    width = max(1, min(RESAMPLES, _CHUNK_BYTES // (8 * max(examples, columns))))
    for start in range(0, RESAMPLES, width):
        count = min(width, RESAMPLES - start)
        # Drawn resample by resample, so that the chunk's width does not change the draws.
        cells = rng.integers(0, examples, size=(count, examples))
        cells *= count
        cells += np.arange(count)[:, None]
        drawn = np.bincount(cells.ravel(), minlength=examples * count)
        yield drawn.reshape(examples, count).astype(np.float64)


def percentiles(draws: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % percentile interval of ``draws`` along the last axis."""
    low, high = np.percentile(draws, [2.5, 97.5], axis=-1)
    return low, high
