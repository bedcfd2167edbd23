"""Probabilities in the order of the texts, whatever the batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax as scipy_softmax
from sklearn.metrics import accuracy_score, log_loss

import tiny
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import encode
from tailorbird.metrics.classification import softmax
from tailorbird.models import head_logits as room
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.models.head_logits import loss_and_accuracy, predict


def test_predictions_come_in_the_order_of_the_texts(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = choose("cpu", "fp32")
    base = load_classifier(ModelConfig(name=str(tiny_encoder)), tiny.TARGET, device)
    model = base.model.eval()
    texts = [text for text, _ in tiny.rows()]
    encoded = encode(texts, base.tokenizer, 64)
    with torch.inference_mode():
        expected = np.concatenate(
            [model(**base.tokenizer(text, return_tensors="pt")).logits.numpy() for text in texts]
        )
    for most in (4096, 40):
        monkeypatch.setattr(room, "_TOKENS_PER_BATCH", most)
        found = predict(model, encoded, base.tokenizer.pad_token_id, device)
        np.testing.assert_allclose(found.logits, expected, atol=1e-5)
        np.testing.assert_allclose(softmax(found.logits), scipy_softmax(expected, 1), atol=1e-5)
    assert found.ms_per_example > 0


def test_softmax_is_scipys_and_does_not_overflow() -> None:
    logits = np.asarray([[1e4, 0, -1e4], [0.1, 0.2, 0.3]], dtype=np.float32)
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=1), rtol=1e-6)
    assert softmax(np.empty((0, 3), dtype=np.float32)).shape == (0, 3)


def test_loss_and_accuracy_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 3, 50)
    loss, accuracy = loss_and_accuracy(logits, targets)
    assert loss == pytest.approx(log_loss(targets, scipy_softmax(logits, axis=1)), rel=1e-5)
    assert accuracy == accuracy_score(targets, logits.argmax(axis=1))


def test_a_confident_mistake_costs_what_it_costs() -> None:
    """A probability that rounds to zero in fp32 must not make the loss infinite."""
    logits = np.asarray([[200.0, 0.0]], dtype=np.float32)
    loss, _ = loss_and_accuracy(logits, np.asarray([1]))
    assert loss == pytest.approx(-log_softmax([200.0, 0.0])[1])
