"""Likely wrong labels: the rule by hand, planted errors found, and a library's own choice."""

import numpy as np
import pytest

from tailorbird.metrics.confident import label_errors


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
    assert hits.sum() >= 0.85 * wrong.sum()
    assert hits.mean() >= 0.85
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
