"""Intervals against scipy, against published numbers, and by their laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from tailorbird.metrics.intervals import RESAMPLES, Z, percentiles, resamples, wilson


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


def test_resamples_draw_n_of_n() -> None:
    weights = np.concatenate(list(resamples(50, 10, seed=1)), axis=1)
    assert weights.shape == (50, RESAMPLES)
    assert np.all(weights.sum(axis=0) == 50)
    # Each weight is Binomial(50, 1/50), with mean 1 and variance 0.98.
    assert weights.mean() == pytest.approx(1.0)
    assert weights.var() == pytest.approx(0.98, abs=0.02)


def test_resamples_are_seeded() -> None:
    one, same, other = (np.concatenate(list(resamples(9, 1, seed)), axis=1) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_chunks_do_not_change_the_draws() -> None:
    whole = list(resamples(30, 1, seed=3))
    parts = list(resamples(30, 10_000, seed=3))
    assert len(whole) == 1 < len(parts)
    assert np.array_equal(whole[0], np.concatenate(parts, axis=1))


def test_percentiles_are_of_the_last_axis() -> None:
    low, high = percentiles(np.array([np.arange(101.0), np.arange(101.0) * 2]))
    np.testing.assert_allclose(low, [2.5, 5.0])
    np.testing.assert_allclose(high, [97.5, 195.0])
