"""Reader of AsciiDoc: headings, numbered lists, code, and tables with spans and headers."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tailorbird.documents.decode_text import read_text
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions
from tailorbird.documents.table_grid import Cell, Header, whole_number
from tailorbird.documents.text_builder import Outline, until

_CODE = re.compile(r"(-{4,}|\.{4,}|\+{4,}|```)")
_FRAME = re.compile(r"(?:={4,}|\*{4,}|_{4,}|--)$")
_TABLE = re.compile(r"\|={3,}$")
_ATTRIBUTE = re.compile(r":!?([\w-]{1,80})!?:(?:[ \t]+(.*))?$")
_REFERENCE = re.compile(r"(?<!\\)\{([\w-]{1,80})\}")
_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*)$")
_ITEM = re.compile(r"[ \t]*([*-]{1,6}|\.{1,6}|\d{1,9}\.)[ \t]+(\S.*)$")
_TERM = re.compile(r"(\S[^\n]{0,300}?):{2,4}(?:[ \t]+(\S.*))?$")
_MACRO = re.compile(r"(include|toc|ifn?def|ifeval|endif|image|video|audio)::")
_AUTHOR = re.compile(r"[^\W\d][\w.'-]*(?: [\w.'-]+){0,3}(?: <[^<>]+>)?$")
_CROSS = re.compile(r"<<[^<>,\n]{1,200},[ ]*([^<>\n]{1,200})>>")
_NOTE = re.compile(r"footnote:[\w-]{0,50}\[([^\[\]]{0,2000})\]")
_CELL = re.compile(
    r"(?:(?<!\S)(?=[\d.<^>+*adehlmsv]{1,16}\|)(?:(\d{1,4})?(?:\.(\d{1,4}))?([+*]))?[<^>.]{0,3}"
    r"([adehlmsv])?)?(?<!\\)\|"
)
_HEAD = re.compile(r"%header|(?:options|opts)=\"?[^\]\"=]*header", re.I)
_COLUMNS = re.compile(r"cols=(?:\"([^\"]*)\"|([^,\]]*))")
_LONGEST_VALUE = 1000
_MOST_COPIES = 1000


def read_asciidoc(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read AsciiDoc.

    Headings, lists with their numbers, code, tables (spans, header rows) as `column: value`;
    comments and attributes left out, included files named.
    """
    reader = _AsciiDoc()
    reader.read(read_text(path, notes).strip("\n"))
    if reader.included:
        notes.append(f"files that it includes are not read: {', '.join(reader.included[:5])}")
    yield reader.outline.parsed()


class _AsciiDoc:
    def __init__(self) -> None:
        self.outline = Outline()
        self.included: list[str] = []
        self._attributes: dict[str, str] = {}
        self._options = ""
        self._in_head = True

    def read(self, text: str) -> None:
        lines = iter(text.split("\n"))
        for line in lines:
            line = line.rstrip()
            if line == "////":
                until(lines, line)
            elif not self._block(line, lines):
                self._line(line)

    def _block(self, line: str, lines: Iterator[str]) -> bool:
        """Read a block that starts at `line`; return whether one does."""
        outline = self.outline
        code = _CODE.match(line)
        if code and (code.group() == line or code.group(1) == "```"):
            outline.verbatim(until(lines, code.group(1) if code.group(1) == "```" else line))
        elif _TABLE.match(line):
            outline.table(_table(until(lines, line), self._options, self._words))
        elif _FRAME.match(line):
            outline.end()
        else:
            return False
        self._options = ""
        return True

    def _line(self, line: str) -> None:
        outline = self.outline
        if line.startswith("//"):
            return
        if not line:
            outline.end()
            self._in_head = self._in_head and outline.builder.empty
        elif self._mark(line):
            return
        elif heading := _HEADING.match(line):
            outline.heading(self._words(heading.group(2)), len(heading.group(1)))
        elif item := _ITEM.match(line):
            sign = item.group(1)
            number = None if sign[0] in "*-" else 0 if sign[0] == "." else int(sign[:-1])
            start = re.search(r"start=\"?(\d{1,9})", self._options)
            number = int(start.group(1)) if start and number == 0 else number
            self._options = ""
            outline.item(1 if sign[0].isdigit() else len(sign), number, self._words(item.group(2)))
        elif term := _TERM.match(line):
            outline.leave_lists()
            outline.line(
                f"{self._words(term.group(1))}: {self._words(term.group(2) or '')}".strip()
            )
        else:
            self._paragraph(line)

    def _mark(self, line: str) -> bool:
        """Read a line of attributes for the next block; return whether it is one."""
        outline = self.outline
        if attribute := _ATTRIBUTE.match(line):
            name, value = attribute.group(1).lower(), (attribute.group(2) or "").strip()
            self._attributes[name] = value[:_LONGEST_VALUE]
            if name in ("author", "description", "keywords", "lang", "revdate") and value:
                outline.metadata["language" if name == "lang" else name] = value
        elif macro := _MACRO.match(line):
            if macro.group(1) == "include":
                self.included.append(line[9:].partition("[")[0])
        elif line.startswith("[") and line.endswith("]"):
            outline.end()
            self._options = line
        elif re.match(r"\.[^\s.]", line):
            outline.leave_lists()
            outline.caption = self._words(line[1:])
        elif line == "+":
            outline.end()
        else:
            return False
        return True

    def _paragraph(self, line: str) -> None:
        if self._in_head and self.outline.title and _AUTHOR.match(line):
            self.outline.metadata.setdefault("author", line.partition(" <")[0])
            return
        self._in_head = False
        self.outline.line(self._words(line))

    def _words(self, text: str) -> str:
        """Return a line with attributes, footnotes and references resolved."""
        values = self._attributes
        text = _REFERENCE.sub(lambda match: values.get(match[1].lower()) or match[0], text)
        return _NOTE.sub(r" [\1]", _CROSS.sub(r"\1", text)) if "[" in text or "<<" in text else text


def _table(lines: list[str], options: str, words: Callable[[str], str]) -> list[list[Cell]]:
    """Return a table's rows; a cell begins at a bar, wherever its line ends."""
    text = "\n".join(lines)
    bars = list(_CELL.finditer(text))
    ends = [*(bar.start() for bar in bars), len(text)][1:]
    cells = (
        [Cell(words(outside))]
        if (outside := text[: bars[0].start() if bars else None].strip())
        else []
    )
    first_line = 0
    for bar, end in zip(bars, ends, strict=True):
        columns, rows, sign, style = bar.groups()
        copies = min(whole_number(columns), _MOST_COPIES) if sign == "*" else 1
        header: Header = "row" if style == "h" else ""
        wide = whole_number(columns) if sign == "+" else 1
        inner = words(text[bar.end() : end].replace("\\|", "|"))
        cells += [Cell(inner, whole_number(rows), wide, header)] * copies
        first_line += wide * copies * ("\n" not in text[: bar.start()].lstrip("\n"))
    table = _in_rows(cells, _column_count(options) or max(first_line, 1))
    below = text.lstrip("\n").partition("\n")[2]
    if table and ("noheader" not in options) and (_HEAD.search(options) or below.startswith("\n")):
        table[0] = [replace(cell, header="column") for cell in table[0]]
    return table


def _column_count(options: str) -> int:
    match = _COLUMNS.search(options)
    count = 0
    for column in re.split("[,;]", (match.group(1) or match.group(2) or "") if match else ""):
        copies = re.match(r"\s*(\d{1,4})\*", column)
        count += int(copies.group(1)) if copies else bool(match)
    return count


def _in_rows(cells: list[Cell], columns: int) -> list[list[Cell]]:
    """Return cells in rows of `columns` cells, counting those that cells above cover."""
    rows: list[list[Cell]] = [[]]
    covered: dict[int, int] = {}
    room = columns
    for cell in cells:
        while room < min(cell.columns, columns) and (room <= 0 or rows[-1]):
            rows.append([])
            room = columns - covered.pop(len(rows) - 1, 0)
        rows[-1].append(cell)
        room -= cell.columns
        for below in range(len(rows), len(rows) + min(cell.rows - 1, len(cells))):
            covered[below] = covered.get(below, 0) + cell.columns
    return [row for row in rows if row]
