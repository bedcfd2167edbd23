"""Confusions between classes: a heat map for a few classes, a list of pairs for many."""

from collections.abc import Sequence
from dataclasses import dataclass

HEAT_MAP_CLASSES = 20
LEVELS = 9


@dataclass(frozen=True, slots=True)
class Mistake:
    """Test texts of one class that were predicted as another."""

    label: str
    predicted: str
    count: int
    support: int

    @property
    def share(self) -> float:
        """The share of the true class."""
        return self.count / self.support if self.support else 0.0


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell of the heat map; ``level`` is 0 for none to 9 for the whole row."""

    count: int
    level: int
    correct: bool


Matrix = Sequence[Sequence[int]]


def confused_pairs(labels: Sequence[str], confusion: Matrix, most: int = 20) -> list[Mistake]:
    """Return the most frequent mistakes, largest first."""
    pairs = [
        Mistake(labels[i], labels[j], count, sum(row))
        for i, row in enumerate(confusion[: len(labels)])
        for j, count in enumerate(row[: len(labels)])
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:most]


def heat_map(labels: Sequence[str], confusion: Matrix) -> list[tuple[str, list[HeatCell]]]:
    """Return one row per true class, or nothing when there are too many to read."""
    if not confusion or len(labels) != len(confusion) or len(labels) > HEAT_MAP_CLASSES:
        return []
    return [
        (
            labels[i],
            [HeatCell(count, _level(count, sum(row)), i == j) for j, count in enumerate(row)],
        )
        for i, row in enumerate(confusion)
    ]


def _level(count: int, support: int) -> int:
    """Grade a share of the row; even a single mistake is faintly visible."""
    return max(1, round(LEVELS * count / support)) if count and support else 0
