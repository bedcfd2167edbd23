"""Paired comparisons between arms that account for sampled test examples and chance in training.

An arm is given by *values* ``[trainings, n]``: of each training one value per test example, whose
mean is the headline score (`intervals.row_influences` computes such values for an F1). The means of
two arms deviate from the truth of their *methods* for two reasons: the sampled test examples, and
chance in the trainings. Tests on saved models ignore the second.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import inf, lcm, sqrt

import numpy as np
import numpy.typing as npt

from tailorbird.metrics.cost import UNTRAINED
from tailorbird.metrics.intervals import Floats, Groups, group_sums, t_quantile
from tailorbird.metrics.metric_facts import is_at_most_one
from tailorbird.records import Comparison, Luck, Score

DRAWS = 100_000
PRIOR = 0.02
"""Prior standard deviation over trainings, as a share of the scale."""
PRIOR_FREEDOM = 8.0
"""Degrees of freedom of `PRIOR`, by simulation: see benchmarks/verdict.py."""
# Pocock (1977), table 1: the factor below 5 % that each look needs for 5 % overall.
_LOOKS = (1.0, 0.05 / 0.0294, 0.05 / 0.0221, 0.05 / 0.0182, 0.05 / 0.0158)
# Up to this many differences all signs are tried: 65,536 ways.
_EXACT = 16
# Integer differences up to this sum have their exact distribution computed.
_LARGEST_SUM = 400_000


@dataclass(frozen=True)
class Outcomes:
    """The values whose mean is each arm's headline score.

    Attributes:
        values: ``[trainings, n]`` for each arm.
    """

    values: Mapping[str, Floats] = field(default_factory=dict)
    groups: Groups | None = None

    @property
    def trained(self) -> list[str]:
        """The arms whose trainings vary by chance."""
        return [name for name in self.values if name not in UNTRAINED]

    def luck(self, scale: float) -> Luck | None:
        """Return the variation of scores between trainings; None without trained arms."""
        if not self.trained:
            return None
        return training_luck(self.values, self.trained, self.groups, scale)


def training_luck(
    values: Mapping[str, Floats], trained: Collection[str], groups: Groups | None = None,
    scale: float = 1.0,
) -> Luck:  # fmt: skip
    """Return the variation of scores between trainings.

    The variance of an arm's means over its trainings, less what the rows alone make of it (two-way
    analysis of variance), pooled over the arms by their degrees of freedom, with `PRIOR` beside
    it; never below 0.

    Args:
        values: ``[trainings, n]`` for each arm.
        trained: The trained arms.
    """
    total, freedom = PRIOR_FREEDOM * (PRIOR * scale) ** 2, PRIOR_FREEDOM
    for name in trained:
        runs = np.atleast_2d(values[name])
        count, n = runs.shape
        if count < 2:
            continue
        apart = group_sums(runs - runs.mean(axis=0), groups)
        sizes = group_sums(np.ones(n), groups)
        apart = apart - np.outer(apart.sum(axis=1) / n, sizes)
        units = len(sizes)
        of_rows = (apart**2).sum() * units / max(1, units - 1) / n**2 / (count - 1)
        total += (count - 1) * (float(runs.mean(axis=1).var(ddof=1)) - float(of_rows))
        freedom += count - 1
    return Luck(sqrt(max(0.0, total / freedom)), freedom)


def method_score(model: Score, luck: Luck, trainings: int, name: str) -> Score:
    """Return the interval of a method's score, which covers training again.

    Args:
        model: The mean over the trainings, with its interval over the sampling of test examples.
    """
    reach = t_quantile(luck.freedom) * luck.deviation / sqrt(trainings)
    # Variances add up on either side of the value (Zou and Donner 2008).
    low = model.value - sqrt((model.value - model.low) ** 2 + reach**2)
    high = model.value + sqrt((model.high - model.value) ** 2 + reach**2)
    if is_at_most_one(name):
        return Score(model.value, low if model.low < 0 else max(0.0, low), min(1.0, high))
    return Score(model.value, max(0.0, low) if model.low >= 0 else low, high)


def compare(
    values: Mapping[str, Floats],
    *,
    trained: Collection[str] = (),
    luck: Luck | None = None,
    groups: Groups | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    looks: int = 1,
    seed: int = 13,
) -> tuple[Comparison, ...]:
    """Test arms against each other by their values on the same examples.

    The p-value is the larger of two: of the paired sign-flip test of the examples (Fisher 1935,
    section 21; with one training and values of 0 and 1 it is McNemar's exact test), which is valid
    for any number of rows; and, for trained arms, of the t-test whose variance includes the
    variation between trainings (`difference`). Two-sided, and Holm-corrected (1979) over all pairs.
    If arms were trained again because of earlier results, that is corrected too, by Pocock's
    constants (1977).

    Args:
        values: ``[n]`` or ``[trainings, n]`` for each arm.
        trained: The arms whose trainings vary by chance.
        pairs: The arms to compare; default: all pairs, in the order of `values`.
        looks: The number of interim looks at the results, including the last.

    Returns:
        One comparison per pair; the difference is the first's mean less the second's.

    Raises:
        ValueError: Two arms were scored on different numbers of examples.
    """
    every_pair = list(combinations(values, 2) if pairs is None else pairs)
    each = []
    for a, b in every_pair:
        gap = difference((a, values[a]), (b, values[b]), trained, luck, groups)
        p, test = _sign_flip_of(values[a], values[b], groups, seed)
        if _luck_of((a, values[a]), (b, values[b]), trained, luck) > 0:
            assert gap.freedom is not None
            p, test = max(p, _t_test(gap)), f"{test}, and t with training luck"
        each.append(replace(gap, p=p, p_holm=p, test=test))
    corrected = holm([comparison.p for comparison in each])
    factor = _LOOKS[min(looks, len(_LOOKS)) - 1]
    return tuple(
        replace(c, p_holm=min(1.0, p * (factor if {c.a, c.b} & set(trained) else 1.0)))
        for c, p in zip(each, corrected, strict=True)
    )


Arm = tuple[str, Floats]
"""An arm's name and its values."""


def difference(
    a: Arm, b: Arm, trained: Collection[str] = (), luck: Luck | None = None,
    groups: Groups | None = None,
) -> Comparison:  # fmt: skip
    """Return the difference of two arms with its standard error, without a test.

    Its variance is ``s^2/n + tau^2/S_a + tau^2/S_b``: of the examples' differences, means over
    S trainings, and of the trainings. Degrees of freedom: Satterthwaite (1946). One pseudo-win
    for each side, as large as the largest, is added to ``s^2`` (Bonett and Price 2012): two arms
    that agree on all of 20 examples have not been shown to be equal.
    """
    apart = _paired(a[1], b[1])
    n, value = len(apart), float(apart.mean())
    reach = float(np.abs(apart).max()) or 1.0
    sums = group_sums(apart - value, groups)
    units = len(sums)
    rows = (float(sums @ sums) * units / max(1, units - 1) + 2 * reach**2) / (n * (n + 2))
    by_luck = _luck_of(a, b, trained, luck)
    variance = rows + by_luck
    share = rows**2 / max(1, units - 1)
    if by_luck and luck is not None:
        share += by_luck**2 / luck.freedom
    freedom, error = variance**2 / share, sqrt(variance)
    half = t_quantile(freedom) * error
    gap = Score(value, value - half, value + half)
    return Comparison(a[0], b[0], gap, 1.0, 1.0, "", error, freedom)


def sign_flip(differences: Floats, parts: int = 1, seed: int = 13) -> tuple[float, str]:
    """Return the two-sided p-value of the sign-flip test of differences, and the test's name.

    If the arms were alike, each difference could equally have the other sign. Among all ``2**n``
    sign combinations, p is the share whose sum is at least as far from 0 as the observed one: exact
    for few differences and for integer ones, else by 100,000 seeded draws, as ``(1 + as far from 0
    as seen) / (1 + draws)``, which is never 0 and never too small (Phipson and Smyth 2010).

    Args:
        differences: ``[n]``, or sums over groups.
        parts: A factor that makes fractional differences integers, such as the number of trainings
            in their means.
    """
    sizes = np.abs(differences[differences != 0])
    whole = np.round(sizes * parts)
    total = abs(float(differences.sum()))
    if np.allclose(whole, sizes * parts, atol=1e-6) and whole.sum() <= _LARGEST_SUM:
        return _whole_sign_flip(whole.astype(np.int64), round(total * parts)), "exact sign-flip"
    # The order of summation changes the last bits.
    reached = total - 1e-9 * float(sizes.sum())
    if len(sizes) <= _EXACT:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= reached).mean()), "exact sign-flip"
    beyond = int((np.abs(_drawn_sums(sizes, seed)) >= reached).sum())
    return (1 + beyond) / (1 + DRAWS), f"sign-flip, {DRAWS:,} draws"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = running
    return corrected


def _luck_of(a: Arm, b: Arm, trained: Collection[str], luck: Luck | None) -> float:
    """Return the part of a difference's variance that is due to the trainings."""
    if luck is None:
        return 0.0
    parts = sum(1 / len(np.atleast_2d(values)) for name, values in (a, b) if name in trained)
    return luck.deviation**2 * parts


def _t_test(gap: Comparison) -> float:
    from scipy.stats import t

    freedom = inf if gap.freedom is None else gap.freedom
    return float(2 * t.sf(abs(gap.difference.value) / gap.error, freedom))


def _sign_flip_of(a: Floats, b: Floats, groups: Groups | None, seed: int) -> tuple[float, str]:
    parts = lcm(len(np.atleast_2d(a)), len(np.atleast_2d(b)))
    return sign_flip(group_sums(_paired(a, b), groups), parts, seed)


def _paired(a: Floats, b: Floats) -> Floats:
    """Return the differences ``[n]`` of means over trainings."""
    runs_a, runs_b = np.atleast_2d(a), np.atleast_2d(b)
    if runs_a.shape[-1] != runs_b.shape[-1]:
        raise ValueError(
            f"arms scored on {runs_a.shape[-1]} and {runs_b.shape[-1]} examples are not paired"
        )
    apart = runs_a.mean(axis=0) - runs_b.mean(axis=0)
    # Differences in the last bits of means are rounding.
    scale = max(float(np.abs(runs_a).max()), float(np.abs(runs_b).max()))
    apart[np.abs(apart) <= 1e-12 * scale] = 0.0
    return np.asarray(apart, dtype=np.float64)


def _whole_sign_flip(sizes: npt.NDArray[np.int64], observed: int) -> float:
    if observed == 0:
        return 1.0
    # A random sign of v has the characteristic function cos(v t), independent ones multiply, and
    # the transform of the product is the sum's exact distribution, without draws.
    reach = int(sizes.sum())
    angles = 2 * np.pi * np.arange(reach + 1) / (2 * reach + 1)
    product = np.ones(reach + 1)
    for size, times in zip(*np.unique(sizes, return_counts=True), strict=True):
        product *= np.cos(size * angles) ** int(times)
    chance = np.fft.irfft(product, 2 * reach + 1)
    p = 2 * float(chance[observed : reach + 1].sum())
    return min(1.0, max(p, float(np.finfo(np.float64).eps)))


def _drawn_sums(sizes: Floats, seed: int) -> Floats:
    """Return the sums ``[DRAWS]`` of `sizes` with random signs.

    Eight signs are one random byte, and the sum of eight sizes is looked up for each byte.
    """
    rng = np.random.default_rng(seed)
    eights = np.zeros(-(-len(sizes) // 8) * 8)
    eights[: len(sizes)] = sizes
    coins = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0
    sums = np.zeros(DRAWS)
    for eight in eights.reshape(-1, 8):
        sums += (coins @ eight)[np.frombuffer(rng.bytes(DRAWS), dtype=np.uint8)]
    return sums
