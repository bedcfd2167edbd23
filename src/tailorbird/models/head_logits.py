"""A model's outputs for texts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tailorbird import log
from tailorbird.data.encode import Encoded, collate, token_batches
from tailorbird.models.device import Device, on_each_core

# Few enough tokens that a batch's activations are small beside the model.
_TOKENS_PER_BATCH = 4096

Model = Callable[..., Any]
"""A callable like a transformers module: tensors by name to an output with ``.logits``."""


@dataclass(frozen=True)
class Predicted:
    """Logits ``[n, classes]``, or ``[words, classes]``, float32 in the order of the examples.

    Attributes:
        count: The number of examples.
    """

    logits: np.ndarray
    seconds: float
    count: int

    @property
    def ms_per_example(self) -> float:
        """Milliseconds per example, without tokenisation."""
        return 1000 * self.seconds / max(1, self.count)


def predict(
    model: Model, encoded: Encoded, pad_id: int, device: Device, title: str = ""
) -> Predicted:
    """Return the model's logits, in its training precision."""
    started = time.perf_counter()
    logits = np.empty((0, 0), dtype=np.float32)
    for indices, _, rows in _read(model, encoded, pad_id, device, title):
        if not logits.size:
            logits = np.empty((len(encoded), rows.shape[1]), dtype=np.float32)
        logits[indices] = rows
    return Predicted(logits, time.perf_counter() - started, len(encoded))


def _read(
    model: Model, encoded: Encoded, pad_id: int, device: Device, title: str
) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """Yield each batch's indices, its padded length, and the model's logits."""

    def logits(indices: np.ndarray) -> tuple[int, np.ndarray]:
        arrays = collate(encoded, indices, pad_id)
        inputs = {k: torch.from_numpy(v).to(device.name) for k, v in arrays.items()}
        return arrays["input_ids"].shape[1], model(**inputs).logits.float().cpu().numpy()

    @contextmanager
    def inference() -> Iterator[None]:
        with torch.inference_mode(), device.autocast():
            yield

    batches = token_batches(encoded.lengths, _TOKENS_PER_BATCH)
    computed = on_each_core(device, logits, batches, inference)
    with log.quiet_progress(title, len(encoded), "examples") as bar:
        for indices, (width, rows) in zip(batches, computed, strict=True):
            yield indices, width, rows
            bar.advance(len(indices))


_SURE = 5.0


def predict_words(
    model: Model, encoded: Encoded, pad_id: int, device: Device, title: str = "", outside: int = 0
) -> Predicted:
    """Return the logits ``[words, labels]`` of all words, sentence after sentence.

    A word beyond the maximum input length gets the label `outside`.
    """
    assert encoded.firsts is not None
    started = time.perf_counter()
    starts = np.cumsum([0, *map(len, encoded.firsts)])
    logits = np.empty((0, 0), dtype=np.float32)
    for indices, length, rows in _read(model, encoded, pad_id, device, title):
        if not logits.size:
            logits = np.zeros((starts[-1], rows.shape[2]), dtype=np.float32)
            logits[:, outside] = _SURE
        # Virtual tokens precede the text.
        for row, index in zip(rows[:, rows.shape[1] - length :], indices, strict=True):
            places = encoded.firsts[index]
            words = np.flatnonzero(places >= 0)
            logits[starts[index] + words] = row[places[words]]
    return Predicted(logits, time.perf_counter() - started, len(encoded))


def loss_and_accuracy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return the mean cross-entropy in nats, and the accuracy."""
    rows = np.arange(len(targets))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = logits.argmax(axis=1) == targets
    return float(-log_probabilities[rows, targets].mean()), float(right.mean())
