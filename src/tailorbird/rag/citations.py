"""Checks an answer's sentences against the cited passages: parse marks, find support, place quotes.

The check is lexical: a passage supports a sentence if one to three neighbouring sentences of it
contain most of the content words (stemmed), all figures (`quantities`), and negate the same words
(`negation`). It needs no model and is fast: it accepts what uses the passage's own words, and marks
a true paraphrase in other words as unsupported rather than let it through.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tailorbird.rag.content_words import content_words, denied, share_held
from tailorbird.rag.quantities import Figure, Point, figures, holds, readings, without_figures
from tailorbird.rag.sentences import plain, split_sentences
from tailorbird.records import Citation, Claim, Passage

UNSUPPORTED = "[?]"
"""The mark after an unsupported sentence."""

_WIDEST = 3
# Whitespace is matched only from its start, or a long run would be scanned again at each position.
_MARK = re.compile(
    r"(?:(?<!\s)\s+)?(?:\[(\d{1,3}(?:\s*(?:,|;|and|&|-|\u2013)\s*\d{1,3})*)\]|\[\^(\d{1,3})\])"
)
_ONLY_MARKS = re.compile(rf"(?:{_MARK.pattern})+[.\s]*")


@dataclass(frozen=True, slots=True)
class Support:
    """How well a passage supports a sentence, and where, as offsets in the document's text."""

    share: float
    start: int
    end: int
    quote: str
    agrees: bool

    def holds(self, least: float) -> bool:
        """Return whether this is support: enough words, every number, no contradiction."""
        return self.agrees and self.share >= least


def cited_numbers(text: str) -> list[int]:
    """Return the numbers in the marks ``[1]``, ``[2, 3]`` and ``[4-6]``, each once, in order."""
    numbers: list[int] = []
    for mark in _MARK.finditer(text):
        for part in re.split(r",|;|and|&", mark.group(1) or mark.group(2)):
            ends = [int(number) for number in re.findall(r"\d+", part)]
            numbers += range(ends[0], min(ends[-1], ends[0] + 20) + 1)
    return list(dict.fromkeys(numbers))


def without_marks(text: str) -> str:
    """Return a sentence without its citation marks."""
    return _MARK.sub("", text).strip()


def check_answer(
    text: str, passages: Sequence[Passage], least: float
) -> tuple[str, tuple[Claim, ...]]:
    """Check every sentence of an answer against the passages it cites.

    A sentence without citations is compared with all passages, and any citation added to it is
    checked in the same way.

    Args:
        least: Least share of a sentence's content words that a passage must contain.

    Returns:
        The text with the confirmed citations and unsupported sentences marked ``[?]``, and the
        sentences.
    """
    grounds = {passage.number: PassageParts(passage) for passage in passages}
    claims: list[Claim] = []
    pieces: list[str] = []
    at = 0
    for start, end in _claim_spans(text):
        sentence = text[start:end]
        claim = _check(sentence, grounds, least)
        claims.append(claim)
        pieces += [text[at:start], _with_citations(sentence, claim)]
        at = end
    return "".join([*pieces, text[at:]]).strip(), tuple(claims)


class PassageParts:
    """A passage tokenised once, for comparison with many sentences.

    Args:
        passage: Its title and headings count at every place in it.
    """

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.parts = [part for part in split_sentences(passage.text) if part.kind != "aside"]
        self.trail = " ".join((passage.title, *passage.headings))
        self.around = set(content_words(self.trail))
        self.words = [set(content_words(part.text)) for part in self.parts]
        self.denied = [denied(part.text) for part in self.parts]
        self._figures: dict[Point, tuple[frozenset[Figure], list[frozenset[Figure]]]] = {}

    def figures(self, point: Point) -> tuple[frozenset[Figure], list[frozenset[Figure]]]:
        """Return the figures of the headings and of each part, for one decimal point."""
        if point not in self._figures:
            each = [figures(part.text, point) for part in self.parts]
            self._figures[point] = figures(self.trail, point), each
        return self._figures[point]


def find_support(sentence: str, grounds: PassageParts) -> Support:
    """Return the place in a passage that contains most of a sentence's content words.

    Among equal places, one with all figures and no contradiction comes first, then the shortest.
    """
    claim = plain(sentence) if "```" not in sentence else sentence
    passage = grounds.passage
    tried = [
        _best_window(claim, grounds, own, other) for own, other in readings(claim, passage.text)
    ]
    (share, agrees), first, last = max(tried, key=lambda t: (t[0][1], t[0][0]))
    if last < 0:
        return Support(0.0, passage.start, passage.start, "", False)
    a, b = grounds.parts[first].start, grounds.parts[last].end
    return Support(share, passage.start + a, passage.start + b, passage.text[a:b], agrees)


def _best_window(
    claim: str, grounds: PassageParts, own: Point, other: Point
) -> tuple[tuple[float, bool], int, int]:
    """Return share and agreement of the best place, and its first and last part; -1: none."""
    content = set(content_words(without_figures(claim)))
    counted, refused = figures(claim, own, claimed=True), denied(claim)
    around, each = grounds.figures(other)
    best, best_key = ((0.0, False), 0, -1), (False, 0.0, 0, 0)
    for width in range(1, _WIDEST + 1):
        for first in range(len(grounds.parts) - width + 1):
            window = slice(first, first + width)
            words = set().union(*grounds.words[window])
            here = words & content if content else words
            stated = frozenset().union(around, *each[window])
            share = share_held(content, words | grounds.around) if here or not content else 0.0
            if not content:  # only figures
                share = float(holds(counted, stated))
            denies = set().union(*grounds.denied[window])
            agrees = holds(counted, stated) and not _contradicts(content, refused, words, denies)
            key = (agrees, round(share, 6), -width, len(here))
            if key > best_key:
                best, best_key = ((share, agrees), first, first + width - 1), key
    return best


def cite(passage: Passage, support: Support) -> Citation:
    """Return a citation of the supporting place."""
    return Citation(
        number=passage.number,
        source=passage.source,
        title=passage.title,
        page=passage.page,
        headings=trail_at(passage, support.start),
        start=support.start,
        end=support.end,
        quote=support.quote,
        support=round(support.share, 4),
    )


def trail_at(passage: Passage, start: int) -> tuple[str, ...]:
    """Return the heading path at a place in a passage, which may contain headings itself.

    Args:
        passage: Its own path is that of its first character.
        start: Offset in the document's text.
    """
    trail = list(passage.headings)
    for part in split_sentences(passage.text):
        if passage.start + part.start >= start:
            break
        level = len(part.text) - len(part.text.lstrip("#"))
        if part.kind == "heading" and level:
            trail[level - 1 :] = [part.text.lstrip("# ").strip()]
    return tuple(trail)


def _contradicts(claim: set[str], refused: set[str], words: set[str], denies: set[str]) -> bool:
    """Return whether one side negates a common word and the other does not."""
    return bool((claim | refused) & (words | denies) & (refused ^ denies))


def _check(sentence: str, grounds: dict[int, PassageParts], least: float) -> Claim:
    bare = without_marks(sentence)
    cited = cited_numbers(sentence)
    citations: list[Citation] = []
    wrong: list[int] = []
    for number in cited:
        support = find_support(bare, grounds[number]) if number in grounds else None
        if support is not None and support.holds(least):
            citations.append(cite(grounds[number].passage, support))
        else:
            wrong.append(number)
    if not citations:
        others = [(n, find_support(bare, g)) for n, g in grounds.items() if n not in cited]
        good = [(s.share, -n, s) for n, s in others if s.holds(least)]
        citations = [
            cite(grounds[-n].passage, s) for _, n, s in sorted(good, key=lambda g: g[:2])[-1:]
        ]
    return Claim(_one_line(bare), tuple(citations), bool(citations), tuple(wrong))


def _claim_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of the claims: sentences with the marks that follow them.

    Words without a claim (``Yes.``, ``Sure:``) belong to the sentence after them.
    """
    spans: list[tuple[int, int]] = []
    waiting: int | None = None
    for sentence in split_sentences(text):
        if sentence.kind in ("heading", "aside"):
            continue
        if _ONLY_MARKS.fullmatch(sentence.text):
            if spans and waiting is None:
                spans[-1] = (spans[-1][0], sentence.end)
            continue
        start = sentence.start if waiting is None else waiting
        bare = without_marks(sentence.text)
        if not content_words(bare) and not figures(bare, "."):
            waiting = start
            continue
        spans.append((start, sentence.end))
        waiting = None
    if waiting is not None:
        spans.append((waiting, len(text.rstrip())))
    return spans


def _with_citations(sentence: str, claim: Claim) -> str:
    """Return a sentence with its confirmed citations, or with the unsupported mark."""
    marks = "".join(f"[{citation.number}]" for citation in claim.citations) or UNSUPPORTED
    return with_marks(_MARK.sub("", sentence).rstrip(), marks)


def with_marks(text: str, marks: str) -> str:
    """Return a text followed by marks, which stand on a line of their own after code."""
    return f"{text}\n{marks}" if text.endswith(("```", "~~~")) else f"{text} {marks}"


def _one_line(text: str) -> str:
    return text if "\n```" in text or text.startswith("```") else " ".join(text.split())
