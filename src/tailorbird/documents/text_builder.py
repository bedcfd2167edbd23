"""Builds one text with marks from headings, paragraphs, items, code and tables of any format."""

import re
from collections.abc import Iterator

from tailorbird.documents.decode_text import clean, squeeze as squeeze
from tailorbird.documents.read_result import Parsed, Unreadable, Value
from tailorbird.documents.table_grid import Cell, Rows, table_lines
from tailorbird.records import Mark

_SPACES = re.compile(r"[ \t\u00a0]+")
_POWER = re.compile(r"[-+−–]?(?:\d+(?:[.,/]\d+)?[a-z]?|[a-zA-Z])(?:[-+−–]\w+)?")
_ORDINALS = frozenset("aeo")
_LONGEST_HEADING = 300
LONGEST_TEXT = 1 << 28


class TextBuilder:
    """Collects a text block by block; an empty line separates blocks."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._marks: list[Mark] = []
        self._trail: list[tuple[int, str]] = []
        self._page: int | None = None
        self._moved = True
        self._in_list = False

    @property
    def empty(self) -> bool:
        """Whether the text is empty."""
        return not self._parts

    def page(self, number: int) -> None:
        """Mark the start of a page."""
        self._page, self._moved = number, True

    def leave(self) -> None:
        """End all sections."""
        self._trail, self._moved = [], True

    def heading(self, text: str, level: int, line: str | None = None) -> None:
        """Begin a section; `line` is the written form, if it differs from the heading."""
        text = squeeze(text)
        if not text:
            return
        if len(text) > _LONGEST_HEADING:  # a paragraph styled as a heading
            return self.block(text)
        self._trail = [(depth, name) for depth, name in self._trail if depth < level]
        self._trail.append((level, text))
        self._moved = True
        self._write(line or text, "\n\n")

    def block(self, text: str) -> None:
        """Write a paragraph."""
        self._write(tidy(text), "\n\n")

    def more(self, text: str) -> None:
        """Continue the last paragraph on another page."""
        self._write(tidy(text), " ")

    def item(self, text: str) -> None:
        """Write a list item; its leading spaces are its depth."""
        indent = text[: len(text) - len(text.lstrip(" "))]
        self._write(indent + tidy(text), "\n" if self._in_list else "\n\n")
        self._in_list = True

    def verbatim(self, text: str) -> None:
        """Write code, with its spaces."""
        text = clean(text).strip("\n")
        if text.strip():
            fence = max(("```", *(f"{ticks}`" for ticks in re.findall("```+", text))), key=len)
            self._write(f"{fence}\n{text}\n{fence}", "\n\n")

    def table(self, rows: Rows, caption: str = "") -> None:
        """Write a table's caption and its lines, each value with its headers."""
        self.block(squeeze(caption))
        for number, line in enumerate(table_lines(rows)):
            self._write(line, "\n" if number else "\n\n")

    def result(self) -> tuple[str, tuple[Mark, ...]]:
        """Return the text and its marks, the first of them at 0."""
        return "".join(self._parts), tuple(self._marks)

    def _write(self, text: str, between: str) -> None:
        if not text.strip():
            return
        if self._parts:
            self._parts.append(between)
            self._length += len(between)
        if self._moved:
            self._mark()
        self._parts.append(text)
        self._length += len(text)
        if self._length > LONGEST_TEXT:  # a small file can repeat one long text
            raise Unreadable(f"its text has more than {LONGEST_TEXT >> 20} million characters")
        self._in_list = False

    def _mark(self) -> None:
        self._moved = False
        headings = tuple(name for _, name in self._trail)
        last = self._marks[-1] if self._marks else None
        if last is None or (last.page, last.headings) != (self._page, headings):
            self._marks.append(Mark(self._length, self._page, headings))


def superscript(before: str, text: str) -> str:
    """Return superscript words as they follow others: a power keeps its sign, 10^6 is not 106.

    >>> "10" + superscript("10", "6"), "21" + superscript("21", "st"), "x" + superscript("x", "n+1")
    ('10^6', '21st', 'x^(n+1)')
    """
    word, last = text.strip(), before[-1:]
    ordinal = last.isdigit() and word in _ORDINALS
    power = _POWER.fullmatch(word) and (last.isalnum() or last in (")", "]"))
    if not power or ordinal:
        return text
    return f"^({word})" if re.search(r"\w[-+−–]", word) else f"^{word}"


def tidy(text: str) -> str:
    """Return text with single spaces within lines, and none at line ends."""
    lines = (_SPACES.sub(" ", line).strip() for line in clean(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


DEEPEST_ITEM = 12


class Outline:
    """Collects the lines of paragraphs and items, and writes each at its end."""

    def __init__(self) -> None:
        self.builder = TextBuilder()
        self.metadata: dict[str, Value] = {}
        self.title = ""
        self.caption = ""
        self._lines: list[str] = []
        self._item: str | None = None
        self._numbers: dict[int, int] = {}

    def line(self, text: str) -> None:
        """Add a line to the current paragraph or item."""
        self._lines.append(text)

    def end(self) -> None:
        """Write the current paragraph or item."""
        lines, self._lines = self._lines, []
        if self._item is not None:
            self.builder.item(self._item + " ".join(line.strip() for line in lines))
            self._item = None
        elif lines:
            self.builder.block("\n".join(filter(None, (self.caption, *lines))))
            self.caption = ""

    def item(self, depth: int, number: int | None, text: str) -> None:
        """Begin a list item; 0 stands for the next number."""
        self.end()
        self._numbers = {level: n for level, n in self._numbers.items() if level <= depth}
        if number is not None:
            self._numbers[depth] = number or self._numbers.get(depth, 0) + 1
        self._item = "  " * (min(depth, DEEPEST_ITEM) - 1) + (
            "- " if number is None else f"{self._numbers[depth]}. "
        )
        self._lines.append(text)

    def leave_lists(self) -> None:
        """End all lists, so that the next one starts at one."""
        self.end()
        self._numbers = {}

    def heading(self, text: str, level: int) -> None:
        """Begin a section."""
        self.leave_lists()
        self.builder.heading(text, level)
        self.title = self.title or (text if level == 1 else "")

    def verbatim(self, lines: list[str]) -> None:
        """Write code below its caption."""
        self.end()
        self.builder.block(self.caption)
        self.caption = ""
        self.builder.verbatim("\n".join(lines))

    def table(self, rows: list[list[Cell]]) -> None:
        """Write a table below its caption."""
        self.end()
        self.builder.table(rows, self.caption)
        self.caption = ""

    def parsed(self) -> Parsed:
        """Return the collected text."""
        self.end()
        words, marks = self.builder.result()
        return Parsed(words, marks, self.title, self.metadata)


def until(lines: Iterator[str], end: str) -> list[str]:
    """Return the lines up to `end`, or all remaining ones."""
    inner: list[str] = []
    for line in lines:
        if line.strip().lower() == end:
            break
        inner.append(line)
    return inner
