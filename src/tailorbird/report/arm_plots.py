"""Plots of one arm: learning curves, calibration, residuals."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from tailorbird.metrics import display
from tailorbird.records import CalibrationBin, CurvePoint, Residual
from tailorbird.report import svg

WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 410.0, 26.0, 206.0
NAMED = 340.0
"""The right end of lines with names beside them."""
_FEWEST = 10
_RESIDUAL_LEFT = 54.0
_MOST_TARGETS = 6


def loss_curve(curve: Sequence[CurvePoint]) -> str:
    """Draw training and validation loss over the steps; empty without two validations."""
    train = _finite([(p.step, p.train_loss) for p in curve])
    validation = _finite([(p.step, p.validation_loss) for p in curve])
    if len(validation) < 2:
        return ""
    values = [value for _, value in train + validation]
    x = _steps(validation + train, NAMED)
    y = svg.Scale(0.0, max(values) * 1.05 or 1.0, BOTTOM, TOP)
    low = min(validation, key=lambda point: point[1])
    names = [
        (y(points[-1][1]), name, name == "validation")
        for points, name in ((train, "training"), (validation, "validation"))
        if points
    ]
    parts = [
        step_axes(x, y, "Loss", share=False, right=NAMED),
        _series(train, x, y, "train"),
        _series(validation, x, y, "held"),
        svg.line(x(low[0]), y(low[1]), x(low[0]), BOTTOM, "drop"),
        svg.circle(x(low[0]), y(low[1]), 4, "dot pick", f"lowest, {low[1]:.3f} at step {low[0]}"),
        *(svg.end_names(x.end + 8, names) if train else ()),
    ]
    return svg.frame(WIDTH, HEIGHT, "Training and validation loss by step", parts)


def accuracy_curve(
    curve: Sequence[CurvePoint], name: str = "Validation accuracy", *, share: bool = True
) -> str:
    """Draw a validation metric over the steps; empty without two validations."""
    validation = _finite([(p.step, p.validation_accuracy) for p in curve])
    if len(validation) < 2:
        return ""
    values = [value for _, value in validation]
    # At least 0.05 above and below: fluctuations of a few examples are no trend.
    margin = max(0.08 * (max(values) - min(values)), 0.05)
    x = _steps(validation)
    least = max(0.0, min(values) - margin) if share else min(values) - margin
    y = svg.Scale(least, min(1.0, max(values) + margin), BOTTOM, TOP)
    top = max(validation, key=lambda point: point[1])
    words = display.percent(top[1]) if share else display.decimal(top[1])
    # A name over the end of the axis would leave the picture.
    at = x(top[0])
    anchor = "end" if at > RIGHT - 60 else "start" if at < LEFT + 30 else "middle"
    parts = [
        step_axes(x, y, name, share=share),
        _series(validation, x, y, "held"),
        svg.circle(x(top[0]), y(top[1]), 4, "dot pick", f"highest, {words} at step {top[0]}"),
        svg.text(x(top[0]), y(top[1]) - 9, words, anchor=anchor, css="label pick"),
    ]
    return svg.frame(WIDTH, HEIGHT, f"{name} by step", parts)


def calibration_plot(bins: Sequence[CalibrationBin]) -> str:
    """Draw accuracy against confidence."""
    filled = _pooled([b for b in bins if b.count and math.isfinite(b.accuracy)])
    if not filled:
        return ""
    x = svg.Scale(0.0, 1.0, 46, 346)
    y = svg.Scale(0.0, 1.0, 266, 26)
    most = max(b.count for b in filled)
    step = min([1 / 15, *(b.confidence - a.confidence for a, b in pairwise(filled))])
    quarter = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [
        svg.grid(y, quarter, 46, 346, svg.evenly(quarter, share=True)),
        svg.text(0, 12, "Share of correct answers", css="name"),
        svg.line(x(0), y(0), x(1), y(1), "ideal"),
        svg.path([(x(b.confidence), y(b.accuracy)) for b in filled], "series held"),
        *(_bin_dot(b, x, y, most) for b in filled),
        *(_bin_bar(b, x, most, max(step, 0.02)) for b in filled),
        svg.line(46, 326, 346, 326, "axis"),
        *(svg.text(x(v), 342, display.percent(v, 0), anchor="middle", css="tick") for v in quarter),
        svg.text(346, 362, "confidence, with the number of texts →", anchor="end", css="name"),
    ]
    return svg.frame(360, 370, "Accuracy by confidence, with the number of texts", parts)


def _pooled(bins: Sequence[CalibrationBin]) -> list[CalibrationBin]:
    """Join neighbouring bins until each has ten texts, since fewer have no meaningful accuracy."""
    pooled: list[CalibrationBin] = []
    for part in sorted(bins, key=lambda b: b.confidence):
        if pooled and pooled[-1].count < _FEWEST:
            pooled[-1] = _joined(pooled[-1], part)
        else:
            pooled.append(part)
    if len(pooled) > 1 and pooled[-1].count < _FEWEST:
        pooled[-2:] = [_joined(*pooled[-2:])]
    return pooled


def _joined(a: CalibrationBin, b: CalibrationBin) -> CalibrationBin:
    count = a.count + b.count
    sure = (a.count * a.confidence + b.count * b.confidence) / count
    return CalibrationBin(sure, (a.count * a.accuracy + b.count * b.accuracy) / count, count)


def _bin_dot(part: CalibrationBin, x: svg.Scale, y: svg.Scale, most: int) -> str:
    title = (
        f"confidence {display.percent(part.confidence, 0)}, accuracy "
        f"{display.percent(part.accuracy, 0)}, {display.plural(part.count, 'text')}"
    )
    radius = 2.5 + 3.5 * math.sqrt(part.count / most)
    return svg.circle(x(part.confidence), y(part.accuracy), radius, "dot pick", title)


def _bin_bar(part: CalibrationBin, x: svg.Scale, most: int, step: float) -> str:
    height = max(1.0, 34 * part.count / most)
    width = 300 * step * 0.7
    at = x(part.confidence)
    bar = svg.box(at - width / 2, 326 - height, width, height, "column")
    return bar + svg.text(at, 323 - height, display.count(part.count), anchor="middle", css="tiny")


def _finite(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [point for point in points if math.isfinite(point[1])]


def _steps(points: list[tuple[int, float]], right: float = RIGHT) -> svg.Scale:
    steps = [step for step, _ in points]
    return svg.Scale(min(steps), max(steps), LEFT + 6, right - 6)


def step_axes(x: svg.Scale, y: svg.Scale, name: str, *, share: bool, right: float = RIGHT) -> str:
    """Return the axes of plots over training steps."""
    return svg.axes(x, y, (LEFT, right), (name, "training step →"), svg.whole(x), share=share)


def _series(points: list[tuple[int, float]], x: svg.Scale, y: svg.Scale, css: str) -> str:
    return svg.path([(x(step), y(value)) for step, value in points], f"series {css}")


def residual_plots(residuals: Sequence[Residual]) -> list[str]:
    """Return a plot per target: each test example's error over its true value."""
    names = list(dict.fromkeys(residual.target for residual in residuals))[:_MOST_TARGETS]
    return [_residual_plot(name, [r for r in residuals if r.target == name]) for name in names]


def residual_words(residuals: Sequence[Residual]) -> str:
    """Return whether low values are overestimated and high ones underestimated."""
    names = list(dict.fromkeys(residual.target for residual in residuals))
    if len(names) != 1 or len(residuals) < 8:
        return ""
    ranked = sorted(residuals, key=lambda r: r.truth)
    quarter = len(ranked) // 4
    low, high = (fmean(r.predicted - r.truth for r in part)
                 for part in (ranked[:quarter], ranked[-quarter:]))  # fmt: skip
    return (
        f"On average the quarter with the lowest values is predicted {_in_words(low)}, the quarter "
        f"with the highest {_in_words(high)}."
    )


def _in_words(error: float) -> str:
    side = "too high" if error > 0 else "too low"
    return f"{abs(error):.3g} {side}"


def _residual_plot(name: str, residuals: Sequence[Residual]) -> str:
    errors = [r.predicted - r.truth for r in residuals]
    truths = [r.truth for r in residuals]
    reach = max(map(abs, errors)) or 1.0
    x = svg.Scale(min(truths), max(truths), _RESIDUAL_LEFT + 6, RIGHT - 6)
    y = svg.Scale(-reach, reach, BOTTOM, TOP)
    values = svg.ticks(x.low, x.high, 5)
    marks = dict(zip(values, map(svg.evenly(values, share=False), values), strict=True))
    names = f"Predicted minus true {name}", f"true {name} →"
    parts = [
        svg.axes(x, y, (_RESIDUAL_LEFT, RIGHT), names, marks, share=False),
        svg.line(_RESIDUAL_LEFT, y(0), RIGHT, y(0), "ideal"),
        *(svg.circle(x(t), y(e), 2, "dot") for t, e in zip(truths, errors, strict=True)),
    ]
    return svg.frame(WIDTH, HEIGHT, f"Errors of {name} by its true value", parts)
