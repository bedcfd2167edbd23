"""Reader of XLSX, XLSB and XLS: every sheet's tables by row; alone imports calamine."""

import datetime
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.drawing import Drawings, format_value, number_text, paragraphs
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable
from tailorbird.documents.sheet_tables import SheetCells, sheet_tables
from tailorbird.documents.table_grid import whole_number
from tailorbird.documents.text_builder import LONGEST_TEXT, TextBuilder, superscript
from tailorbird.documents.zip_xml import (
    Relation,
    attribute,
    local,
    main_part,
    member,
    office_facts,
    open_zip,
    parse_xml,
    relation_id,
    relations,
    xml_part,
)

_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_FLOAT_DIGITS = 15
_LONG_NUMBER = re.compile(r"-?\d{16,}")
_WORTH_A_LOOK = re.compile(rb"<v>-?\d{16}|</?(?:\w+:)?f[ />]|<vertAlign")
_PERCENT_IDS = ("9", "10")


class Workbook:
    """An XLSX file's parts, by the names of its sheets; empty for other kinds."""

    def __init__(self, archive: zipfile.ZipFile, notes: Notes) -> None:
        self.archive = archive
        self.notes = notes
        self.places: dict[str, str] = {}
        self.bold: set[str] = set()
        self.percent: set[str] = set()
        self.raised: dict[str, str] = {}
        main = main_part(archive, "xl/workbook.xml")
        root = xml_part(archive, main) if main.endswith(".xml") else None
        if root is None:
            return
        targets = relations(archive, main)
        for sheet in root.iter("{*}sheet"):
            if relation := targets.get(relation_id(sheet)):
                self.places[sheet.get("name") or ""] = relation.place
        for target in targets.values():
            if target.kind == "styles" and (styles := xml_part(archive, target.place)) is not None:
                self._read_styles(styles)
            elif target.kind == "sharedStrings":
                self._read_strings(target.place)

    def complete(self, name: str, sheet: SheetCells) -> None:
        """Add to a sheet's cells what calamine drops."""
        if name not in self.places:
            return
        try:
            data = member(self.archive, self.places[name]) or b""
            if self.bold or self.percent or self.raised or _WORTH_A_LOOK.search(data):
                self._look_at_cells(name, sheet, data)
            self._read_relations(name, relations(self.archive, self.places[name]), sheet)
        except Unreadable as error:  # calamine tolerates more
            self.notes.append(f"sheet {name!r}: read without its formatting: {error}")

    def _look_at_cells(self, name: str, sheet: SheetCells, data: bytes) -> None:
        lacking = 0
        for cell in _raw_cells(data, self.places[name]):
            style, kind = cell.get("s") or "", cell.get("t") or "n"
            texts = {local(e): e.text or "" for e in cell}
            value = texts.get("v", "")
            lacking += "f" in texts and not value and kind != "str"
            looks = style in self.bold or style in self.percent or kind == "inlineStr"
            if not (looks or len(value) > _FLOAT_DIGITS or value in self.raised):
                continue
            row, column = _coordinates(cell.get("r") or "") or (-1, -1)
            at = column - sheet.left
            if not (0 <= row < len(sheet.rows) and 0 <= at < len(sheet.rows[row])):
                continue
            if style in self.bold and (value or "is" in texts):
                sheet.strong.add((row, column))
            if kind == "n" and _LONG_NUMBER.fullmatch(value):
                sheet.rows[row][at] = value
            elif kind == "n" and value and style in self.percent:
                sheet.rows[row][at] = format_value(value, "%")
            elif kind == "s" and value in self.raised:
                sheet.rows[row][at] = self.raised[value]
            elif kind == "inlineStr":
                sheet.rows[row][at] = _raised_words(cell) or sheet.rows[row][at]
        if lacking:
            self.notes.append(
                f"sheet {name!r}: {lacking} formulas have no value in the file and are left out; "
                "open it in a spreadsheet program and save it"
            )

    def drawings(self, name: str) -> Iterator[tuple[Any, dict[str, Relation]]]:
        """Yield a sheet's drawings, each with its relations."""
        for target in relations(self.archive, self.places.get(name, "")).values():
            if (
                target.kind == "drawing"
                and (root := xml_part(self.archive, target.place)) is not None
            ):
                yield root, relations(self.archive, target.place)

    def write_drawings(self, name: str, builder: TextBuilder) -> None:
        """Write the charts, diagrams and text boxes on a sheet."""
        try:
            for root, targets in self.drawings(name):
                drawings = Drawings(builder, self.archive, targets, self.notes)
                for shape in root.iter():
                    if local(shape) == "graphicFrame":
                        drawings.write(shape)
                    elif local(shape) == "sp":
                        builder.block("\n".join(paragraphs(shape)))
        except Unreadable as error:
            self.notes.append(f"sheet {name!r}: a drawing is left out: {error}")

    def _read_styles(self, styles: Any) -> None:
        """Record which cell styles are bold and which show percentages."""
        parts = {local(e): e for e in styles}
        bold = [
            any(local(e) == "b" and e.get("val", "1") not in ("0", "false") for e in font)
            for font in parts.get("fonts", ())
        ]
        percent = set(_PERCENT_IDS) | {
            attribute(e, "numFmtId") or ""
            for e in parts.get("numFmts", ())
            if "%" in (e.get("formatCode") or "")
        }
        for number, form in enumerate(parts.get("cellXfs", ())):
            font = whole_number(form.get("fontId"), 0)
            if font < len(bold) and bold[font]:
                self.bold.add(str(number))
            if form.get("numFmtId") in percent:
                self.percent.add(str(number))

    def _read_strings(self, place: str) -> None:
        """Record the shared texts with superscripts, which calamine flattens."""
        data = member(self.archive, place) or b""
        if b"superscript" in data:
            texts = (e for e in parse_xml(data, place) if local(e) == "si")
            words = ((str(number), _raised_words(text)) for number, text in enumerate(texts))
            self.raised = {number: text for number, text in words if text}

    def _read_relations(self, name: str, targets: dict[str, Relation], sheet: SheetCells) -> None:
        comments = 0
        for target in targets.values():
            root = None
            if target.kind in ("table", "comments"):
                root = xml_part(self.archive, target.place)
            if root is not None and target.kind == "table":
                _mark_table(root, sheet)
            elif root is not None:
                comments += sum(local(e) == "comment" for e in root.iter())
        if comments:
            self.notes.append(f"sheet {name!r}: {comments} comments are left out")


def _mark_table(root: Any, sheet: SheetCells) -> None:
    """Mark the header of an Excel table object."""
    first, _, last = (root.get("ref") or "").partition(":")
    start, end = _coordinates(first), _coordinates(last or first)
    if start is None or end is None:
        return
    count = whole_number(root.get("headerRowCount"), 1)
    for column in range(start[1], min(end[1], start[1] + 1000) + 1):
        for row in range(start[0], start[0] + min(max(count, 1), 10)):
            sheet.headers[row, column] = "column" if count else "data"


def _raised_words(text: Any) -> str:
    """Return a text with its superscripts marked, or empty if it has none."""
    words, any_raised = "", False
    for piece in text.iter("{*}t"):
        looks = [e for e in piece.getparent().iter() if local(e) == "vertAlign"]
        high = any(attribute(e, "val") == "superscript" for e in looks)
        any_raised = any_raised or high
        words += superscript(words, piece.text or "") if high else piece.text or ""
    return words if any_raised else ""


def _raw_cells(data: bytes, place: str) -> Iterator[Any]:
    """Yield the XML of a sheet's cells, one at a time."""
    from lxml import etree

    try:
        for _, row in etree.iterparse(
            io.BytesIO(data), tag="{*}row", resolve_entities=False, no_network=True
        ):
            yield from (cell for cell in row if local(cell) == "c")
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"damaged: its part {place}: {error.msg}") from error


def _coordinates(name: str) -> tuple[int, int] | None:
    """Return row and column, from 0, of a cell's name such as ``B3``."""
    match = _PLACE.fullmatch(name)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(match[2]) - 1, column - 1


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
        raise Unreadable("encrypted: save a copy without its password") from error
    except calamine.CalamineError as error:
        raise Unreadable(f"damaged, or not a workbook: {error}") from error
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
            raise Unreadable(f"its text has more than {LONGEST_TEXT >> 20} million characters")
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
