"""Confidence intervals, reported with every score.

A score is close to a mean over examples; an example's *influence* is how much the score would
change without it. The influences give the standard error, for rows and for groups of rows
(`standard_error`); the metric's scale decides how the interval is derived (`interval_of`).
Throughout, ``groups`` are integers ``[n]``, equal for related rows; None: rows are independent.
`benchmarks/verdict.py` measures how often the intervals hold.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tailorbird.metrics.metric_facts import CORRELATIONS, LOWER_IS_BETTER, is_at_most_one
from tailorbird.records import Score

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
Weighted = Callable[[Floats], Mapping[str, Floats]]
"""Maps weights ``[n, draws]`` of the examples to each score ``[draws]``."""

Z = 1.959963984540054  # the normal's 97.5 % point: two-sided 95 %
# A costly score is recomputed without each of this many blocks of rows, not without each row.
MOST_BLOCKS = 400
_LARGEST_EXPONENT = 50.0


def wilson(successes: float, trials: float, z: float = Z) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927).

    It keeps its coverage for small samples and for proportions of 0 and 1 (Brown, Cai and DasGupta
    2001, section 4), where a bootstrap would claim certainty: 20 of 20 correct is 0.84 to 1, not 1
    to 1.

    Args:
        successes: Number of successes; need not be an integer.
        trials: Number of trials, at least ``successes``; need not be an integer.
        z: The quantile; larger than the normal's if the trials are an estimate.
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
    """Return Student's 97.5 % point; the normal's if the freedom is infinite."""
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

    For groups it is the cluster-robust one (Liang and Zeger 1986; Cameron and Miller 2015, eq. 6):
    the rows of a group count as one observation, however similar they are.

    Args:
        influences: The values whose mean is taken ``[n]``.

    Returns:
        The error (NaN for fewer than two groups), and the number of groups less one.
    """
    sums = group_sums(influences - influences.mean(), groups)
    units = len(sums)
    if units < 2:
        return float("nan"), 0
    return float(np.sqrt(units / (units - 1) * (sums @ sums))) / len(influences), units - 1


def design_effect(influences: Floats, groups: Groups | None) -> float:
    """Return the factor by which groups increase the variance, at least 1 (Kish 1965, section 5.4).

    ``n / design_effect`` is the number of independent rows with the same information.
    """
    if groups is None:
        return 1.0
    alone, (together, freedom) = standard_error(influences)[0], standard_error(influences, groups)
    if not alone > 0 or not freedom:
        # If all agree, a group counts as one observation.
        return len(influences) / (freedom + 1)
    # Few groups: their variance is itself uncertain (Korn and Graubard 1998).
    return max(1.0, (together / alone * t_quantile(freedom) / Z) ** 2)


def interval_of(
    name: str, value: float, influences: Floats, groups: Groups | None = None, *,
    units: int | None = None, scale: float = 1.0,
) -> Score:  # fmt: skip
    """Return a score with its 95 % interval over the sampling of examples.

    - From 0 to 1: Wilson's, with the effective number of trials (Korn and Graubard 1998), so that
      it stays inside the scale and never has zero width.
    - Correlations: Student's t on Fisher's scale; R²: on the logarithm of what is not explained;
      losses and distances: on their logarithm. There the error hardly depends on the value.
    - Anything else: Student's t.

    Args:
        influences: ``[n]``, see the module; their mean does not matter.
        units: The number of rows or groups, if the influences are of blocks of them.
        scale: The size of an error if none was observed and the metric is not a share.
    """
    if not np.isfinite(value):
        return Score(value, value, value)
    error, freedom = standard_error(influences, groups)
    units = units or freedom + 1
    if is_at_most_one(name) and name not in CORRELATIONS and name != "r2":
        alone = value * (1 - value)
        is_spread = bool(freedom) and error > 0 and alone > 0
        trials = alone / error**2 if is_spread else float(units)
        low, high = wilson(value * trials, trials, t_quantile(freedom) if is_spread else Z)
        return Score(value, min(value, low), max(value, high))
    if not freedom:
        return Score(value, value, value)
    # Few examples seldom show the tail: one pseudo-example is added at the distance of the
    # farthest.
    farthest = float(np.abs(group_sums(influences - influences.mean(), groups)).max())
    error = float(np.hypot(error, farthest / len(influences)))
    error = error if error > 0 else (abs(value) or scale) / units
    low, high = _on_its_scale(name, value, t_quantile(freedom) * error)
    return Score(value, min(value, low), max(value, high))


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
    distances to the bounds serve as standard errors, so that intervals may be asymmetric.

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
    """Return any scores with their intervals, by the delete-a-group jackknife.

    Each score is recomputed without each row, or group of rows; of more than 400, without each of
    400 blocks (Kott 2001), which limits the cost and is less precise by 4 % at most.

    Args:
        runs: The scorer of each training of an arm; a value is the mean over them.
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
        # A score that is NaN without a block leaves that block out.
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

    Each is the score plus the example's influence (jackknife; Efron and Tibshirani 1993, section
    11), so that arms can be paired by scores that are no mean, such as an F1.

    Args:
        sums_of: Each example's contribution to the sums ``[n, columns]``.
        score: The score of sums ``[columns, draws]``.
    """
    total = sums_of.sum(axis=0)[:, None]
    without = score(total - sums_of.T)
    value = float(score(total)[0])
    if len(sums_of) < 2:
        return np.full(len(sums_of), value)
    return np.asarray(value + (len(sums_of) - 1) * (without.mean() - without))
