"""Intervals cover a known truth: many samples of one population, drawn and scored."""

import numpy as np
import pytest

from tailorbird.metrics.stats import score_all

LABELS = ("a", "b", "c")
DRAWS = 60


def population() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels of 40,000 examples of classes of different size."""
    rng = np.random.default_rng(11)
    target = rng.choice(3, size=40_000, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(len(target), 3))
    logits[np.arange(len(target)), target] += 1.5
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), target


def test_every_score_covers_its_truth() -> None:
    """Of 60 samples of 300, 51 intervals or more hold the truth.

    Intervals that hold it 95 times in 100 would give fewer in 1 of 1,000 such tests.
    """
    sklearn = pytest.importorskip("sklearn.metrics")
    probabilities, target = population()
    called = probabilities.argmax(axis=1)
    truth = {
        "accuracy": sklearn.accuracy_score(target, called),
        "macro_f1": sklearn.f1_score(target, called, average="macro"),
        "weighted_f1": sklearn.f1_score(target, called, average="weighted"),
        "mcc": sklearn.matthews_corrcoef(target, called),
        "log_loss": sklearn.log_loss(target, probabilities),
    }
    rng = np.random.default_rng(5)
    covered = dict.fromkeys(truth, 0)
    for _ in range(DRAWS):
        rows = rng.choice(len(target), size=300, replace=False)
        scores = score_all(probabilities[rows], target[rows], LABELS)
        for name, value in truth.items():
            covered[name] += scores[name].low <= value <= scores[name].high
    assert min(covered.values()) >= 51, covered
