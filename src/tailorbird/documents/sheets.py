"""XLSX, XLS and ODS: every sheet's tables, row by row; the door to calamine."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable
from tailorbird.documents.zipped import core_properties, opened

_OLE_KINDS = (".xls",)


def read_sheets(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read the sheets as headings; rows as ``column: value``; formulas as their values."""
    title = ""
    if path.suffix.lower() not in _OLE_KINDS:
        with opened(path) as archive:  # looks for bombs before calamine unpacks
            title = core_properties(archive).get("title", "")
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
    except calamine.PasswordError as error:
        raise Unreadable("encrypted: it needs a password") from error
    except calamine.CalamineError as error:
        raise Unreadable(f"damaged or no such workbook: {error}") from error
    builder = TextBuilder()
    for number, name in enumerate(book.sheet_names, 1):
        builder.leave()
        builder.page(number)
        try:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
        except calamine.CalamineError as error:
            notes.append(f"sheet {name!r}: {error}")
            continue
        tables = [_without_empty_columns(table) for table in _tables(rows)]
        if tables:
            builder.heading(name, 1)
        for table in tables:
            builder.table(table)
    yield Parsed(*builder.result(), title)


def _tables(rows: list[list[Any]]) -> Iterator[list[list[str]]]:
    """Yield the groups of rows between empty ones, as words."""
    table: list[list[str]] = []
    for row in rows:
        cells = [_shown(value) for value in row]
        if any(cells):
            table.append(cells)
        elif table:
            yield table
            table = []
    if table:
        yield table


def _without_empty_columns(table: list[list[str]]) -> list[list[str]]:
    kept = [i for i in range(max(map(len, table))) if any(i < len(r) and r[i] for r in table)]
    return [[row[i] if i < len(row) else "" for i in kept] for row in table]


def _shown(value: Any) -> str:
    """Return a cell as a person would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
