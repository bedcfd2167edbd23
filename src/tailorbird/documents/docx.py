"""Reader of DOCX: paragraphs, headings by style, lists, tables, notes, text boxes and charts."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.docx_styles import (
    TITLE,
    Lists,
    Styles,
    outline_level,
    table_rows,
    value,
)
from tailorbird.documents.drawing import Drawings, formula_mark
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions
from tailorbird.documents.table_grid import table_lines
from tailorbird.documents.text_builder import TextBuilder, squeeze, superscript
from tailorbird.documents.zip_xml import (
    Relation,
    child,
    local,
    main_part,
    office_facts,
    open_zip,
    relations,
    required_part,
    xml_part,
)

_BREAK = "\f"
_WRAPPERS = frozenset({"sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"})
# A fallback repeats a text box for old programs; properties contain no words.
_WORDLESS = frozenset(
    {"Fallback", "pPr", "rPr", "del", "moveFrom", "delText", "instrText", "txbxContent"}
)
_LONGEST_SAMPLE = 60


def read_docx(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a DOCX, without deletions under tracked changes.

    Headings by style in any language, items and headings with their numbers, tables, text boxes,
    charts with their numbers, SmartArt; footnotes and endnotes at the end; pages as Word last saved
    them.
    """
    with open_zip(path) as archive:
        main = main_part(archive, "word/document.xml")
        root = required_part(archive, main, "a DOCX")
        targets = relations(archive, main)
        parts = _DocxParts(archive, targets)
        body = _DocxWriter(root, parts, notes)
        body.write(next(root.iterchildren("{*}body"), root))
        for kind, name in (("footnotes", "Footnote"), ("endnotes", "Endnote")):
            for note in parts.roots(kind):
                for words in filter(None, (body.flat(one) for one in note)):
                    body.builder.block(f"{name}: {words}")
        _tell(parts, root, body, notes)
        title, metadata = office_facts(archive)
    yield Parsed(*body.builder.result(), body.title or title, metadata)


class _DocxParts:
    """The parts referred to by a document's main part."""

    def __init__(self, archive: zipfile.ZipFile, targets: dict[str, Relation]) -> None:
        self.archive = archive
        self.targets = targets

    def roots(self, kind: str) -> list[Any]:
        """Return the roots of all parts of a kind."""
        targets = (target for target in self.targets.values() if target.kind == kind)
        roots = (xml_part(self.archive, target.place) for target in targets)
        return [root for root in roots if root is not None]

    def root(self, kind: str) -> Any | None:
        """Return the root of the first part of a kind."""
        return next(iter(self.roots(kind)), None)


def _tell(parts: _DocxParts, root: Any, body: "_DocxWriter", notes: Notes) -> None:
    """Note the parts of a document that are left out."""
    comments = sum(local(e) == "comment" for one in parts.roots("comments") for e in one)
    if comments:
        notes.append(f"{comments} comments are left out")
    margins = [body.flat(one) for kind in ("header", "footer") for one in parts.roots(kind)]
    words = [text for text in margins if sum(map(str.isalpha, text)) > 2]
    if words:
        notes.append(f"page headers and footers are left out: {words[0][:_LONGEST_SAMPLE]!r}")
    if next(root.iter("{*}altChunk"), None) is not None:
        notes.append("left out: a document embedded in it")


class _DocxWriter:
    """Writes the blocks of a document's body."""

    def __init__(self, root: Any, parts: _DocxParts, notes: Notes) -> None:
        self.builder = TextBuilder()
        self.styles = Styles(parts.root("styles"))
        self.lists = Lists(parts.root("numbering"), self.styles)
        self.drawings = Drawings(self.builder, parts.archive, parts.targets, notes)
        self.breaks = _page_breaks(root)
        self.title = ""
        self.page = 1
        if self.breaks:
            self.builder.page(1)

    def write(self, parent: Any) -> None:
        """Write the paragraphs and tables within an element."""
        for element in parent:
            kind = local(element)
            if kind == "p":
                self._paragraph(element)
                for inner in _drawings_in(element):
                    if local(inner) == "txbxContent":
                        self.write(inner)
                    else:
                        self.drawings.write(inner)
            elif kind == "tbl":
                self._table(element)
            elif kind in _WRAPPERS:
                self.write(element)
            elif kind == "AlternateContent":
                self.write(child(element, "Choice") if len(element) else ())

    def flat(self, parent: Any) -> str:
        """Return the words of an element's paragraphs and tables on one line."""
        parts: list[str] = []
        for element in parent:
            kind = local(element)
            if kind == "p":
                style, numbering, _ = _look(element)
                label = self.lists.label(style, numbering)
                words = _words(element)
                parts.append(f"{label[0]} {words}" if label and words.strip() else words)
                parts += [
                    self.flat(box) for box in _drawings_in(element) if local(box) == "txbxContent"
                ]
            elif kind == "tbl":
                parts.append("; ".join(table_lines(table_rows(element, self.styles, self.flat))))
            elif kind in _WRAPPERS:
                parts.append(self.flat(element))
        return squeeze(" ".join(parts))

    def _table(self, table: Any) -> None:
        cells = list(table.iter("{*}tc"))
        if len(cells) == 1 or any(map(self._is_section, cells)):  # a layout table
            for cell in (c for c in cells if next(c.iterancestors(table.tag)) is table):
                self.write(cell)
            return
        rows = table_rows(table, self.styles, self.flat)
        self.builder.table(rows, value(child(table, "tblPr"), "tblCaption"))
        for element in (e for e in table.iter() if local(e) in ("drawing", "object")):
            self.drawings.write(element)
        self._turn(sum(1 for inner in table.iter() if inner in self.breaks))

    def _is_section(self, cell: Any) -> bool:
        """Whether a cell has a heading and text below it."""
        paragraphs = [e for e in cell if local(e) == "p" and _words(e).strip()]
        styles = [_look(paragraph) for paragraph in paragraphs]
        return len(paragraphs) > 1 and any(s in self.styles.levels or lvl for s, _, lvl in styles)

    def _paragraph(self, paragraph: Any) -> None:
        pieces = _words(paragraph, self.breaks).split(_BREAK)
        style, numbering, level = _look(paragraph)
        label = self.lists.label(style, numbering)
        if label is None and style.lower().startswith("list"):
            label = ("-", 0)
        level = self.styles.levels.get(style, level)
        if level is None and label is None:
            return self._flowing(pieces)
        while len(pieces) > 1 and not pieces[0].strip():
            self._turn(1)
            pieces.pop(0)
        text = "".join(pieces).strip()
        if level == TITLE:
            self.title = self.title or squeeze(text)
        if level is not None and text:
            number = f"{label[0]} " if label and label[0] != "-" else ""
            self.builder.heading(number + text, level)
        elif text and label is not None:
            self.builder.item(f"{'  ' * label[1]}{label[0]} {text}")
        self._turn(len(pieces) - 1)

    def _flowing(self, pieces: list[str]) -> None:
        """Write a paragraph that may span several pages."""
        has_words = False
        for number, piece in enumerate(pieces):
            if number:
                self._turn(1)
            if has_words:
                self.builder.more(piece)
            else:
                self.builder.block(piece)
            has_words = has_words or bool(piece.strip())

    def _turn(self, pages: int) -> None:
        if pages:
            self.page += pages
            self.builder.page(self.page)


def _page_breaks(root: Any) -> frozenset[Any]:
    """Return the elements that begin a page.

    Word records all rendered page breaks, including manual ones, which must then not be counted
    twice; other programs record none.
    """
    noted = list(root.iter("{*}lastRenderedPageBreak"))
    manual = [e for e in root.iter() if local(e) == "br" and "page" in e.attrib.values()]
    return frozenset(noted or manual)


def _look(paragraph: Any) -> tuple[str, Any | None, int | None]:
    """Return a paragraph's style, numbering and outline level."""
    properties = child(paragraph, "pPr")
    return value(properties, "pStyle"), child(properties, "numPr"), outline_level(properties)


def _drawings_in(paragraph: Any) -> Iterator[Any]:
    """Yield the text boxes of a paragraph, and its drawings without one."""
    stack = [paragraph]
    while stack:
        element = stack.pop()
        kind = local(element)
        if (
            kind == "txbxContent"
            or kind in ("drawing", "object")
            and next(element.iter("{*}txbxContent"), None) is None
        ):
            yield element
        elif kind != "Fallback":
            stack.extend(reversed(element))


def _words(element: Any, breaks: frozenset[Any] = frozenset()) -> str:
    """Return an element's text, with a form feed for each page break."""
    parts: list[str] = []
    stack = [element]
    while stack:
        inner = stack.pop()
        kind = local(inner)
        if inner in breaks:
            parts.append(_BREAK)
        elif kind == "t":
            text = inner.text or ""
            if value(child(inner.getparent(), "rPr"), "vertAlign") == "superscript":
                text = superscript("".join(parts[-2:]), text)
            parts.append(formula_mark(inner) + text)
        elif kind in ("tab", "ptab"):
            parts.append("\t")
        elif kind in ("br", "cr"):
            parts.append("\n")
        elif kind == "noBreakHyphen":
            parts.append("-")
        if kind not in _WORDLESS or inner is element:
            stack.extend(reversed(inner))
    return "".join(parts)
