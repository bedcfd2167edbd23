"""Quality against cost: one dot per arm, each with its name beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tailorbird.records import ArmReport, Report, Score
from tailorbird.report import numbers, svg
from tailorbird.report.arms import finished, headline_metric, score_domain, total_seconds

GLYPH = 6.9  # mean advance of the 12.5 px label font, a little generous
ROUND_TIMES = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 86_400, 864_000)
DIRECTIONS = ((1, 0), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1))


@dataclass(frozen=True, slots=True)
class Dot:
    """One arm on the picture, in pixels."""

    name: str
    x: float
    y: float
    top: float
    bottom: float
    css: str
    title: str
    note: str = ""

    @property
    def label(self) -> str:
        """The words beside the dot."""
        return f"{self.name} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Rect:
    """A box in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Rect") -> float:
        """Return the area both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    def outside(self, other: "Rect") -> float:
        """Return by how many pixels this box sticks out of another."""
        return (
            max(0.0, other.left - self.left)
            + max(0.0, self.right - other.right)
            + max(0.0, other.top - self.top)
            + max(0.0, self.bottom - other.bottom)
        )


def cost_scatter(report: Report, *, wide: bool = True) -> str:
    """Draw every scored arm's headline score against the seconds it costs.

    Args:
        report: The report; failed arms are left out.
        wide: Whether for a desk (720 px) or for a phone (360 px), where text must not shrink.
    """
    examples = report.data.counts.get("test", 0)
    name = headline_metric(report)
    arms = [arm for arm in finished(report) if total_seconds(arm, examples) is not None]
    if not arms:
        return ""
    size = (720.0, 400.0) if wide else (360.0, 400.0)
    plot = Rect(52, 26, size[0] - 12, size[1] - 50)
    scores = [arm.test[name] for arm in arms]
    low, high = score_domain(scores, narrow=True)
    y = svg.Scale(low, high, plot.bottom, plot.top)
    seconds = {arm.name: _floored(total_seconds(arm, examples) or 0.0) for arm in arms}
    x = _time_scale(list(seconds.values()), plot)
    dots = [_dot(report, arm, x(seconds[arm.name]), y) for arm in arms]
    parts = [
        _axes(x, y, plot, name),
        _best_band(report, arms, y, plot),
        _frontier(dots),
        *(_whisker(dot) for dot in dots),
        *(svg.circle(dot.x, dot.y, 5.5, f"dot {dot.css}", dot.title) for dot in reversed(dots)),
        *_labels(dots, plot),
    ]
    label = f"{numbers.metric_label(name)} of each arm against the time it takes"
    return svg.frame(*size, label, parts, "wide" if wide else "narrow")


def _floored(seconds: float) -> float:
    """Give an arm that costs next to nothing a place on the logarithmic axis."""
    return max(seconds, 0.01)


def _time_scale(seconds: Sequence[float], plot: Rect) -> svg.Scale:
    low, high = min(seconds), max(seconds)
    spread = max(math.log(high / low), 1.0)
    room = math.exp(0.06 * spread)
    return svg.Scale(low / room, high * room**2, plot.left, plot.right, log=True)


def _dot(report: Report, arm: ArmReport, x: float, y: svg.Scale) -> Dot:
    name = headline_metric(report)
    score = arm.test[name]
    below = score.value < y.low
    css = "pick" if arm.name == report.verdict.recommended else "other"
    cost = numbers.duration(total_seconds(arm, report.data.counts.get("test", 0)))
    return Dot(
        name=arm.name,
        x=x,
        y=y.clamped(score.value) - (8 if below else 0),
        top=y.clamped(score.high),
        bottom=y.clamped(score.low),
        css=f"{css} below" if below else css,
        title=f"{arm.name}: {numbers.metric(name, score.value)}, {cost}",
        note=f"{numbers.metric(name, score.value)} ↓" if below else "",
    )


def _axes(x: svg.Scale, y: svg.Scale, plot: Rect, name: str) -> str:
    def write(value: float) -> str:
        return numbers.percent(value, 0) if numbers.is_share(name) else f"{value:g}"

    marks = [t for t in ROUND_TIMES if x.low <= t <= x.high]
    marks = marks if len(marks) > 1 else svg.ticks(x.low, x.high, 3)
    across = "".join(
        svg.line(x(t), plot.bottom, x(t), plot.bottom + 5, "axis")
        + svg.text(x(t), plot.bottom + 19, numbers.duration(t), anchor="middle", css="tick")
        for t in marks
    )
    return (
        svg.grid(y, svg.ticks(y.low, y.high), plot.left, plot.right, write)
        + svg.line(plot.left, plot.bottom, plot.right, plot.bottom, "axis")
        + across
        + svg.text(0, 12, numbers.metric_label(name), css="name")
        + svg.text(
            plot.right, plot.bottom + 40, "time to make and to run →", anchor="end", css="name"
        )
    )


def _best_band(report: Report, arms: list[ArmReport], y: svg.Scale, plot: Rect) -> str:
    best = next((arm for arm in arms if arm.name == report.verdict.best), None)
    if best is None:
        return ""
    score: Score = best.test[headline_metric(report)]
    top, bottom = y.clamped(score.high), y.clamped(score.low)
    return svg.box(plot.left, top, plot.right - plot.left, bottom - top, "band")


def _frontier(dots: list[Dot]) -> str:
    """Join the arms that no other beats on both quality and time."""
    kept: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, dot.y)):
        if not kept or dot.y < kept[-1].y:
            kept.append(dot)
    return svg.path([(dot.x, dot.y) for dot in kept], "frontier") if len(kept) > 1 else ""


def _whisker(dot: Dot) -> str:
    if "below" in dot.css or dot.bottom - dot.top < 1:
        return ""
    return svg.line(dot.x, dot.top, dot.x, dot.bottom, f"whisker {dot.css}")


def _labels(dots: list[Dot], plot: Rect) -> list[str]:
    """Place every name where it covers least, in two rounds so that early names may give way."""
    places = {dot.name: _candidates(dot)[0] for dot in dots}
    fixed = [Rect(dot.x - 7, dot.y - 7, dot.x + 7, dot.y + 7) for dot in dots]
    fixed += [Rect(dot.x - 2, dot.top, dot.x + 2, dot.bottom) for dot in dots]
    bounds = Rect(plot.left, plot.top - 14, plot.right + 10, plot.bottom - 2)
    for _ in range(3):
        for dot in dots:
            others = [places[other.name] for other in dots if other.name != dot.name]
            places[dot.name] = min(
                _candidates(dot), key=lambda at: _badness(at, fixed, others, bounds)
            )
    return [_label(dot, places[dot.name]) for dot in dots]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label may stand, and how far from its dot."""

    rect: Rect
    anchor: str
    distance: float
    rank: int


def _candidates(dot: Dot) -> list[Place]:
    width = GLYPH * len(dot.label)
    places = []
    for distance in (11.0, 20.0, 32.0, 46.0, 62.0):
        for rank, (dx, dy) in enumerate(DIRECTIONS):
            x, y = dot.x + dx * distance, dot.y + dy * distance
            left = (x - width, x - width / 2, x)[dx + 1]
            anchor = ("end", "middle", "start")[dx + 1]
            places.append(Place(Rect(left, y - 8, left + width, y + 8), anchor, distance, rank))
    return places


def _badness(at: Place, fixed: list[Rect], others: list[Place], bounds: Rect) -> float:
    covered = sum(at.rect.overlap(box) for box in fixed)
    collided = sum(at.rect.overlap(other.rect) for other in others)
    out = at.rect.outside(bounds)
    return covered + 4 * collided + 60 * out + at.distance * 1.5 + at.rank * 0.5


def _label(dot: Dot, at: Place) -> str:
    x = {"start": at.rect.left, "end": at.rect.right}.get(
        at.anchor, (at.rect.left + at.rect.right) / 2
    )
    y = (at.rect.top + at.rect.bottom) / 2
    leader = svg.line(dot.x, dot.y, x, y, "leader") if at.distance > 25 else ""
    return leader + svg.text(x, y + 4.5, dot.label, anchor=at.anchor, css=f"label {dot.css}")
