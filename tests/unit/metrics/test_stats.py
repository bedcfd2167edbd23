"""Scores with intervals and paired tests: against scipy, by brute force, and by simulation."""

import tracemalloc
from collections.abc import Callable
from itertools import product
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tailorbird.metrics import labels as L
from tailorbird.metrics.stats import (
    METRICS,
    accuracy_score,
    compare_with,
    difference_score,
    holm,
    mcnemar,
    score_all,
    sign_flip,
)

Sample = Callable[..., tuple[L.Numbers, L.Classes]]


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"label {i}" for i in range(classes))


def by_definition(probabilities: L.Numbers, target: L.Classes) -> dict[str, float]:
    """Score without resampling, through the functions that scikit-learn was held against."""
    counts = L.count(probabilities.argmax(axis=-1), target, probabilities.shape[-1])
    return {
        "accuracy": float(L.accuracy(counts)),
        "macro_f1": float(L.macro_f1(counts)),
        "micro_f1": float(L.micro_f1(counts)),
        "weighted_f1": float(L.weighted_f1(counts)),
        "mcc": float(L.mcc(counts)),
        "log_loss": L.log_loss(probabilities, target),
        "ece": L.expected_calibration_error(probabilities, target),
    }


def test_values_are_those_of_the_labels_room(sample: Sample) -> None:
    probabilities, target = sample(300, 7, skew=1)
    scores = score_all(probabilities, target, names(7))
    assert tuple(scores) == METRICS
    expected = by_definition(probabilities, target)
    assert {k: s.value for k, s in scores.items()} == pytest.approx(expected)


def test_values_of_seeds_are_means(sample: Sample) -> None:
    target = sample(200, 3)[1]
    runs = np.stack([sample(200, 3, seed=seed)[0] for seed in (0, 5, 6)])
    scores = score_all(runs, target, names(3))
    each = [by_definition(run, target) for run in runs]
    expected = {name: np.mean([one[name] for one in each]) for name in METRICS}
    assert {k: s.value for k, s in scores.items()} == pytest.approx(expected)


def test_equal_seeds_are_no_more_evidence_than_one(sample: Sample) -> None:
    probabilities, target = sample(200, 3)
    once = score_all(probabilities, target, names(3))
    thrice = score_all(np.stack([probabilities] * 3), target, names(3))
    for name in METRICS:
        assert thrice[name].low == pytest.approx(once[name].low), name
        assert thrice[name].high == pytest.approx(once[name].high), name


def test_bootstrap_equals_one_by_hand(sample: Sample) -> None:
    """Rows really drawn and scored again give the same interval as the weights do."""
    probabilities, target = sample(120, 4)
    ours = score_all(probabilities, target, names(4))
    rng = np.random.default_rng(99)
    rows = [rng.integers(0, 120, 120) for _ in range(2000)]
    draws = [by_definition(probabilities[r], target[r]) for r in rows]
    for name in ("macro_f1", "weighted_f1", "mcc", "log_loss"):
        values = np.array([draw[name] for draw in draws])
        low, high = np.percentile(values, [2.5, 97.5]) - values.mean() + ours[name].value
        assert ours[name].low == pytest.approx(low, abs=0.02), name
        assert ours[name].high == pytest.approx(min(high, 1 if name != "log_loss" else 9), abs=0.02)


def test_seed_decides_the_draws(sample: Sample) -> None:
    probabilities, target = sample(150, 3)
    one, same, other = (score_all(probabilities, target, names(3), seed=s) for s in (1, 1, 2))
    assert one == same
    assert one["macro_f1"] != other["macro_f1"]
    assert one["macro_f1"].low == pytest.approx(other["macro_f1"].low, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), classes=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_order_of_rows_and_of_classes_does_not_matter(
    n: int, classes: int, seed: int, sample: Sample
) -> None:
    probabilities, target = sample(n, classes, seed=seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(n), rng.permutation(classes)
    scores = score_all(probabilities, target, names(classes))
    shuffled = score_all(
        probabilities[rows][:, columns], np.argsort(columns)[target[rows]], names(classes)
    )
    for name in METRICS:
        assert shuffled[name].value == pytest.approx(scores[name].value, abs=1e-9), name
        assert scores[name].low <= scores[name].value <= scores[name].high, name


@pytest.mark.parametrize(
    ("n", "classes", "skew", "runs"), [(100, 2, 0.0, 300), (300, 6, 1.0, 300), (1000, 12, 0.0, 150)]
)
def test_intervals_cover_the_truth(
    n: int, classes: int, skew: float, runs: int, sample: Sample
) -> None:
    """Over many test sets of one population, the intervals hold its score about 95 % of the time.

    With 150 sets a true 95 % shows as 0.90 to 0.985 (four standard errors are 0.07, 0.05 with 300).
    """
    probabilities, target = sample(n * runs, classes, skew)
    truth = by_definition(probabilities, target)
    covered = dict.fromkeys(METRICS, 0)
    for i in range(runs):
        rows = slice(i * n, (i + 1) * n)
        scores = score_all(probabilities[rows], target[rows], names(classes), seed=i)
        for name, score in scores.items():
            covered[name] += score.low <= truth[name] <= score.high
    shares = {name: hits / runs for name, hits in covered.items()}
    assert shares.pop("ece") >= 0.8  # plug-in ECE is biased upwards, most for few examples
    assert min(shares.values()) >= 0.89, shares
    assert max(shares.values()) <= 0.99, shares


def test_rare_classes_do_not_pull_the_interval_off_the_value(sample: Sample) -> None:
    """With 4 examples of each of 77 classes, plain percentiles of macro F1 lie off its value."""
    for seed in range(5):
        score = score_all(*sample(308, 77, seed=seed), names(77))["macro_f1"]
        middle, half = (score.low + score.high) / 2, (score.high - score.low) / 2
        assert abs(middle - score.value) < 0.1 * half


def test_calibrated_model_is_not_called_miscalibrated() -> None:
    """Percentiles of ECE hold the truth of a calibrated model never; the reflected ones mostly."""
    rng = np.random.default_rng(0)
    held = 0
    for i in range(100):
        confidence = rng.uniform(0.5, 1, 400)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        target = (rng.random(400) > confidence).astype(np.int64)
        held += score_all(probabilities, target, names(2), seed=i)["ece"].low < 0.01
    assert held > 70


def test_all_right_is_not_certain() -> None:
    probabilities = np.eye(3)[np.arange(21) % 3]
    scores = score_all(probabilities, np.arange(21) % 3, names(3))
    for name in ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc"):
        assert (scores[name].value, scores[name].high) == (1.0, 1.0)
        # Wilson for 21 of 21: 21 / (21 + 3.8415).
        assert scores[name].low == pytest.approx(0.8454, abs=1e-4), name


def test_one_example_is_scored() -> None:
    scores = score_all(np.array([[0.3, 0.7]]), np.array([1]), names(2))
    assert scores["accuracy"].value == 1.0
    assert scores["accuracy"].low < 0.25


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_lower_precision_is_accepted(dtype: type, sample: Sample) -> None:
    probabilities, target = sample(100, 5)
    scores = score_all(probabilities.astype(dtype), target, names(5))
    assert scores["log_loss"].value == pytest.approx(L.log_loss(probabilities, target), abs=1e-3)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((4, 3), 1 / 3), "have the shape"),
        (np.full((5, 2), 0.5), "have the shape"),
        (np.full((4, 2), 2.0), "sum to 1"),
        (np.full((4, 2), np.nan), "finite"),
        (np.zeros((0, 4, 2)), "have the shape"),
    ],
)
def test_wrong_input_is_refused(probabilities: L.Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_all(probabilities, np.array([0, 1, 1, 0]), names(2))


def test_fast_enough_and_small(sample: Sample) -> None:
    """2,000 resamples of BANKING77's test set, all scores: the measured time is 0.1 s."""
    probabilities, target = sample(3080, 77)
    score_all(probabilities[:50], target[:50], names(77))
    start = process_time()
    score_all(probabilities, target, names(77))
    assert process_time() - start < 4
    tracemalloc.start()
    score_all(probabilities, target, names(77))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_seeds_that_differ_narrow_the_interval_of_accuracy() -> None:
    rng = np.random.default_rng(0)
    alike = (rng.random(1000) < 0.8).astype(np.float64)
    differing = (rng.random((4, 1000)) < 0.8).mean(axis=0)
    one, four = accuracy_score(alike, seeds=4), accuracy_score(differing, seeds=4)
    ratio = (four.high - four.low) / (one.high - one.low)
    assert ratio == pytest.approx(0.5, abs=0.05)  # independent seeds: as if 4,000 examples


@given(only_a=st.integers(0, 60), only_b=st.integers(0, 60))
def test_mcnemar_equals_the_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_published() -> None:
    # Fagerland, Lydersen and Laake (2013), BMC Med Res Methodol 13:91, table 1: airway
    # hyper-responsiveness before and after transplantation, 1 against 7 of 21: exact p = 0.070.
    assert mcnemar(1, 7) == pytest.approx(0.070, abs=5e-4)
    # By hand: 2 * (C(6,0) + C(6,1)) / 2^6.
    assert mcnemar(1, 5) == pytest.approx(14 / 64)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_sign_flip_equals_all_flips_tried(differences: list[int]) -> None:
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    expected = np.mean(np.array(sums) >= abs(sum(differences)))
    assert sign_flip(np.array(differences)) == pytest.approx(expected)


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=400))
def test_sign_flip_of_one_seed_is_mcnemar(differences: list[int]) -> None:
    values = np.array(differences)
    expected = mcnemar(int((values > 0).sum()), int((values < 0).sum()))
    assert sign_flip(values) == pytest.approx(expected, abs=1e-12)


def test_sign_flip_of_a_large_test_set() -> None:
    differences = np.random.default_rng(0).integers(-6, 7, 20_000) + 1
    assert 0 < sign_flip(differences) < 1e-15
    assert sign_flip(np.array([0, 0, 0])) == 1.0


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_the_closed_form(p_values: list[float]) -> None:
    """Holm (1979): p of rank i is the largest of (m - j + 1) p_(j) over j <= i, at most 1."""
    ordered, m = sorted(p_values), len(p_values)
    for p, corrected in zip(p_values, holm(p_values), strict=True):
        upto = ordered.index(p) + ordered.count(p)
        expected = max(min(1.0, (m - j) * ordered[j]) for j in range(upto))
        first = max(min(1.0, (m - j) * ordered[j]) for j in range(ordered.index(p) + 1))
        assert corrected in (pytest.approx(expected), pytest.approx(first))
        assert p <= corrected <= 1


def test_comparisons_of_a_best_arm() -> None:
    rng = np.random.default_rng(4)
    correct = {
        "weak": rng.random(800) < 0.6,
        "strong": rng.random(800) < 0.9,
        "close": rng.random(800) < 0.89,
    }
    found = compare_with("strong", correct)
    assert [(c.a, c.b, c.test) for c in found] == [
        ("strong", "weak", "exact McNemar"),
        ("strong", "close", "exact McNemar"),
    ]
    weak, close = found
    assert weak.difference.value == pytest.approx(correct["strong"].mean() - correct["weak"].mean())
    assert weak.p < 1e-10 < 0.05 < close.p
    assert [c.p_holm for c in found] == holm([c.p for c in found])
    only_a = int((correct["strong"] & ~correct["close"]).sum())
    only_b = int((~correct["strong"] & correct["close"]).sum())
    assert close.p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)


def test_comparison_with_seeds_on_one_side() -> None:
    rng = np.random.default_rng(5)
    one, three = rng.random(300) < 0.8, rng.random((3, 300)) < 0.85
    (found,) = compare_with("three", {"one": one, "three": three})
    assert found.test == "exact sign-flip over seeds"
    assert found.difference.value == pytest.approx(three.mean() - one.mean())
    thirds = three.sum(axis=0) - 3 * one.astype(int)
    assert found.p == pytest.approx(sign_flip(thirds))


def test_equal_seeds_on_both_sides_are_one() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.random(200) < 0.8, rng.random(200) < 0.75
    (single,) = compare_with("a", {"a": a, "b": b})
    (tripled,) = compare_with("a", {"a": np.stack([a] * 3), "b": np.stack([b] * 2)})
    assert tripled.p == pytest.approx(single.p)
    assert tripled.difference == single.difference


@pytest.mark.parametrize("shape", [(50,), (3, 50)])
def test_identical_arms_are_not_different(shape: tuple[int, ...]) -> None:
    right = np.random.default_rng(0).random(shape) < 0.7
    (found,) = compare_with("a", {"a": right, "b": right.copy()})
    assert (found.difference.value, found.p, found.p_holm) == (0.0, 1.0, 1.0)
    assert found.difference.low < 0 < found.difference.high


def test_unpaired_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired"):
        compare_with("a", {"a": np.ones(5, bool), "b": np.ones(6, bool)})


def test_best_arm_alone_has_nothing_to_compare_with() -> None:
    assert compare_with("a", {"a": np.ones(5, bool)}) == ()


@pytest.mark.parametrize("n", [40, 400])
def test_interval_of_a_difference_covers_the_truth(n: int) -> None:
    """True difference 0.05 with 15 % of examples discordant, over 600 test sets."""
    rng = np.random.default_rng(n)
    covered = 0
    for i in range(600):
        differences = rng.choice([1.0, -1.0, 0.0], size=n, p=[0.10, 0.05, 0.85])
        score = difference_score(differences, seed=i)
        covered += score.low <= 0.05 <= score.high
    assert 0.92 <= covered / 600 <= 0.99


def test_interval_of_a_difference_near_the_closed_form() -> None:
    """Bonett and Price (2012): d +- z sqrt((p12 + p21 - d^2) / (n + 2)), with one added to each."""
    differences = np.array([1.0] * 60 + [-1.0] * 30 + [0.0] * 910)
    p12, p21 = 61 / 1002, 31 / 1002
    half = 1.96 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / 1002)
    score = difference_score(differences)
    assert score.value == pytest.approx(0.03)
    assert score.low == pytest.approx(p12 - p21 - half, abs=0.0015)
    assert score.high == pytest.approx(p12 - p21 + half, abs=0.0015)


@pytest.mark.parametrize("seeds", [1, 3])
def test_test_keeps_its_level(seeds: int) -> None:
    """Arms of equal accuracy are called different at most 5 % of the time."""
    rng = np.random.default_rng(seeds)
    called = 0
    for _ in range(500):
        hard = rng.random(120)
        a, b = (rng.random((seeds, 120)) < hard for _ in range(2))
        (found,) = compare_with("a", {"a": a, "b": b})
        called += found.p < 0.05
    assert called / 500 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)
