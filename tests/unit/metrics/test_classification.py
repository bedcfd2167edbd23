"""Classification scores against scikit-learn, against arithmetic by hand, and by their laws."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk

from tailorbird.metrics import classification as L

Sample = Callable[..., tuple[L.Numbers, L.Classes]]

CASES = [(60, 2, 0.0), (300, 5, 0.5), (400, 77, 1.0), (40, 12, 1.5)]


def counts_of(probabilities: L.Numbers, target: L.Classes) -> L.Counts:
    return L.count(probabilities.argmax(axis=-1), target, probabilities.shape[-1])


@pytest.mark.parametrize(("n", "classes", "skew"), CASES)
def test_scores_equal_scikit_learn(n: int, classes: int, skew: float, sample: Sample) -> None:
    probabilities, target = sample(n, classes, skew)
    predicted = probabilities.argmax(axis=-1)
    counts = counts_of(probabilities, target)
    assert L.mcc(counts) == pytest.approx(sk.matthews_corrcoef(target, predicted))
    for average, ours in (
        ("macro", L.macro_f1),
        ("weighted", L.weighted_f1),
    ):
        theirs = sk.f1_score(target, predicted, average=average, zero_division=0)
        assert ours(counts) == pytest.approx(theirs), average
    theirs = sk.log_loss(target, probabilities, labels=range(classes))
    assert L.log_loss(probabilities, target) == pytest.approx(theirs)


@pytest.mark.parametrize(("n", "classes", "skew"), CASES)
def test_classes_and_confusion_equal_scikit_learn(
    n: int, classes: int, skew: float, sample: Sample
) -> None:
    probabilities, target = sample(n, classes, skew)
    predicted, ids = probabilities.argmax(axis=-1), list(range(classes))
    ours = L.class_scores(probabilities, target, tuple(map(str, ids)))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        target, predicted, labels=ids, zero_division=0
    )
    np.testing.assert_allclose([c.precision for c in ours], precision)
    np.testing.assert_allclose([c.recall for c in ours], recall)
    np.testing.assert_allclose([c.f1.value for c in ours], f1)
    assert [c.support for c in ours] == support.tolist()
    table = sk.confusion_matrix(target, predicted, labels=ids)
    assert L.confusion(probabilities, target) == tuple(tuple(row) for row in table.tolist())


def test_by_hand() -> None:
    # Said a a b b b c, was a b b b c c: hits 1, 2, 1 of 2, 3, 1 said and 1, 3, 2 there.
    predicted, target = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 2, 2])
    counts = L.count(predicted, target, 3)
    f1 = [2 / 3, 4 / 6, 2 / 3]
    np.testing.assert_allclose(L.class_f1(counts), f1)
    assert L.macro_f1(counts) == pytest.approx(2 / 3)
    assert L.weighted_f1(counts) == pytest.approx((f1[0] + 3 * f1[1] + 2 * f1[2]) / 6)
    # Gorodkin: (4*6 - (2*1 + 3*3 + 1*2)) / sqrt((36 - (4+9+1)) * (36 - (1+9+4)))
    assert L.mcc(counts) == pytest.approx(11 / 22)


def test_log_loss_by_hand_and_clipped() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert L.log_loss(probabilities, np.array([0, 0])) == pytest.approx(np.log(8) / 2)
    certain_and_wrong = np.array([[1.0, 0.0]])
    assert L.log_loss(certain_and_wrong, np.array([1])) == pytest.approx(-np.log(1e-15))


def test_calibration_error_by_hand() -> None:
    # Four at 0.9, three of them right: |0.9 - 0.75|; two at 0.6, none right: |0.6 - 0|.
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    target = np.array([0, 0, 0, 1, 1, 1])
    expected = 4 / 6 * 0.15 + 2 / 6 * 0.6
    assert L.expected_calibration_error(probabilities, target) == pytest.approx(expected)
    low, high = L.calibration(probabilities, target)
    assert (low.confidence, low.accuracy, low.count) == (pytest.approx(0.6), 0.0, 2)
    assert (high.confidence, high.accuracy, high.count) == (pytest.approx(0.9), 0.75, 4)


def test_calibration_error_by_the_definition(sample: Sample) -> None:
    """The sum over bins of Guo et al. (2017), eq. 3, written out with masks."""
    probabilities, target = sample(500, 4)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert L.expected_calibration_error(probabilities, target) == pytest.approx(expected)


def test_certain_predictions_are_in_the_last_bin() -> None:
    (only,) = L.calibration(np.array([[1.0, 0.0]]), np.array([0]))
    assert (only.confidence, only.accuracy, only.count) == (1.0, 1.0, 1)


def test_class_that_never_occurs_is_left_out_of_the_mean() -> None:
    counts = L.count(np.array([0, 1, 1]), np.array([0, 1, 0]), 5)
    assert L.macro_f1(counts) == pytest.approx((2 / 3 + 2 / 3) / 2)


@pytest.mark.parametrize("predicted", [[0, 0, 0], [1, 0, 1]])
def test_no_correlation_with_a_single_label(predicted: list[int]) -> None:
    target = np.zeros(3, dtype=np.int64)
    assert L.mcc(L.count(np.array(predicted), target, 2)) == 0.0


def test_perfect_class_with_few_examples_is_not_certain() -> None:
    (score, absent) = L.class_scores(np.array([[1.0, 0.0]] * 3), np.zeros(3, np.int64), ("a", "b"))
    assert score.f1.value == score.f1.high == 1.0
    # Wilson for 3 of 3 is 3 / (3 + z^2) = 0.4385; F1 of that Jaccard index is 0.6096.
    assert score.f1.low == pytest.approx(0.6096, abs=1e-4)
    assert (absent.support, absent.f1.value, absent.f1.low, absent.f1.high) == (0, 0.0, 0.0, 1.0)


def test_class_scores_of_seeds_come_from_mean_counts(sample: Sample) -> None:
    probabilities, target = sample(200, 4)
    other, _ = sample(200, 4, seed=1)
    both = L.class_scores(np.stack([probabilities, other]), target, tuple("abcd"))
    parts = [counts_of(p, target) for p in (probabilities, other)]
    hits = parts[0].hits + parts[1].hits
    np.testing.assert_allclose([c.recall for c in both], hits / (2 * parts[0].target))
    assert sum(c.support for c in both) == 200
    once = L.class_scores(probabilities, target, tuple("abcd"))
    assert L.class_scores(np.stack([probabilities] * 3), target, tuple("abcd")) == once


def test_class_f1_interval_covers_the_truth(sample: Sample) -> None:
    """Over 400 test sets of 150, each class's interval holds its long-run F1 95 % of the time."""
    probabilities, target = sample(200_000, 4)
    truth = L.class_f1(counts_of(probabilities, target))
    covered = np.zeros(4)
    for i in range(400):
        rows = slice(150 * i, 150 * (i + 1))
        scores = L.class_scores(probabilities[rows], target[rows], tuple("abcd"))
        covered += [s.f1.low <= t <= s.f1.high for s, t in zip(scores, truth, strict=True)]
    assert np.all(covered / 400 > 0.92)
    assert np.all(covered / 400 < 0.99)


def test_extra_axes_are_scored_column_by_column(sample: Sample) -> None:
    columns = [counts_of(*sample(80, 3, seed=seed)) for seed in range(4)]
    stacked = L.Counts(*(np.stack(part, axis=-1) for part in zip(*columns, strict=True)))
    for score in (L.macro_f1, L.weighted_f1, L.mcc):
        np.testing.assert_allclose(score(stacked), [score(c) for c in columns])


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 60), classes=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_laws(n: int, classes: int, seed: int, sample: Sample) -> None:
    probabilities, target = sample(n, classes, seed=seed)
    counts = counts_of(probabilities, target)
    for score in (L.macro_f1, L.weighted_f1):
        assert 0 <= score(counts) <= 1
    assert -1 - 1e-12 <= L.mcc(counts) <= 1 + 1e-12
    assert 0 <= L.expected_calibration_error(probabilities, target) <= 1
    for c in L.class_scores(probabilities, target, tuple(map(str, range(classes)))):
        assert 0 <= c.f1.low <= c.f1.value <= c.f1.high <= 1
    assert sum(b.count for b in L.calibration(probabilities, target)) == n
    assert np.sum(L.confusion(probabilities, target)) == n
