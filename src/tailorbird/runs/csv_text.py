"""Tables for people as CSV: no cell is a formula to the spreadsheet that opens it."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# What spreadsheets run, also behind the line ends and tabs that they leave out, and full-width.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_HARMLESS = re.compile(r"[-+]?(\d[\d.,]*|[.,]\d+)(e[-+]?\d{1,3})?\s?%?|[-+]+", re.IGNORECASE)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, raw: bool = False) -> str:
    """Return a table as CSV, with an apostrophe before what a spreadsheet would run.

    Args:
        columns: Their names.
        rows: Their cells.
        raw: For programs: every cell as it is.

    Example:
        >>> print(csv_text(["n", "text"], [[-3.5, "=1+1"], ["-3.5", "plain"]]), end="")
        n,text
        -3.5,'=1+1
        -3.5,plain
    """
    return csv_lines((columns, *rows), raw=raw)


def csv_lines(rows: Iterable[Sequence[Any]], *, raw: bool = False) -> str:
    """Return rows of a table as `csv_text` writes them, without its head."""
    buffer = io.StringIO()
    # With this line end a carriage return in a cell is quoted too; else it would end the row.
    writer = csv.writer(_LineEnds(buffer), lineterminator="\r\n")
    for row in rows:
        writer.writerow(row if raw else [_inert(cell) for cell in row])
    return buffer.getvalue()


class _LineEnds:
    """Takes the csv module's rows, and ends them as the system's other tools do."""

    def __init__(self, buffer: io.StringIO) -> None:
        self.buffer = buffer

    def write(self, row: str) -> int:
        return self.buffer.write(row.removesuffix("\r\n") + "\n")


def _inert(cell: Any) -> Any:
    """Return a cell that a spreadsheet takes for words or a number."""
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _HARMLESS.fullmatch(cell):
        return cell
    return f"'{cell}"
