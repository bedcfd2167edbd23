"""Builds text from marked-up lines: paragraphs, numbered items, code, tables and headings."""

from collections.abc import Iterator

from tailorbird.documents.read_result import Parsed, Value
from tailorbird.documents.table_grid import Cell
from tailorbird.documents.text_builder import TextBuilder

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
