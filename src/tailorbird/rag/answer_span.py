"""The few words of a sentence that answer a question of fact: who, when, how many, which.

A sentence's words are cut into candidates (numbers with their units, dates, names, short phrases);
each is weighed by whether it is the kind of thing that is asked for, by the question's words near
it, and by not repeating the question.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tailorbird.rag.extract import Picked
from tailorbird.rag.question_type import fact_kind, meaning
from tailorbird.rag.sentences import plain

_SENTENCES = 2
_LONGEST = 8
_LONGEST_READ = 2000
_WORD = re.compile(r"\S+")
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
)
_DATE = re.compile(
    rf"\b(?:{_MONTH} \d{{1,2}}\b(?:, \d{{4}})?|\d{{1,2}} {_MONTH}(?: \d{{4}})?"
    rf"|{_MONTH}(?: \d{{4}})?"
    r"|(?:1\d|20)\d\d(?:s\b)?|\d{1,2}th century)"
)
_NUMBER = re.compile(
    r"(?:[$€£]\s?)?\b\d[\d,.]*\d\b%?|(?:[$€£]\s?)?\b\d\b%?"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty"
    r"|fifty|hundred|thousand|a dozen|half|twice|once)\b",
    re.I,
)
_SCALE = re.compile(r"\s*(?:percent|per cent|%|million|billion|thousand|hundred)\b", re.I)
_NAME = re.compile(
    r"(?:[A-Z][\w.'\u2019&-]*|(?<!\d)\d+(?:st|nd|rd|th))"
    r"(?:\s+(?:(?:of|the|de|von|van|der|al|la|le|du|and|&)\s+){0,2}[A-Z][\w.'\u2019&-]*)*"
)
_BREAK = re.compile(
    r"[,;:()\u2014\u2013\"\u201c\u201d]|\s-\s|\b(?:and|or|but|which|that|who|whom|whose|where|when|while"
    r"|because|since|is|are|was|were|be|been|being|has|have|had|do|does|did|will|would|can|could"
    r"|may|might|must|shall|should|by|in|on|at|to|from|with|for|as|into|than|through|during"
    r"|between|after|before|under|over|about|against|such|not|it|its|they|their|he|his|she|her"
    r"|this|these|those)\b",
    re.I,
)
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.I)
# Chosen on a tenth of XQuAD's English paragraphs, see docs/ask.md.
_KIND_BONUS, _ECHO, _NEAR, _LENGTH, _RANK = 0.6, 0.6, 0.8, 0.06, 1.5


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    kind: str


def best_span(question: str, ranked: Sequence[Picked]) -> str:
    """Return the words that answer a question of fact; nothing where none are likely.

    Args:
        question: What is asked.
        ranked: Sentences, the best first (`rank_sentences`).
    """
    kind = fact_kind(question)
    words = meaning(question)
    best, best_score = "", float("-inf")
    prose = [piece for piece in ranked[: 2 * _SENTENCES] if piece.kind != "code"]
    for piece in prose[:_SENTENCES]:
        text = plain(piece.text)[:_LONGEST_READ]
        near = [m.span() for m in _WORD.finditer(text) if meaning(m.group()) & words]
        for span in _candidates(text):
            score = _weigh(span, text, words, kind) + _NEAR * _nearness(span, text, near)
            score += _RANK * (piece.score - ranked[0].score)
            if score > best_score:
                best, best_score = text[span.start : span.end], score
    return best.strip(" .,;:!?\"'")


def _candidates(text: str) -> Iterator[_Span]:
    for match in _DATE.finditer(text):
        yield _Span(*match.span(), "date")
    for match in _NUMBER.finditer(text):
        scale = _SCALE.match(text, match.end())
        yield _Span(match.start(), scale.end() if scale else match.end(), "number")
    for match in _NAME.finditer(text):
        yield _Span(*match.span(), "name")
    start = 0
    breaks = [*(match.span() for match in _BREAK.finditer(text)), (len(text), len(text))]
    for end, following in breaks:
        words = list(_WORD.finditer(text, start, end))
        if 0 < len(words) <= _LONGEST:
            a, b = words[0].start(), words[-1].end()
            article = _ARTICLE.match(text[a:b])
            yield _Span(a + (article.end() if article else 0), b, "phrase")
        start = following


def _weigh(span: _Span, text: str, question: set[str], kind: str) -> float:
    words = text[span.start : span.end]
    stems = meaning(words)
    if not stems:
        return float("-inf")
    score = _KIND_BONUS * (span.kind == kind)
    if kind == "phrase" and span.kind == "name":
        score += 0.5 * _KIND_BONUS
    score -= _ECHO * len(stems & question) / len(stems)
    return score - _LENGTH * abs(len(words.split()) - 2)


def _nearness(span: _Span, text: str, near: Sequence[tuple[int, int]]) -> float:
    """Return from 0 to 1 how close the question's words, which lie at `near`, stand to a span."""
    total = 0.0
    for start, end in near:
        if not span.start <= start < span.end:
            gap = text[end : span.start] if start < span.start else text[span.end : start]
            total += 1 / (1 + len(gap.split()))
    return total / (total + 1.0)
