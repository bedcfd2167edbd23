"""Reader of XLSX, XLSB, XLS and ODS: every sheet's tables by row; alone imports calamine."""

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tailorbird.documents.drawing import number_text
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable
from tailorbird.documents.sheet_tables import SheetCells, sheet_tables
from tailorbird.documents.text_builder import LONGEST_TEXT, TextBuilder
from tailorbird.documents.workbook import Workbook
from tailorbird.documents.zip_xml import office_facts, open_zip

_OLE_KINDS = (".xls", ".xlt")


def read_sheets(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a workbook of Excel.

    Sheets as headings (hidden ones too), rows as `column: value; column: value`, numbers with all
    their digits, formulas as their values; charts and text boxes of XLSX.
    """
    if path.suffix.lower() in _OLE_KINDS:
        yield _read(path, None, notes)
    else:
        with open_zip(path) as archive:  # checks for zip bombs before calamine unpacks
            title, _ = office_facts(archive)
            parsed = _read(path, Workbook(archive, notes), notes)
        yield Parsed(parsed.text, parsed.marks, title)


def _read(path: Path, workbook: Workbook | None, notes: Notes) -> Parsed:
    import python_calamine as calamine

    try:
        with path.open("rb") as file:  # as bytes: calamine does not know templates by name
            book = calamine.CalamineWorkbook.from_filelike(file)
    except calamine.PasswordError as error:
        raise Unreadable("encrypted: it needs a password") from error
    except calamine.CalamineError as error:
        raise Unreadable(f"damaged or no such workbook: {error}") from error
    builder = TextBuilder()
    hidden = [
        m.name for m in book.sheets_metadata if m.visible != calamine.SheetVisibleEnum.Visible
    ]
    if hidden:
        notes.append(f"hidden sheets are read too: {', '.join(map(repr, hidden))}")
    for number, name in enumerate(book.sheet_names, 1):
        builder.leave()
        builder.page(number)
        try:
            sheet = _sheet(book.get_sheet_by_name(name))
        except calamine.CalamineError as error:
            notes.append(f"sheet {name!r}: {error}")
            continue
        if workbook is not None:
            workbook.complete(name, sheet)
        tables = list(sheet_tables(sheet))
        if tables or (workbook is not None and any(workbook.drawings(name))):
            builder.heading(name, 1)
        for table in tables:
            builder.table(table)
        if workbook is not None:
            workbook.write_drawings(name, builder)
    return Parsed(*builder.result())


def _sheet(sheet: Any) -> SheetCells:
    """Return a sheet's cells as texts, with merged ranges."""
    rows: list[list[str]] = []
    letters = 0
    for row in sheet.iter_rows():
        rows.append([_cell_text(value) for value in row])
        letters += sum(map(len, rows[-1]))
        if letters > LONGEST_TEXT:
            raise Unreadable(f"its text has more than {LONGEST_TEXT >> 20} million letters")
    left = sheet.start[1] if sheet.start else 0
    return SheetCells(rows, left, list(sheet.merged_cell_ranges or ()))


def _cell_text(value: Any) -> str:
    """Return a cell's text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
