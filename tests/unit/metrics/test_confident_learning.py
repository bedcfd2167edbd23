"""Likely wrong labels: the rule by hand, planted errors found, and a library's own choice."""

import numpy as np
import pytest

from tailorbird.metrics.confident_learning import calibrated, label_errors


def test_the_rule_by_hand() -> None:
    """Thresholds: (0.9 + 0.7 + 0.2) / 3 = 0.6 for class 0; (0.6 + 0.8) / 2 = 0.7 for class 1."""
    first = np.asarray([0.9, 0.7, 0.2, 0.4, 0.2])
    probabilities = np.stack([first, 1 - first], axis=1)
    given = np.asarray([0, 0, 0, 1, 1])
    (found,) = label_errors(probabilities, given)
    assert (found.example, found.suggested) == (2, 1)
    assert found.margin == pytest.approx(0.6)
    assert label_errors(probabilities, given, least=0.61) == []


def test_a_class_that_is_never_sure_keeps_its_labels() -> None:
    """An example of class 1 leans to class 0, but less than examples of class 0 do."""
    probabilities = np.asarray([[0.9, 0.1], [0.95, 0.05], [0.6, 0.4], [0.45, 0.55]])
    assert label_errors(probabilities, np.asarray([0, 0, 1, 1])) == []


def test_classes_without_examples_are_never_suggested() -> None:
    probabilities = np.asarray([[0.1, 0.0, 0.9], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert all(d.suggested != 2 for d in label_errors(probabilities, np.asarray([0, 0, 1])))


def planted(seed: int = 3, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of a good model, labels of which 3 % were changed, and which."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, n)
    logits = rng.normal(size=(n, 5))
    logits[np.arange(n), truth] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(n) < 0.03
    return probabilities, np.where(wrong, (truth + rng.integers(1, 5, n)) % 5, truth), wrong


def test_planted_errors_are_found() -> None:
    probabilities, given, wrong = planted()
    found = label_errors(probabilities, given, least=0.5)
    hits = wrong[[d.example for d in found]]
    # Twenty times as many among the doubted as among all, and two of three of them.
    assert hits.mean() >= 20 * wrong.mean()
    assert hits.sum() >= 0.65 * wrong.sum()
    margins = [d.margin for d in found]
    assert margins == sorted(margins, reverse=True)


def test_as_cleanlab_counts() -> None:
    """The confident joint's off-diagonal, against the authors' own library where installed."""
    cleanlab = pytest.importorskip("cleanlab.count")
    probabilities, given, _ = planted()
    _, indices = cleanlab.compute_confident_joint(
        given, probabilities, calibrate=False, return_indices_of_off_diagonals=True
    )
    assert {d.example for d in label_errors(probabilities, given)} == set(indices)


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 3.0])
def test_calibrated_probabilities_are_as_sure_as_they_are_right(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = np.asarray([rng.choice(3, p=row) for row in true])
    said = np.exp(logits * sharpness)
    found = calibrated(said / said.sum(axis=1, keepdims=True), given)
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.abs(found - true).max() < 0.05
    assert (found.argmax(axis=1) == true.argmax(axis=1)).all()


def test_a_class_never_shown_does_not_decide_the_calibration() -> None:
    probabilities, given, _ = planted()
    unseen = given.copy()
    probabilities = np.where(np.arange(5) == 4, 0.0, probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    kept = given != 4
    whole, part = calibrated(probabilities, unseen), calibrated(probabilities[kept], given[kept])
    np.testing.assert_allclose(whole[kept], part, atol=1e-6)
    alone = calibrated(np.asarray([[1.0, 0.0]]), np.asarray([1]))
    assert np.isfinite(alone).all()
