"""Finds the tables of a sheet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tailorbird.documents.table_grid import Cell, Header, is_year, kind_of

_COVERED = "\0"
_Box = tuple[int, int, int, int]
SheetTable = list[list[Cell | str]]


@dataclass(slots=True)
class SheetCells:
    """The cells of a sheet.

    Attributes:
        rows: Their texts, each row from column `left` on.
        left: Number of the first column, from 0.
        merged: First and last place of each merged cell.
        headers: Headers that the file marks, by their place.
        strong: Places of cells in bold.
    """

    rows: list[list[str]]
    left: int = 0
    merged: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    headers: dict[tuple[int, int], Header] = field(default_factory=dict)
    strong: set[tuple[int, int]] = field(default_factory=set)


def sheet_tables(sheet: SheetCells) -> Iterator[SheetTable]:
    """Yield the tables of a sheet, separated by empty rows and columns unless they continue."""
    sizes = _cover(sheet)
    last: _Box | None = None
    table: SheetTable = []
    width = max(map(len, sheet.rows), default=0)
    for row in sheet.rows:
        row.extend([""] * (width - len(row)))
    for box in _boxes(sheet.rows, (0, len(sheet.rows), 0, width)):
        rows = [_cells(sheet, sizes, r, box) for r in range(box[0], box[1])]
        if last is not None and _goes_on(sheet.rows, last, box):
            table += rows
        else:
            if table:
                yield table
            table = rows
        last = box
    if table:
        yield table


def _cover(sheet: SheetCells) -> dict[tuple[int, int], tuple[int, int]]:
    """Mark the positions that merged cells cover; return the rows and columns of each."""
    sizes = {}
    for (top, first), (bottom, last) in sheet.merged:
        left, right = first - sheet.left, last - sheet.left
        bottom = min(bottom, len(sheet.rows) - 1)
        if not (0 <= top <= bottom and 0 <= left < len(sheet.rows[top]) and sheet.rows[top][left]):
            continue
        right = min(right, len(sheet.rows[top]) - 1)
        sizes[top, left] = (bottom - top + 1, right - left + 1)
        for r in range(top, bottom + 1):
            for c in range(left, min(right + 1, len(sheet.rows[r]))):
                if (r, c) != (top, left):
                    sheet.rows[r][c] = _COVERED
    return sizes


def _cells(
    sheet: SheetCells, sizes: dict[tuple[int, int], tuple[int, int]], row: int, box: _Box
) -> list[Cell | str]:
    cells: list[Cell | str] = []
    for c in range(box[2], box[3]):
        text, place = sheet.rows[row][c], (row, c + sheet.left)
        if text == _COVERED:
            continue
        high, wide = sizes.get((row, c), (1, 1))
        header, strong = sheet.headers.get(place, ""), place in sheet.strong
        plain = (high, wide) == (1, 1) and not header and not strong
        cells.append(text if plain else Cell(text, high, wide, header, strong))
    return cells


def _boxes(rows: list[list[str]], box: _Box) -> Iterator[_Box]:
    """Yield the parts of a box between empty rows and columns, left before right."""
    top, bottom, left, right = box
    filled = [r for r in range(top, bottom) if any(rows[r][left:right])]
    for start, end in _runs(filled):
        groups = _groups(rows, (start, end, left, right))
        title = [c for c in range(left, right) if rows[start][c] not in ("", _COVERED)]
        if len(groups) == 1 and len(title) == 1 and end - start > 2:
            below = _groups(rows, (start + 1, end, left, right))
            if len(below) > 1:  # a title above tables side by side
                yield start, start + 1, left, right
                start, groups = start + 1, below
        for first, last in groups:
            if len(groups) > 1:
                yield from _boxes(rows, (start, end, first, last))
            else:
                yield start, end, first, last


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return the ranges of consecutive numbers, ends excluded."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def _groups(rows: list[list[str]], box: _Box) -> list[tuple[int, int]]:
    """Return the columns of each table side by side; a mere gap does not separate tables."""
    top, bottom, left, right = box
    used = sorted({c for r in range(top, bottom) for c in range(left, right) if rows[r][c]})
    groups: list[tuple[int, int]] = []
    for strip in _runs(used):
        if groups and not _stand_apart(rows, range(top, bottom), groups[-1], strip):
            groups[-1] = (groups[-1][0], strip[1])
        else:
            groups.append(strip)
    return groups


def _stand_apart(
    rows: list[list[str]], span: range, left: tuple[int, int], right: tuple[int, int]
) -> bool:
    """Return whether columns beside a gap are two tables: other first rows, or own labels."""
    starts, labelled = [], []
    for first, last in (left, right):
        within = [r for r in span if sum(map(bool, rows[r][first:last])) > 1]
        labels = [rows[r][first] for r in within[1:] if rows[r][first] not in ("", _COVERED)]
        words = sum(kind_of(label) == "words" for label in labels)
        if len(within) < 2:
            return False
        starts.append(within[0])
        labelled.append(2 * words >= len(labels) > 0)
    return starts[0] != starts[1] or all(labelled)


def _goes_on(rows: list[list[str]], last: _Box, box: _Box) -> bool:
    """Return whether a table continues below an empty row: same columns, numbers continue."""
    if last[2:] != box[2:] or last[1] > box[0] or last[1] - last[0] < 2:
        return False
    for c in range(box[2], box[3]):
        above, below = rows[last[1] - 1][c], rows[box[0]][c]
        if kind_of(above) == kind_of(below) != "words" and not is_year(below):  # no column's name
            return True
    return False
