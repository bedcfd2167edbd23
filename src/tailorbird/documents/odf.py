"""Readers of OpenDocument: ODT, ODP and ODS, LibreOffice's texts, slides and sheets."""

import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tailorbird.documents.drawing import number_text
from tailorbird.documents.list_numbers import ListCounter
from tailorbird.documents.odf_styles import OdfLists, OdfStyles, OdfTable, table_rows
from tailorbird.documents.read_result import (
    Notes,
    Parsed,
    ReadOptions,
    Unreadable,
    Value,
    note_once,
)
from tailorbird.documents.sheet_tables import SheetCells, sheet_tables
from tailorbird.documents.table_grid import table_lines, whole_number
from tailorbird.documents.text_builder import LONGEST_TEXT, TextBuilder, squeeze, superscript
from tailorbird.documents.zip_xml import (
    attribute,
    local,
    office_facts,
    open_zip,
    required_part,
    xml_part,
)

_MOST_SPACES = 100
_MOST_CELLS = 4_000_000
_MOST_COLUMNS = 16_384
_GAP = 2  # this many empty rows or columns separate tables as well as a million
_EXACT = re.compile(r"-?\d{16,}")
_WRAPPERS = frozenset(
    {"section", "index-body", "bibliography", "list-header", "numbered-paragraph"}
)
_SHAPES = frozenset(
    ("frame", "custom-shape", "rect", "g", "text-box", "ellipse", "circle", "polygon", "path")
    + ("line", "connector", "caption")
)
_UNSAID = frozenset({"page-number", "date-time", "footer", "header"})


@contextmanager
def _open(path: Path, kind: str) -> Iterator[tuple[zipfile.ZipFile, Any]]:
    """Open an OpenDocument file; yield it and the root of its content."""
    with open_zip(path) as archive:
        manifest = xml_part(archive, "META-INF/manifest.xml")
        if manifest is not None and next(manifest.iter("{*}encryption-data"), None) is not None:
            raise Unreadable("encrypted: save a copy without its password")
        yield archive, required_part(archive, "content.xml", kind)


def read_odt(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an ODT.

    Headings, items and headings with their numbers, tables, text boxes, charts, footnotes and
    endnotes.
    """
    with _open(path, "an ODT") as (archive, root):
        text = _Text(archive, root, notes)
        text.blocks(next((e for e in root.iter("{*}text") if len(e)), root))
        yield text.parsed()


def read_odp(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an ODP or an ODG.

    Slides as pages, titles as headings, tables, charts, the speaker's notes.
    """
    with _open(path, "an ODP") as (archive, root):
        text = _Text(archive, root, notes)
        pages = [e for e in root.iter() if local(e) == "page" and "drawing" in e.tag]
        for number, page in enumerate(pages, 1):
            text.builder.leave()
            text.builder.page(number)
            text.slide(page)
        yield text.parsed({"pages": len(pages)})


def read_ods(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an ODS.

    Sheets as headings (hidden ones too), rows as `column: value; column: value`, numbers with all
    their digits; charts and text boxes.
    """
    with _open(path, "an ODS") as (archive, root):
        text = _Text(archive, root, notes)
        book = next(root.iter("{*}spreadsheet"), root)
        for number, table in enumerate(book.iterchildren("{*}table"), 1):
            name = attribute(table, "name") or ""
            text.builder.leave()
            text.builder.page(number)
            if (attribute(table, "style-name") or "") in text.styles.hidden:
                notes.append(f"hidden sheets are read too: {name!r}")
            text.sheet(name, table)
        yield text.parsed()


class _Text:
    """Writes the blocks of a document, with the notes at its end."""

    def __init__(self, archive: zipfile.ZipFile, root: Any, notes: Notes) -> None:
        self.builder = TextBuilder()
        self.styles = OdfStyles(xml_part(archive, "styles.xml"), root)
        self.lists = OdfLists(self.styles)
        self.tables = OdfTable(self.styles, self.flat)
        self.archive = archive
        self.notes = notes
        self.comments = 0
        self._footnotes: list[str] = []
        self._shapes: list[Any] = []

    def parsed(self, metadata: dict[str, Value] | None = None) -> Parsed:
        """Write the notes; return the whole text."""
        for note in self._footnotes:
            self.builder.block(note)
        if self.comments:
            self.notes.append(f"{self.comments} comments are left out")
        title, author = office_facts(self.archive, "meta.xml")
        return Parsed(*self.builder.result(), title, {**(metadata or {}), **author})

    def blocks(self, parent: Any) -> None:
        """Write the paragraphs, lists, tables and shapes within an element."""
        for element in parent:
            kind = local(element)
            if kind in ("p", "h"):
                self._paragraph(element, "", 0)
            elif kind == "list":
                self._list(element, None, 0)
            elif kind == "table":
                self._table(element)
            elif kind in _WRAPPERS:
                self.blocks(element)
            elif kind in _SHAPES:
                self._shape(element)

    def flat(self, parent: Any) -> str:
        """Return the words of an element's paragraphs, lists and tables on one line."""
        words = " ".join(self._flat(parent))
        while self._shapes:
            words += " " + self.flat([self._shapes.pop(0)])
        return squeeze(words)

    def _flat(
        self, parent: Any, counter: ListCounter | None = None, depth: int = 0
    ) -> Iterator[str]:
        for element in parent:
            kind = local(element)
            if kind in ("p", "h"):
                yield self.words(element)
            elif kind == "list":
                inner = self.lists.begin(element, counter, depth)
                for item in element:
                    label = inner.label(depth) if any(local(e) in ("p", "h") for e in item) else ""
                    yield label
                    yield from self._flat(item, inner, depth + 1)
            elif kind == "table":
                yield "; ".join(table_lines(self.tables.rows(element)))
            elif kind in _WRAPPERS or kind in _SHAPES:
                yield from self._flat(element)
            elif kind == "annotation":
                self.comments += 1

    def slide(self, page: Any) -> None:
        """Write a slide: title as a heading, content, notes."""
        shapes = [e for e in page if local(e) in _SHAPES and attribute(e, "class") not in _UNSAID]
        titles = [shape for shape in shapes if attribute(shape, "class") == "title"]
        self.builder.heading(" ".join(map(self.flat, titles)), 1)
        self.blocks([shape for shape in shapes if shape not in titles])
        for notes in page.iterchildren("{*}notes"):
            frames = [e for e in notes if attribute(e, "class") == "notes"]
            if words := " ".join(filter(None, map(self.flat, frames))):
                self.builder.block(f"Notes: {words}")

    def sheet(self, name: str, table: Any) -> None:
        """Write the tables of a sheet, then its charts."""
        tables = list(sheet_tables(self._cells(table)))
        shapes = [e for e in table.iter() if local(e) in _SHAPES]
        shapes = [e for e in shapes if local(e.getparent()) not in _SHAPES]
        if tables or shapes:
            self.builder.heading(name, 1)
        for rows in tables:
            self.builder.table(rows)
        self._shapes = []
        self.blocks(shapes)

    def _cells(self, table: Any) -> SheetCells:
        sheet = SheetCells([])
        letters = cells = 0
        for row, header in table_rows(table):
            line: list[str] = []
            for element in row:
                text = self._value(element) if local(element) == "table-cell" else ""
                count = whole_number(attribute(element, "number-columns-repeated"))
                place = len(sheet.rows), len(line)
                high, wide = (
                    whole_number(attribute(element, f"number-{what}-spanned"))
                    for what in ("rows", "columns")
                )
                if high * wide > 1:
                    sheet.merged.append((place, (place[0] + high - 1, place[1] + wide - 1)))
                if header and text:
                    sheet.headers[place] = header
                if text and self.tables.is_bold(element):
                    sheet.strong.add(place)
                room = _MOST_COLUMNS - len(line)
                line += [text] * min(count, room)
            while line and not line[-1]:
                line.pop()
            again = whole_number(attribute(row, "number-rows-repeated"))
            for _ in range(again if line else min(again, _GAP)):
                sheet.rows.append(list(line))
                letters += sum(map(len, line))
                cells += len(line)
                if letters > LONGEST_TEXT or cells > _MOST_CELLS:
                    raise Unreadable(
                        f"a sheet of it unfolds to more than {_MOST_CELLS >> 20} million cells"
                    )
        return sheet

    def _value(self, cell: Any) -> str:
        """Return a cell's text, with numbers as stored, not as displayed."""
        kind = attribute(cell, "value-type") or "string"
        value = attribute(cell, f"{kind}-value" if kind in ("date", "boolean") else "value") or ""
        words = squeeze(" ".join(self.words(e) for e in cell if local(e) == "p"))
        self.comments += sum(local(e) == "annotation" for e in cell)
        if kind == "float" and _EXACT.fullmatch(value):
            return value
        if kind == "float" or (kind in ("percentage", "currency") and not words):
            try:
                return number_text(float(value))
            except (ValueError, OverflowError):
                return words
        if kind == "date":
            return value.removesuffix("T00:00:00") or words
        return {"true": "yes", "false": "no"}.get(value, words) if kind == "boolean" else words

    def _list(self, element: Any, outer: ListCounter | None, depth: int) -> None:
        counter = self.lists.begin(element, outer, depth)
        for item in element:
            label = ""
            if start := attribute(item, "start-value"):
                counter.restart(depth, whole_number(start))
            for inner in item:
                kind = local(inner)
                if kind in ("p", "h") and local(item) == "list-item" and not label:
                    label = counter.label(depth)
                    self._paragraph(inner, label, depth)
                elif kind == "p":
                    self._write_item("", self.words(inner), depth)
                elif kind == "list":
                    self._list(inner, counter, min(depth + 1, 8))
                else:
                    self.blocks([inner])

    def _paragraph(self, element: Any, label: str, depth: int) -> None:
        text = self.words(element)
        if local(element) == "h":
            level = whole_number(attribute(element, "outline-level"))
            if not label and attribute(element, "is-list-header") != "true" and text.strip():
                label = self.lists.outline.label(level - 1) if level else ""
            self.builder.heading(f"{label} {text}" if label not in ("", "-") else text, level)
        elif label:
            self._write_item(label, text, depth)
        else:
            self.builder.block(text)
        while self._shapes:
            self._shape(self._shapes.pop(0))

    def _write_item(self, label: str, text: str, depth: int) -> None:
        if text.strip():
            self.builder.item(
                f"{'  ' * depth}{label} {text.strip()}"
                if label
                else "  " * (depth + 1) + text.strip()
            )

    def _table(self, table: Any) -> None:
        cells = list(table.iter("{*}table-cell"))
        if len(cells) == 1:  # a frame around text
            return self.blocks(cells[0])
        title = table.find("{*}title")
        self.builder.table(self.tables.rows(table), "" if title is None else title.text or "")
        while self._shapes:
            self._shape(self._shapes.pop(0))

    def _shape(self, shape: Any) -> None:
        """Write a shape's content: text, a table or a chart."""
        for element in shape:
            kind = local(element)
            if kind == "object" and (place := attribute(element, "href")):
                self._object(posixpath.normpath(place))
                break
            if kind == "object-ole":
                note_once(self.notes, "left out: an embedded object")
            elif kind == "table" and local(shape) == "frame":
                self._table(element)
                break
        else:
            self.blocks(shape)

    def _object(self, place: str) -> None:
        try:
            root = xml_part(self.archive, f"{place}/content.xml")
        except Unreadable as error:
            return note_once(self.notes, f"left out: an embedded object: {error}")
        chart = (
            None
            if root is None
            else next((e for e in root.iter() if local(e) == "chart" and len(e)), None)
        )
        if chart is None:
            return note_once(self.notes, "left out: an embedded object")
        title = next((self.flat(e) for e in chart if local(e) == "title"), "")
        table = next(chart.iter("{*}table"), None)
        rows = [] if table is None else self.tables.rows(table)
        if len(rows) < 2:
            note_once(self.notes, f"left out: a chart without numbers: {title!r}")
        self.builder.table([[*row] for row in rows], f"Chart: {title}".rstrip(": "))

    def words(self, element: Any) -> str:
        """Return a paragraph's text, where spaces, tabs and line ends may be elements."""
        parts: list[str] = []
        self._collect(element, parts, high=False)
        return "".join(parts)

    def _collect(self, element: Any, parts: list[str], high: bool) -> None:
        high = high or self.styles.is_high(attribute(element, "style-name") or "")
        self._say(element.text, parts, high)
        for inner in element:
            kind = local(inner)
            if kind == "s":
                parts.append(" " * min(whole_number(attribute(inner, "c")), _MOST_SPACES))
            elif kind in ("tab", "line-break"):
                parts.append("\t" if kind == "tab" else "\n")
            elif kind == "note":
                name = "Endnote" if attribute(inner, "note-class") == "endnote" else "Footnote"
                for body in inner.iterchildren("{*}note-body"):
                    self._footnotes.append(f"{name}: {self.flat(body)}")
            elif kind == "annotation":
                self.comments += 1
            elif kind in _SHAPES:
                self._shapes.append(inner)
            elif kind not in ("tracked-changes", "annotation-end", "ruby-text", ""):
                self._collect(inner, parts, high)
            self._say(inner.tail, parts, high)

    def _say(self, text: str | None, parts: list[str], high: bool) -> None:
        if text:
            parts.append(superscript("".join(parts[-2:]), text) if high else text)
