"""Splits a text into sentences with offsets, aware of Markdown and code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tailorbird.rag.quantities import is_month

Kind = Literal["prose", "heading", "item", "code", "table", "aside"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, a heading, a list item's sentence, a table row, or a whole block of code.

    Attributes:
        text: ``text[start:end]`` of the split text, verbatim.
        kind: Its kind; an aside is a comment or a page marker, never quoted.
    """

    text: str
    start: int
    end: int
    kind: Kind = "prose"
    block: int = 0


_FENCE = re.compile(r"^ {0,8}(```+|~~~+)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s")
_ITEM = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_TABLE = re.compile(r"^\s*\|.*\|\s*$")
_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"^\s*(?:(?:[-*_=~^\"]\s*){3,}|\|[-:|\s]*)$")
_ASIDE = re.compile(
    r"^\s*+(?:(?:</?[A-Za-z][^>]*>|\[\[(?:[^\]]|\](?!\]))*+\]\]|\{%(?:[^%]|%(?!\}))*+%\}"
    r"|>*+\s*+\[!\w++\])\s*+)++$|^\s*+\.\. \S+::.*$|^ {0,3}\[[^\]]+\]:\s*\S"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_LINE = re.compile(r"^.*$", re.M)
_LINES: dict[Kind, re.Pattern[str]] = {
    "heading": _HEADING,
    "item": _ITEM,
    "table": _TABLE,
    "aside": _ASIDE,
}
_QUOTE = re.compile(r"^[^\S\n]*>+[^\S\n]?", re.M)
# A sentence's end: its punctuation, closing quotes or brackets, then a space, which ideographs do
# not need.
_END = re.compile(
    r"(?:(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\]*_]*+(?:\s*\[\d+(?:\s*,\s*\d+)*\])*(?=\s)"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09\"']*)"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|approx|resp|ca|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Fig|Figs|Eq|Sec|Ch"
    r"|No|Nos|Vol|pp|Inc|Ltd|Co|Corp|Gen|Col|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|U\.S|U\.K|a\.m|p\.m"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)|(?<![\w.])[A-Z]|[A-Z]\.[A-Z])\.$"
)
_DAY = re.compile(r"(?<!\w)\d{1,2}\.$")
_OPENS = re.compile(r"\s+[\"'\u201c\u2018(\[*_`>#-]*([^\s\"'\u201c\u2018(\[*_`>#-])")
_WHOLE_WORD = re.compile(r"(?:[a-z]{4}|[`)\]])\.$")
# Allows one nested level: an image in a link, parentheses in an address.
_WORDS = r"\[((?:[^\[\]]++|\[[^\[\]]*\])*+)\]"
_ADDRESS = r"\((?:[^()]++|\([^()]*\))*+\)"
_SPAN = re.compile(rf"(?P<ticks>`+)|{_WORDS}{_ADDRESS}|https?://\S+")
_LINK = re.compile(rf"!?{_WORDS}{_ADDRESS}")
_REFERENCE = re.compile(r"\[`~?([^`\]]+)`\]")
# Reference links ([text][name]), wiki links ([[page|text]]), footnotes, bare addresses, and
# remainders of an address cut in the middle.
_NAMED_LINK = re.compile(r"!?(?<!\w)\[([^\[\]]+)\] ?\[[^\[\]]*\]")
_WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\W\d_][^\[\]|]*)\]\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]+\]")
_BARE_LINK = re.compile(r"<((?:https?|mailto):[^<>\s]+)>")
_HALF_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*$")
_SHEET_LINK = re.compile(r"`([^`<>]*[^`<>\s])\s*<[^<>`]+>`__?")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]*>")
# Twice each, since bold text may contain italics.
_STARS = re.compile(r"(?<!\*)(\*{1,3})(?=[^\s*])([^*]+)(?<=\S)\1(?![*\w])")
_LOW_LINES = re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])((?:[^_]|(?<=\w)_(?=\w))+)(?<=\S)\1(?!\w)")


def split_sentences(text: str) -> list[Sentence]:
    """Return the sentences of a text in order; only whitespace and marks lie between them."""
    parts: list[Sentence] = []
    for number, (kind, start, end) in enumerate(_blocks(text)):
        if kind in ("prose", "item"):
            parts += [Sentence(text[a:b], a, b, kind, number) for a, b in _ends(text, start, end)]
        else:
            a, b = _trimmed(text, start, end, newlines_only=kind == "code")
            if b > a:
                parts.append(Sentence(text[a:b], a, b, kind, number))
    return parts


def plain(text: str) -> str:
    """Return a sentence as plain text on one line, without the markup of links and emphasis."""
    if _TABLE.match(text):
        text = "; ".join(cell for cell in cells(text) if cell)
    bare = _QUOTE.sub("", _ITEM.sub("", text, count=1))
    bare = _LINK.sub(r"\1", _LINK.sub(r"\1", bare))
    bare = _REFERENCE.sub(lambda m: f"`{m.group(1).rpartition('.')[2]}`", bare)
    bare = _SHEET_LINK.sub(r"\1", bare)
    pieces = re.split(r"((?<!`)`+[^`]+`+)", bare)
    for index in range(0, len(pieces), 2):
        piece = _TAG.sub("", _BARE_LINK.sub(r"\1", pieces[index]))
        for link in (_WIKI_LINK, _NAMED_LINK, _HALF_LINK):
            piece = link.sub(r"\1", piece)
        piece = _FOOTNOTE.sub("", piece)
        for pattern in (_STARS, _LOW_LINES) * 2:
            piece = pattern.sub(r"\2", piece)
        pieces[index] = piece
    return " ".join("".join(pieces).split())


def cells(row: str) -> list[str]:
    """Return the contents of a table row's cells: ``| a | b |``."""
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(row.strip())[1:-1]]


def is_header(text: str, end: int) -> bool:
    """Return whether the table row that ends at `end` is a header."""
    following = text[end : end + 1000].lstrip("\r\n").split("\n", 1)[0]
    return following.lstrip().startswith("|") and _RULE.match(following) is not None


def bound_row(text: str, start: int) -> str:
    """Return the table row that begins at `start`, each cell with its column's header.

    Returns:
        ``Size: 3; Price: 5``; a first row, or one of another width, without headers.
    """
    lines = text[:start].splitlines()
    row = cells(text[start:].split("\n", 1)[0])
    header: list[str] = []
    for line in reversed(lines):
        if not line.lstrip().startswith("|"):
            break
        if not _RULE.match(line):
            header = cells(line)
    if len(header) != len(row):
        header = [""] * len(row)
    named = zip(header, row, strict=True)
    return plain("; ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell))


def _blocks(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield kind, start and end of each paragraph, item, heading, row, or block of code."""
    comments = [m.span() for m in _COMMENT.finditer(text)][::-1]
    fence = _open_fence(text)
    kind: Kind | None = "code" if fence else None
    begin = end = 0
    for start, stop in (line.span() for line in _LINE.finditer(text)):
        line = text[start:stop]
        if fence:
            end = stop
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                yield "code", begin, end
                fence, kind = "", None
            continue
        now = _line_kind(line, kind)
        while comments and comments[-1][1] <= start:
            comments.pop()
        if comments and comments[-1][0] <= start:
            now = "aside"
        if now == "more":
            end = stop
            continue
        if kind:
            yield kind, begin, end
        kind, begin, end = now, start, stop
        if opened := _FENCE.match(line) if kind == "code" else None:
            fence = opened.group(1)
    if kind:
        yield kind, begin, end


def _open_fence(text: str) -> str:
    """Return the fence that is open at the beginning of a text cut out of a page, if any."""
    fences = [m for line in text.splitlines() if (m := _FENCE.match(line))]
    if len(fences) % 2 == 0 or not fences:
        return ""
    return fences[0].group(1) if not fences[0].string[fences[0].end() :].strip() else ""


def _line_kind(line: str, before: Kind | None) -> "Kind | Literal['more'] | None":
    """Return the kind that a line begins, ``more`` if it continues the open block, else None."""
    if not line.strip() or _RULE.match(line):
        return None
    if _FENCE.match(line):
        return "code"
    for kind, pattern in _LINES.items():
        if pattern.match(line):
            return kind
    if before in ("prose", "item"):
        return "more"
    if re.match(r"(?: {4}|\t)", line):
        return "more" if before == "code" else "code"
    return "prose"


def _ends(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the sentences of a paragraph."""
    block = text[start:end]
    mark = _ITEM.match(block)
    begin = mark.end() if mark else 0
    closed = _closed(block)
    for end_mark in _END.finditer(block):
        stop = end_mark.end()
        while closed and closed[-1][1] - 1 <= end_mark.start():
            closed.pop()
        if closed and closed[-1][0] < end_mark.start():
            continue
        if end_mark.group()[0] in ".!?" and not _is_end(block, end_mark.start(), stop):
            continue
        yield from _span(text, start + begin, start + stop)
        begin = stop
    yield from _span(text, start + begin, end)


def _closed(block: str) -> list[tuple[int, int]]:
    """Return the spans of code, links and addresses, where no sentence ends; the last first."""
    spans: list[tuple[int, int]] = []
    marks = list(_SPAN.finditer(block))
    # Code ends at the next run of as many backticks.
    following: dict[int, list[int]] = {}
    for mark in reversed(marks):
        if mark["ticks"]:
            following.setdefault(len(mark["ticks"]), []).append(mark.end())
    at = 0
    for mark in marks:
        ticks = mark["ticks"]
        ends = following[len(ticks)] if ticks else [mark.end()]
        if ticks:
            ends.pop()
        if mark.start() >= at and ends:
            at = ends[-1]
            spans.append((mark.start(), at))
    return spans[::-1]


def _is_end(block: str, dot: int, stop: int) -> bool:
    """Return whether the mark at `dot` ends a sentence rather than an abbreviation or a quote."""
    following = _OPENS.match(block, stop)
    if following is None:
        return True
    first = following.group(1)
    before = block[max(0, dot - 12) : dot + 1]
    # A code name may open a sentence in lower case (`sort` returns None), but so does the text
    # after an abbreviation or a quoted question.
    if first.islower() and "`" not in following.group() and not _WHOLE_WORD.search(before):
        return False
    if _DAY.search(before) and is_month(block[following.start(1) :].split(maxsplit=1)[0]):
        return False
    return not _ABBREVIATION.search(before)


def _span(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    a, b = _trimmed(text, start, end)
    if b > a:
        yield a, b


def _trimmed(text: str, start: int, end: int, newlines_only: bool = False) -> tuple[int, int]:
    space = "\r\n" if newlines_only else " \t\r\n"
    while start < end and text[start] in space:
        start += 1
    while end > start and text[end - 1] in " \t\r\n":
        end -= 1
    return start, end
