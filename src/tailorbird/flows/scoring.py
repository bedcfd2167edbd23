"""Probabilities -> everything the report says about an arm's quality."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailorbird.metrics.labels import calibration, class_scores, confusion
from tailorbird.metrics.stats import score_all
from tailorbird.records import ArmReport, Example, SeedScore, Split, WrongExample
from tailorbird.runs.folder import PREDICTIONS, PROBABILITIES, RunFolder, write_atomically

_MOST_ERRORS = 200
_ALL_CLASSES = 20


def targets_of(examples: Sequence[Example], labels: Sequence[str]) -> np.ndarray:
    """Return ``[n]`` class ids."""
    index = {label: i for i, label in enumerate(labels)}
    return np.asarray([index[str(e.label)] for e in examples], dtype=np.int64)


def score_arm(
    report: ArmReport, validation: np.ndarray, test: np.ndarray, split: Split, seed: int
) -> ArmReport:
    """Return `report` with scores, curves' companions and wrong examples filled in.

    Args:
        report: Name, cost, settings and curve of the arm.
        validation: ``[n, classes]`` probabilities of the validation examples.
        test: ``[n, classes]`` probabilities of the test examples.
        split: The examples.
        seed: The training seed.
    """
    validation_targets = targets_of(split.validation, split.labels)
    test_targets = targets_of(split.test, split.labels)
    on_validation = score_all(validation, validation_targets, split.labels)
    on_test = score_all(test, test_targets, split.labels)
    return replace(
        report,
        validation=on_validation,
        test=on_test,
        per_class=class_scores(test, test_targets, split.labels),
        confusion=confusion(test, test_targets),
        calibration=calibration(test, test_targets),
        errors=_errors(test, split),
        seeds=(
            SeedScore(
                seed,
                {name: score.value for name, score in on_validation.items()},
                {name: score.value for name, score in on_test.items()},
            ),
        ),
    )


def _errors(test: np.ndarray, split: Split) -> tuple[WrongExample, ...]:
    """Return the wrong test examples, the most confident first."""
    predicted = test.argmax(axis=1)
    wrong = [
        WrongExample(e.row, e.text, str(e.label), split.labels[p], float(row[p]))
        for e, p, row in zip(split.test, predicted, test, strict=True)
        if split.labels[p] != e.label
    ]
    return tuple(sorted(wrong, key=lambda error: (-error.confidence, error.row))[:_MOST_ERRORS])


def save_predictions(
    folder: RunFolder, split: Split, arrays: dict[str, np.ndarray], labels: Sequence[str]
) -> None:
    """Write `predictions.jsonl` for people and `probabilities.npz` for other arms."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(folder.file(PROBABILITIES), buffer.getvalue())
    rows = (
        {"row": e.row, "text": e.text, "label": e.label} | prediction_row(p, labels)
        for e, p in zip(split.test, arrays["test"], strict=True)
    )
    folder.write_rows(PREDICTIONS, rows)


def prediction_row(probabilities: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Return what is predicted as plain values; of many classes the five most likely."""
    order = np.argsort(-probabilities, kind="stable")
    shown = order[: len(labels) if len(labels) <= _ALL_CLASSES else 5]
    return {
        "predicted": labels[int(order[0])],
        "confidence": round(float(probabilities[order[0]]), 6),
        "probabilities": {labels[int(i)]: round(float(probabilities[i]), 6) for i in shown},
    }


def load_probabilities(folder: RunFolder) -> dict[str, np.ndarray]:
    """Read `probabilities.npz`: ``validation``, ``test`` and ``check``."""
    with np.load(folder.file(PROBABILITIES)) as arrays:
        return dict(arrays)
