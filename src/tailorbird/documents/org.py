"""Reader of Org: headings without states and tags, lists, code, tables with headers."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tailorbird.documents.decode_text import read_text
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions
from tailorbird.documents.table_grid import Cell, Header
from tailorbird.documents.text_builder import Outline, until

_HEADING = re.compile(r"(\*{1,12})[ \t]+(\S.*)$")
_EXTRAS = re.compile(
    r"^(?:(?:TODO|DONE|NEXT|WAITING)\s+)?(?:\[#[A-Z0-9]\]\s*)?|(?<!\s)\s+:[\w@:]+:\s*$"
)
_KEY = re.compile(r"#\+(\w+)(?:\[[^\]]*\])?:?[ \t]*(.*)$")
_ITEM = re.compile(r"([ \t]*)(?:([-+])|(\d{1,9})[.)])[ \t]+(?:\[@(\d{1,9})\][ \t]*)?(\S.*)$")
_LINK = re.compile(r"\[\[([^\[\]\n]{1,1000})\](?:\[([^\[\]\n]{1,1000})\])?\]")
_CODE = ("src", "example", "export")
_FACTS = ("author", "date", "language", "description", "keywords")


def read_org(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an Org file.

    Headings, lists with their numbers, code, tables as `column: value`; comments, drawers and
    export settings left out, included files named.
    """
    outline = Outline()
    lines = iter(read_text(path, notes).strip("\n").split("\n"))
    table: list[str] = []
    for line in lines:
        line = line.rstrip()
        if line.lstrip().startswith("|"):
            table.append(line.strip())
            continue
        if table:
            outline.table(_table(table))
            table = []
        _read_line(outline, line, lines, notes)
    if table:
        outline.table(_table(table))
    yield outline.parsed()


def _read_line(outline: Outline, line: str, lines: Iterator[str], notes: Notes) -> None:
    if not line:
        outline.end()
    elif heading := _HEADING.match(line):
        outline.heading(_EXTRAS.sub("", _words(heading.group(2))), len(heading.group(1)))
    elif key := _KEY.match(line.strip()):
        _read_key(outline, key.group(1).lower(), key.group(2).strip(), lines, notes)
    elif re.match(r"\s*#(?: |$)", line):
        return
    elif re.match(r"\s*:[A-Z_]{2,40}:$", line):
        until(lines, ":end:")
    elif item := _ITEM.match(line):
        indent, bullet, number, start, words = item.groups()
        term, double, definition = words.partition(" :: ")
        words = f"{term.strip()}: {definition.strip()}" if double and bullet else words
        depth = min(1 + len(indent.expandtabs(4)) // 2, 6)
        outline.item(depth, None if bullet else int(start or number), _words(words))
    else:
        outline.line(_words(line))


def _read_key(outline: Outline, key: str, value: str, lines: Iterator[str], notes: Notes) -> None:
    """Read a keyword line, which begins a block or describes the file."""
    kind = value.lower().partition(" ")[0]
    if key.startswith("begin_"):
        kind = key.removeprefix("begin_")
        if kind in _CODE:
            inner = until(lines, f"#+end_{kind}")
            outline.verbatim([re.sub(r"^(\s*),(?=\*|#\+)", r"\1", code) for code in inner])
        elif kind == "comment":
            until(lines, "#+end_comment")
    elif key == "title":
        outline.title = value
    elif key == "caption":
        outline.leave_lists()
        outline.caption = _words(value)
    elif key in _FACTS and value:
        outline.metadata[key] = value
    elif key == "include":
        notes.append(f"a file that it includes is not read: {value}")


def _words(text: str) -> str:
    return _LINK.sub(lambda m: f"[{m.group(2)}]({m.group(1)})" if m.group(2) else m.group(1), text)


def _table(lines: list[str]) -> list[list[Cell]]:
    """Return a table's rows; those above the first rule are column headers."""
    rules = [i for i, line in enumerate(lines) if line.startswith("|-")]
    head = next((i for i in rules if i), 0)
    rows = []
    for i, line in enumerate(lines):
        if i not in rules:
            cells = line.strip("|").split("|")
            kind: Header = "column" if i < head else ""
            rows.append([Cell(_words(cell), header=kind) for cell in cells])
    return rows
