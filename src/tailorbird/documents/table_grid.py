"""One grid for tables of every format: resolves spans and joins headers to their values.

A reader supplies rows of cells as in its markup; `table_lines` returns lines of text in which each
value has the headers of its column and row.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from tailorbird.documents.decode_text import squeeze

Header = Literal["", "maybe", "data", "th", "column", "row"]

_MOST_COLUMNS = 1000  # HTML's limit of a span
_MOST_COVERED = 1_000_000
_LONGEST_NAME = 60
_LONGEST_REPEATED = 300
_SAMPLE_ROWS = 200
_UNIFORM = 0.8
_LIKE_DIGITS = 2  # digits of one kind differ less than those of a height and a population
_NUMBER = re.compile(r"[-+−(]?[$€£¥]?\s?[-+−]?\d[\d.,'\u00a0\u202f ]*(?:[eE][-+]?\d+)?\s?[%€$£¥)]?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_TIME = r"\d\d?:\d\d(?::\d\d)?"
_DATE = re.compile(rf"\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{1,4}}(?:[T ]{_TIME})?|{_TIME}")
_LINK = re.compile(r"(?<!\S)[^\s@]++@[^\s.]++\.\S+|https?://\S+")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the markup.

    Attributes:
        header: What the markup says: ``column`` and ``row`` name the column below and the row
            beside, ``th`` names whichever its place suggests, ``data`` names nothing. Empty where
            the markup is silent; once one cell of a table is not, empty means ``data``. ``maybe``
            is what programs write by themselves: less than a word of the author's.
        strong: Whether all its words are bold, which counts without header markup.
    """

    text: str
    rows: int = 1
    columns: int = 1
    header: Header = ""
    strong: bool = False


def whole_number(text: str | None, default: int = 1, most: int = 10**6) -> int:
    """Parse an integer, at most `most`; return the default if it is invalid."""
    text = (text or "").strip()
    return min(int(text[:12]), most) if text.isascii() and text.isdigit() else default


Rows = Sequence[Sequence[Cell | str]]
_Place = tuple[int, int]


def with_first_row(rows: Sequence[Sequence[Cell]], header: Header) -> list[list[Cell]]:
    """Return rows with the first marked as header, and the group headers below it.

    Bold words in it override ``data``.
    """
    marked = [list(row) for row in rows]
    if not rows or (header == "data" and all(cell.strong for cell in rows[0] if cell.text)):
        return marked
    titles = (len(row) == 1 and row[0].columns > 1 for row in rows)
    first = next((r for r, title in enumerate(titles) if not title), 0)
    depth = 1
    if header == "column":
        groups = any(cell.columns > 1 for cell in rows[first])
        depth = max([1 + groups, *(cell.rows for cell in rows[first])])
        depth = max(min(depth, len(rows) - first - 1), 1)
    sure = ("column",) if header == "column" else ("column", "row")
    for row in marked[first : first + depth]:
        row[:] = [cell if cell.header in sure else replace(cell, header=header) for cell in row]
    return marked


@dataclass(slots=True)
class TableGrid:
    """A rectangle of values; a span's value fills all its positions.

    Attributes:
        values: Rows of the same length; empty positions hold an empty text.
        origins: The first position of a cell that begins elsewhere, by covered position.
        headers: The markup's header roles, by the first position of a cell.
        strong: The first positions of bold cells.
    """

    values: list[list[str]] = field(default_factory=list)
    origins: dict[_Place, _Place] = field(default_factory=dict)
    headers: dict[_Place, Header] = field(default_factory=dict)
    strong: set[_Place] = field(default_factory=set)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.values[0]) if self.values else 0

    def origin(self, row: int, column: int) -> _Place:
        """Return the first position of the cell at a position."""
        return self.origins.get((row, column), (row, column))

    def header(self, row: int, column: int) -> Header:
        """Return the markup's header role of the cell at a position."""
        return self.headers.get(self.origin(row, column), "")

    def cells(self, row: int) -> dict[_Place, str]:
        """Return the texts of a row's non-empty cells by their first position.

        Long texts that began above are left out too, so that they are written once.
        """
        places = ((self.origin(row, c), text) for c, text in enumerate(self.values[row]) if text)
        return {p: text for p, text in places if p[0] == row or len(text) <= _LONGEST_REPEATED}

    def continues(self, row: int) -> bool:
        """Return whether a row holds only cells that began above it."""
        return all(place[0] < row for place in self.cells(row))

    def spans(self, row: int) -> bool:
        """Return whether one cell spans all of several columns."""
        return self.width > 1 and len({self.origin(row, c) for c in range(self.width)}) == 1


def lay_out(rows: Rows) -> TableGrid:
    """Return the grid of a table, without empty rows and columns.

    Spans end at the table's last row; spans that together cover more than a million positions count
    as one row and column.
    """
    grid = TableGrid()
    ahead: dict[_Place, _Place] = {}  # covered positions, with the first position of their cells
    budget = _MOST_COVERED
    placed: list[dict[int, str]] = []
    for r, row in enumerate(rows):
        line: dict[int, str] = {}
        column = 0
        for cell in row:
            while ahead and (r, column) in ahead:
                column += 1
            if isinstance(cell, str):
                line[column] = squeeze(cell)
                column += 1
                continue
            text = squeeze(cell.text)
            high = min(max(cell.rows, 1), len(rows) - r)
            wide = min(max(cell.columns, 1), _MOST_COLUMNS)
            if high * wide - 1 > budget:
                high = wide = 1
            budget -= high * wide - 1
            line[column] = text
            if cell.header:
                grid.headers[r, column] = cell.header
            if cell.strong:
                grid.strong.add((r, column))
            for place in product(range(r, r + high), range(column, column + wide)):
                ahead.setdefault(place, (r, column))
            column += wide
        placed.append(line)
    return _rectangle(grid, placed, ahead)


def _rectangle(
    grid: TableGrid, placed: list[dict[int, str]], ahead: dict[_Place, _Place]
) -> TableGrid:
    """Return the grid with filled values, without rows and columns that no cell begins in."""
    rows = [r for r, line in enumerate(placed) if any(line.values())]
    columns = sorted({c for line in placed for c, text in line.items() if text})
    row_at = {r: i for i, r in enumerate(rows)}
    column_at = {c: i for i, c in enumerate(columns)}
    for (r, c), (top, left) in ahead.items():
        if c in column_at:
            placed[r].setdefault(c, placed[top].get(left, ""))

    def moved(place: _Place) -> _Place:
        return row_at.get(place[0], -1), column_at.get(place[1], -1)

    grid.values = [[placed[r].get(c, "") for c in columns] for r in rows]
    grid.origins = {moved(p): moved(o) for p, o in ahead.items() if p != o and -1 not in moved(p)}
    grid.headers = {moved(p): kind for p, kind in grid.headers.items()}
    grid.strong = {moved(p) for p in grid.strong}
    return grid


def table_lines(rows: Rows) -> Iterator[str]:
    """Yield a table's lines: ``column: value; column: value``, ``row: value``, or with bars."""
    grid = lay_out(rows)
    height = len(grid.values)
    first = next((r for r in range(height) if not _is_title(grid, r)), height)
    for r in range(first):
        yield next(iter(grid.cells(r).values()))
    kinds = set(grid.headers.values())
    silent = kinds <= {"maybe"} or kinds == {"maybe", "row"}
    heads = _guessed_heads(grid, first) if silent else _marked_heads(grid, first)
    names: list[str] | None = None
    head: list[str] = []
    for r in range(first, height):
        if r in heads:
            if r - 1 not in heads or names is None:
                names = _names(grid, r, heads)
            head = grid.values[r]
        elif grid.continues(r):
            continue
        elif grid.spans(r):
            yield grid.values[r][0]
        elif names is not None:
            if grid.values[r] != head:  # the header repeats on every page
                yield _named_line(grid, r, names)
        else:
            yield _unnamed_line(grid, r)


def _is_title(grid: TableGrid, row: int) -> bool:
    """Return whether a row of several columns holds one cell that spans all."""
    if grid.width < 2 or row + 1 >= len(grid.values):
        return False
    alone = len(grid.cells(row)) == 1 and bool(grid.values[row][0])
    return grid.spans(row) or (alone and grid.header(row, 0) not in ("column", "th"))


def _marked_heads(grid: TableGrid, first: int) -> set[int]:
    """Return the header rows by the markup; none if there is no other row."""
    heads = {r for r in range(first, len(grid.values)) if _is_marked_head(grid, r)}
    return heads if len(heads) < len(grid.values) - first else set()


def _is_marked_head(grid: TableGrid, row: int) -> bool:
    # The corner cell is ambiguous: empty, or the name of the row or column headers.
    columns = [c for c in range(grid.width) if grid.values[row][c] and (c or grid.width == 1)]
    return (
        bool(columns)
        and not grid.spans(row)
        and all(grid.header(row, c) in ("column", "th") for c in columns)
    )


def _names(grid: TableGrid, row: int, heads: set[int]) -> list[str]:
    """Return each column's name, joined from consecutive header rows."""
    last = row
    while last + 1 in heads:
        last += 1
    names = []
    for column in range(grid.width):
        parts: list[str] = []
        for r in range(row, last + 1):
            text = grid.values[r][column].removesuffix(":")
            if text and text not in parts[-1:]:
                parts.append(text)
        names.append(" / ".join(parts))
    return names


def _named_line(grid: TableGrid, row: int, names: list[str]) -> str:
    """Return a row with its columns' names; a spanning cell has each of its columns' names."""
    if not grid.origins:
        pairs = zip(names, grid.values[row], strict=True)
        return "; ".join(f"{name}: {text}" if name else text for name, text in pairs if text)
    texts = grid.cells(row)
    groups: dict[_Place, list[str]] = {place: [] for place in texts}
    for column, name in enumerate(names):
        heads = groups.get(grid.origin(row, column), [name])
        if grid.values[row][column] and name not in heads:
            heads.append(name)
    parts = []
    for place, text in texts.items():
        over = list(filter(None, groups[place]))
        if len(over) > 1 and len(text) > _LONGEST_REPEATED:
            over = [", ".join(over)]
        parts += [f"{name}: {text}" for name in over] or [text]
    return "; ".join(parts)


def _unnamed_line(grid: TableGrid, row: int) -> str:
    """Return a row without column names: its row header, then its values."""
    heads: list[str] = []
    values: list[str] = []
    for place, text in grid.cells(row).items():
        if not values and grid.headers.get(place) in ("row", "th"):
            heads.append(text.removesuffix(":"))
        else:
            values.append(text)
    if not heads and grid.width == 2 and len(values) == 2:  # pairs, in either direction
        heads, values = [values[0].removesuffix(":")], values[1:]
    if heads and values:
        return f"{' / '.join(heads)}: {' | '.join(values)}"
    return " | ".join(heads or values)


def _guessed_heads(grid: TableGrid, first: int) -> set[int]:
    """Return the likely header rows without markup; none if in doubt."""
    depth = 1
    while first + depth < len(grid.values) and (
        _is_group(grid, first + depth - 1) or grid.continues(first + depth)
    ):
        depth += 1
    body = range(first + depth, min(len(grid.values), first + depth + _SAMPLE_ROWS))
    heads = set(range(first, first + depth))
    if not body or any(grid.origin(r, c)[0] in heads for r in body[:1] for c in range(grid.width)):
        return set()  # a first-row cell spans into the values
    names = _names(grid, first, heads)
    strong = _strong(grid, first + depth - 1)
    if strong and not any(_strong(grid, r) for r in body[:3]):
        return heads if _are_names(names, grid, body) else set()
    if _first_column_strong(grid, first):
        return set()
    if not _are_names(names, grid, body) or _is_contradicted(names, grid, body):
        return set()
    likely = all(grid.headers.get(place) for place in grid.cells(first))
    return heads if grid.width > 2 or _are_records(names, grid, body, likely) else set()


def _is_group(grid: TableGrid, row: int) -> bool:
    """Return whether a cell spans some columns whose own names are in the row below."""
    return any(grid.origins.get((row, c), (-1, -1))[0] == row for c in range(grid.width))


def _strong(grid: TableGrid, row: int) -> bool:
    return all(place in grid.strong for place in grid.cells(row))


def _first_column_strong(grid: TableGrid, first: int) -> bool:
    """Return whether bold words are exactly the row headers."""
    rows = range(first, min(len(grid.values), first + _SAMPLE_ROWS))
    beside = {grid.origin(r, c) for r in rows for c in range(1, grid.width)}
    return all(grid.origin(r, 0) in grid.strong for r in rows if grid.values[r][0]) and not (
        beside & grid.strong
    )


def _are_names(names: list[str], grid: TableGrid, body: range) -> bool:
    """Return whether texts look like column names: mostly short, distinct words."""
    texts = [name for name in names if name]
    widest = max(sum(map(bool, grid.values[r])) for r in body)
    numbers = [name for name in texts if not any(map(str.isalpha, name))]
    return (
        len(texts) >= max(2 if names[0] else 1, (widest + 1) // 2)
        and len(set(texts)) == len(texts)
        and max(map(len, texts)) <= _LONGEST_NAME
        and (3 * len(numbers) <= len(texts) or _are_times(numbers))
    )


def _are_times(texts: list[str]) -> bool:
    """Return whether texts are consecutive years or dates."""
    alike = all(map(is_year, texts)) or all(kind_of(text) == "date" for text in texts)
    return alike and texts in (sorted(texts), sorted(texts)[::-1])


def _is_contradicted(names: list[str], grid: TableGrid, body: range) -> bool:
    """Return whether a header is of the same kind as its values, or one of them."""
    for column, name in enumerate(names):
        values = [grid.values[r][column] for r in body if grid.values[r][column]]
        if not values or not name:
            continue
        kind, count = Counter(map(kind_of, values)).most_common(1)[0]
        years = is_year(name) and not all(map(is_year, values))
        alike = kind_of(name) == kind != "words" and count >= _UNIFORM * len(values)
        if alike and not years:
            return True
        if name in values and kind == "words":
            return True
    return False


def _are_records(names: list[str], grid: TableGrid, body: range, likely: bool) -> bool:
    """Return whether two named columns are records rather than name and value pairs."""
    labels = [grid.values[r][0] for r in body if grid.values[r][0]]
    kinds = [kind_of(grid.values[r][1]) for r in body if grid.values[r][1]]
    if any(label.endswith(":") for label in labels) or not kinds:
        return False
    if not names[0] or len(set(labels)) < len(labels) or "words" not in map(kind_of, labels):
        return True
    kind, count = Counter(kinds).most_common(1)[0]
    lengths = [sum(map(str.isdigit, grid.values[r][1])) for r in body if grid.values[r][1]]
    alike = count >= _UNIFORM * len(kinds) and max(lengths) - min(lengths) <= _LIKE_DIGITS
    return alike and (likely or (kind in ("number", "date") and count >= 3))


def is_year(text: str) -> bool:
    """Return whether a text is a year, which may name a column although it is a number."""
    return bool(_YEAR.fullmatch(text))


def kind_of(text: str) -> str:
    """Return the kind of a text: numbers, dates, links, words, or words with digits."""
    if len(text) > _LONGEST_NAME:
        return "words"
    for name, pattern in (("date", _DATE), ("number", _NUMBER), ("link", _LINK)):
        if pattern.fullmatch(text):
            return name
    if any(char.isdigit() for char in text):
        return re.sub(r"\d+", "#", text)
    return "words"
