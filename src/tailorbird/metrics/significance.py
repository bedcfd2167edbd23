"""Paired tests between arms whose examples have scores that are not just right or wrong."""

from collections.abc import Mapping

import numpy as np

from tailorbird.metrics.intervals import Floats, percentiles, resamples
from tailorbird.metrics.stats import compare_with, difference_score, holm
from tailorbird.records import Comparison, Score

DRAWS = 100_000
# Differences up to whose number all signs are tried: 65,536 ways.
EXACT = 16


def compare_values(
    best: str, values: Mapping[str, Floats], seed: int = 13
) -> tuple[Comparison, ...]:
    """Test one arm against each other arm by their scores of the same examples.

    The test is the paired sign-flip permutation test of the mean difference (Fisher 1935, section
    21): exact for few differences, by 100,000 seeded draws of signs otherwise. Scores that are
    only 0 or 1 get the exact tests of `stats.compare_with`, which are its closed form. Two-sided,
    and Holm-corrected over the comparisons made here.

    Args:
        best: The arm to compare with, a key of `values`.
        values: Per arm its scores, ``[n]`` or ``[seeds, n]``; the number of seeds may differ
            between arms, the examples and their order may not.
        seed: Seed of the bootstrap and of the draws.

    Returns:
        One comparison per other arm, in the order of `values`; ``a`` is `best`, and the difference
        is its mean minus the other's, whichever of higher and lower is better.
    """
    others = [name for name in values if name != best]
    each = [_compare(best, name, values[best], values[name], seed) for name in others]
    corrected = holm([comparison.p for comparison in each])
    return tuple(
        Comparison(c.a, c.b, c.difference, c.p, p_holm, c.test)
        for c, p_holm in zip(each, corrected, strict=True)
    )


def sign_flip_values(differences: Floats, seed: int = 13) -> tuple[float, str]:
    """Return the two-sided p-value of the sign-flip test of any differences, and the test's name.

    By draws it is ``(1 + as far from 0 as seen) / (1 + draws)``, which is never 0 and never too
    small (Phipson and Smyth 2010).
    """
    sizes = np.abs(differences[differences != 0])
    observed = abs(float(differences.sum()))
    # Sums of the same numbers in another order may differ in their last bits.
    reached = observed - 1e-9 * float(sizes.sum())
    if len(sizes) <= EXACT:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= reached).mean()), "exact sign-flip"
    beyond = int((np.abs(_drawn_sums(sizes, seed)) >= reached).sum())
    return (1 + beyond) / (1 + DRAWS), f"sign-flip, {DRAWS:,} draws"


def _drawn_sums(sizes: Floats, seed: int) -> Floats:
    """Return the sums ``[DRAWS]`` of `sizes`, each with a sign drawn by a coin.

    Eight coins are one random byte, and what eight sizes add up to is looked up for each byte.
    """
    rng = np.random.default_rng(seed)
    eights = np.zeros(-(-len(sizes) // 8) * 8)
    eights[: len(sizes)] = sizes
    coins = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0
    sums = np.zeros(DRAWS)
    for eight in eights.reshape(-1, 8):
        sums += (coins @ eight)[np.frombuffer(rng.bytes(DRAWS), dtype=np.uint8)]
    return sums


def _compare(a: str, b: str, values_a: Floats, values_b: Floats, seed: int) -> Comparison:
    runs_a, runs_b = np.atleast_2d(values_a), np.atleast_2d(values_b)
    if runs_a.shape[-1] != runs_b.shape[-1]:
        raise ValueError(
            f"arms scored on {runs_a.shape[-1]} and {runs_b.shape[-1]} examples are not paired"
        )
    if all(np.isin(runs, (0.0, 1.0)).all() for runs in (runs_a, runs_b)):
        return compare_with(a, {a: runs_a > 0.5, b: runs_b > 0.5}, seed)[0]
    differences = runs_a.mean(axis=0) - runs_b.mean(axis=0)
    # The last bits of means over seeds are no difference.
    scale = max(float(np.abs(runs_a).max()), float(np.abs(runs_b).max()))
    differences[np.abs(differences) <= 1e-12 * scale] = 0.0
    p, test = sign_flip_values(differences, seed)
    return Comparison(a, b, _difference(differences, seed), p, p, test)


def _difference(differences: Floats, seed: int) -> Score:
    """Return the mean of the differences ``[n]`` with its paired bootstrap interval.

    The imagined wins of `stats.difference_score` belong to right and wrong: beside differences of
    a few hundredths, a whole point for each side would be most of what is drawn. Only differences
    that are all the same, of which every resample is the same too, get one of their size (and of
    1 where there is none: arms that agree on 20 examples have not been shown to be equal).
    """
    size = float(np.abs(differences).max())
    if np.ptp(differences) == 0:
        reach = size or 1.0
        score = difference_score(differences / reach, seed)
        return Score(score.value * reach, score.low * reach, score.high * reach)
    n = len(differences)
    means = np.concatenate([differences @ drawn / n for drawn in resamples(n, 1, seed)])
    low, high = percentiles(means)
    value = float(differences.mean())
    return Score(value, min(value, float(low)), max(value, float(high)))
