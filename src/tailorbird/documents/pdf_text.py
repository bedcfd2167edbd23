"""Joins the lines of pages into a text, without running heads, with headings and paragraphs."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from tailorbird.documents.pdf_layout import Line
from tailorbird.documents.pdf_running_heads import PdfPage, RunningHeads, body_size, line_pitch
from tailorbird.documents.read_result import Notes
from tailorbird.documents.table_grid import Cell, Rows
from tailorbird.documents.text_builder import TextBuilder
from tailorbird.records import Mark

_FEW_ROWS = 2
_MOST_HEADS = 3
_MOSTLY = 0.8
_YEAR = re.compile(r"(?:19|20)\d\d")

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PdfTable:
    """A table's cells, and the number of page lines it spans.

    Lines become one only if they surely form a table: a wrong header is worse than a plain line.
    """

    rows: Rows
    lines: int


def read_table(lines: Sequence[Line]) -> PdfTable | None:
    """Return the table that begins at the first line, or None."""
    count = _height(lines)
    columns = _columns(lines[:count])
    if count <= _FEW_ROWS or len(columns) < 2:
        return None
    placed = [_by_column(line, columns) for line in lines[:count]]
    rows = [row for row in placed if row is not None]
    if len(rows) < count:  # two cells of a line share a column
        return None
    numeric = [i for i in range(len(columns)) if _mostly_numbers([row[i] for row in rows[1:]])]
    heads = _heads(rows, numeric)
    bold = lines[0].bold and not lines[count - 1].bold
    if not heads or count - heads < _FEW_ROWS or not (bold or (numeric and len(columns) > 2)):
        return None
    names = [" ".join(filter(None, column)) for column in zip(*rows[:heads], strict=True)]
    if not all(names[1:]) or any(name.endswith(":") for name in names):
        return None
    head = [Cell(name, header="column") for name in names]
    return PdfTable([head, *rows[heads:]], count)


def _height(lines: Sequence[Line]) -> int:
    """Return how many of the first lines may be rows of one table."""
    count = 0
    for before, line in zip([None, *lines], lines, strict=False):
        if len(line.cells) < 2 or (before and line.turn != before.turn):
            break
        if before and not 0 < before.base - line.base < 3 * max(line.size, before.size):
            break
        count += 1
    return count


def _columns(lines: Sequence[Line]) -> list[_Span]:
    """Return the spans of columns: aligned cells form one."""
    columns: list[_Span] = []
    for left, right in sorted(place for line in lines for place in line.places):
        if columns and left <= columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], right))
        else:
            columns.append((left, right))
    return columns


def _by_column(line: Line, columns: Sequence[_Span]) -> list[str] | None:
    """Return a line's cell for each column; None if two share one."""
    row = [""] * len(columns)
    for text, (left, _) in zip(line.cells, line.places, strict=True):
        column = max(i for i, (begin, _) in enumerate(columns) if begin <= left)
        if row[column]:
            return None
        row[column] = text
    return row


def _mostly_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return 2 * len(filled) > len(cells) and sum(map(_number, filled)) >= _MOSTLY * len(filled)


def _number(text: str) -> bool:
    return any(map(str.isdigit, text)) and sum(map(str.isalpha, text)) <= 2


def _heads(rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> int:
    """Return the number of header rows: they contain no numbers except years."""
    for cell, below in zip(rows[0], rows[1], strict=True):
        if cell and _number(cell) and (not _YEAR.fullmatch(cell) or _YEAR.fullmatch(below)):
            return 0
    count = 1
    while (
        numeric
        and count < min(_MOST_HEADS, len(rows))
        and not any(rows[count][i] and _number(rows[count][i]) for i in numeric)
    ):
        count += 1
    return count


Bookmarks = dict[int, list[tuple[int, str]]]
"""Level and words of the bookmarks of each page, counted from 0."""

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_HYPHENS = "-\u2010\u00ad"
_LONGEST_WORD = 60
_LEADERS = re.compile(r" ?(?:[.·…] ?){5,}")  # leaders of a table of contents

_LONGEST_HEADING = 200
_HEADING_LINES = 3
_WAITING = 50
_LONGEST_TABLE = 500
_LARGER = 1.12
_SENTENCE_ENDS = (".", "!", "?", ":", "。", "！", "？", "؟")
_NO_HEADING_ENDS = (".", ",", ";", "-", "。", "、", "،")


def write_pages(
    pages: list[PdfPage], bookmarks: Bookmarks, notes: Notes
) -> tuple[str, tuple[Mark, ...]]:
    """Return the text of all pages, and the marks of pages and headings in it."""
    heads = RunningHeads(pages)
    for page, running in zip(pages, heads.lines, strict=True):
        page.lines = [line for line in page.lines if id(line) not in running]
    if heads.names:
        notes.append(f"left out as repeated on many pages: {', '.join(heads.names[:10])}")
    return _Writer(pages, bookmarks).text()


class _Writer:
    """Writes the lines of pages into one text."""

    def __init__(self, pages: Sequence[PdfPage], bookmarks: Bookmarks) -> None:
        self.pages = pages
        self.builder = TextBuilder()
        self.pitch, self.size = line_pitch(pages), body_size(pages)
        bold = sum(len(line.text) for page in pages for line in page.lines if line.bold)
        self.bold_body = 2 * bold > sum(len(line.text) for page in pages for line in page.lines)
        self.parts = [self._find_parts(page, bookmarks.get(i, [])) for i, page in enumerate(pages)]
        self.levels = self._levels()

    def text(self) -> tuple[str, tuple[Mark, ...]]:
        """Return the text and its marks."""
        for number, page in enumerate(self.pages):
            self.builder.page(number + 1)
            self._write(number, page.lines)
            for text in page.added:
                self.builder.block(text)
        return self.builder.result()

    def _write(self, number: int, lines: list[Line]) -> None:
        parts, at, paragraph = self.parts[number], 0, list[Line]()
        width = median([len(line.text) for line in lines] or [0])
        while at < len(lines):
            line = lines[at]
            part = parts.get(at)
            if paragraph and (part or self._parts(paragraph[-1], line, width)):
                self._block(paragraph)
                paragraph = []
            if part:
                self._part(part, lines[at : at + part.lines])
                at += part.lines
                continue
            paragraph.append(line)
            at += 1
        if paragraph:
            self._complete(paragraph[-1], number + 1)
            self._block(paragraph)

    def _part(self, part: "_Heading | PdfTable", lines: list[Line]) -> None:
        if isinstance(part, PdfTable):
            self.builder.table(part.rows)
            return
        words = " ".join(line.text for line in lines)
        level = part.level or self.levels[part.style]
        self.builder.heading(part.name or words, level, line=words)

    def _block(self, lines: list[Line]) -> None:
        """Write a paragraph."""
        texts = [_LEADERS.sub(" ... ", line.text) for line in lines]
        self.builder.block(join_lines(texts, self._is_word))

    def _complete(self, last: Line, following: int) -> None:
        """Complete a word split at the end of a page with its rest from the next page."""
        if following >= len(self.pages) or not self.pages[following].lines:
            return
        after = self.pages[following].lines[0]
        joint = hyphen_joint(last.text, after.text, self._is_word)
        if joint is not None:
            word, _, rest = after.text.partition(" ")
            last.cells = (*last.cells[:-1], last.cells[-1][:-1] + joint + word)
            after.cells, after.places = (rest,), ((after.left, after.right),)

    def _parts(self, before: Line, line: Line, width: float) -> bool:
        """Return whether a paragraph ends between two lines."""
        ended = before.text.endswith(_SENTENCE_ENDS)
        if ended and len(before.text) < 0.8 * width:
            return True
        if max(before.size, line.size) > _LARGER * min(before.size, line.size):
            return True
        distance = before.base - line.base
        usual = self.pitch * line.size / self.size
        if not 0 < distance <= 1.35 * max(usual, line.size):
            goes_on = line.text[:1].islower() and not ended
            return distance > 0 or not goes_on
        return ended and 0.8 * line.size < line.left - before.left < 6 * line.size

    def _is_word(self, word: str) -> bool:
        return word in self._words

    @cached_property
    def _words(self) -> set[str]:
        texts = (line.text.casefold() for page in self.pages for line in page.lines)
        return {word for text in texts for word in _WORD.findall(text)}

    def _find_parts(
        self, page: PdfPage, bookmarks: list[tuple[int, str]]
    ) -> dict[int, "_Heading | PdfTable"]:
        """Return the headings and tables of a page by the place of their first line."""
        parts: dict[int, _Heading | PdfTable] = {}
        waiting, at, tries = [(level, name) for level, name in bookmarks if _letters(name)], 0, 0
        while at < len(page.lines):
            part: _Heading | PdfTable | None = _bookmark_heading(page.lines, at, waiting)
            tries = tries + 1 if len(page.lines[at].cells) > 1 else 0
            if part is None and not page.crowded:
                # If none of the first rows begins a table, no later one does.
                table = read_table(page.lines[at : at + _LONGEST_TABLE]) if tries < 5 else None
                part = table or self._font_heading(
                    page.lines, at, isinstance(parts.get(at - 1), _Heading)
                )
            if part is not None:
                parts[at] = part
            at += 1 if part is None else part.lines
        return parts

    def _font_heading(self, lines: list[Line], at: int, after_heading: bool) -> "_Heading | None":
        """Return the heading recognised by its font."""
        first = lines[at]
        large = first.size >= _LARGER * self.size
        if not large and not self._stands_out(lines, at, after_heading):
            return None
        end = at + 1
        while end < len(lines) and _same_block(lines[end - 1], lines[end]):
            end += 1
            if end - at > _HEADING_LINES:
                return None
        words = " ".join(line.text for line in lines[at:end])
        if len(words) > _LONGEST_HEADING or words.endswith(_NO_HEADING_ENDS):
            return None
        if sum(map(str.isalpha, words)) < 2 or _LEADERS.search(words):
            return None
        if first.turn != lines[0].turn or any(len(x.cells) > 2 for x in lines[at:end]):
            return None
        return _Heading(end - at, _style(first))

    def _stands_out(self, lines: list[Line], at: int, after_heading: bool) -> bool:
        """Return whether a line is bold and alone, while the text is not bold."""
        line = lines[at]
        if not line.bold or self.bold_body or line.size < 0.95 * self.size:
            return False
        distance = lines[at - 1].base - line.base if at else 1e9
        return (
            after_heading
            or not 0 < distance < 1.15 * self.pitch
            or lines[at - 1].text.endswith(_SENTENCE_ENDS)
        )

    def _levels(self) -> dict[tuple[float, bool], int]:
        """Return the heading level of each style, by its bookmarks or else by size."""
        parts = [part for page in self.parts for part in page.values()]
        headings = [part for part in parts if isinstance(part, _Heading)]
        styles = sorted({heading.style for heading in headings}, reverse=True)
        levels = {style: min(rank, 6) for rank, style in enumerate(styles, 1)}
        named: dict[tuple[float, bool], Counter[int]] = {}
        for heading in headings:
            if heading.level:
                named.setdefault(heading.style, Counter())[heading.level] += 1
        return levels | {style: count.most_common(1)[0][0] for style, count in named.items()}


@dataclass(frozen=True, slots=True)
class _Heading:
    lines: int
    style: tuple[float, bool]
    level: int = 0
    name: str = ""


def _style(line: Line) -> tuple[float, bool]:
    return round(2 * line.size) / 2, line.bold


def _same_block(above: Line, line: Line) -> bool:
    """Return whether a line continues the one above in the same font."""
    return _style(above) == _style(line) and 0 < above.base - line.base < 1.8 * line.size


def _bookmark_heading(
    lines: list[Line], at: int, waiting: list[tuple[int, str]]
) -> _Heading | None:
    """Return the heading of a bookmark; bookmarks before it in the list are dropped."""
    words = ""
    for count, line in enumerate(lines[at : at + _HEADING_LINES], 1):
        words += _letters(line.text)
        for place, (level, name) in enumerate(waiting[:_WAITING]):
            if _letters(name) == words:
                del waiting[: place + 1]
                return _Heading(count, _style(lines[at]), level, name)
    return None


def _letters(text: str) -> str:
    """Return the letters alone, since bookmark and page differ in numbering and spacing."""
    return re.sub(r"[\W\d_]+", "", text[: 2 * _LONGEST_HEADING]).casefold()


def join_lines(lines: Sequence[str], is_word: Callable[[str], bool]) -> str:
    """Join lines by line ends, and words that a hyphen splits without one."""
    parts: list[str] = []
    for line in lines:
        joint = hyphen_joint(parts[-1], line, is_word) if parts else None
        if joint is None:
            parts += ["\n", line] if parts else [line]
        else:
            parts[-1] = parts[-1].rstrip(_HYPHENS)
            parts.append(joint + line)
    return "".join(parts)


def hyphen_joint(before: str, after: str, is_word: Callable[[str], bool]) -> str | None:
    """Return the text between two lines of a hyphenated word; None if it is no such word."""
    if not before.endswith(tuple(_HYPHENS)):
        return None
    head = re.search(r"(?<![^\W_])[^\W_]+$", before[-_LONGEST_WORD:-1])
    tail = re.match(r"[^\W_]+", after[:_LONGEST_WORD])
    if head is None or tail is None:
        return None
    if before.endswith("\u00ad"):
        return ""
    whole = f"{head[0]}-{tail[0]}".casefold()
    if is_word(whole.replace("-", "")):
        return ""
    if is_word(whole):
        return "-"
    if head[0][-1].islower():
        # A capital or a digit begins something else, such as the next column's heading.
        return "" if tail[0][0].islower() else None
    return None if tail[0][0].isupper() else "-"
