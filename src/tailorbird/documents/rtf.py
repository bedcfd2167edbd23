"""Reader of RTF: headings by outline level, lists, tables and notes; alone imports striprtf."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable
from tailorbird.documents.table_grid import Cell, whole_number
from tailorbird.documents.text_builder import TextBuilder, squeeze, superscript

# striprtf returns plain words, so structure passes through it as private-use characters.
_CELL, _ROW, _TABLE, _NOTE, _NOTE_END, _HEADING, _ITEM, _HIGH = map(chr, range(0xE000, 0xE008))
_MARKS = re.compile("[\ue000-\ue007]")
_TOKEN = re.compile(r"\\([a-z]{1,32})(-?\d{1,9})? ?|\\[^a-z]|[{}]", re.I)
_HIGH_WORDS = re.compile(f"{_HIGH}([-+−–]?[^\\W_]*)")
_FOOTNOTE = re.compile(f"{_NOTE}([^{_NOTE}{_NOTE_END}]*){_NOTE_END}")
_TABLE_ROW = re.compile(f"{_TABLE}([^{_TABLE}{_ROW}]*){_ROW}(\\d{{1,7}});")
_OUTLINE = re.compile(f"{_HEADING}(\\d)")
_LEFT_OUT = {
    "shptxt": "text boxes",
    "object": "embedded objects",
    "annotation": "comments",
    "header": "page headers",
    "footer": "page footers",
}
_BODY_OUTLINE = 9
_SAME_EDGE = 40  # twips, since programs are not exact


@dataclass(slots=True)
class _Row:
    """The layout of a row: cell edges and merges."""

    edges: list[int] = field(default_factory=list)
    merges: list[frozenset[str]] = field(default_factory=list)
    header: bool = False


def read_rtf(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an RTF.

    Headings by outline level, items with their numbers, tables, footnotes.
    """
    from striprtf.striprtf import rtf_to_text

    data = path.read_bytes()
    if not data.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("not an RTF, despite its name")
    marker = _Marker()
    marked = _TOKEN.sub(marker.replace, _MARKS.sub("", data.decode("latin-1")))
    notes += [f"left out: {name}" for word, name in _LEFT_OUT.items() if word in marker.words]
    builder = TextBuilder()
    _write(builder, rtf_to_text(marked, errors="replace"), marker.layouts)
    yield Parsed(*builder.result())


class _Marker:
    """Replaces control words that striprtf drops by marks; records the layouts of rows."""

    def __init__(self) -> None:
        self.layouts: list[_Row] = []
        self.words: set[str] = set()
        self.merges: set[str] = set()
        self.depth = 0
        self.notes: list[int] = []
        self.cells = 0

    def replace(self, match: re.Match[str]) -> str:
        """Return the replacement of a token."""
        token, word, number = match.group(), match.group(1), match.group(2)
        if token == "{":
            self.depth += 1
        elif token == "}":
            return self._leave()
        if word is None:
            return token
        self.words.add(word)
        if word in ("trowd", "trhdr", "cellx", "clmgf", "clmrg", "clvmgf", "clvmrg"):
            return self._lay_out(word, number) + token
        return self._mark(word, number) or token

    def _leave(self) -> str:
        self.depth -= 1
        if self.notes and self.notes[-1] > self.depth:
            self.notes.pop()
            return _NOTE_END + "}"
        return "}"

    def _mark(self, word: str, number: str | None) -> str:
        """Return a word's mark, empty if it has none."""
        if word == "cell":
            self.cells += 1
            return _CELL
        if word == "row":
            self.cells = 0
            return f"{_ROW}{len(self.layouts) - 1};" if self.layouts else "\\par "
        if word == "footnote":
            self.notes.append(self.depth)
            return _NOTE
        if word == "outlinelevel" and whole_number(number, _BODY_OUTLINE) < _BODY_OUTLINE:
            return f"{_HEADING}{number}"
        if word == "nestcell":
            return "\\tab "
        if word == "nestrow":
            return "; "
        return {"listtext": _ITEM, "pntext": _ITEM, "super": _HIGH}.get(word, "")

    def _lay_out(self, word: str, number: str | None) -> str:
        """Record a row's layout; return a mark at the start of a table row."""
        if word == "trowd":
            self.layouts.append(_Row())
            self.merges = set()
            return "" if self.cells else _TABLE
        if not self.layouts:
            return ""
        row = self.layouts[-1]
        if word == "trhdr":
            row.header = True
        elif word != "cellx":
            self.merges.add(word)
        else:
            row.edges.append(int(number or 0))
            row.merges.append(frozenset(self.merges))
            self.merges = set()
        return ""


def _write(builder: TextBuilder, text: str, layouts: list[_Row]) -> None:
    """Write text with marks as paragraphs, and as tables where rows are consecutive."""
    footnotes = [match.group(1) for match in _FOOTNOTE.finditer(text)]
    text = _HIGH_WORDS.sub(
        lambda m: superscript(text[max(m.start() - 2, 0) : m.start()], m[1]), text
    )
    text = _FOOTNOTE.sub("", text)
    rows: list[tuple[_Row, list[str]]] = []
    at = 0
    for match in _TABLE_ROW.finditer(text):
        if between := text[at : match.start()].strip():
            _flush(builder, rows)
            _paragraphs(builder, between)
        layout = layouts[int(match[2])] if int(match[2]) < len(layouts) else _Row()
        rows.append((layout, match[1].split(_CELL)[:-1]))
        at = match.end()
    _flush(builder, rows)
    _paragraphs(builder, text[at:])
    for note in footnotes:
        builder.block(f"Footnote: {_plain(note)}")


def _flush(builder: TextBuilder, rows: list[tuple[_Row, list[str]]]) -> None:
    edges = sorted({edge for layout, _ in rows for edge in layout.edges})
    edges = [edge for i, edge in enumerate(edges) if not i or edge - edges[i - 1] > _SAME_EDGE]
    table: list[list[Cell]] = []
    open_cells: dict[int, tuple[int, int]] = {}
    for layout, texts in rows:
        cells: list[Cell] = []
        column = 0
        for text, edge, merges in zip_longest(texts, layout.edges, layout.merges):
            end = column + 1 if edge is None else bisect_right(edges, edge + _SAME_EDGE)
            wide = max(end - column, 1)
            if "clmrg" in (merges or ()) and cells:
                cells[-1] = replace(cells[-1], columns=cells[-1].columns + wide)
            elif "clvmrg" in (merges or ()) and column in open_cells:
                r, c = open_cells[column]
                table[r][c] = replace(table[r][c], rows=len(table) - r + 1)
            else:
                if merges is not None:
                    open_cells[column] = len(table), len(cells)
                cells.append(Cell(_plain(text or ""), 1, wide, "column" if layout.header else ""))
            column += wide
        table.append(cells)
    builder.table(table)
    rows.clear()


def _paragraphs(builder: TextBuilder, text: str) -> None:
    for paragraph in text.split("\n"):
        heading = _OUTLINE.search(paragraph)
        words = _plain(paragraph)
        if heading and len(words) > 0:
            builder.heading(words, int(heading[1]) + 1)
        elif _ITEM in paragraph:
            label, _, rest = words.partition(" ")
            label = label if any(map(str.isalnum, label)) else "-"
            builder.item(f"{label} {rest}")
        else:
            builder.block(words if not paragraph.strip() else _MARKS.sub("", paragraph))


def _plain(text: str) -> str:
    """Return text on one line without marks."""
    return squeeze(_MARKS.sub(" ", _OUTLINE.sub("", text)))
