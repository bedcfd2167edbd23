"""Scores of labels with intervals: against the definitions, by hand and by simulation."""

import tracemalloc
from collections.abc import Callable
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import norm
from sklearn.metrics import f1_score

from tailorbird.metrics import classification as L
from tailorbird.metrics.classification_intervals import (
    FEWEST_FOR_ECE,
    METRICS,
    accuracy_score,
    score_all,
)

Sample = Callable[..., tuple[L.Numbers, L.Classes]]


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"label {i}" for i in range(classes))


def by_definition(probabilities: L.Numbers, target: L.Classes) -> dict[str, float]:
    """Score without resampling, through the functions that scikit-learn was held against."""
    predicted = probabilities.argmax(axis=-1)
    counts, right = L.count(predicted, target, probabilities.shape[-1]), (predicted == target)
    return {
        "accuracy": float(right.mean()),
        "macro_f1": float(L.macro_f1(counts)),
        "micro_f1": f1_score(target, predicted, average="micro", zero_division=0),
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


def test_intervals_near_the_bootstraps_where_it_holds(sample: Sample) -> None:
    """Of many rows in classes of a size, rows drawn again and scored again say nearly the same."""
    probabilities, target = sample(600, 3)
    ours = score_all(probabilities, target, names(3))
    rng = np.random.default_rng(99)
    rows = [rng.integers(0, 600, 600) for _ in range(600)]
    draws = [by_definition(probabilities[r], target[r]) for r in rows]
    for name in ("accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss"):
        low, high = np.percentile([draw[name] for draw in draws], [2.5, 97.5])
        width = high - low
        assert ours[name].low == pytest.approx(low, abs=0.12 * width), name
        assert ours[name].high == pytest.approx(high, abs=0.12 * width), name


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


@pytest.mark.parametrize(("n", "classes", "skew", "runs"), [(100, 2, 0.0, 100), (300, 6, 1.0, 60)])
def test_intervals_cover_the_truth(
    n: int, classes: int, skew: float, runs: int, sample: Sample
) -> None:
    """Over many test sets of one population, the intervals hold its score about 95 % of the time.

    Three standard errors of 95 % are 0.065 with 100 sets and 0.085 with 60.
    """
    probabilities, target = sample(n * runs, classes, skew)
    truth = by_definition(probabilities, target)
    covered = dict.fromkeys(METRICS, 0)
    for i in range(runs):
        rows = slice(i * n, (i + 1) * n)
        for name, score in score_all(probabilities[rows], target[rows], names(classes)).items():
            covered[name] += score.low <= truth[name] <= score.high
    shares = {name: hits / runs for name, hits in covered.items()}
    assert min(shares.values()) >= 0.86, shares


def skewed(n: int, shift: float, rng: np.random.Generator) -> tuple[L.Numbers, L.Classes]:
    """Return calibrated probabilities of two classes, one with 5 % of the rows."""
    target = (rng.random(n) < 0.05).astype(np.int64)
    evidence = rng.normal(size=n) + shift * (target - 0.5)
    odds = np.exp(shift * evidence) * 0.05 / 0.95
    return np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1), target


@pytest.mark.parametrize("shift", [3.0, 1.2])
def test_intervals_hold_for_a_rare_class(shift: float) -> None:
    """A class of 5 %, 50 rows: at least 92 % are aimed at; percentiles of resamples had 0 to 90.

    Three standard errors of 92 % over 150 sets are 7 points.
    """
    rng = np.random.default_rng(8)
    truth = by_definition(*skewed(400_000, shift, rng))
    covered = dict.fromkeys(METRICS, 0)
    for _ in range(150):
        for name, score in score_all(*skewed(50, shift, rng), names(2)).items():
            covered[name] += score.low <= truth[name] <= score.high
            assert score.low < score.high or name == "ece"
    covered.pop("ece")  # none of fewer than 100
    assert min(covered.values()) >= 0.85 * 150, covered


def test_calibration_error_has_an_interval_from_a_hundred_rows_on() -> None:
    """That of a calibrated model reaches down to 0 nearly always, and that of others does not."""
    rng = np.random.default_rng(0)
    held = missed = 0
    for _ in range(40):
        confidence = rng.uniform(0.5, 1, 400)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        right = (rng.random(400) > confidence).astype(np.int64)
        worse = (rng.random(400) > confidence - 0.2).astype(np.int64)
        held += score_all(probabilities, right, names(2))["ece"].low < 0.005
        missed += score_all(probabilities, worse, names(2))["ece"].low < 0.005
    assert held >= 35 and missed <= 2
    few = score_all(probabilities[: FEWEST_FOR_ECE - 1], right[: FEWEST_FOR_ECE - 1], names(2))
    assert few["ece"].low == few["ece"].high


def test_groups_widen_by_what_they_hide(sample: Sample) -> None:
    """Each row five times over is the evidence of one: the interval of a fifth of the rows."""
    probabilities, target = sample(120, 3)
    once = score_all(probabilities, target, names(3))
    rows = np.repeat(np.arange(120), 5)
    five = score_all(probabilities[rows], target[rows], names(3), rows)
    blind = score_all(probabilities[rows], target[rows], names(3))
    for name in ("accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss"):
        width = five[name].high - five[name].low
        assert width == pytest.approx(once[name].high - once[name].low, rel=0.1), name
        assert width > 1.7 * (blind[name].high - blind[name].low), name


def test_all_right_is_not_certain() -> None:
    probabilities = np.eye(3)[np.arange(21) % 3]
    scores = score_all(probabilities, np.arange(21) % 3, names(3))
    for name in ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc"):
        assert (scores[name].value, scores[name].high) == (1.0, 1.0)
        assert 0.5 < scores[name].low < 0.95, name
    # Wilson for 21 of 21: 21 / (21 + z^2).
    for name in ("accuracy", "micro_f1", "weighted_f1"):
        assert scores[name].low == pytest.approx(21 / (21 + norm.ppf(0.975) ** 2)), name


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
    """All scores of BANKING77's test set."""
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
    one, four = accuracy_score(alike, 4), accuracy_score(differing, 4)
    ratio = (four.high - four.low) / (one.high - one.low)
    assert ratio == pytest.approx(0.5, abs=0.05)  # independent seeds: as if 4,000 examples
