"""Converts a marked-up page to text: paragraphs, lists, terms, tables, headings and code."""

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tailorbird.documents.html_words import (
    BREAK,
    all_words,
    inline,
    is_block,
    is_heading,
    is_unseen,
    name_of,
    tail,
    visible_text,
)
from tailorbird.documents.list_numbers import number_label
from tailorbird.documents.read_result import Notes
from tailorbird.documents.table_grid import Cell, Header, whole_number
from tailorbird.documents.text_builder import DEEPEST_ITEM, TextBuilder, squeeze

_LONGEST_CELL = 500


class HtmlTable:
    """One table without the tables inside its cells.

    Attributes:
        rows: Its rows, those of the footer last.
        around: Words outside any cell.
    """

    def __init__(self, table: Any, left_out: Container[Any]) -> None:
        self.rows: list[list[Cell]] = []
        self.caption = ""
        self.around: list[str] = []
        self._left_out = left_out
        self._cells: list[Any] = []
        self._layout = table.get("role") in ("presentation", "none")
        self._marked = False
        groups = [list(group) for _, group in groupby(self._collect(table), lambda row: row[0])]
        groups.sort(key=lambda rows: {"thead": 0, "tfoot": 2}.get(_group(rows[0][0]), 1))
        for rows in groups:
            for i, (group, cells) in enumerate(rows):
                self.rows.append([self._cell(cell, group, len(rows) - i) for cell in cells])

    @property
    def holds_data(self) -> bool:
        """Whether it contains data, rather than only laying out a page."""
        full = sum(len([cell for cell in row if cell.text]) > 1 for row in self.rows)
        if self._layout or not full:
            return False
        if self._marked:
            return True
        inner = {name_of(e) for cell in self._cells for e in cell.iterdescendants()}
        return (
            "table" not in inner
            and not any(map(is_heading, inner))
            and not any(len(cell.text) > _LONGEST_CELL for row in self.rows for cell in row)
            and (full > 1 or not inner & {"ul", "ol", "pre"})
        )

    def _collect(self, table: Any) -> list[tuple[Any, list[Any]]]:
        """Return the table's own rows, each with the element that groups it."""
        from lxml import etree

        rows: list[tuple[Any, list[Any]]] = []
        in_row = False
        walk = etree.iterwalk(table, events=("start", "end"))
        for event, element in walk:
            name = name_of(element)
            if event == "end":
                in_row = in_row and name != "tr"
                if element is not table:
                    self._stray(element.tail)
            elif element is table:
                self._stray(element.text)
            elif not name or is_unseen(element, name) or element in self._left_out:
                walk.skip_subtree()
            elif name == "caption":
                self.caption = visible_text(element, self._left_out)
                walk.skip_subtree()
            elif name in ("td", "th"):
                beside = element.getprevious()
                if not rows or not (in_row or (beside is not None and name_of(beside) == name)):
                    rows.append((element.getparent(), []))
                rows[-1][1].append(element)
                walk.skip_subtree()
            elif name == "tr":
                in_row = True
                rows.append((element.getparent(), []))
            else:
                self._stray(element.text)
        return rows

    def _stray(self, text: str | None) -> None:
        if text and text.strip():
            self.around.append(text)

    def _cell(self, element: Any, group: Any, rows_left: int) -> Cell:
        self._cells.append(element)
        text = visible_text(element, self._left_out)
        header = _header(element, _group(group))
        self._marked = self._marked or bool(header and text)
        return Cell(
            text,
            rows=min(rows_left, _span(element, "rowspan") or rows_left),
            columns=_span(element, "colspan"),
            header=header,
            strong=_is_strong(element, text),
        )


def _group(element: Any) -> str:
    return name_of(element) if element.get("role") != "rowgroup" else "tbody"


def _header(element: Any, group: str) -> Header:
    """Return the cell's header role by the markup."""
    scope, role = (element.get("scope") or "").lower(), element.get("role")
    if scope in ("row", "rowgroup") or role == "rowheader":
        return "row"
    if scope in ("col", "colgroup") or role == "columnheader" or group == "thead":
        return "column"
    return "th" if name_of(element) == "th" else ""


def _span(element: Any, name: str) -> int:
    return whole_number(element.get(name) or element.get(f"aria-{name}"))


def _is_strong(element: Any, text: str) -> bool:
    bold = element.find("b") if element.find("b") is not None else element.find("strong")
    return bold is not None and bool(text) and visible_text(bold) == text


_LISTS = ("ul", "ol", "menu", "dir")
_CODE = ("pre", "listing", "xmp")
_DEEPEST_LAYOUT = 10
_EMBEDDED = {
    "svg": "drawings with words",
    "iframe": "embedded pages",
    "object": "embedded objects",
    "canvas": "drawings",
    "audio": "recordings",
    "video": "films",
}
_LIST_STYLE = re.compile(
    r"list-style(?:-type)?\s*:[^;:]*?\b(lower|upper)-(alpha|latin|roman)", re.I
)


@dataclass(slots=True)
class _List:
    """The state of a list: next number, step and style."""

    number: int | None
    step: int = 1
    style: str = "1"


class PageWriter:
    """Walks a page's elements; collects words until a block ends."""

    def __init__(self, builder: TextBuilder, notes: Notes, left_out: Container[Any] = ()) -> None:
        self.builder, self.notes = builder, notes
        self.left_out = left_out
        self.embedded: Counter[str] = Counter()
        self._words: list[str] = []
        self._lists: list[_List] = []
        self._layouts = 0
        self._bullet = ""
        self._term = ""

    def write(self, root: Any) -> None:
        """Write an element's text."""
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end"))
        whole = None
        for event, element in walk:
            name = name_of(element)
            if event == "start":
                if not name or self._start(element, name):
                    whole = element
                    walk.skip_subtree()
                continue
            if element is not whole:
                self._end(element, name)
            if element is not root:  # text after the main part is not part of it
                self._words.append(tail(element))
        self._flush()
        self._leave_term()
        if self.embedded:
            items = (f"{_EMBEDDED[name]} ({count})" for name, count in self.embedded.items())
            self.notes.append(f"left out: {', '.join(items)}")

    def _start(self, element: Any, name: str) -> bool:
        """Write the text before an element's words; return whether to skip the element."""
        if element in self.left_out or is_unseen(element, name):
            if is_block(element, name):
                self._flush()
            self._count(element, name)
            return True
        before = next((words for words in reversed(self._words) if words), "")[-1:]
        if (piece := inline(element, name, before)) is not None:
            self._words.append(piece)
            return True
        if is_block(element, name):
            self._end_line(name if element.getparent() is None else name_of(element.getparent()))
        if name in _CODE or is_heading(name) or name == "table":
            return self._whole(element, name)
        if name in _LISTS:
            self._lists.append(_list(element, name))
        elif name == "li":
            self._bullet = self._next_bullet(element)
        elif name == "dl":
            self._leave_term()
        self._words.append(element.text or "")
        return False

    def _whole(self, element: Any, name: str) -> bool:
        """Write a non-paragraph element as a whole; return whether it was one."""
        if name in _CODE:
            self._leave_term()
            self.builder.verbatim(visible_text(element, self.left_out, lines=True))
            return True
        if name == "table":
            return self._table(element)
        words = visible_text(element, self.left_out)
        if not words:
            words = next((image.get("alt") or "" for image in element.iter("img")), "")
        self._leave_term()
        self.builder.heading(words, int(name[1]))
        return True

    def _table(self, element: Any) -> bool:
        # Each table scans all its content, and no page nests layout tables deeper.
        table = HtmlTable(element, self.left_out) if self._layouts < _DEEPEST_LAYOUT else None
        if table is None or not table.holds_data:
            self._layouts += 1
            return False
        self._leave_term()
        self.builder.block(squeeze(" ".join(table.around)))
        self.builder.table(table.rows, table.caption)
        return True

    def _count(self, element: Any, name: str) -> None:
        if element in self.left_out or name not in _EMBEDDED:
            return
        if name != "svg" or any(map(all_words, element.iter("text"))):
            self.embedded[name] += 1

    def _next_bullet(self, item: Any) -> str:
        last = self._lists[-1] if self._lists else None
        if last is None or last.number is None:
            return "- "
        number = _integer(item.get("value"), last.number)
        last.number = number + last.step
        return f"{_numeral(number, item.get('type') or last.style)}. "

    def _end(self, element: Any, name: str) -> None:
        if is_block(element, name):
            self._end_line(name)
        if name in _LISTS and self._lists:
            self._lists.pop()
        elif name == "li":
            self._bullet = ""
        elif name == "dl":
            self._leave_term()
        elif name == "table":
            self._layouts -= 1

    def _end_line(self, name: str) -> None:
        """Write the words of an element of this name; a term waits for its description."""
        if name == "dt":
            term = squeeze("".join(self._words).replace(BREAK, " "))
            self._term, self._words = ", ".join(filter(None, (self._term, term))), []
        else:
            self._flush()

    def _flush(self) -> None:
        text = " ".join("".join(self._words).split()).replace(BREAK, "\n").strip()
        self._words = []
        if not text:
            return
        if self._term:
            joint = " " if self._term[-1] in ".:?!" else ": "
            text, self._term = f"{self._term}{joint}{text}", ""
        if self._lists:
            indent = "" if not self._bullet else "  " * (min(len(self._lists), DEEPEST_ITEM) - 1)
            self.builder.item(indent + self._bullet + text)
            self._bullet = ""
        else:
            self.builder.block(text)

    def _leave_term(self) -> None:
        """Write a term without a description on its line."""
        term, self._term = self._term, ""
        self.builder.block(term)


def _list(element: Any, name: str) -> _List:
    if name != "ol":
        return _List(None)
    backwards = "reversed" in element.attrib
    first = sum(child.tag == "li" for child in element) if backwards else 1
    style = element.get("type") or "1"
    if match := _LIST_STYLE.search(element.get("style") or ""):
        style = "i" if match.group(2).lower() == "roman" else "a"
        style = style.upper() if match.group(1).lower() == "upper" else style
    return _List(_integer(element.get("start"), first), -1 if backwards else 1, style)


def _integer(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text) else default


def _numeral(number: int, style: str) -> str:
    """Return a number in the format of a list of this ``type``."""
    if style in ("i", "I"):
        return number_label(number, "lowerRoman" if style == "i" else "upperRoman")
    if number < 1 or style not in ("a", "A"):
        return str(number)
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord(style) + letter) + letters
    return letters
