"""Plot of quality against cost: one dot per arm, with names placed without overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tailorbird.metrics import display
from tailorbird.metrics.cost import PREDICTIONS
from tailorbird.metrics.metric_facts import sign
from tailorbird.records import ArmReport, Report, Score
from tailorbird.report import svg
from tailorbird.report.report_facts import (
    finished,
    headline_metric,
    label,
    noun,
    score_domain,
    total_seconds,
    trainings,
)

GLYPH = 6.9  # mean advance of the 12.5 px label font, rounded up
HALF_LINE = 8.0
TOUCHING = 14.0  # a name this near its dot needs no line
ROUNDS = 4
DISTANCES = (11.0, 19.0, 30.0, 44.0, 60.0, 80.0)
ANGLES = (0, 180, 337.5, 22.5, 157.5, 202.5, 315, 45, 135, 225, 270, 90, 292.5, 67.5, 112.5, 247.5)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """A box in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Rect") -> float:
        """Return the area of the intersection."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    def outside(self, other: "Rect") -> float:
        """Return the distance in pixels by which this box exceeds another."""
        return (
            max(0.0, other.left - self.left)
            + max(0.0, self.right - other.right)
            + max(0.0, other.top - self.top)
            + max(0.0, self.bottom - other.bottom)
        )

    def distance(self, point: Point) -> float:
        """Return the distance of a point from this box; 0 inside."""
        across = max(self.left - point[0], 0.0, point[0] - self.right)
        down = max(self.top - point[1], 0.0, point[1] - self.bottom)
        return math.hypot(across, down)


@dataclass(frozen=True, slots=True)
class NamePlace:
    """The place of a name; ``foot`` is the end of the line from its dot."""

    rect: Rect
    anchor: str
    x: float
    foot: Point
    distance: float
    rank: int

    @property
    def needs_line(self) -> bool:
        """Whether the name is too far from its dot to be assigned to it."""
        return self.distance > TOUCHING


def place_names(
    dots: Sequence[tuple[float, float, str]], obstacles: Sequence[Rect], bounds: Rect
) -> list[NamePlace]:
    """Choose a place per name, in a few rounds so that early names can yield to later ones."""
    choices = [
        [(at, _cost_on_paper(at, obstacles, bounds)) for at in _candidates(x, y, name)]
        for x, y, name in dots
    ]
    places = [options[0][0] for options in choices]
    for _ in range(ROUNDS):
        for index, options in enumerate(choices):
            own = dots[index][:2]
            others = [dot[:2] for dot in dots if dot[:2] != own]
            names = [place for other, place in enumerate(places) if other != index]
            costs = [paper + _cost_of_doubt(at, own, others, names) for at, paper in options]
            places[index] = options[costs.index(min(costs))][0]
    return places


def _candidates(x: float, y: float, name: str) -> list[NamePlace]:
    width = GLYPH * len(name)
    places = []
    for distance in DISTANCES:
        for rank, angle in enumerate(ANGLES):
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            foot = (x + dx * distance, y + dy * distance)
            side = 0 if abs(dx) < 0.2 else math.copysign(1, dx)
            left = foot[0] - width * (1 - side) / 2
            middle = foot[1] + (0 if side else math.copysign(HALF_LINE - 3, dy))
            rect = Rect(left, middle - HALF_LINE, left + width, middle + HALF_LINE)
            anchor = {0: "middle", 1: "start", -1: "end"}[int(side)]
            gap = math.copysign(2, side) if side else 0
            places.append(NamePlace(rect, anchor, foot[0] + gap, foot, distance, rank))
    return places


def _cost_on_paper(at: NamePlace, obstacles: Sequence[Rect], bounds: Rect) -> float:
    covered = sum(at.rect.overlap(box) for box in obstacles)
    return 3 * covered + 60 * at.rect.outside(bounds) + 1.5 * at.distance + 0.5 * at.rank


def _cost_of_doubt(
    at: NamePlace, own: Point, others: Sequence[Point], names: Sequence[NamePlace]
) -> float:
    """Return the cost of covering dots and names, and of ambiguity with another dot."""
    cost = sum(4 * at.rect.overlap(name.rect) for name in names)
    for dot in others:
        gap = at.rect.distance(dot)
        cost += 300 if gap < 6 else 0
        cost += 60 if gap < at.distance - 1 else 0
    if at.needs_line:
        for share in (0.3, 0.5, 0.7, 0.9):
            point = (own[0] + share * (at.foot[0] - own[0]), own[1] + share * (at.foot[1] - own[1]))
            cost += sum(80 for dot in others if math.dist(point, dot) < 8)
            cost += sum(80 for name in names if name.rect.distance(point) < 1)
    return cost


ROUND_TIMES = {
    0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min", 3600.0: "1 h",
    36_000.0: "10 h", 360_000.0: "100 h", 3_600_000.0: "1,000 h",
}  # fmt: skip
BETWEEN = {
    0.3: "0.3 s", 3.0: "3 s", 30.0: "30 s", 180.0: "3 min", 1800.0: "30 min", 10_800.0: "3 h",
    108_000.0: "30 h",
}  # fmt: skip
AXIS = 52.0  # space for the numbers at the left


@dataclass(frozen=True, slots=True)
class Dot:
    """One arm on the plot, in pixels."""

    name: str
    x: float
    y: float
    top: float
    bottom: float
    css: str
    title: str
    note: str = ""
    trainings: tuple[tuple[float, str], ...] = ()

    @property
    def label(self) -> str:
        """The text beside the dot."""
        return f"{self.name} {self.note}".rstrip()


def cost_scatter(report: Report, *, wide: bool = True) -> str:
    """Draw every scored arm's headline score against the seconds it costs."""
    name = headline_metric(report)
    arms = [
        arm
        for arm in finished(report)
        if total_seconds(arm) is not None and math.isfinite(arm.test[name].high)
    ]
    if not arms:
        return ""
    size = (880.0, 420.0) if wide else (360.0, 400.0)
    plot = Rect(AXIS, 26, size[0] - 12, size[1] - 50)
    scores = [arm.test[name] for arm in arms]
    domain = score_domain(scores, narrow=True, metric=name)
    # Better is up, even if that means a lower value.
    worst, best = domain[:: sign(name)]
    y = svg.Scale(worst, best, plot.bottom, plot.top)
    seconds = {arm.name: max(total_seconds(arm) or 0.0, 0.1) for arm in arms}
    visible = [arm for arm in arms if not _is_off(arm.test[name], y, name)]
    x = _time_scale([seconds[arm.name] for arm in visible], plot)
    dots = [_dot(report, arm, x.clamped(seconds[arm.name]), y) for arm in arms]
    frontier = _frontier(dots)
    parts = [
        _axes(x, y, plot, report),
        _best_band(report, arms, y, plot),
        svg.path(frontier, "frontier") if len(frontier) > 1 else "",
        *(_whisker(dot) for dot in dots),
        *_labels(dots, frontier, plot),
        *(svg.circle(dot.x, dot.y, 5.5, f"dot {dot.css}", dot.title) for dot in reversed(dots)),
        *(
            svg.circle(dot.x, at, 2.6, f"training {dot.css}", title)
            for dot in dots
            for at, title in dot.trainings
        ),
    ]
    title = f"{label(report, name)} of each arm against the time it takes"
    return svg.frame(*size, title, parts, "wide" if wide else "narrow")


def _is_off(score: Score, y: svg.Scale, name: str) -> bool:
    """Return whether a score is worse than the axis shows."""
    return sign(name) * (score.value - y.low) < 0


def _time_scale(seconds: Sequence[float], plot: Rect) -> svg.Scale:
    low, high = min(seconds), max(seconds)
    spread = max(math.log(high / low), 1.0)
    room = math.exp(0.06 * spread)
    return svg.Scale(low / room**2, high * room**2, plot.left, plot.right, log=True)


def _dot(report: Report, arm: ArmReport, x: float, y: svg.Scale) -> Dot:
    name = headline_metric(report)
    score = arm.test[name]
    below = _is_off(score, y, name)
    css = "pick" if arm.name == report.verdict.recommended else "other"
    cost = display.duration(total_seconds(arm))
    return Dot(
        name=arm.name,
        x=max(x, AXIS + 14) if below else x,
        y=y.clamped(score.value) - (8 if below else 0),
        top=min(y.clamped(score.high), y.clamped(score.low)),
        bottom=max(y.clamped(score.high), y.clamped(score.low)),
        css=f"{css} below" if below else css,
        title=f"{arm.name}: {display.metric(name, score.value)}, {cost}",
        note=f"{display.metric(name, score.value)} ↓" if below else "",
        trainings=tuple(
            (y(one), f"{arm.name}, seed {seed}: {display.metric(name, one)}")
            for seed, one in trainings(report, arm)
            if not below and min(y.low, y.high) <= one <= max(y.low, y.high)
        ),
    )


def _axes(x: svg.Scale, y: svg.Scale, plot: Rect, report: Report) -> str:
    name, marks = headline_metric(report), _time_marks(x)
    time = f"time to make and to answer {PREDICTIONS:,} {noun(report)}s →"
    names, span = (label(report, name), time), (plot.left, plot.right)
    return svg.axes(x, y, span, names, marks, share=display.is_share(name)) + "".join(
        svg.line(x(t), plot.bottom, x(t), plot.bottom + 5, "axis") for t in marks
    )


def _time_marks(x: svg.Scale) -> dict[float, str]:
    """Choose round times, more of them on a short axis."""
    for times in (ROUND_TIMES, ROUND_TIMES | BETWEEN):
        marks = {t: words for t, words in times.items() if x.low <= t <= x.high}
        if len(marks) > 2:
            return marks
    if len(marks) > 1:
        return marks
    unit = 3600 if x.low >= 7200 else 60 if x.low >= 120 else 1
    # Few, unless only more of them are whole minutes or hours.
    choices = [svg.ticks(x.low / unit, x.high / unit, about) for about in (3, 4, 6, 8)]
    whole = next((times for times in choices if all(t == int(t) for t in times)), choices[0])
    return {unit * t: display.duration(unit * t) for t in whole}


def _best_band(report: Report, arms: list[ArmReport], y: svg.Scale, plot: Rect) -> str:
    best = next((arm for arm in arms if arm.name == report.verdict.best), None)
    if best is None:
        return ""
    score: Score = best.test[headline_metric(report)]
    top, bottom = sorted((y.clamped(score.high), y.clamped(score.low)))
    return svg.box(plot.left, top, plot.right - plot.left, bottom - top, "band")


def _frontier(dots: list[Dot]) -> list[Point]:
    """Return the Pareto-optimal arms in quality and time, cheapest first."""
    points: list[Point] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, dot.y)):
        if "below" not in dot.css and (not points or dot.y < points[-1][1]):
            points.append((dot.x, dot.y))
    return points


def _whisker(dot: Dot) -> str:
    if "below" in dot.css or dot.bottom - dot.top < 1:
        return ""
    return svg.line(dot.x, dot.top, dot.x, dot.bottom, f"whisker {dot.css}")


def _labels(dots: list[Dot], frontier: list[Point], plot: Rect) -> list[str]:
    whiskers = [Rect(dot.x - 2, dot.top, dot.x + 2, dot.bottom) for dot in dots]
    line = [Rect(x - 3, y - 3, x + 3, y + 3) for x, y in _along(frontier)]
    bounds = Rect(plot.left, plot.top - 14, plot.right + 10, plot.bottom - 2)
    named = [(dot.x, dot.y, dot.label) for dot in dots]
    places = place_names(named, whiskers + line, bounds)
    return [_label(dot, at) for dot, at in zip(dots, places, strict=True)]


def _along(points: list[Point]) -> list[Point]:
    """Return points every few pixels on a line, as obstacles for the names."""
    return [
        (x1 + (x2 - x1) * step / 40, y1 + (y2 - y1) * step / 40)
        for (x1, y1), (x2, y2) in pairwise(points)
        for step in range(41)
    ]


def _label(dot: Dot, at: NamePlace) -> str:
    leader = svg.line(dot.x, dot.y, *at.foot, "leader") if at.needs_line else ""
    y = (at.rect.top + at.rect.bottom) / 2 + 4.5
    return leader + svg.text(at.x, y, dot.label, anchor=at.anchor, css=f"label {dot.css}")
