"""What more labels would buy: a curve through the scores of smaller training sets.

Score ``= a - b * n^-c`` (Figueroa et al. 2012, section 2.1), a line in ``n^-c`` for each exponent
``c``, and a line in ``log n`` for ``c`` = 0, which has no ceiling. None is chosen: each counts by
how well it explains the scores (Bayesian model averaging), so that doubt about the form of the
curve is part of the interval. `benchmarks/learning_curve.py` measures how often that holds.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from tailorbird.metrics.intervals import Floats, Groups, group_sums
from tailorbird.records.planning import CurveScore, Gain

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
DRAWS = 4000
LEVEL = 0.9
"""How much of the draws an interval holds."""
FURTHEST = 2.0
"""A curve is continued to so many times its data at most."""
# Errors of a curve's form that scores of four sizes cannot show, as a share of the scale.
_MISFIT = 0.003
# Draws differ in which test examples they happen to get right as well, which `of_tests` has: so
# much of their variance is the trainings' own.
_OWN = 0.3
_FEWEST_TESTED = 40


def curve_scores(
    sizes: Sequence[int], values: Sequence[Floats], groups: Groups | None = None
) -> tuple[CurveScore, ...]:
    """Return the mean score of each size with its 90 % interval: test examples and trainings.

    Args:
        sizes: Training examples, rising.
        values: Of each size ``[trainings, n]``, whose mean is the score.
        groups: Which test examples belong together ``[n]``.
    """
    means, of_tests, of_trainings = _spread(sizes, values, groups)
    error = 1.645 * np.sqrt(np.diag(of_tests) + of_trainings)
    return tuple(
        CurveScore(size, float(mean), float(mean - e), float(mean + e), tuple(map(float, runs)))
        for size, mean, e, runs in zip(
            sizes, means, error, (v.mean(axis=1) for v in values), strict=True
        )
    )


def gains(
    sizes: Sequence[int],
    values: Sequence[Floats],
    more: Sequence[int],
    groups: Groups | None = None,
    *,
    scale: float = 1.0,
    seed: int = 13,
) -> tuple[Gain, ...]:
    """Return what training on more examples is expected to add to the score of all.

    Args:
        sizes: Training examples, rising; the last are all there are.
        values: Of each size ``[trainings, n]``, whose mean is the score; higher is better.
        more: Sizes to continue to, at most `FURTHEST` times the last.
        groups: Which test examples belong together ``[n]``.
        scale: What 1 is on the scale of the score, see `metric_facts.unit`.
        seed: Seed of the draws.

    Returns:
        One for each size asked for. `Gain.why_not` says where nothing can be told.

    Raises:
        ValueError: A size asked for is too far, or fewer than three sizes were trained on.
    """
    if len(sizes) < 3 or max(more, default=0) > FURTHEST * sizes[-1]:
        raise ValueError("three sizes are needed, and at most twice the last can be asked for")
    means, of_tests, of_trainings = _spread(sizes, values, groups)
    random = np.random.default_rng(seed)
    misfit = (_MISFIT * scale) ** 2
    noise = of_tests + np.diag(of_trainings + misfit)
    draws = random.multivariate_normal(means, noise, DRAWS, method="cholesky")
    ahead = np.asarray([sizes[-1], *more], float)
    lines = _continued(np.asarray(sizes, float), draws, noise, ahead, random)
    # Trainings on all examples, now and then, turn out better or worse than the curve, too.
    luck = of_trainings[-1] * np.sqrt(sizes[-1] / ahead)
    lines += random.normal(size=lines.shape) * np.sqrt(luck + misfit)
    tail = (1 - LEVEL) / 2
    why_not = _why_not(means, noise, values)
    result = []
    for size, line in zip(more, lines[:, 1:].T, strict=True):
        gain = line - lines[:, 0]
        low, middle, high = map(float, np.quantile(gain, [tail, 0.5, 1 - tail]))
        doubt = why_not or (_NOTHING if low <= 0 <= high else "")
        result.append(Gain(size, size - sizes[-1], middle, low, high, doubt))
    return tuple(result)


_NOTHING = "the interval holds zero"


def _why_not(means: Floats, noise: Floats, values: Sequence[Floats]) -> str:
    if values[0].shape[-1] < _FEWEST_TESTED:
        return f"fewer than {_FEWEST_TESTED} test examples"
    falls = means[:-1] - means[-1]
    spread = np.sqrt(np.diag(noise)[:-1] + noise[-1, -1] - 2 * noise[:-1, -1])
    if (falls > 2 * spread).any():
        return "fewer examples scored better than all of them"
    return ""


def _spread(
    sizes: Sequence[int], values: Sequence[Floats], groups: Groups | None
) -> tuple[Floats, Floats, Floats]:
    """Return the means ``[k]``, their covariance over test examples, and variance over trainings.

    Trainings differ by which examples they had, the less the more these are: the variance is pooled
    over the sizes as one that falls with the root of their number. All examples can be drawn only
    once, so trainings on them count as one.
    """
    runs = [np.atleast_2d(v) for v in values]
    means = np.asarray([r.mean() for r in runs])
    centred = np.stack([r.mean(axis=0) - m for r, m in zip(runs, means, strict=True)])
    sums = group_sums(centred, groups)
    units = sums.shape[1]
    of_tests = sums @ sums.T * units / max(1, units - 1) / centred.shape[1] ** 2
    repeated = [
        (len(r) - 1, sqrt(size) * float(r.mean(axis=1).var(ddof=1)))
        for size, r in zip(sizes[:-1], runs[:-1], strict=True)
        if len(r) > 1
    ]
    freedom = sum(f for f, _ in repeated)
    each = sum(f * v for f, v in repeated) / freedom if freedom else 0.0
    counts = [*(len(r) for r in runs[:-1]), 1]
    of_trainings = np.asarray(
        [_OWN * each / sqrt(s) / c for s, c in zip(sizes, counts, strict=True)]
    )
    return means, of_tests, of_trainings


def _continued(
    sizes: Floats, draws: Floats, noise: Floats, more: Floats, random: np.random.Generator
) -> Floats:
    """Return each draw's curve at sizes beyond ``[draws, more]``, its form drawn by weight."""
    inverse = np.linalg.inv(noise)
    fits, lines = [], []
    for exponent in EXPONENTS:
        x = np.stack([np.ones_like(sizes), _bend(sizes, exponent)], axis=1)
        solve = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
        line = draws @ solve.T
        left = draws - line @ x.T
        fits.append(-0.5 * np.einsum("dk,kl,dl->d", left, inverse, left))
        ahead = np.stack([np.ones_like(more), _bend(more, exponent)], axis=1)
        lines.append(line @ ahead.T)
    weights = np.exp(np.stack(fits) - np.max(fits, axis=0))
    bounds = np.cumsum(weights / weights.sum(axis=0), axis=0)
    choice = (random.random(len(draws)) > bounds).sum(axis=0).clip(max=len(EXPONENTS) - 1)
    result: Floats = np.stack(lines)[choice, np.arange(len(draws))]
    return result


def _bend(sizes: Floats, exponent: float) -> Floats:
    """Return what the score is a line in: ``log n``, or ``-n^-c`` scaled alike."""
    return np.log(sizes) if exponent == 0 else -(sizes**-exponent) / exponent
