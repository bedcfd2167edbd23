"""Intervals of uncertainty: what every score is reported with.

A score is near a mean over examples: by how much it would move without an example is that
example's *influence*. The influences give the standard error, of rows as of groups of rows
(`standard_error`); the scale of the metric decides how an interval is made of it (`interval_of`).
Throughout, ``groups`` are whole numbers ``[n]``, equal where rows belong together; None: each row
stands for itself. `benchmarks/verdict.py` measures how often the intervals hold.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tailorbird.metrics.metric_facts import CORRELATIONS, LOWER_IS_BETTER, is_at_most_one
from tailorbird.records import Score

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
Weighted = Callable[[Floats], Mapping[str, Floats]]
"""From weights ``[n, draws]`` of the examples to each score ``[draws]``."""

Z = 1.959963984540054  # the normal's 97.5 % point: two-sided 95 %
# A costly score is taken again without each of so many parts of the rows, not without each row.
MOST_BLOCKS = 400
_LARGEST_EXPONENT = 50.0


def wilson(successes: float, trials: float, z: float = Z) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927).

    It keeps its coverage for small samples and for proportions of 0 and 1 (Brown, Cai and
    DasGupta 2001, section 4), where a bootstrap would claim certainty: 20 of 20 right is
    0.84 to 1, not 1 to 1.

    Args:
        successes: How many succeeded; need not be whole.
        trials: How many were tried, at least ``successes``; need not be whole.
        z: The quantile; larger than the normal's where the trials are an estimate.
    """
    if trials <= 0:
        return 0.0, 1.0
    share = successes / trials
    shrink = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrink
    half = z / shrink * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= trials else min(1.0, centre + half)
    return low, high


def t_quantile(freedom: float) -> float:
    """Return Student's 97.5 % point; the normal's where the freedom is not finite."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom)) if np.isfinite(freedom) else Z


def group_sums(values: Floats, groups: Groups | None) -> Floats:
    """Return the sums of values ``[..., n]`` by group ``[..., groups]``."""
    if groups is None:
        return values
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))


def standard_error(influences: Floats, groups: Groups | None = None) -> tuple[float, int]:
    """Return the standard error of a mean and its degrees of freedom.

    Of groups it is the cluster-robust one (Liang and Zeger 1986; Cameron and Miller 2015, eq. 6):
    the rows of a group count as one observation, however alike they are.

    Args:
        influences: What the mean is of ``[n]``.

    Returns:
        The error (NaN of fewer than two groups), and the number of groups less one.
    """
    sums = group_sums(influences - influences.mean(), groups)
    units = len(sums)
    if units < 2:
        return float("nan"), 0
    return float(np.sqrt(units / (units - 1) * (sums @ sums))) / len(influences), units - 1


def design_effect(influences: Floats, groups: Groups | None) -> float:
    """Return by what groups multiply the variance, at least 1 (Kish 1965, section 5.4).

    ``n / design_effect`` is how many independent rows would say as much.
    """
    if groups is None:
        return 1.0
    alone, (together, freedom) = standard_error(influences)[0], standard_error(influences, groups)
    if not alone > 0 or not freedom:
        # Where all agree, a group is known to be no more than one observation.
        return len(influences) / (freedom + 1)
    # Few groups: their variance is itself uncertain (Korn and Graubard 1998).
    return max(1.0, (together / alone * t_quantile(freedom) / Z) ** 2)


def interval_of(
    name: str, value: float, influences: Floats, groups: Groups | None = None, *,
    units: int | None = None, scale: float = 1.0,
) -> Score:  # fmt: skip
    """Return a score with its 95 % interval over the choice of examples.

    - From 0 to 1: Wilson's, with the effective number of trials (Korn and Graubard 1998), so that
      it keeps inside the scale and is never without width.
    - Correlations: Student's t on Fisher's scale; R²: on the logarithm of what is not explained;
      losses and distances: on their logarithm. There the error hardly depends on the value.
    - Anything else: Student's t.

    Args:
        influences: ``[n]``, see the module; their mean does not matter.
        units: How many rows or groups there are, where the influences are of blocks of them.
        scale: What an error counts for where none was seen and the metric is not a share.
    """
    if not np.isfinite(value):
        return Score(value, value, value)
    error, freedom = standard_error(influences, groups)
    units = units or freedom + 1
    if _is_share(name):
        alone = value * (1 - value)
        is_spread = bool(freedom) and error > 0 and alone > 0
        trials = alone / error**2 if is_spread else float(units)
        low, high = wilson(value * trials, trials, t_quantile(freedom) if is_spread else Z)
        return Score(value, min(value, low), max(value, high))
    if not freedom:
        return Score(value, value, value)
    # Few examples seldom show how far the tail goes: one more as far out as the farthest.
    farthest = float(np.abs(group_sums(influences - influences.mean(), groups)).max())
    error = float(np.hypot(error, farthest / len(influences)))
    error = error if error > 0 else (abs(value) or scale) / units
    low, high = _on_its_scale(name, value, t_quantile(freedom) * error)
    return Score(value, min(value, low), max(value, high))


def _is_share(name: str) -> bool:
    return is_at_most_one(name) and name not in CORRELATIONS and name != "r2"


def _on_its_scale(name: str, value: float, half: float) -> tuple[float, float]:
    if name in CORRELATIONS:
        inside = float(np.clip(value, -1 + 1e-6, 1 - 1e-6))
        middle, reach = np.arctanh(inside), half / (1 - inside**2)
        return float(np.tanh(middle - reach)), float(np.tanh(middle + reach))
    if name == "r2":
        rest = max(1 - value, 1e-12)
        factor = float(np.exp(min(half / rest, _LARGEST_EXPONENT)))
        return 1 - rest * factor, 1 - rest / factor
    if name in LOWER_IS_BETTER and value > 0:
        factor = float(np.exp(min(half / value, _LARGEST_EXPONENT)))
        return value / factor, value * factor
    return value - half, value + half


def combine(
    parts: Floats, lows: Floats, highs: Floats, correlations: Floats
) -> tuple[float, float]:
    """Return an interval of a mean from those of its parts ``[k]``.

    The method of variance estimates recovery (Zou and Donner 2008; with correlations Zou 2009):
    distances to the bounds stand for standard errors, so that bounds of one side may be farther.

    Args:
        correlations: Between the parts ``[k, k]``.
    """
    centre = float(parts.mean())
    below, above = (
        float(max(0.0, float(apart @ correlations @ apart)) ** 0.5) / len(parts)
        for apart in (parts - lows, highs - parts)
    )
    return centre - below, centre + above


def scores_of(
    runs: list[Weighted], examples: int, groups: Groups | None = None, scale: float = 1.0
) -> dict[str, Score]:
    """Return scores of any shape with their intervals, by the delete-a-group jackknife.

    Each score is taken again without each row, or group of rows; of more than 400 of them without
    each of 400 parts (Kott 2001), which is dearer by nothing and rougher by 4 % at most.

    Args:
        runs: How to score each training of an arm; a value is the mean over them.
    """
    blocks = _blocks(examples, groups)
    count = int(blocks.max()) + 1
    weights = np.ones((examples, count + 1))
    weights[np.arange(examples), blocks] = 0.0
    each = [run(weights) for run in runs]
    scores = {}
    units = examples if groups is None else int(groups.max()) + 1
    for name in each[0]:
        values = np.mean([scored[name] for scored in each], axis=0)
        # A score that is not a number without a block is left out there.
        without = values[:count][np.isfinite(values[:count])]
        influences = (len(without) - 1) * (without.mean() - without) if len(without) else without
        scores[name] = interval_of(
            name, float(values[-1]), np.asarray(influences), None, units=units, scale=scale
        )
    return scores


def _blocks(examples: int, groups: Groups | None) -> Groups:
    units = np.arange(examples) if groups is None else np.asarray(groups)
    count = int(units.max()) + 1
    if count <= MOST_BLOCKS:
        return units
    dealt = np.random.default_rng(13).permutation(count) % MOST_BLOCKS
    return np.asarray(dealt[units])


def row_influences(sums_of: Floats, score: Callable[[Floats], Floats]) -> Floats:
    """Return values ``[n]`` whose mean is a score of sums, one for each example.

    Each is the score, plus what it owes to the example (jackknife; Efron and Tibshirani 1993,
    section 11): so arms can be paired by scores that are no mean, such as an F1.

    Args:
        sums_of: What each example adds to the sums ``[n, columns]``.
        score: The score of sums ``[columns, draws]``.
    """
    total = sums_of.sum(axis=0)[:, None]
    without = score(total - sums_of.T)
    value = float(score(total)[0])
    if len(sums_of) < 2:
        return np.full(len(sums_of), value)
    return np.asarray(value + (len(sums_of) - 1) * (without.mean() - without))
