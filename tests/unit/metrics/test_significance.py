"""Paired tests of values: against scipy, against the exact tests, and by simulation."""

from time import process_time

import numpy as np
import pytest
from scipy.stats import permutation_test, sem, t

from tailorbird.metrics.significance import DRAWS, compare_values, sign_flip_values
from tailorbird.metrics.stats import compare_with, holm, mcnemar


def scipys(differences: np.ndarray, resamples: int) -> float:
    result = permutation_test(
        (differences,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=4,
    )
    return float(result.pvalue)


@pytest.mark.parametrize("n", [2, 5, 11])
def test_few_differences_are_scipys_exactly(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(5):
        differences = rng.normal(0.4, 1, n)
        p, test = sign_flip_values(differences)
        assert test == "exact sign-flip"
        assert p == pytest.approx(scipys(differences, 10_000), abs=1e-12)


def test_many_differences_are_scipys_nearly() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.2):
        differences = rng.normal(shift, 1, 120)
        p, test = sign_flip_values(differences)
        assert test == f"sign-flip, {DRAWS:,} draws"
        # Five standard errors of scipy's 20,000 draws.
        assert p == pytest.approx(scipys(differences, 20_000), abs=5 * (0.25 / 20_000) ** 0.5)


@pytest.mark.parametrize(("a", "b"), [(12, 9), (30, 12), (40, 40), (17, 1)])
def test_draws_agree_with_mcnemar(a: int, b: int) -> None:
    p, _ = sign_flip_values(np.repeat([1.0, -1.0, 0.0], [a, b, 50]))
    exact = mcnemar(a, b)
    assert p == pytest.approx(exact, abs=5 * (exact * (1 - exact) / DRAWS) ** 0.5 + 2 / DRAWS)


def test_p_is_never_nought_nor_more_than_one() -> None:
    assert sign_flip_values(np.ones(100))[0] == pytest.approx(1 / (DRAWS + 1))
    assert sign_flip_values(np.zeros(100))[0] == 1
    assert sign_flip_values(np.asarray([0.3]))[0] == 1
    assert sign_flip_values(np.tile([0.1, -0.1], 50))[0] <= 1


def test_rounding_is_no_difference() -> None:
    """Sums of the same numbers differ in their last bits, and those must not decide."""
    p, _ = sign_flip_values(np.asarray([0.1, 0.2, -0.3]))
    assert p == 1


def test_nought_and_one_get_the_exact_tests() -> None:
    rng = np.random.default_rng(1)
    right = {name: rng.random(90) < share for name, share in zip("abc", (0.8, 0.7, 0.5))}  # noqa: B905
    values = {name: each.astype(float) for name, each in right.items()}
    assert compare_values("a", values) == compare_with("a", right)
    seeds = {name: np.stack([each, rng.random(90) < 0.6]) for name, each in right.items()}
    floats = {name: each.astype(float) for name, each in seeds.items()}
    assert compare_values("a", floats) == compare_with("a", seeds)


def test_difference_is_a_minus_b_and_holm_corrects() -> None:
    rng = np.random.default_rng(2)
    low = rng.random(60) * 0.5
    values = {"b": low, "a": low + 0.3, "c": np.stack([low + 0.2, low + 0.4])}
    found = compare_values("a", values)
    assert [(c.a, c.b) for c in found] == [("a", "b"), ("a", "c")]
    assert found[0].difference.value == pytest.approx(0.3)
    assert found[1].difference.value == pytest.approx(0, abs=1e-12)
    assert found[1].p == 1
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p for c in found]))
    losses = compare_values("a", {"a": low * 9, "b": low * 9 + 4})[0].difference
    assert losses.value == pytest.approx(-4)
    assert losses.low <= -4 <= losses.high < 0


def test_equal_arms_are_not_shown_to_be_equal() -> None:
    values = np.linspace(0, 1, 20)
    difference = compare_values("a", {"a": values, "b": values})[0].difference
    assert (difference.value, difference.low < 0 < difference.high) == (0, True)


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_interval_of_fractional_scores_is_students(scale: float) -> None:
    """Near the closed form, the t interval of the mean: no imagined wins of a whole point."""
    rng = np.random.default_rng(4)
    base = rng.uniform(0.4, 0.6, 80) * scale
    differences = rng.normal(0.02, 0.1, 80) * scale
    found = compare_values("a", {"a": base + differences, "b": base})[0].difference
    low, high = t.interval(0.95, 79, differences.mean(), sem(differences))
    assert found.value == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_unpaired_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 4 examples"):
        compare_values("a", {"a": np.zeros(3), "b": np.zeros(4)})


def test_seeded() -> None:
    rng = np.random.default_rng(3)
    values = {"a": rng.random(50), "b": rng.random(50)}
    assert compare_values("a", values) == compare_values("a", values)
    assert compare_values("a", values, seed=1)[0].p == pytest.approx(
        compare_values("a", values)[0].p, abs=0.01
    )


@pytest.mark.parametrize("scale", [1.0, 0.5, 40.0])
def test_intervals_cover_and_errors_are_rare(scale: float) -> None:
    """Scores in [0, 1], and losses of any size: 95 % coverage, and 5 % false alarms at most."""
    rng = np.random.default_rng(5)
    covered, alarms, runs, n = 0, 0, 200, 60
    for seed in range(runs):
        hardness = rng.beta(1, 1, n)
        a, b = (np.clip(hardness + rng.normal(0, 0.2, n), 0, 1) * scale for _ in range(2))
        found = compare_values("a", {"a": a, "b": b}, seed=seed)[0]
        covered += found.difference.low <= 0 <= found.difference.high
        alarms += found.p < 0.05
    assert covered / runs >= 0.91
    assert alarms / runs <= 0.09


def test_eight_arms_take_seconds() -> None:
    rng = np.random.default_rng(6)
    values = {str(i): rng.random(300) for i in range(8)}
    started = process_time()
    compare_values("0", values)
    assert process_time() - started < 5
