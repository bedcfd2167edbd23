"""Whether an arm learnt its training rows by heart, and what was done about it."""

import math

from tailorbird.metrics import display
from tailorbird.records import ArmReport, CurvePoint, Report, has_head

RISE = 0.02
"""Validation losses move by a hundredth or so from one look to the next."""


def overfitting(arm: ArmReport, task: str) -> str:
    """Say that validation got worse while training went on, when it was best, and what was done.

    Args:
        arm: The arm, with its curve.
        task: What was learnt: words are judged by their loss, other answers first by how many
            are right, as the loop does when it chooses the weights to keep.

    Returns:
        One sentence; empty where validation did not get worse, or training did not get better.
    """
    points = [p for p in arm.curve if math.isfinite(p.validation_loss)]
    if len(points) < 2:
        return ""
    low, last = min(points, key=lambda p: p.validation_loss), points[-1]
    if low.validation_loss <= 0 or last.train_loss >= low.train_loss:
        return ""
    rise = last.validation_loss / low.validation_loss - 1
    if rise <= RISE:
        return ""
    return (
        f"Overfitting: after epoch {_epoch(low)} the validation loss rose by "
        f"{display.percent(rise, 0)} while the training loss fell from "
        f"{display.decimal(low.train_loss)} to {display.decimal(last.train_loss)}; "
        f"{_done(arm, points, task)}."
    )


def chosen_overfitting(report: Report) -> str:
    """Return the same of the arm that the report recommends, or of its only one."""
    name = report.verdict.recommended or report.verdict.best
    arm = next((arm for arm in report.arms if arm.name == name), None)
    return overfitting(arm, report.data.task) if arm is not None else ""


def _done(arm: ArmReport, points: list[CurvePoint], task: str) -> str:
    if not has_head(task):
        best = max(points, key=lambda p: (-p.validation_loss, p.validation_accuracy))
    else:
        best = max(points, key=lambda p: (p.validation_accuracy, -p.validation_loss))
    words = f"the weights of epoch {_epoch(best)}, the best on validation, are the ones kept"
    epochs = arm.settings.get("train", {}).get("epochs")
    if epochs is None or points[-1].epoch > epochs - 0.01:
        return words
    return f"training was stopped early, at epoch {_epoch(points[-1])} of {epochs:g}, and {words}"


def _epoch(point: CurvePoint) -> str:
    return f"{point.epoch:.2f}".rstrip("0").rstrip(".")
