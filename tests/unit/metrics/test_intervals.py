"""Intervals against scipy, against published numbers, and by their laws."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binomtest, norm, sem

from tailorbird.metrics.intervals import (
    Z,
    combine,
    design_effect,
    interval_of,
    row_influences,
    scores_of,
    standard_error,
    wilson,
)


def test_z_is_the_normal_quantile() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-15) == Z


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_equals_scipy(n: int, share: float) -> None:
    k = round(share * n)
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_published() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81 of 263, 0 of 20, 1 of 29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_covers_the_truth() -> None:
    """Exact coverage, summed over the binomial: near 95 % on average, for small n too."""
    from scipy.stats import binom

    for n in (20, 100, 1000):
        shares = np.linspace(0.05, 0.95, 91)
        bounds = [wilson(k, n) for k in range(n + 1)]
        coverage = [
            sum(binom.pmf(k, n, p) for k, (low, high) in enumerate(bounds) if low <= p <= high)
            for p in shares
        ]
        assert np.mean(coverage) == pytest.approx(0.95, abs=0.01), n
        assert min(coverage) > 0.90, n


def test_error_of_groups_is_the_cluster_robust_one() -> None:
    """By the sandwich of statsmodels' formula, written out: G / (G - 1) times the sums' squares."""
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 12, 90)
    values = rng.random(90)
    by_hand = sum((values[groups == g] - values.mean()).sum() ** 2 for g in range(12))
    error, freedom = standard_error(values, groups)
    assert (error, freedom) == (pytest.approx((12 / 11 * by_hand) ** 0.5 / 90), 11)
    assert standard_error(values)[0] == pytest.approx(sem(values))
    assert np.isnan(standard_error(np.ones(1))[0])


def test_design_effect_of_repeated_rows_is_their_number() -> None:
    rng = np.random.default_rng(2)
    values, groups = np.repeat(rng.random(400), 4), np.repeat(np.arange(400), 4)
    assert design_effect(values, groups) == pytest.approx(4, rel=0.03)
    assert design_effect(values, None) == 1
    assert design_effect(rng.random(1600), groups) == pytest.approx(1, abs=0.2)


def test_interval_keeps_to_the_scale_of_the_metric() -> None:
    rng = np.random.default_rng(3)
    for name, value in (("token_f1", 0.98), ("pearson", 0.97), ("r2", 0.99), ("rmse", 0.2)):
        score = interval_of(name, value, rng.normal(value, 0.4, 30))
        assert score.low < value < score.high, name
        assert score.high <= 1 or name == "rmse", name
        assert score.low > 0 or name in ("token_f1", "pearson", "r2"), name


@pytest.mark.parametrize("name", ["token_f1", "mcc", "r2", "rmse", "loss", "own_metric"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_no_interval_is_without_width(name: str, value: float) -> None:
    """Twenty examples that agree have not shown that all will."""
    score = interval_of(name, value, np.full(20, value))
    assert score.low < score.high


def test_fishers_scale_is_that_of_the_book() -> None:
    """Of a bivariate normal sample, arctanh(r) has the error 1 / sqrt(n - 3) (Fisher 1921)."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=2000)
    y = 0.6 * x + 0.8 * rng.normal(size=2000)

    def pearson(weights: np.ndarray) -> dict[str, np.ndarray]:
        n = weights.sum(axis=0)
        a, b = ((v[:, None] - (v @ weights) / n) for v in (x, y))
        both = (a * b * weights).sum(axis=0)
        spread = (a**2 * weights).sum(axis=0) * (b**2 * weights).sum(axis=0)
        return {"pearson": both / spread**0.5}

    score = scores_of([pearson], 2000)["pearson"]
    r = np.corrcoef(x, y)[0, 1]
    assert score.value == pytest.approx(r)
    half = 1.96 / 1997**0.5
    assert (score.low, score.high) == pytest.approx(
        (np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)), abs=0.004
    )


def test_combined_intervals_of_independent_means_are_that_of_their_mean() -> None:
    parts, half = np.array([0.2, 0.5, 0.8]), np.array([0.03, 0.06, 0.02])
    low, high = combine(parts, parts - half, parts + half, np.eye(3))
    assert (low, high) == pytest.approx((0.5 - 0.07 / 3, 0.5 + 0.07 / 3))
    low, _ = combine(parts, parts - half, parts + half, np.ones((3, 3)))
    assert low == pytest.approx(0.5 - 0.11 / 3)  # all move together


def test_influences_of_a_mean_are_the_values() -> None:
    values = np.random.default_rng(5).random((40, 1))
    sums = np.concatenate([values, np.ones((40, 1))], axis=1)
    ours = row_influences(sums, lambda s: s[0] / s[1])
    assert ours == pytest.approx(values[:, 0])
