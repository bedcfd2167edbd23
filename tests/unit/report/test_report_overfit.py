"""Overfitting in a sentence: when it was best, and what was done."""

from dataclasses import replace
from typing import Any

import pytest

from tailorbird.records import ArmReport, CurvePoint
from tailorbird.report import captions
from tailorbird.report.captions import overfitting


def arm(*looks: tuple[float, float, float], epochs: float | None = None) -> ArmReport:
    """Return an arm with (training loss, validation loss, accuracy) at each half epoch."""
    curve = tuple(
        CurvePoint(10 * (i + 1), (i + 1) / 2, train, validation, accuracy, 1e-3)
        for i, (train, validation, accuracy) in enumerate(looks)
    )
    settings: dict[str, Any] = {"train": {"epochs": epochs}} if epochs else {}
    return ArmReport("lora", "ok", curve=curve, settings=settings)


BEST_LATER = ((0.9, 0.50, 0.80), (0.5, 0.40, 0.84), (0.3, 0.44, 0.86), (0.1, 0.60, 0.85))


def test_the_sentence() -> None:
    told = overfitting(arm(*BEST_LATER, epochs=5), "classification")
    assert told == (
        "Overfitting: after epoch 1 the validation loss rose by 50 % while the training loss fell "
        "from 0.500 to 0.100; training was stopped early, at epoch 2 of 5, and the weights of "
        "epoch 1.5, the best on validation, were kept."
    )
    assert captions.learning(arm(*BEST_LATER)) == overfitting(arm(*BEST_LATER), "classification")


def test_words_are_judged_by_their_loss() -> None:
    told = overfitting(arm(*BEST_LATER, epochs=2), "generation")
    assert told.endswith("; the weights of epoch 1, the best on validation, were kept.")


@pytest.mark.parametrize(
    "looks",
    [
        ((0.9, 0.5, 0.8), (0.5, 0.4, 0.8), (0.3, 0.404, 0.9)),  # within noise
        ((0.9, 0.5, 0.8), (0.3, 0.4, 0.8), (0.4, 0.8, 0.9)),  # training got worse too
        ((0.9, 0.5, 0.8), (0.3, float("nan"), 0.8)),
        (),
    ],
)
def test_nothing_to_say(looks: tuple[tuple[float, float, float], ...]) -> None:
    assert overfitting(arm(*looks), "classification") == ""
    assert overfitting(replace(arm(*looks), curve=()), "text") == ""
