"""Rows as they stand in a file, before anyone says which column is what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tailorbird.errors import UserError

MAX_CELL_CHARACTERS = 1_000_000
"""Longer cells are refused: in practice they are an unclosed quote, not a text."""

_LISTED = 5


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns and rows.

    Attributes:
        path: The file, as the user named it.
        columns: Column names, all different.
        rows: One tuple per row, one raw value per column; None where the file has none.
        places: Where each row starts: line numbers, or row numbers where lines mean nothing.
        unit: What ``places`` counts.
        headed: The names came from a header line (which the user may have forgotten).
        notes: What was assumed while reading, in words.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    places: tuple[int, ...]
    unit: Literal["line", "row"] = "line"
    headed: bool = False
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> list[Any]:
        """Return one column's raw values."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def only(self, names: Sequence[str]) -> "Table":
        """Return the table with these columns alone."""
        places = [self.columns.index(name) for name in names]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        return replace(self, columns=tuple(names), rows=rows)


def listed(unit: str, numbers: list[int]) -> str:
    """Return ``"line 4"`` or ``"lines 4, 9 and 12 more"``."""
    shown = ", ".join(str(number) for number in numbers[:_LISTED])
    more = f" and {len(numbers) - _LISTED:,} more" if len(numbers) > _LISTED else ""
    return f"{unit}{'s' if len(numbers) > 1 else ''} {shown}{more}"


def duplicate_columns(path: Path, names: list[str]) -> UserError:
    """Return the fault of a file in which a column name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    return UserError(
        f"{path}: the column name {', '.join(map(repr, twice))} occurs more than once",
        "rename or remove one of the columns, so that every name is different",
    )
