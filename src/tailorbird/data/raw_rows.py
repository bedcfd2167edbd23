"""The raw rows of a file, before columns have roles."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tailorbird.data.message_words import name_list, place_list
from tailorbird.errors import Faults, UserError

MAX_CELL_CHARACTERS = 1_000_000
"""Longer cells are refused, since in practice they are an unclosed quote."""

MAX_COLUMNS = 10_000
MAX_NAME_CHARACTERS = 1_000
Row = tuple[Any, ...]
Unit = Literal["line", "row"]
_NO_LABEL = {"", "nan", "<na>", "#n/a", "null"}
"""Missing values as written by pandas, spreadsheets and databases ("none" may be a class)."""

_NO_TEXT = "holds a list or an object instead of a text"
_BYTES = "holds bytes instead of a text"
HALF = "holds half a surrogate pair (a broken emoji)"
_TOO_LONG = f"holds more than {MAX_CELL_CHARACTERS:,} characters"
_CELL_FIXES = {
    _NO_TEXT: "write one text per row; for several labels per text write one row for each, "
    "or a list in every row (--task multilabel)",
    _BYTES: "store the column as strings (UTF-8)",
    HALF: "write the character whole: as UTF-8, or as two \\u escapes in JSON",
    _TOO_LONG: "cut the text into shorter ones, or look for a quotation mark that is never closed",
}


class RowPlace(NamedTuple):
    """A row's place among several files."""

    number: int
    file: str

    def __str__(self) -> str:
        return f"{self.number} of {self.file}"


@dataclass(slots=True)
class Stream:
    """A file's rows as an iterator, so that they need not fit into memory.

    Attributes:
        rows: The start of each row, and its cells; missing cells at its end are None.
        columns: Names of the columns; for JSON they grow during iteration.
        unit: The unit of places.
        headed: The names came from a header line (which the user may have forgotten).
        warnings: Possible faults, in words; complete after iteration.
    """

    path: Path
    rows: Iterator[tuple[int, Row]]
    columns: list[str]
    unit: Unit = "line"
    headed: bool = False
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns and rows of a file, or of several as one.

    Attributes:
        path: The file, as the user named it.
        rows: One tuple per row, one raw value per column; None if missing.
        places: The start of each row: line numbers, or row numbers if lines mean nothing; with the
            file if there are several.
        unit: The unit of ``places``.
        headed: The names came from a header line (which the user may have forgotten).
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    places: tuple[int | RowPlace, ...]
    unit: Unit = "line"
    headed: bool = False
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> list[Any]:
        """Return one column's raw values."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def named(self, *names: str) -> str | None:
        """Return the column with the first of these names that exists, ignoring case."""
        folded = {column.strip().casefold(): column for column in reversed(self.columns)}
        return next((folded[name] for name in names if name in folded), None)

    def only(self, names: Sequence[str]) -> "Table":
        """Return the table with only these columns."""
        places = [self.columns.index(name) for name in names]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        return replace(self, columns=tuple(names), rows=rows)


def duplicates(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def unique_names(names: Sequence[str]) -> list[str]:
    """Make names distinct: the second `note` becomes ``note (2)``.

    >>> unique_names(["note", "id", "note"])
    ['note', 'id', 'note (2)']
    """
    all_names = set(names)
    counts: Counter[str] = Counter()
    different = []
    for name in names:
        counts[name] += 1
        if counts[name] > 1:
            while (other := f"{name} ({counts[name]})") in all_names:
                counts[name] += 1
            all_names.add(other)
            name = other
        different.append(name)
    return different


def duplicate_columns(path: Path, names: Sequence[str]) -> UserError:
    """Return the error for a file with a repeated column name."""
    return UserError(
        f"{path}: the column name {name_list(duplicates(names))} occurs more than once",
        "rename or remove one of the columns, so that every name is different",
    )


def kind_of_value(value: Any) -> str:
    """Return the kind of a JSON value, for a message."""
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "a value")


def column_texts(table: Table, column: str, faults: Faults) -> list[str | None]:
    """Return a column as text, None if missing; unusable cells are noted."""
    texts: list[str | None] = []
    bad: dict[str, list[int | RowPlace]] = {}
    for value, place in zip(table.column(column), table.places, strict=True):
        text, fault = cell_text(value)
        if fault:
            bad.setdefault(fault, []).append(place)
        texts.append(text)
    for fault, places in bad.items():
        where = place_list(table.unit, places)
        faults.add(f"{table.path}: column {column!r} {fault} in {where}", _CELL_FIXES[fault])
    return texts


def cell_text(value: Any) -> tuple[str | None, str]:
    """Return a cell as text (None if missing), and what is wrong with it."""
    if isinstance(value, str):
        if len(value) > MAX_CELL_CHARACTERS:
            return value, _TOO_LONG
        return value, "" if is_whole(value) else HALF
    if value is None or value != value:  # NaN alone differs from itself
        return None, ""
    if isinstance(value, bool):
        return str(value).lower(), ""
    if isinstance(value, float) and value.is_integer():
        # An integer column with a missing value becomes floats: 1.0 is still "1".
        return str(int(value)), ""
    if isinstance(value, int | float | Decimal | date | time):
        return str(value), ""
    # Not None, so that it is reported once and not also as missing.
    return "?", _BYTES if isinstance(value, bytes) else _NO_TEXT


def missing_label(value: str | None) -> bool:
    """Return whether a cell of the label column contains no label."""
    return value is None or value.strip().casefold() in _NO_LABEL


def is_whole(value: str) -> bool:
    """Return whether every character has a UTF-8 form, unlike half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
