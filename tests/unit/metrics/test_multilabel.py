"""Multi-label scores against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from tailorbird.metrics import multilabel as sets
from tailorbird.metrics.intervals import row_influences
from tailorbird.metrics.significance import compare

LABELS = ("a", "b", "c", "d", "never")


def drawn(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, some of them equal, and a target in which one label never occurs."""
    rng = np.random.default_rng(seed)
    target = (rng.random((n, 5)) < [0.5, 0.2, 0.1, 0.3, 0.0]).astype(np.float32)
    noisy = 0.35 * target + 0.65 * rng.random((n, 5))
    return np.round(noisy, 2).astype(np.float32), target


def test_scores_are_scikit_learns() -> None:
    probabilities, target = drawn()
    given = probabilities >= 0.5
    found = {k: s.value for k, s in sets.score_all([probabilities], target, [0.5]).items()}
    f1 = {
        f"{average}_f1": metrics.f1_score(target, given, average=average, zero_division=0)
        for average in ("micro", "macro")
    }
    occurs = target.any(axis=0)
    assert found == pytest.approx(
        f1
        | {
            "mean_average_precision": metrics.average_precision_score(
                target[:, occurs], probabilities[:, occurs], average="macro"
            ),
            "hamming": metrics.hamming_loss(target, given),
            "exact_sets": metrics.accuracy_score(target, given),
            "log_loss": np.mean(
                [
                    metrics.log_loss(target[:, i], probabilities[:, i].astype(float), labels=[0, 1])
                    for i in range(5)
                ]
            ),
        },
        abs=1e-6,
    )


def test_a_labels_score_is_scikit_learns() -> None:
    probabilities, target = drawn()
    given = probabilities >= 0.4
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        target, given, zero_division=0
    )
    for i, row in enumerate(sets.label_scores([probabilities], target, [0.4], LABELS)):
        assert (row.label, row.support) == (LABELS[i], support[i])
        assert (row.precision, row.recall) == pytest.approx((precision[i], recall[i]))
        assert row.f1.value == pytest.approx(f1[i])
        assert row.f1.low <= row.f1.value <= row.f1.high


def test_average_precision_of_a_resample_is_that_of_the_drawn_rows() -> None:
    probabilities, target = drawn(60)
    rows = np.random.default_rng(3).integers(0, 60, 60)
    weights = np.bincount(rows, minlength=60).astype(float)[:, None]
    occurs = target[rows].any(axis=0)
    expected = metrics.average_precision_score(
        target[rows][:, occurs], probabilities[rows][:, occurs], average="macro"
    )
    assert sets._Ranking(probabilities, target).mean(weights)[0] == pytest.approx(expected)


def test_f1_at_each_threshold_is_scikit_learns() -> None:
    probabilities, target = drawn()
    found = sets.f1_by_threshold(probabilities, target)
    for i, threshold in enumerate(sets.THRESHOLDS):
        given = probabilities >= threshold.astype(np.float32)
        expected = metrics.f1_score(target, given, average=None, zero_division=0)
        np.testing.assert_allclose(found[i], expected, atol=1e-12)


def test_a_label_in_many_rows_has_the_threshold_of_a_plain_search() -> None:
    """Of 40,000 rows and labels that want different thresholds: within 0.005 of the best F1."""
    rng = np.random.default_rng(4)
    target = (rng.random((40_000, 3)) < [0.5, 0.2, 0.03]).astype(np.float32)
    probabilities = np.clip(0.3 * target + rng.random(target.shape) * [0.9, 0.5, 0.2], 0, 1)
    thresholds = sets.best_thresholds(probabilities.astype(np.float32), target)
    assert max(thresholds) - min(thresholds) > 0.2
    for i, threshold in enumerate(thresholds):
        own, has = probabilities[:, i], target[:, i]
        best = max(metrics.f1_score(has, own >= t) for t in np.linspace(0.02, 0.95, 60))
        assert metrics.f1_score(has, own >= threshold) > best - 0.005


def test_the_fewer_rows_the_nearer_a_threshold_is_to_that_of_all() -> None:
    """Every row a thousand times over: the same F1 everywhere, and no doubt of it."""
    probabilities, target = drawn(60)
    probabilities = probabilities ** np.asarray([1, 2, 4, 3, 1], dtype=np.float32)
    few = np.asarray(sets.best_thresholds(probabilities, target))
    again = [np.repeat(part, 1000, axis=0) for part in (probabilities, target)]
    many = np.asarray(sets.best_thresholds(*again))
    f1 = sets.f1_by_threshold(probabilities, target)
    np.testing.assert_allclose(f1, sets.f1_by_threshold(*again))
    common = sets.THRESHOLDS[sets.middle_best(f1.mean(axis=1))]
    assert (np.abs(few - common) <= np.abs(many - common)).all()
    assert (np.abs(few - common) < np.abs(many - common)).any()
    reached = [f1[np.flatnonzero(t == sets.THRESHOLDS)[0], i] for i, t in enumerate(many)]
    assert reached == pytest.approx(f1.max(axis=0).tolist(), abs=0.03)
    assert few[4] == many[4] == common, "the label in no row"


def test_rows_may_have_thresholds_of_their_own() -> None:
    """Two folds pooled are counted as each by itself."""
    probabilities, target = drawn()
    first, second = [0.3, 0.4, 0.5, 0.6, 0.7], [0.6, 0.5, 0.4, 0.3, 0.2]
    rows = np.asarray([first] * 80 + [second] * 120)
    together = sets.counts(probabilities, target, rows)
    apart = [
        sets.counts(probabilities[:80], target[:80], first),
        sets.counts(probabilities[80:], target[80:], second),
    ]
    np.testing.assert_array_equal(together, np.concatenate(apart))
    found = sets.score_all([probabilities], target, [rows])
    given = np.concatenate([probabilities[:80] >= first, probabilities[80:] >= second])
    expected = metrics.f1_score(target, given, average="macro", zero_division=0)
    assert found["macro_f1"].value == pytest.approx(expected)
    assert found["exact_sets"].value == pytest.approx(metrics.accuracy_score(target, given))
    told = sets.label_scores([probabilities], target, [rows], LABELS)
    assert [row.threshold for row in told] == [None] * 5
    told = sets.label_scores([probabilities], target, [np.asarray(first)], LABELS)
    assert [row.threshold for row in told] == first


@pytest.mark.parametrize("n", [50, 150])
def test_intervals_cover_the_truth(n: int) -> None:
    """Of 60 samples from a population, 57 intervals should hold its score; 3 errors are 5."""
    probabilities, target = (part[:, :4] for part in drawn(20_000, seed=1))
    truth = {
        "macro_f1": metrics.f1_score(target, probabilities >= 0.5, average="macro"),
        "micro_f1": metrics.f1_score(target, probabilities >= 0.5, average="micro"),
        "mean_average_precision": metrics.average_precision_score(target, probabilities),
    }
    rng, held = np.random.default_rng(2), dict.fromkeys(truth, 0)
    for _ in range(60):
        rows = rng.integers(0, len(target), n)
        scored = sets.score_all([probabilities[rows]], target[rows], [0.5])
        for name, value in truth.items():
            held[name] += scored[name].low <= value <= scored[name].high
    assert min(held.values()) >= 50, held


def test_equal_arms_cannot_be_told_apart_and_a_better_one_can() -> None:
    probabilities, target = drawn(300)
    good = np.clip(probabilities * 0.5 + target * 0.5, 0, 1)
    arms = {
        name: row_influences(sets.counts(outputs, target, 0.5), sets.macro_f1)
        for name, outputs in (("good", good), ("same", good.copy()), ("worse", probabilities))
    }
    same, worse, _ = compare(arms)
    assert (same.b, same.p_holm, same.difference.value) == ("same", 1.0, 0.0)
    assert worse.p_holm < 0.001
    expected = metrics.f1_score(target, good >= 0.5, average="macro", zero_division=0)
    expected -= metrics.f1_score(target, probabilities >= 0.5, average="macro", zero_division=0)
    assert worse.difference.value == pytest.approx(expected)
    assert worse.difference.low <= worse.difference.value <= worse.difference.high
