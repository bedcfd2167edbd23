"""The benefit of more labels: a curve through the scores of smaller training sets.

Score ``= a - b * n^-c`` (Figueroa et al. 2012, section 2.1), a line in ``n^-c`` for each exponent
``c``, and a line in ``log n`` for ``c`` = 0, which has no ceiling. No exponent is selected: each is
weighted by its marginal likelihood (Bayesian model averaging), so that uncertainty about the form
of the curve is part of the interval. The prior is that twice the data brings its usual gain,
`USUAL`; if the scores are uninformative, the forecast stays near that.
`benchmarks/learning_curve.py` measures how often the intervals hold.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from tailorbird.metrics.intervals import Floats, Groups, group_sums
from tailorbird.records.scores import CurveScore, Gain

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
USUAL = (0.02, 0.02)
"""Prior gain from twice the data, as a share of the scale: mean and standard deviation."""
LEVEL = 0.9
"""Coverage of the intervals."""
FURTHEST = 2.0
"""The largest extrapolation, as a multiple of the data."""
# Error of the curve's form that scores of four sizes cannot show, as a share of the scale.
_MISFIT = 0.004
# Trainings also differ in which test examples they predict correctly, which `of_tests` includes:
# this share of their variance is due to training alone.
_OWN = 0.3
_FEWEST_TESTED = 40


def curve_scores(
    sizes: Sequence[int], values: Sequence[Floats], groups: Groups | None = None
) -> tuple[CurveScore, ...]:
    """Return the mean score of each size with its 90 % interval over test examples and trainings.

    Args:
        sizes: Training examples, increasing.
        values: For each size ``[trainings, n]``, whose mean is the score.
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
) -> tuple[Gain, ...]:
    """Return the expected gain from training on more examples.

    Args:
        sizes: Training examples, increasing; the last is all of them.
        values: For each size ``[trainings, n]``, whose mean is the score; higher is better.
        more: Sizes to extrapolate to, at most `FURTHEST` times the last.

    Returns:
        One per size in `more`. `Gain.why_not` explains an unknown gain.

    Raises:
        ValueError: A size is too large, or there are fewer than three training sizes.
    """
    if len(sizes) < 3 or max(more, default=0) > FURTHEST * sizes[-1]:
        raise ValueError("three sizes are needed, and at most twice the last can be asked for")
    means, of_tests, of_trainings = _spread(sizes, values, groups)
    misfit = (_MISFIT * scale) ** 2
    noise = of_tests + np.diag(of_trainings + misfit)
    why_not = _why_not(means, noise, values)
    rows = np.asarray(sizes, float)
    result = []
    for size in more:
        weights, middles, errors = _continued(rows, means, noise, size, scale)
        # Trainings on all examples, both now and then, also deviate from the curve.
        luck = of_trainings[-1] * (1 + sqrt(sizes[-1] / size)) + 2 * misfit
        low, middle, high = _quantiles(weights, middles, np.sqrt(errors**2 + luck))
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

    Trainings differ by their examples, the less the more of them: the variance is pooled over the
    sizes as one that decreases with the root of their number. All examples can be drawn only once,
    so trainings on them count as one.
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
    sizes: Floats, means: Floats, noise: Floats, more: float, scale: float
) -> tuple[Floats, Floats, Floats]:
    """Return for each exponent its weight, and the gain from the last size on: mean and deviation.

    A form is ``score(n) = a + g * z(n)`` with ``z`` 0 at the last size and 1 at twice as much, any
    ``a``, and ``g`` with prior `USUAL`; with normal noise both are integrated in closed form.
    """
    usual, spread = (share * scale for share in USUAL)
    ends = np.asarray([sizes[-1], 2 * sizes[-1], more])
    rows = []
    for exponent in EXPONENTS:
        last, twice, ahead = _bend(ends, exponent)
        z = (_bend(sizes, exponent) - last) / (twice - last)
        total = noise + spread**2 * np.outer(z, z)
        inverse = np.linalg.inv(total)
        level = inverse.sum()
        left = means - usual * z
        left = left - (inverse @ left).sum() / level
        fit = -0.5 * (left @ inverse @ left + np.linalg.slogdet(total)[1] + np.log(level))
        reach = (ahead - last) / (twice - last)
        solve = spread**2 * z @ inverse
        error = spread**2 * (1 - solve @ z) + solve.sum() ** 2 / level
        rows.append((fit, reach * (usual + solve @ left), reach * sqrt(error)))
    fits, middles, errors = np.asarray(rows).T
    weights = np.exp(fits - fits.max())
    return weights / weights.sum(), middles, errors


def _quantiles(weights: Floats, middles: Floats, errors: Floats) -> list[float]:
    """Return the ends and the median of a mixture of normal distributions."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    tail = (1 - LEVEL) / 2
    far = 10 * errors.max()
    ends = middles.min() - far, middles.max() + far
    return [
        float(brentq(lambda x, q=q: weights @ ndtr((x - middles) / errors) - q, *ends))
        for q in (tail, 0.5, 1 - tail)
    ]


def _bend(sizes: Floats, exponent: float) -> Floats:
    """Return the predictor of the linear score: ``log n``, or ``-n^-c`` on the same scale."""
    return np.log(sizes) if exponent == 0 else -(sizes**-exponent) / exponent
