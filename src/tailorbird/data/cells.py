"""Raw cells to text: numbers and dates as a person would write them, the rest refused."""

from datetime import date, time
from decimal import Decimal
from typing import Any

from tailorbird.data.table import MAX_CELL_CHARACTERS, RowPlace, Table, place_list
from tailorbird.errors import Faults

_NO_LABEL = {"", "nan", "<na>", "#n/a", "null"}
"""What pandas, spreadsheets and databases write for a missing value ("none" may be a class)."""

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


def column_texts(table: Table, column: str, faults: Faults) -> list[str | None]:
    """Return a column as text, None where missing; cells that cannot be text are noted."""
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
    """Return a cell as text (None where missing), and what is wrong with it."""
    if isinstance(value, str):
        if len(value) > MAX_CELL_CHARACTERS:
            return value, _TOO_LONG
        return value, "" if is_whole(value) else HALF
    if value is None or value != value:  # NaN alone differs from itself
        return None, ""
    if isinstance(value, bool):
        return str(value).lower(), ""
    if isinstance(value, float) and value.is_integer():
        # A column of whole numbers becomes floats as soon as one is missing: 1.0 is still "1".
        return str(int(value)), ""
    if isinstance(value, int | float | Decimal | date | time):
        return str(value), ""
    # Not None: it is reported once, as what it is, and not again as missing.
    return "?", _BYTES if isinstance(value, bytes) else _NO_TEXT


def missing_label(value: str | None) -> bool:
    """Whether a cell of the label column holds no label."""
    return value is None or value.strip().casefold() in _NO_LABEL


def is_whole(value: str) -> bool:
    """Whether every character can be written as UTF-8; half a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
