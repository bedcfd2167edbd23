"""Extractive answers without a language model: the best sentences, quoted and cited.

A sentence's score adds its cosine to the question (embedded with its headings), the share of the
question's words in it (weighted by their IDF among the candidates; words of the heading count
less), and its passage's rank. A block of code counts as one sentence, is quoted with the sentence
before it, and answers only questions for code. Whatever a sentence introduces with a colon is
quoted with it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailorbird.rag.augment import heading_of
from tailorbird.rag.content_words import content_words, meaning, share_held, tokens
from tailorbird.rag.sentences import Sentence, bound_row, is_header, plain, split_sentences
from tailorbird.records import Passage

Embed = Callable[[Sequence[str]], np.ndarray]
"""Embeds a question followed by texts; returns unit vectors ``[n, dimension]``."""

# Tuned on the questions of benchmarks/ask_quality.py marked "tune", and on XQuAD's.
_WORDS, _HEADING, _PASSAGE = 0.5, 0.15, 0.05
_SECTION = 0.2
_CODE_PENALTY = 0.1
# Sentences with scores further below the best one are off topic.
_BEHIND = 0.2
_SAME = 0.8
_MOST_ANNOUNCED = 6
_MOST_CODE_LINES = 24
_SECTION_CHARACTERS = 1200
_TAIL = 5
_MOST_READ = 32


@dataclass(frozen=True, slots=True)
class Picked:
    """A quoted piece of a passage; offsets are in the passage's text.

    Attributes:
        kind: ``code`` for a block of code, else the sentence's kind.
        nearness: Its cosine to the question plus the share of the question's words in it and its
            headings: 0 to 2.
    """

    passage: Passage
    start: int
    end: int
    score: float
    kind: str = "prose"
    nearness: float = 0.0

    @property
    def text(self) -> str:
        """The piece, verbatim."""
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class _Candidate:
    passage: Passage
    place: int
    sentence: Sentence
    heading: str
    before: str
    section: str


def rank_sentences(
    question: str, passages: Sequence[Passage], embed: Embed, *, code: bool = True
) -> list[Picked]:
    """Return all sentences and blocks of code in the passages, the best answer first."""
    candidates = [c for c in _candidates(passages) if code or c.sentence.kind != "code"]
    if not candidates:
        return []
    worth = _worth(question, candidates, passages)
    if len(candidates) > _MOST_READ:  # embedding all would take seconds
        best = np.sort(np.argsort(-worth, kind="stable")[:_MOST_READ])
        candidates, worth = [candidates[place] for place in best], worth[best]
    cosines, sections = _likeness(question, candidates, embed)
    scores = worth + (1 - _SECTION) * cosines + _SECTION * sections
    words = meaning(question)
    picked = [
        Picked(
            c.passage, c.sentence.start, c.sentence.end, float(score), c.sentence.kind,
            float(cosine) + share_held(words, meaning(f"{heading_of(c.passage)} {_as_read(c)}")),
        )
        for c, score, cosine in zip(candidates, scores, cosines, strict=True)
    ]  # fmt: skip
    return sorted(picked, key=lambda p: -p.score)


def extract(ranked: Sequence[Picked], most: int = 3, *, code: bool = False) -> list[Picked]:
    """Return the pieces that answer a question: best passage first, in the order of each passage.

    Args:
        ranked: Sentences, best first (`rank_sentences`).
        most: The most sentences to quote; code and lists that a sentence introduces come in
            addition.
        code: Whether a sentence brings the code that follows it.
    """
    quotes: list[Picked] = []
    left = most
    for piece in ranked:
        if left <= 0 or piece.score < ranked[0].score - _BEHIND:
            break
        if any(_overlaps(piece, other) or _alike(piece, other) for other in quotes):
            continue
        whole, used = _with_company(piece, code=code)
        quotes = [other for other in quotes if not _inside(other, whole)] + [whole]
        left -= used
    best: dict[int, float] = {}
    for piece in quotes:
        best[piece.passage.number] = max(piece.score, best.get(piece.passage.number, piece.score))
    return sorted(quotes, key=lambda p: (-best[p.passage.number], p.passage.number, p.start))


def _candidates(passages: Sequence[Passage]) -> list[_Candidate]:
    candidates = []
    for place, passage in enumerate(passages):
        heading, before = passage.headings[-1] if passage.headings else passage.title, ""
        parts = split_sentences(passage.text)
        sections = _sections(passage, parts, heading)
        for sentence, section in zip(parts, sections, strict=True):
            if sentence.kind == "heading":
                heading, before = sentence.text.lstrip("# ").strip(), ""
            elif sentence.kind != "aside" and not _says_nothing(sentence, passage):
                candidates.append(_Candidate(passage, place, sentence, heading, before, section))
                before = sentence.text
    return candidates


def _sections(passage: Passage, parts: Sequence[Sentence], heading: str) -> list[str]:
    """Return for each sentence the text under its heading in the passage, heading first."""
    sections: list[str] = []
    begin = 0
    for place in range(1, len(parts) + 1):
        if place == len(parts) or parts[place].kind == "heading":
            text = passage.text[parts[begin].start : parts[place - 1].end]
            if parts[begin].kind != "heading" and heading:
                text = f"{heading}\n{text}"
            sections += [text[:_SECTION_CHARACTERS]] * (place - begin)
            begin = place
    return sections


def _says_nothing(sentence: Sentence, passage: Passage) -> bool:
    """Return whether a sentence began before the passage, or is a table header."""
    if sentence.kind == "table":
        return is_header(passage.text, sentence.end)
    return sentence.start == 0 and passage.start > 0 and sentence.text[0].islower()


def _worth(
    question: str, candidates: Sequence[_Candidate], passages: Sequence[Passage]
) -> np.ndarray:
    """Return ``[candidates]``: the part of each score that needs no embedding."""
    scores = [passage.score for passage in passages]
    worst = min(scores)
    spread = (max(scores) - worst) or 1.0
    ranks = np.asarray([(passages[c.place].score - worst) / spread for c in candidates])
    worth: np.ndarray = _WORDS * _word_shares(question, candidates) + _PASSAGE * ranks
    worth -= _CODE_PENALTY * np.asarray([c.sentence.kind == "code" for c in candidates])
    return worth


def _likeness(
    question: str, candidates: Sequence[_Candidate], embed: Embed
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``[candidates]`` twice: the question's cosine to each, and to its section."""
    sections = list(dict.fromkeys(c.section for c in candidates))
    vectors = embed([question, *(_as_read(c) for c in candidates), *sections])
    each = vectors[1:] @ vectors[0]
    around = dict(zip(sections, each[len(candidates) :], strict=True))
    return each[: len(candidates)], np.asarray([around[c.section] for c in candidates])


def _as_read(candidate: _Candidate) -> str:
    """Return a sentence with its context for embedding: its heading; before code, a word."""
    text = candidate.sentence.text
    if candidate.sentence.kind == "code":
        return f"{candidate.heading}. {plain(candidate.before)}\n{text}"
    if candidate.sentence.kind == "table":
        words = bound_row(candidate.passage.text, candidate.sentence.start)
    else:
        words = plain(text)
    return f"{candidate.heading}. {words}" if candidate.heading else words


def _word_shares(question: str, candidates: Sequence[_Candidate]) -> np.ndarray:
    """Return the IDF-weighted share of the question's words in each candidate."""
    vocabulary = meaning(question)
    own_words = [meaning(c.sentence.text) & vocabulary for c in candidates]
    above = [meaning(c.heading) & vocabulary for c in candidates]
    counts = Counter(word for words in own_words for word in words)
    weight = {word: math.log(1 + len(own_words) / (1 + counts[word])) for word in vocabulary}
    total = sum(weight.values()) or 1.0
    shares = [
        sum(weight[w] for w in own) + _HEADING * sum(weight[w] for w in around - own)
        for own, around in zip(own_words, above, strict=True)
    ]
    return np.asarray(shares) / total


def _with_company(piece: Picked, *, code: bool) -> tuple[Picked, int]:
    """Return a piece with the pieces that it needs, and how many sentences that makes."""
    parts = split_sentences(piece.passage.text)
    at = next(i for i, part in enumerate(parts) if part.start == piece.start)
    first = last = at
    used = 1
    before = parts[at - 1] if at else None
    # The sentence before code says what it is for.
    if parts[at].kind == "code" and before is not None and before.kind in ("prose", "item"):
        first, used = at - 1, 2
    if parts[last].text.rstrip().endswith(":"):
        while last + 1 < len(parts) and last - at < _MOST_ANNOUNCED:
            following = parts[last + 1].kind
            if following not in ("code", "item", "table") or parts[last].kind == "code":
                break
            last += 1
    elif (code and _is_short_code(parts, at + 1)) or _is_tail(parts, at + 1):
        last = at + 1
    return replace(piece, start=parts[first].start, end=parts[last].end), used


def _is_short_code(parts: Sequence[Sentence], place: int) -> bool:
    if place >= len(parts) or parts[place].kind != "code" or parts[place - 1].kind == "code":
        return False
    return parts[place].text.count("\n") < _MOST_CODE_LINES


def _is_tail(parts: Sequence[Sentence], place: int) -> bool:
    """Return whether a few words continue the sentence before: "`discard` stays silent."."""
    if place >= len(parts) or parts[place].kind == "code":
        return False
    few = len(tokens(parts[place].text)) <= _TAIL
    return few and parts[place].block == parts[place - 1].block


def _overlaps(a: Picked, b: Picked) -> bool:
    return a.passage.number == b.passage.number and a.start < b.end and b.start < a.end


def _inside(a: Picked, b: Picked) -> bool:
    return a.passage.number == b.passage.number and b.start <= a.start and a.end <= b.end


def _alike(a: Picked, b: Picked) -> bool:
    one, other = set(content_words(a.text)), set(content_words(b.text))
    return len(one & other) >= _SAME * max(1, min(len(one), len(other)))
