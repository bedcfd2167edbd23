"""Where a text may be cut, and how well: the better the place, the higher the number."""

import re

import numpy as np

from tailorbird.documents.tokens import WordSpans
from tailorbird.records import Mark

WITHIN, WORD, LINE, SENTENCE, ITEM, PARAGRAPH, HEADING = range(7)

_LINE_ENDS = re.compile(r"\n\s*")
# No word ends a sentence before a small letter, except in scripts that part none by spaces.
_SENTENCE_ENDS = re.compile(
    "[.!?\u2026\u3002\uff01\uff1f]"
    "(?:[\"'\u201d\u2019)\\]]*\\s+(?![a-z\\s])|(?<=[\u3002\uff01\uff1f])[\u300d\u300f\u201d]?\\s*)"
)
_ITEM = re.compile(r"[-*+\u2022\u2023\u25e6|>]\s|\(?\w{1,3}[.)]\s|[-=*_]{3,}\s*$|@|def |class ")
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*$", re.M)
# Kinds in which a line is a statement or a row, not a piece of a paragraph.
LINED_KINDS = frozenset({"code", "csv", "xlsx", "json", "jsonl", "notebook"})


def levels(
    text: str, offset: int, words: WordSpans, marks: tuple[Mark, ...], *, lined: bool
) -> bytes:
    """Return for each word how well a text is cut before it, as one byte each.

    Args:
        text: The stretch of text that the words are of.
        offset: Where in the document it begins.
        words: Its words; those that touch are parts of one that was cut.
        marks: The document's.
        lined: Whether its lines are statements or rows.
    """
    by_word = np.full(len(words), WORD, dtype=np.uint8)
    by_word[1:][words.starts[1:] == words.ends[:-1]] = WITHIN
    places: list[list[int]] = [[] for _ in range(HEADING + 1)]
    places[SENTENCE] = [m.end() for m in _SENTENCE_ENDS.finditer(text)]
    fences = _fences(text)
    for gap in _LINE_ENDS.finditer(text):
        level = _line_level(text, gap, lined=lined, code=_inside(fences, gap.start()))
        places[level].append(gap.end())
    for begin, end in fences:
        places[PARAGRAPH] += [begin, end]
    places[HEADING] = _sections(marks, offset, len(text))
    for level, at in enumerate(places):
        if at:
            behind = np.searchsorted(words.starts, np.asarray(at, dtype=np.int64) + offset)
            behind = behind[behind < len(words)]
            # From the lowest level to the highest: a later one takes the place.
            by_word[behind] = level
    return by_word.tobytes()


def _line_level(text: str, gap: re.Match[str], *, lined: bool, code: bool) -> int:
    blank = gap.group().count("\n") > 1
    if code:
        if text.startswith(("```", "~~~"), gap.end()):  # the end of code belongs to it
            return LINE
        return ITEM if blank else SENTENCE
    if blank:
        return PARAGRAPH
    return ITEM if lined or _ITEM.match(text, gap.end()) else LINE


def _fences(text: str) -> list[tuple[int, int]]:
    """Return begin and end of every code fence; an open one goes to the end."""
    fences, opening = [], None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence.group(1).startswith(opening.group(1)):
            fences.append((opening.start(), fence.end()))
            opening = None
    if opening is not None:
        fences.append((opening.start(), len(text)))
    return fences


def _inside(spans: list[tuple[int, int]], place: int) -> bool:
    """Whether a place lies in one of the spans; they are passed in the order of the text."""
    low, high = 0, len(spans)
    while low < high:
        middle = (low + high) // 2
        if spans[middle][1] <= place:
            low = middle + 1
        else:
            high = middle
    return low < len(spans) and spans[low][0] <= place


def _sections(marks: tuple[Mark, ...], offset: int, length: int) -> list[int]:
    """Return where sections begin: marks whose headings are others than those before."""
    return [
        mark.start - offset
        for before, mark in zip(marks, marks[1:], strict=False)
        if mark.headings != before.headings and offset <= mark.start < offset + length
    ]
