"""Comparisons of arms: against scipy, published numbers, all flips tried, and by simulation."""

from itertools import product
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binomtest, norm, permutation_test, sem, t

from tailorbird.metrics.significance import (
    DRAWS,
    PRIOR,
    compare,
    difference,
    holm,
    method_score,
    sign_flip,
    training_luck,
)
from tailorbird.records import Luck, Score


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
        p, test = sign_flip(differences)
        assert test == "exact sign-flip"
        assert p == pytest.approx(scipys(differences, 10_000), abs=1e-12)


def test_many_differences_are_scipys_nearly() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.2):
        differences = rng.normal(shift, 1, 120)
        p, test = sign_flip(differences)
        assert test == f"sign-flip, {DRAWS:,} draws"
        # Five standard errors of scipy's 20,000 draws.
        assert p == pytest.approx(scipys(differences, 20_000), abs=5 * (0.25 / 20_000) ** 0.5)


def mcnemar(only_a: int, only_b: int) -> float:
    return sign_flip(np.repeat([1.0, -1.0, 0.0], [only_a, only_b, 20]))[0]


@given(only_a=st.integers(0, 60), only_b=st.integers(0, 60))
def test_of_right_and_wrong_it_is_mcnemars_exact_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_published() -> None:
    # Fagerland, Lydersen and Laake (2013), BMC Med Res Methodol 13:91, table 1: airway
    # hyper-responsiveness before and after transplantation, 1 against 7 of 21: exact p = 0.070.
    assert mcnemar(1, 7) == pytest.approx(0.070, abs=5e-4)
    # By hand: 2 * (C(6,0) + C(6,1)) / 2^6.
    assert mcnemar(1, 5) == pytest.approx(14 / 64)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_whole_differences_equal_all_flips_tried(differences: list[int]) -> None:
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    expected = np.mean(np.array(sums) >= abs(sum(differences)))
    for parts in (1, 3):  # thirds are whole numbers of thirds
        p, test = sign_flip(np.array(differences) / parts, parts)
        assert (p, test) == (pytest.approx(expected), "exact sign-flip")


def test_p_is_never_nought_nor_more_than_one() -> None:
    assert sign_flip(np.full(100, 0.3))[0] == pytest.approx(1 / (DRAWS + 1))
    large = np.random.default_rng(0).integers(-6, 7, 20_000) + 1
    assert 0 < sign_flip(large.astype(float))[0] < 1e-15
    assert sign_flip(np.zeros(100))[0] == 1
    assert sign_flip(np.asarray([0.3]))[0] == 1
    assert sign_flip(np.tile([0.1, -0.1], 50))[0] <= 1


def test_rounding_is_no_difference() -> None:
    """Sums of the same numbers differ in their last bits, and those must not decide."""
    assert sign_flip(np.asarray([0.1, 0.2, -0.3]))[0] == 1


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_all_pairs_are_compared_and_corrected() -> None:
    rng = np.random.default_rng(2)
    low = rng.random(60) * 0.5
    values = {"a": low + 0.3, "b": low, "c": np.stack([low + 0.2, low + 0.4])}
    tests = compare(values)
    assert [(c.a, c.b) for c in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [c.difference.value for c in tests] == pytest.approx([0.3, 0, -0.3])
    assert [c.p_holm for c in tests] == pytest.approx(holm([c.p for c in tests]))
    (only,) = compare(values, pairs=[("b", "c")])
    assert only.p_holm == only.p == tests[2].p


@pytest.mark.parametrize("shape", [(50,), (3, 50)])
def test_equal_arms_are_not_shown_to_be_equal(shape: tuple[int, ...]) -> None:
    values = (np.random.default_rng(0).random(shape) < 0.7).astype(float)
    (same,) = compare({"a": values, "b": values.copy()})
    assert (same.difference.value, same.p) == (0, 1)
    assert same.difference.low < 0 < same.difference.high


def test_unpaired_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 4 examples"):
        compare({"a": np.zeros(3), "b": np.zeros(4)})


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_interval_of_a_difference_is_students(scale: float) -> None:
    rng = np.random.default_rng(4)
    base = rng.uniform(0.4, 0.6, 800) * scale
    apart = rng.normal(0.02, 0.1, 800) * scale
    gap = difference(("a", base + apart), ("b", base)).difference
    low, high = t.interval(0.95, 799, apart.mean(), sem(apart))
    assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_interval_of_right_and_wrong_is_bonett_and_prices() -> None:
    """Their d +- z sqrt((p12 + p21 - d^2) / (n + 2)), with one added to either side."""
    apart = np.repeat([1.0, -1.0, 0.0], [60, 30, 910])
    p12, p21 = 61 / 1002, 31 / 1002
    half = norm.ppf(0.975) * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / 1002)
    gap = difference(("a", apart), ("b", np.zeros(1000))).difference
    assert gap.value == pytest.approx(0.03)
    assert (gap.high - gap.low) / 2 == pytest.approx(half, rel=0.01)


def test_luck_is_what_rows_do_not_explain() -> None:
    """Trainings that differ row by row have no luck; those that shift as a whole have theirs."""
    rng = np.random.default_rng(5)
    only_rows = (rng.random((200, 500)) < 0.8).astype(float)
    shift = rng.normal(0, 0.03, (200, 1))
    shifted = (rng.random((200, 500)) < 0.7 + shift).astype(float)
    assert training_luck({"a": only_rows}, ["a"]).deviation == pytest.approx(0.002, abs=0.004)
    assert training_luck({"a": shifted}, ["a"]).deviation == pytest.approx(0.03, rel=0.2)


def test_luck_before_any_repetition_is_what_is_assumed() -> None:
    once = {"a": np.ones(30), "b": np.zeros((1, 30))}
    assert training_luck(once, ["a", "b"]) == Luck(PRIOR, 8)
    assert training_luck(once, ["a"], scale=20).deviation == pytest.approx(20 * PRIOR)
    twice = {"a": np.tile([[1.0], [0.9]], 30)}
    # By hand: (8 * 0.02^2 + 1 * 0.005) / 9; there is no difference between the rows.
    found = training_luck(twice, ["a"])
    assert (found.deviation, found.freedom) == (pytest.approx(np.sqrt(0.0082 / 9)), 9)


def test_variance_of_a_difference_by_hand() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.random((3, 100)), rng.random((1, 100))
    luck = Luck(0.02, 6)
    apart = a.mean(axis=0) - b[0]
    reach = np.abs(apart).max()
    rows = (apart.var(ddof=1) * 100 + 2 * reach**2) / (100 * 102)
    both = difference(("a", a), ("b", b), ["a", "b"], luck)
    assert both.error**2 == pytest.approx(rows + 0.02**2 * (1 / 3 + 1), rel=0.002)
    one = difference(("a", a), ("b", b), ["a"], luck)
    assert one.error**2 == pytest.approx(rows + 0.02**2 / 3, rel=0.002)
    # Satterthwaite: (v1 + v2)^2 / (v1^2 / 99 + v2^2 / 6).
    lucky = 0.02**2 * 4 / 3
    assert both.freedom == pytest.approx((rows + lucky) ** 2 / (rows**2 / 99 + lucky**2 / 6), 0.01)


def test_a_method_is_less_certain_than_its_model() -> None:
    model = Score(0.9, 0.86, 0.93)
    once, thrice = (method_score(model, Luck(0.015, 4), n, "accuracy") for n in (1, 3))
    reach = t.ppf(0.975, 4) * 0.015
    assert once.low == pytest.approx(0.9 - np.hypot(0.04, reach))
    assert once.high == pytest.approx(0.9 + np.hypot(0.03, reach))
    assert model.low > thrice.low > once.low
    assert method_score(Score(0.99, 0.97, 1.0), Luck(0.05, 4), 1, "accuracy").high == 1.0


def arms_alike(
    rng: np.random.Generator, n: int, luck: float, trainings: int, size: int
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return three arms of equal truth, whose trainings differ, on rows in groups of a size."""
    hard = np.repeat(rng.normal(0, 0.7, n // size), size) + rng.normal(0, 0.7, n)
    values = {}
    for name in "abc":
        # On the probit scale 0.28 is the density's height at 80 %.
        level = 0.84 * 1.4 + rng.normal(0, luck / 0.28, (trainings, 1)) * 1.4
        own = np.repeat(rng.normal(0, 0.5, (1, n // size)), size, axis=1)
        noise = rng.normal(0, 0.5, (trainings, n))
        values[name] = (level + hard + own + noise > 0).astype(float)
    return values, np.repeat(np.arange(n // size), size) if size > 1 else None


@pytest.mark.parametrize("trainings", [1, 3])
@pytest.mark.parametrize(("luck", "size"), [(0.0, 1), (0.02, 1), (0.02, 5)])
def test_false_claims_are_rare(luck: float, size: int, trainings: int) -> None:
    """With arms alike, any claim in at most 5 % of comparisons; three errors of 120 are 6 points.

    `benchmarks/verdict.py` runs thousands.
    """
    rng = np.random.default_rng(9)
    claims = 0
    for _ in range(120):
        values, groups = arms_alike(rng, 200, luck, trainings, size)
        found = training_luck(values, "abc", groups)
        tests = compare(values, trained="abc", luck=found, groups=groups)
        claims += any(test.p_holm < 0.05 for test in tests)
    assert claims / 120 <= 0.11


def test_trainings_taken_as_fixed_would_claim_too_much() -> None:
    """The same arms without the luck in the variance: the audit's finding, so that it is kept."""
    rng = np.random.default_rng(10)
    claims = 0
    for _ in range(60):
        values, _ = arms_alike(rng, 1000, 0.02, 3, 1)
        claims += any(test.p_holm < 0.05 for test in compare(values))
    assert claims / 60 > 0.2


def test_groups_change_sign_together() -> None:
    """Ten groups of five alike are ten differences, not fifty."""
    apart = np.repeat([1.0] * 8 + [-1.0] * 2, 5)
    groups = np.repeat(np.arange(10), 5)
    (together,) = compare({"a": apart, "b": np.zeros(50)}, groups=groups)
    assert together.p == pytest.approx(binomtest(2, 10).pvalue)
    (alone,) = compare({"a": apart, "b": np.zeros(50)})
    assert alone.p < 0.001 < together.p
    assert together.error > 1.9 * alone.error


def test_eight_arms_take_seconds() -> None:
    rng = np.random.default_rng(6)
    values = {str(i): rng.random(300) for i in range(8)}
    started = process_time()
    compare(values)
    assert process_time() - started < 8


def test_looking_again_makes_a_claim_dearer() -> None:
    """Pocock's constant of five looks: each is tested at 1.58 %."""
    rng = np.random.default_rng(3)
    values = {
        "a": rng.random((5, 300)) + 0.05,
        "b": rng.random((5, 300)),
        "c": rng.random((1, 300)),
    }
    how: Any = {"trained": ["a"], "luck": Luck(0.01, 20)}
    once, often = (compare(values, looks=looks, **how) for looks in (1, 5))
    for one, other in zip(once, often, strict=True):
        factor = 0.05 / 0.0158 if "a" in (one.a, one.b) else 1.0
        assert other.p_holm == pytest.approx(min(1.0, factor * one.p_holm))
        assert other.p == one.p
