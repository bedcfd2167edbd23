"""Readers of Markdown and notebooks: text as written except tables, comments and link positions.

Blocks are parsed by markdown-it, which this module alone imports, so that code stays code.
"""

import bisect
import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.decode_text import read_text, squeeze
from tailorbird.documents.plain_text import plain_value, trails
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.table_grid import Cell, table_lines
from tailorbird.documents.text_builder import TextBuilder

_FRONT = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)\n(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_LONGEST_FRONT = 1 << 16
_TICKS = re.compile(r"(?<!\\)`+")
_REFERENCE = re.compile(r"(?<![\\\]])\[([^\[\]\n]{1,300})\](?:\[([^\[\]\n]{0,300})\])?(?![\[(:])")
_TABLE = re.compile(r"<(/?)table\b", re.I)
_BREAK = re.compile(r"<br\s*/?>", re.I)
_LONGEST_LINE = 300
_LONGEST_OUTPUT = 20_000
_COLOURS = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_SHOWN = ("text/html", "text/markdown", "text/latex", "text/plain")


def read_markdown(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a Markdown file.

    As written: headings marked, front matter (YAML, TOML) to metadata, tables (also in HTML) as
    `column: value`, links with their addresses in place, HTML comments left out.
    """
    yield markdown(read_text(path, notes), notes)


def markdown(text: str, notes: Notes) -> Parsed:
    """Return a Markdown text with marked headings, and tables as values with headers."""
    metadata, text = _front_matter(text, notes)
    page = _Page(text.strip("\n"), notes)
    words, headings = page.result()
    marks, title = trails(headings)
    named = metadata.pop("title", None)
    return Parsed(words, marks, str(named) if named else title, metadata)


def _front_matter(text: str, notes: Notes) -> tuple[dict[str, Value], str]:
    """Return the YAML or TOML at the top, parsed, and the text below it."""
    match = _FRONT.match(text, 0, _LONGEST_FRONT)
    if match is None:
        return {}, text
    # Imported here, since most files have no front matter.
    import tomllib

    from tailorbird.yaml_text import YamlFault, parse_yaml

    toml = match.group(1) == "+++"
    try:
        values = tomllib.loads(match.group(2)) if toml else parse_yaml(match.group(2))
    except (YamlFault, ValueError, RecursionError) as error:
        kind, reason = "TOML" if toml else "YAML", str(error).splitlines()[0]
        notes.append(f"front matter kept as text, since it is not valid {kind}: {reason}")
        return {}, text
    if not isinstance(values, dict):
        return {}, text
    return {str(k): plain_value(v) for k, v in values.items()}, text[match.end() :]


class _Page:
    """A Markdown text with replacements by place."""

    def __init__(self, text: str, notes: Notes) -> None:
        from markdown_it import MarkdownIt

        parser = MarkdownIt("commonmark").enable("table")
        parser.core.ruler.enableOnly(["normalize", "block"])
        environment: dict[str, Any] = {}
        self._text = text
        self._notes = notes
        self._tokens = parser.parse(text, environment)
        self._links: dict[str, dict[str, Any]] = environment.get("references", {})
        self._used_links: set[str] = set()
        self._starts = [0]
        for line in text.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._edits: list[tuple[int, int, str]] = []
        self._headings: list[tuple[int, int, str]] = []
        self._open_table = False
        self._read()

    def result(self) -> tuple[str, list[tuple[int, int, str]]]:
        """Return the edited text and the place, level and words of its headings."""
        parts, at, headings, shift = [], 0, iter(self._headings), 0
        moved: list[tuple[int, int, str]] = []
        heading = next(headings, None)
        for start, end, words in [*sorted(self._edits), (len(self._text), len(self._text), "")]:
            while heading is not None and heading[0] <= start:
                moved.append((heading[0] + shift, *heading[1:]))
                heading = next(headings, None)
            parts += [self._text[at:start], words]
            at, shift = end, shift + len(words) - (end - start)
        text = "".join(parts)
        bare = len(text) - len(text.lstrip("\n"))
        return text.strip("\n"), [(at - bare, level, words) for at, level, words in moved]

    def _read(self) -> None:
        position = 0  # tokens before this are handled
        for i, token in enumerate(self._tokens):
            if token.map is None:
                continue
            start, end = self._place(token.map)
            if start < position:
                continue
            if token.type == "table_open":
                self._edit(start, end, "\n".join(self._pipe_table(i, start)))
                position = end
            elif token.type == "html_block":
                position = self._html(start, end)
            elif token.type == "inline":
                self._edit(start, end, self._prose(self._text[start:end]))
            elif token.type == "heading_open" and not token.level and end - start <= _LONGEST_LINE:
                words = heading_words(self._tokens[i + 1].content)
                self._headings.append((start, int(token.tag[1]), words))
        for label in self._used_links:
            self._edit(*self._place(self._links[label]["map"]), "")

    def _edit(self, start: int, end: int, words: str) -> None:
        if self._text[start:end] != words:
            self._edits.append((start, end, words))

    def _place(self, lines: list[int]) -> tuple[int, int]:
        """Return the start and end of a range of lines."""
        first, last = self._starts[lines[0]], self._starts[min(lines[1], len(self._starts) - 1)]
        return first, max(first, last - 1)

    def _pipe_table(self, i: int, start: int) -> Iterator[str]:
        """Yield the lines of the table whose tokens begin at `i`, with its indent."""
        rows: list[list[Cell | str]] = []
        while (token := self._tokens[i]).type != "table_close":
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                words = _BREAK.sub(" ", self._prose(self._tokens[i + 1].content))
                rows[-1].append(Cell(words, header="column") if token.tag == "th" else words)
            i += 1
        indent = re.compile(r"[ >]*").match(self._text, start)
        for line in table_lines(rows):
            yield (indent.group() if indent else "") + line

    def _html(self, start: int, end: int) -> int:
        """Drop comments and read tables in HTML from here on; return the end."""
        at = start
        while at < end:
            comment = self._text.find("<!--", at, end)
            table = _TABLE.search(self._text, at, end if comment < 0 else comment)
            if table:
                at = self._html_table(table.start()) or table.end()
            elif comment < 0:
                return end
            else:
                close = self._text.find("-->", comment)
                if close < 0:
                    self._notes.append("an unclosed comment (<!--) hides the rest of the page")
                at = len(self._text) if close < 0 else close + 3
                self._edit(comment, at, "")
        return at

    def _html_table(self, start: int) -> int:
        """Read a table in HTML; return its end, or 0 if it stays as written."""
        depth = 0
        for tag in _TABLE.finditer(self._text, start) if not self._open_table else ():
            depth += -1 if tag.group(1) else 1
            if depth == 0:
                end = self._text.find(">", tag.end()) + 1
                break
        else:
            self._open_table = True
            return 0
        markup = self._text[start:end]
        if not end or "```" in markup or "~~~" in markup:
            return 0
        from tailorbird.documents.web import html

        with contextlib.suppress(Unreadable):  # a table of pictures
            self._edit(start, end, f"{html(markup, self._notes).text}\n")
        return end

    def _prose(self, text: str) -> str:
        """Return a paragraph with comments dropped and link addresses inlined, except in code."""
        if "<!--" not in text and not (self._links and "]" in text):
            return text
        parts: list[str] = []
        at = 0
        for start, end in [*_code_spans(text), (len(text), len(text))]:
            if start >= at:  # otherwise inside a comment
                at = self._plain(text, at, start, parts)
                if at < end:
                    parts.append(text[max(at, start) : end])
                    at = end
        return "".join(parts)

    def _plain(self, text: str, at: int, end: int, parts: list[str]) -> int:
        """Add the text before code; return its end, since a comment may contain code."""
        while at < end:
            comment = text.find("<!--", at, end)
            close = text.find("-->", comment) if comment >= 0 else -1
            if close < 0:
                comment = end
            parts.append(_REFERENCE.sub(self._link, text[at:comment]))
            at = close + 3 if close >= 0 else end
        return at

    def _link(self, match: re.Match[str]) -> str:
        from markdown_it.common.utils import normalizeReference

        label = normalizeReference(match.group(2) or match.group(1))
        link = None if label.startswith("^") else self._links.get(label)
        if link is None:
            return match.group()
        self._used_links.add(label)
        title = f' "{link["title"]}"' if link["title"] else ""
        return f"[{match.group(1)}]({link['href']}{title})"


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of code spans in a paragraph, between equal runs of backticks."""
    runs = list(_TICKS.finditer(text))
    closers: dict[int, list[int]] = {}
    for i, run in enumerate(runs):
        closers.setdefault(len(run.group()), []).append(i)
    i = 0
    while i < len(runs):
        same = closers[len(runs[i].group())]
        k = bisect.bisect_right(same, i)
        if k < len(same):
            yield runs[i].start(), runs[same[k]].end()
            i = same[k]
        i += 1


def heading_words(heading: str) -> str:
    """Return a heading's words without anchors, link addresses and emphasis."""
    heading = re.sub(r"\[\[[^\]]*\]\]|\{#[^{}]*\}|<[^<>]*>", " ", heading)
    heading = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading)
    return squeeze(re.sub(r"[*`]+|(?<!\w)_+|_+(?!\w)", "", heading))


def read_notebook(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a Jupyter notebook of version 4.

    Markdown, code, and its text and table outputs; pictures are counted.
    """
    import json

    try:
        cells = json.loads(read_text(path, notes))["cells"]
        pieces = [(c["cell_type"], _join(c["source"]), c.get("outputs") or ()) for c in cells]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("damaged, or not a notebook of version 4") from error
    builder = TextBuilder()
    pictures = 0
    for kind, source, outputs in pieces:
        if kind != "code":
            builder.block(source)
            continue
        builder.verbatim(source)
        for output in outputs if isinstance(outputs, list) else ():
            pictures += not _output(builder, output, notes)
    if pictures:
        notes.append(f"{pictures} outputs without text are left out, such as pictures")
    yield markdown(builder.result()[0], notes)


def _output(builder: TextBuilder, output: Any, notes: Notes) -> bool:
    """Write a cell's output; return whether it contained text."""
    from tailorbird.documents.web import html

    if not isinstance(output, dict):
        return False
    data = output.get("data")
    data = data if isinstance(data, dict) else {}
    by_kind = {kind: _join(data[kind]) for kind in _SHOWN if data.get(kind)}
    words = _join(output.get("text") or output.get("traceback") or "")
    if "<table" in by_kind.get("text/html", ""):
        with contextlib.suppress(Unreadable):
            builder.block(html(by_kind["text/html"], notes).text)
            return True
    if "text/markdown" in by_kind:
        builder.block(by_kind["text/markdown"])
        return True
    words = _COLOURS.sub("", words or by_kind.get("text/latex") or by_kind.get("text/plain") or "")
    if len(words) > _LONGEST_OUTPUT:
        notes.append(f"an output of {len(words):,} characters is cut to {_LONGEST_OUTPUT:,}")
    builder.verbatim(words[:_LONGEST_OUTPUT])
    return bool(words.strip())


def _join(lines: Any) -> str:
    """Return text that a notebook stores whole or line by line."""
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines)
