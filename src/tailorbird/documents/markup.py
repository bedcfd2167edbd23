"""Markdown, reStructuredText, plain text, code and notebooks: kept as written, headings marked."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.decode import clean, read_text
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.records import Mark

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)", re.M | re.S)
_FRONT = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_LONGEST_FRONT = 1 << 16
_ADORNED = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*$")
_LONGEST_LINE = 300

Lines = list[tuple[int, str]]
"""The lines of a text with their offsets."""


def read_markdown(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a Markdown file: front matter to metadata, comments left out, headings marked."""
    yield markdown(read_text(path, notes), notes)


def markdown(text: str, notes: Notes) -> Parsed:
    """Return a Markdown text with its headings marked."""
    metadata, text = _front_matter(text, notes)
    text = _without_comments(text).strip("\n")
    marks, title = _trails(_markdown_headings(_lines(text)))
    named = metadata.pop("title", None)
    return Parsed(text, marks, str(named) if named else title, metadata)


def _front_matter(text: str, notes: Notes) -> tuple[dict[str, Value], str]:
    """Return what the YAML at the top says, and the text below it."""
    found = _FRONT.match(text, 0, _LONGEST_FRONT)
    if found is None:
        return {}, text
    # A worker reads many files without YAML.
    from tailorbird.yaml_text import YamlFault, parse_yaml

    try:
        said = parse_yaml(found.group(1))
    except YamlFault as error:
        notes.append(f"front matter left as text, it is no YAML: {str(error).splitlines()[0]}")
        return {}, text
    if not isinstance(said, dict):
        return {}, text
    return {str(k): plain_value(v) for k, v in said.items()}, text[found.end() :]


def plain_value(value: Any) -> Value:
    """Return a value that a filter can compare."""
    if value is None or isinstance(value, bool | int | float | str):
        return clean(value) if isinstance(value, str) else value
    if isinstance(value, list | tuple):
        return ", ".join(str(plain_value(item)) for item in value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return clean(str(value))


def _without_comments(text: str) -> str:
    """Return text without HTML comments, those in code fences left."""
    if "<!--" not in text:
        return text
    parts, at = [], 0
    for fence in _FENCED.finditer(text):
        parts += [_COMMENT.sub("", text[at : fence.start()]), fence.group()]
        at = fence.end()
    parts.append(_COMMENT.sub("", text[at:]))
    return "".join(parts)


def _lines(text: str) -> Lines:
    found, at = [], 0
    for line in text.split("\n"):
        found.append((at, line if len(line) <= _LONGEST_LINE else ""))
        at += len(line) + 1
    return found


def _markdown_headings(lines: Lines) -> Iterator[tuple[int, int, str]]:
    """Yield offset, level and words of the headings outside code."""
    fence, before = "", (0, "")
    for at, line in lines:
        if fence:
            closing = _FENCE.match(line)
            if closing and closing.group(1).startswith(fence):
                fence = ""
            continue
        if opening := _FENCE.match(line):
            fence = opening.group(1)
        elif found := _ATX.match(line):
            yield at, len(found.group(1)), _words(found.group(2) or "")
        elif (under := _SETEXT.match(line)) and _can_be_heading(before[1]):
            yield before[0], 1 if under.group(1)[0] == "=" else 2, _words(before[1])
        before = (at, line)


def _can_be_heading(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and stripped[0] not in "#>|-*+=`~" and not line.startswith("    ")


def _words(heading: str) -> str:
    """Return a heading's words without anchors, links' addresses and emphasis."""
    heading = re.sub(r"\[\[[^\]]*\]\]|\{#[^}]*\}|<[^<>]*>", " ", heading)
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return squeeze(re.sub(r"[*`]+|(?<!\w)_+|_+(?!\w)", "", heading))


def _trails(headings: Iterable[tuple[int, int, str]]) -> tuple[tuple[Mark, ...], str]:
    """Return a mark for each heading with the trail to it, and the title.

    The title is the first heading if none above it or beside it has its level: a text whose
    headings all have one level has no title among them.
    """
    found = [heading for heading in headings if heading[2]]
    marks = [] if found and found[0][0] == 0 else [Mark(0)]
    trail: list[tuple[int, str]] = []
    for at, level, words in found:
        trail = [(depth, name) for depth, name in trail if depth < level] + [(level, words)]
        marks.append(Mark(at, None, tuple(name for _, name in trail)))
    alone = bool(found) and all(level > found[0][1] for _, level, _ in found[1:])
    return tuple(marks), found[0][2] if found and (alone or found[0][1] == 1) else ""


def read_rst(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a reStructuredText file; a heading's level is where its adornment came first."""
    text = read_text(path, notes).strip("\n")
    marks, title = _trails(_rst_headings(_lines(text)))
    yield Parsed(text, marks, title)


def _rst_headings(lines: Lines) -> Iterator[tuple[int, int, str]]:
    seen: list[tuple[str, bool]] = []
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
        if style not in seen:
            seen.append(style)
        yield lines[i - 2][0] if over else at, seen.index(style) + 1, squeeze(words)


def read_plain(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read plain text or code as it is."""
    yield Parsed(read_text(path, notes).strip("\n"))


def read_notebook(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a Jupyter notebook: its Markdown and its code, not what the code printed."""
    import json

    try:
        cells = json.loads(read_text(path, notes))["cells"]
        pieces = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unreadable(f"damaged or no notebook of version 4: {error!r}") from error
    builder = TextBuilder()
    for kind, source in pieces:
        if kind == "code":
            builder.verbatim(source)
        else:
            builder.block(source)
    yield markdown(builder.result()[0], notes)
