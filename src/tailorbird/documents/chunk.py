"""Cuts documents into chunks at pauses in the text, measured in the embedder's tokens.

A chunk ends before a heading once it is a quarter full, so that sections stay separate but small
ones are merged; otherwise at the last paragraph, item, sentence, line or word that fits. If a
section is cut, the next chunk repeats its last sentences. Time is linear in the text's length: each
word is counted once, in windows, and each chunk takes two binary searches.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk_context import chunk_limit, context_of, with_context
from tailorbird.documents.token_counts import LONG_WORD, TokenCounter, WordSpans, counter
from tailorbird.records import Chunk, Document, Mark

_WINDOW = 1 << 19
# A word that tokenizers map to the unknown token is one token at any length.
_CHARACTERS_PER_TOKEN = 20
# Characters that Python takes as spaces and BERT ignores, so that words are joined.
_JOINERS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_HEADING_FROM = 4  # a chunk may end before a heading once a quarter full,
_PAUSE_FROM = 2  # and at a pause within a section once half full
WITHIN, WORD, LINE, SENTENCE, ITEM, PARAGRAPH, HEADING = range(7)

_LINE_ENDS = re.compile(r"\n\s*")
# No sentence ends before a lower-case letter, except in scripts without spaces.
_SENTENCE_ENDS = re.compile(
    "[.!?\u2026\u3002\uff01\uff1f]"
    "(?:[\"'\u201d\u2019)\\]]*\\s+(?![a-z\\s])|(?<=[\u3002\uff01\uff1f])[\u300d\u300f\u201d]?\\s*)"
)
_ITEM = re.compile(r"[-*+\u2022\u2023\u25e6|>]\s|\(?\w{1,3}[.)]\s|[-=*_]{3,}\s*$|@|def |class ")
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*$", re.M)
# Kinds of documents whose lines are statements or rows, not parts of a paragraph.
LINED_KINDS = frozenset({"code", "csv", "xlsx", "json", "jsonl", "notebook"})


def chunk_document(document: Document, tokenizer: Any, config: IndexConfig) -> list[Chunk]:
    """Return a document's chunks in the order of its text.

    Every character except whitespace is in at least one chunk.

    Raises:
        UserError: The lengths do not fit the embedder.
    """
    limit = chunk_limit(tokenizer, config)
    return list(_Cutter(document, counter(tokenizer), limit, config.overlap_tokens).chunks())


def chunk_id(source: str, position: int, text: str) -> str:
    """Return 32 hex digits, equal for the same text at the same position."""
    identity = f"{len(source)} {source} {position} {text}".encode("utf-8", "replace")
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


class _Cutter:
    """Cuts one document."""

    def __init__(self, document: Document, counter: TokenCounter, limit: int, overlap: int) -> None:
        self.document, self.counter = document, counter
        self.limit, self.overlap = limit, overlap
        self.marks = document.marks or (Mark(0),)
        self.mark_starts = [mark.start for mark in self.marks]
        self.lined = document.metadata.get("kind") in LINED_KINDS
        self.checked = not counter.additive or bool(_JOINERS.search(document.text))
        self.contexts: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
        self.counts: dict[str, int] = {}
        self.chunk_count = 0

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks, window by window, so that large texts are never split whole."""
        text, at = self.document.text, 0
        while at < len(text):
            end = self._window_end(at)
            last = end == len(text)
            cut = _Window(self, at, end)
            at = end
            for chunk, following in cut.chunks(last):
                yield chunk
                at = following

    def _window_end(self, start: int) -> int:
        """Return the end of a window, after nearby whitespace if there is any."""
        text, end = self.document.text, start + _WINDOW
        if end >= len(text):
            return len(text)
        space_at = max(text.rfind(space, end - _WINDOW // 4, end) for space in "\n \t")
        return space_at + 1 if space_at > 0 else end

    def mark(self, place: int) -> Mark:
        """Return the mark in effect at a place."""
        return self.marks[max(0, bisect_right(self.mark_starts, place) - 1)]

    def context(self, mark: Mark) -> tuple[str, tuple[str, ...]]:
        """Return title and headings, cut so that half of a chunk remains for its text."""
        if mark.headings not in self.contexts:
            title, headings = self.document.title, mark.headings
            while headings and self._tokens(context_of(title, headings, "")) > self.limit // 2:
                headings = headings[1:]
            while title and self._tokens(context_of(title, headings, "")) > self.limit // 2:
                title = title[: len(title) // 2].rstrip()
            self.contexts[mark.headings] = title, headings
        return self.contexts[mark.headings]

    def room(self, text: str, context: tuple[str, tuple[str, ...]]) -> int:
        """Return the number of tokens left for a text in this context."""
        return self.limit - self._tokens(context_of(*context, text))

    def _tokens(self, context: str) -> int:
        if context not in self.counts:
            words = context.split()
            exact = self.checked or max(map(len, words), default=0) > LONG_WORD
            self.counts[context] = (
                self.counter.of_text(context)
                if exact
                else self.counter.special + sum(self.counter.of_words(words))
            )
        return self.counts[context]


class _Window:
    """The words of one window of a document, and its chunks."""

    def __init__(self, cutter: _Cutter, start: int, end: int) -> None:
        text = cutter.document.text[start:end]
        self.cutter = cutter
        self.words = WordSpans(text, start, cutter.counter, max(1, cutter.limit // 8))
        self.levels = levels(text, start, self.words, cutter.marks, lined=cutter.lined)
        self.checked = cutter.checked or self.words.cut

    def chunks(self, last: bool) -> Iterator[tuple[Chunk, int]]:
        """Yield chunks, each with the start of the next one.

        Args:
            last: Whether the document ends with this window; else a chunk that may continue is
                left to the next one.
        """
        words, count = self.words, len(self.words)
        first = covered = 0
        while covered < count:
            chunk, end = self._chunk(first, covered)
            if end == count and not last and first > 0:
                return
            if end <= covered:  # only repeats the chunk before
                first = covered
                continue
            covered = end
            first = self._next_first(first, end)
            self.cutter.chunk_count += 1
            yield chunk, int(words.starts[first]) if end < count else int(words.ends[-1])

    def _chunk(self, first: int, covered: int) -> tuple[Chunk, int]:
        """Return the chunk that begins at a word, and the first word after it."""
        cutter, words = self.cutter, self.words
        begin = self._begin(first)
        mark = cutter.mark(int(words.starts[first]))
        context = cutter.context(mark)
        opening = cutter.document.text[begin : begin + 400]
        room = cutter.room(opening, context)
        while True:
            end = self._end(first, max(first, covered), room)
            stop = int(words.ends[end - 1])
            text = cutter.document.text[begin:stop]
            own = int(words.total[end] - words.total[first])
            tokens = own + cutter.limit - cutter.room(text, context)
            if self.checked:
                tokens = cutter.counter.of_text(with_context(context_of(*context, text), text))
            if tokens <= cutter.limit or end == first + 1:
                break
            room = min(room, own) - max(1, tokens - cutter.limit)
            covered = min(covered, end - 1)
        chunk = Chunk(
            id=chunk_id(cutter.document.source, cutter.chunk_count, text),
            source=cutter.document.source,
            position=cutter.chunk_count,
            text=text,
            start=begin,
            end=stop,
            title=context[0],
            page=mark.page,
            headings=context[1],
            tokens=tokens,
        )
        return chunk, end

    def _begin(self, first: int) -> int:
        """Return the start of a chunk's text, including the indent of a line's first word."""
        start = int(self.words.starts[first])
        before = int(self.words.ends[first - 1]) if first else max(0, start - 80)
        gap = self.cutter.document.text[before:start]
        indent = len(gap) - len(gap.rpartition("\n")[2])
        line_start = "\n" in gap or before == 0
        return before + indent if line_start and not gap[:indent].strip() else start

    def _end(self, first: int, covered: int, room: int) -> int:
        """Return the word before which a chunk of at most `room` tokens ends."""
        words, pauses = self.words, self.levels
        total, count = words.total, len(self.words)
        before = int(total[first])
        most = int(np.searchsorted(total, before + room, side="right")) - 1
        reach = int(words.starts[first]) + room * _CHARACTERS_PER_TOKEN
        most = min(most, int(np.searchsorted(words.ends, reach, side="right")))
        most = min(max(most, first + 1), count)
        quarter = int(np.searchsorted(total, before + room // _HEADING_FROM))
        low = max(quarter, covered + 1, first + 1)
        heading = pauses.find(HEADING, low, min(most + 1, count))
        if heading >= 0:
            return heading
        if most == count:
            return count
        most = self._even_end(first, most, room)
        half = (first + most) // _PAUSE_FROM
        low = max(half, covered + 1, first + 1)
        for level in (PARAGRAPH, PARAGRAPH - 1, SENTENCE, LINE, WORD):
            place = pauses.rfind(level, low, most + 1)
            if place >= 0:
                return place
        return max(most, first + 1)

    def _even_end(self, first: int, most: int, room: int) -> int:
        """Return an earlier end if the rest of the section would be a stub."""
        total = self.words.total
        section = self.levels.find(HEADING, most + 1)
        section = len(self.words) if section < 0 else section
        left = int(total[section] - total[first])
        if 2 * left > 3 * room:
            return most
        part = int(np.searchsorted(total, int(total[first]) + 2 * left // 3, side="right")) - 1
        return min(most, max(part, first + 1))

    def _next_first(self, first: int, end: int) -> int:
        """Return the first word of the next chunk, which overlaps the end of this one."""
        levels_of, total = self.levels, self.words.total
        overlap = self.cutter.overlap
        if end >= len(self.words) or levels_of[end] == HEADING or not overlap:
            return end
        low = int(np.searchsorted(total, int(total[end]) - overlap))
        low = max(low, first + 1, levels_of.rfind(HEADING, first, end))
        places = [levels_of.find(level, low, end) for level in range(SENTENCE, HEADING + 1)]
        pauses = [place for place in places if place >= 0]
        if pauses:
            return min(pauses)
        word = levels_of.find(WORD, low, end)
        return word if word >= 0 else end


def levels(
    text: str, offset: int, words: WordSpans, marks: tuple[Mark, ...], *, lined: bool
) -> bytes:
    """Return for each word how good a cut before it is, as one byte each.

    Args:
        words: Its words; adjacent ones without a gap are parts of one long word.
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
    # A section begins where the headings differ from those of the mark before.
    places[HEADING] = [
        mark.start - offset
        for before, mark in zip(marks, marks[1:], strict=False)
        if mark.headings != before.headings and offset <= mark.start < offset + len(text)
    ]
    for level, at in enumerate(places):
        if at:
            behind = np.searchsorted(words.starts, np.asarray(at, dtype=np.int64) + offset)
            behind = behind[behind < len(words)]
            # In ascending order, so that a higher level overwrites a lower one.
            by_word[behind] = level
    return by_word.tobytes()


def _line_level(text: str, gap: re.Match[str], *, lined: bool, code: bool) -> int:
    blank = gap.group().count("\n") > 1
    if code:
        if text.startswith(("```", "~~~"), gap.end()):  # a closing fence belongs to its code
            return LINE
        return ITEM if blank else SENTENCE
    if blank:
        return PARAGRAPH
    return ITEM if lined or _ITEM.match(text, gap.end()) else LINE


def _fences(text: str) -> list[tuple[int, int]]:
    """Return the start and end of every code fence; an open one extends to the end."""
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
    """Return whether a place is in one of the spans, which are in order."""
    number = bisect_right(spans, place, key=lambda span: span[1])
    return number < len(spans) and spans[number][0] <= place
