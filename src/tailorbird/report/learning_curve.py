"""The learning curve in words, as a table and as a plot."""

from dataclasses import dataclass

from tailorbird.metrics import display
from tailorbird.metrics.learning_curve import FURTHEST
from tailorbird.metrics.metric_facts import is_share, sign
from tailorbird.records.scores import Gain, LearningCurve
from tailorbird.report import svg

_WIDE, _NARROW, _HEIGHT = 640.0, 360.0, 300.0
_LEFT, _MARGIN, _TOP, _BOTTOM = 56.0, 20.0, 26.0, 246.0


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of plain strings."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurveView:
    """A page's view of a learning curve.

    Attributes:
        plots: The plot for wide and for narrow screens; empty: there is no curve.
    """

    plots: tuple[str, ...]
    caption: str
    sentences: tuple[str, ...]
    grid: Grid | None = None


def curve_view(curve: LearningCurve | None) -> CurveView | None:
    """Return a page's view of a learning curve, or None."""
    if curve is None:
        return None
    if curve.why_not:
        return CurveView((), "", sentences(curve))
    caption = (
        f"{curve.arm} trained on subsets of the training examples, with one test set: a dot is a "
        "training, bars are 90 % intervals. Beyond the largest subset the curve is extrapolated."
    )
    plots = tuple(curve_plot(curve, wide=wide) for wide in (True, False))
    return CurveView(plots, caption, sentences(curve), curve_grid(curve))


def sentences(curve: LearningCurve) -> tuple[str, ...]:
    """Return the gains by number of labels in words, or why they are unknown."""
    if curve.why_not:
        return (f"{curve.arm}: {curve.why_not}",)
    return tuple(gain_words(curve, gain) for gain in curve.gains)


def curve_grid(curve: LearningCurve) -> Grid:
    """Return the scores on parts of the data, and the expected gains."""
    rows = [
        (f"{s.rows:,}", _value(curve, s.score), " to ".join(_value(curve, v) for v in s.range))
        for s in curve.scores
    ]
    heading = ("training examples", display.metric_label(curve.metric), "90 %")
    title = f"More labels? {curve.arm} on parts of the data"
    return Grid(title, heading, tuple(rows), sentences(curve))


def gain_words(curve: LearningCurve, gain: Gain) -> str:
    """Return the expected gain from more labels, in words."""
    way = sign(curve.metric)
    ends = sorted((way * gain.low, way * gain.high))
    low, high = (display.difference(curve.metric, end) for end in ends)
    middle = display.difference(curve.metric, way * gain.gain)
    points = " points" if is_share(curve.metric) else ""
    if gain.why_not:
        return f"{gain.more:,} more labels: cannot tell ({gain.why_not}: {low} to {high}{points})"
    return f"{gain.more:,} more labels: {middle}{points} ({low} to {high})"


def _value(curve: LearningCurve, value: float) -> str:
    return display.metric(curve.metric, sign(curve.metric) * value)


def curve_plot(curve: LearningCurve, *, wide: bool = True) -> str:
    """Plot the score by number of training examples, with its extrapolation.

    Args:
        wide: For a wide screen; otherwise for a phone, where text must not shrink.
    """
    width = _WIDE if wide else _NARROW
    way, last = sign(curve.metric), curve.scores[-1]
    ahead = [(g.rows, last.score + g.low, last.score + g.gain, last.score + g.high, g)
             for g in curve.gains]  # fmt: skip
    values = [way * v for s in curve.scores for v in s.range]
    values += [way * v for _, low, _, high, _ in ahead for v in (low, high)]
    margin = 0.05 * (max(values) - min(values)) or 0.02
    most = round(FURTHEST * last.rows)
    x = svg.Scale(curve.scores[0].rows, most, _LEFT + 8, width - _MARGIN - 8, log=True)
    y = svg.Scale(min(values) - margin, max(values) + margin, _BOTTOM, _TOP)
    names = display.metric_label(curve.metric), "training examples →"
    sizes = {float(size): f"{size:,}" for size in (*(s.rows for s in curve.scores), most)}
    share = is_share(curve.metric)
    parts = [svg.axes(x, y, (_LEFT, width - _MARGIN), names, sizes, share=share, about=5)]
    line = [(x(s.rows), y(way * s.score)) for s in curve.scores]
    onward = [(x(rows), y(way * middle)) for rows, _, middle, _, _ in ahead]
    parts += [svg.path(line, "series held"), svg.path([line[-1], *onward], "series thin")]
    for score in curve.scores:
        at = x(score.rows)
        parts.append(svg.line(at, y(way * score.low), at, y(way * score.high), "whisker"))
        for run in score.runs:
            words = f"{display.metric(curve.metric, way * run)} with {score.rows:,} examples"
            parts.append(svg.circle(at, y(way * run), 3.5, "dot", words))
    for rows, low, middle, high, gain in ahead:
        parts.append(svg.line(x(rows), y(way * low), x(rows), y(way * high), "whisker pick"))
        words = gain_words(curve, gain)
        parts.append(svg.circle(x(rows), y(way * middle), 4, "dot pick", words))
    title = "Score by training examples, extrapolated"
    return svg.frame(width, _HEIGHT, title, parts, "wide" if wide else "narrow")
