"""Tables of a PDF, recognised by cells that are aligned in columns.

Only a certain table becomes one: a value under a wrong header is worse than a plain line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tailorbird.documents.pdf_layout import Line
from tailorbird.documents.table_grid import Cell, Rows

_FEW_ROWS = 2
_MOST_HEADS = 3
_MOSTLY = 0.8
_YEAR = re.compile(r"(?:19|20)\d\d")

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PdfTable:
    """A table's cells, and the number of page lines it spans."""

    rows: Rows
    lines: int


def read_table(lines: Sequence[Line]) -> PdfTable | None:
    """Return the table that begins at the first line, or None."""
    count = _height(lines)
    columns = _columns(lines[:count])
    if count <= _FEW_ROWS or len(columns) < 2:
        return None
    placed = [_by_column(line, columns) for line in lines[:count]]
    rows = [row for row in placed if row is not None]
    if len(rows) < count:  # two cells of a line in one column
        return None
    numeric = [i for i in range(len(columns)) if _mostly_numbers([row[i] for row in rows[1:]])]
    heads = _heads(rows, numeric)
    bold = lines[0].bold and not lines[count - 1].bold
    if not heads or count - heads < _FEW_ROWS or not (bold or (numeric and len(columns) > 2)):
        return None
    names = [" ".join(filter(None, column)) for column in zip(*rows[:heads], strict=True)]
    if not all(names[1:]) or any(name.endswith(":") for name in names):
        return None
    head = [Cell(name, header="column") for name in names]
    return PdfTable([head, *rows[heads:]], count)


def _height(lines: Sequence[Line]) -> int:
    """Return how many of the first lines may be rows of one table."""
    count = 0
    for before, line in zip([None, *lines], lines, strict=False):
        if len(line.cells) < 2 or (before and line.turn != before.turn):
            break
        if before and not 0 < before.base - line.base < 3 * max(line.size, before.size):
            break
        count += 1
    return count


def _columns(lines: Sequence[Line]) -> list[_Span]:
    """Return the spans of columns: aligned cells form one."""
    columns: list[_Span] = []
    for left, right in sorted(place for line in lines for place in line.places):
        if columns and left <= columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], right))
        else:
            columns.append((left, right))
    return columns


def _by_column(line: Line, columns: Sequence[_Span]) -> list[str] | None:
    """Return a line's cell for each column; None if two share one."""
    row = [""] * len(columns)
    for text, (left, _) in zip(line.cells, line.places, strict=True):
        column = max(i for i, (begin, _) in enumerate(columns) if begin <= left)
        if row[column]:
            return None
        row[column] = text
    return row


def _mostly_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return 2 * len(filled) > len(cells) and sum(map(_number, filled)) >= _MOSTLY * len(filled)


def _number(text: str) -> bool:
    return any(map(str.isdigit, text)) and sum(map(str.isalpha, text)) <= 2


def _heads(rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> int:
    """Return the number of header rows: they contain no numbers except years."""
    for cell, below in zip(rows[0], rows[1], strict=True):
        if cell and _number(cell) and (not _YEAR.fullmatch(cell) or _YEAR.fullmatch(below)):
            return 0
    count = 1
    while (
        numeric
        and count < min(_MOST_HEADS, len(rows))
        and not any(rows[count][i] and _number(rows[count][i]) for i in numeric)
    ):
        count += 1
    return count
