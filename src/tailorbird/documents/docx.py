"""DOCX: paragraphs, headings by style, lists and tables of the document's body."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.grid import Cell
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Value
from tailorbird.documents.zipped import attribute, core_properties, local, needed, opened, part

_HEADING = re.compile(r"heading (\d)$", re.I)
_TITLE = 0
_BODY_OUTLINE = 9
_BREAK = "\f"


def read_docx(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read the body, then the footnotes; what was deleted under tracked changes is left out."""
    with opened(path) as archive:
        root = needed(archive, "word/document.xml", "a DOCX")
        styles = part(archive, "word/styles.xml")
        said = core_properties(archive)
        footnotes = part(archive, "word/footnotes.xml")
    body = _Body({} if styles is None else _heading_levels(styles), _page_breaks(root))
    body.write(next((e for e in root if local(e) == "body"), root))
    for note in footnotes if footnotes is not None else ():
        if words := squeeze(_words(note)):
            body.builder.block(f"Footnote: {words}")
    metadata: dict[str, Value] = {}
    if said.get("creator"):
        metadata["author"] = said["creator"]
    yield Parsed(*body.builder.result(), body.title or said.get("title", ""), metadata)


def _heading_levels(styles: Any) -> dict[str, int]:
    """Return the heading level of each style, by its English name or that of what it is based on.

    Word keeps ``heading 1`` as the name in every language; only the style's id is translated.
    """
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in (e for e in styles.iter() if local(e) == "style"):
        name = attribute(style, "styleId") or ""
        for element in style.iter():
            kind, value = local(element), attribute(element, "val") or ""
            if kind == "name" and (found := _HEADING.match(value)):
                own[name] = int(found.group(1))
            elif kind == "name" and value.lower() == "title":
                own[name] = _TITLE
            elif kind == "basedOn":
                based[name] = value
            elif kind == "outlineLvl" and value.isdigit() and int(value) < _BODY_OUTLINE:
                own.setdefault(name, int(value) + 1)
    levels = dict(own)
    for name in based:
        parent, steps = name, 0
        while parent not in own and parent in based and steps < 20:
            parent, steps = based[parent], steps + 1
        if parent in own:
            levels.setdefault(name, own[parent])
    return levels


class _Body:
    """Writes the blocks of a document's body."""

    def __init__(self, levels: dict[str, int], breaks: frozenset[Any]) -> None:
        self.builder = TextBuilder()
        self.levels = levels
        self.breaks = breaks
        self.title = ""
        self.page = 1
        if breaks:
            self.builder.page(1)

    def write(self, parent: Any) -> None:
        for element in parent:
            kind = local(element)
            if kind == "p":
                self._paragraph(element)
            elif kind == "tbl":
                self.builder.table(_rows(element))
                self._turn(sum(1 for inner in element.iter() if inner in self.breaks))
            elif kind in ("sdt", "sdtContent", "ins", "customXml", "smartTag"):
                self.write(element)

    def _paragraph(self, paragraph: Any) -> None:
        pieces = _words(paragraph, self.breaks).split(_BREAK)
        style, listed, level = _look(paragraph)
        level = self.levels.get(style, level)
        if level is None and not listed:
            return self._flowing(pieces)
        while len(pieces) > 1 and not pieces[0].strip():
            self._turn(1)
            pieces.pop(0)
        text = "".join(pieces)
        if level == _TITLE:
            self.title = self.title or squeeze(text)
        if level is not None:
            self.builder.heading(text, level)
        elif text.strip():
            self.builder.item("  " * listed[0] + "- " + text.strip())
        self._turn(len(pieces) - 1)

    def _flowing(self, pieces: list[str]) -> None:
        """Write a paragraph that may go on over several pages."""
        begun = False
        for number, piece in enumerate(pieces):
            if number:
                self._turn(1)
            if begun:
                self.builder.more(piece)
            else:
                self.builder.block(piece)
            begun = begun or bool(piece.strip())

    def _turn(self, pages: int) -> None:
        if pages:
            self.page += pages
            self.builder.page(self.page)


def _page_breaks(root: Any) -> frozenset[Any]:
    """Return the elements that begin a page.

    Word notes every one when it lays the text out, those asked for included, which must then not
    be counted again; other programs note none.
    """
    noted = [e for e in root.iter() if local(e) == "lastRenderedPageBreak"]
    asked = [e for e in root.iter() if local(e) == "br" and attribute(e, "type") == "page"]
    return frozenset(noted or asked)


def _look(paragraph: Any) -> tuple[str, tuple[int, ...], int | None]:
    """Return a paragraph's style, its depth in a list (empty: none) and its outline level."""
    style, listed, level = "", (), None  # type: str, tuple[int, ...], int | None
    properties = next((e for e in paragraph if local(e) == "pPr"), ())
    for element in properties:
        kind, value = local(element), attribute(element, "val") or ""
        if kind == "pStyle":
            style = value
            if value.lower().startswith("list"):
                listed = listed or (0,)
        elif kind == "outlineLvl" and value.isdigit() and int(value) < _BODY_OUTLINE:
            level = int(value) + 1
        elif kind == "numPr":
            depths = [attribute(e, "val") or "0" for e in element if local(e) == "ilvl"]
            listed = (min(int(depths[0]), 8) if depths and depths[0].isdigit() else 0,)
    return style, listed, level


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
            parts.append(inner.text or "")
        elif kind == "tab":
            parts.append("\t")
        elif kind in ("br", "cr"):
            parts.append("\n")
        elif kind == "noBreakHyphen":
            parts.append("-")
        # The fallback repeats a text box for old programs; properties hold no words.
        if kind not in ("Fallback", "pPr", "rPr", "del", "moveFrom", "delText", "instrText"):
            if kind == "p" and parts and inner is not element:
                parts.append("\n")
            stack.extend(reversed(inner))
    return "".join(parts)


def _rows(table: Any) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for row in (e for e in table if local(e) == "tr"):
        cells = [e for e in row if local(e) == "tc" or local(e) == "sdt"]
        rows.append([Cell(_words(cell), header="" if rows else "maybe") for cell in cells])
    return rows
