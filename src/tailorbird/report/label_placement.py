"""Where names go on a scatter plot: beside their dots, on nothing, and never in doubt whose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

GLYPH = 6.9  # mean advance of the 12.5 px label font, a little generous
HALF_LINE = 8.0
TOUCHING = 14.0  # a name this near its dot needs no line to it
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

    def distance(self, point: Point) -> float:
        """Return how far a point is from this box; 0 inside."""
        across = max(self.left - point[0], 0.0, point[0] - self.right)
        down = max(self.top - point[1], 0.0, point[1] - self.bottom)
        return math.hypot(across, down)


@dataclass(frozen=True, slots=True)
class NamePlace:
    """Where a name stands; ``foot`` is the end of the line from its dot."""

    rect: Rect
    anchor: str
    x: float
    foot: Point
    distance: float
    rank: int

    @property
    def needs_line(self) -> bool:
        """Whether the name is too far from its dot to be read as its own."""
        return self.distance > TOUCHING


def place_names(
    dots: Sequence[tuple[float, float, str]], obstacles: Sequence[Rect], bounds: Rect
) -> list[NamePlace]:
    """Choose a place per name, in a few rounds so that early names may give way to later ones."""
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
    """Charge for covering dots and names, and for a name that could belong to another dot."""
    cost = sum(4 * at.rect.overlap(name.rect) for name in names)
    for dot in others:
        gap = at.rect.distance(dot)
        cost += 300 if gap < 6 else 0
        cost += 60 if gap < at.distance - 1 else 0
    if at.needs_line:
        for share in (0.3, 0.5, 0.7, 0.9):
            point = (
                own[0] + share * (at.foot[0] - own[0]),
                own[1] + share * (at.foot[1] - own[1]),
            )
            cost += sum(80 for dot in others if math.dist(point, dot) < 8)
            cost += sum(80 for name in names if name.rect.distance(point) < 1)
    return cost
