"""Readers of plain text, code and reStructuredText: the text as written, with headings marked."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.decode_text import clean, read_text
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Value
from tailorbird.documents.text_builder import squeeze
from tailorbird.records import Mark

_ADORNED = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*$")
_LONGEST_LINE = 300

Lines = list[tuple[int, str]]
"""The lines of a text with their offsets."""


def plain_value(value: Any) -> Value:
    """Return a value that filters can compare."""
    if value is None or isinstance(value, bool | int | float | str):
        return clean(value) if isinstance(value, str) else value
    if isinstance(value, list | tuple):
        return ", ".join(str(plain_value(item)) for item in value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return clean(str(value))


def _lines(text: str) -> Lines:
    lines, at = [], 0
    for line in text.split("\n"):
        lines.append((at, line if len(line) <= _LONGEST_LINE else ""))
        at += len(line) + 1
    return lines


def trails(headings: Iterable[tuple[int, int, str]]) -> tuple[tuple[Mark, ...], str]:
    """Return a mark with the heading path for each heading, and the title.

    The title is the first heading if it is the only one of the top level: if all headings have one
    level, none of them is the title.
    """
    heads = [heading for heading in headings if heading[2]]
    marks = [] if heads and heads[0][0] == 0 else [Mark(0)]
    trail: list[tuple[int, str]] = []
    for at, level, words in heads:
        trail = [(depth, name) for depth, name in trail if depth < level] + [(level, words)]
        marks.append(Mark(at, None, tuple(name for _, name in trail)))
    alone = bool(heads) and all(level > heads[0][1] for _, level, _ in heads[1:])
    return tuple(marks), heads[0][2] if heads and (alone or heads[0][1] == 1) else ""


def read_rst(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read reStructuredText; a heading's level is the order in which its adornment first occurs.

    As written, with headings marked.
    """
    text = read_text(path, notes).strip("\n")
    marks, title = trails(_rst_headings(_lines(text)))
    yield Parsed(text, marks, title)


def _rst_headings(lines: Lines) -> Iterator[tuple[int, int, str]]:
    styles: list[tuple[str, bool]] = []
    for i in range(1, len(lines)):
        at, words = lines[i - 1]
        under = lines[i][1]
        if not words.strip() or not _ADORNED.match(under) or _ADORNED.match(words):
            continue
        if len(under.rstrip()) < len(words.strip()):
            continue
        over = i >= 2 and lines[i - 2][1].rstrip() == under.rstrip()
        if words[0] in " \t" and not over:
            continue
        style = (under[0], over)
        if style not in styles:
            styles.append(style)
        yield lines[i - 2][0] if over else at, styles.index(style) + 1, squeeze(words)


def read_plain(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read plain text or code as it is.

    As written.
    """
    yield Parsed(read_text(path, notes).strip("\n"))
