"""An answer with no language model: the sentences that answer a question best, quoted and cited.

A sentence is ranked by its likeness to the question (embeddings, its headings before it), by the
question's words that it holds (weighted by how rare they are here), and by how well its passage
was ranked. Whole blocks of code count as one sentence, and a sentence that ends with a colon
brings along what it announces.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailorbird.rag.sentences import Sentence, plain, split_sentences
from tailorbird.rag.words import content_words, tokens
from tailorbird.records import Passage

Embed = Callable[[Sequence[str]], np.ndarray]
"""A question and then texts to read -> unit vectors ``[n, dimension]``."""

# Chosen on XQuAD and the tutor's questions; between 0.25 and 0.8 the first changes little.
_WORDS, _PASSAGE = 0.5, 0.05
_CODE_PENALTY, _LEANS_PENALTY = 0.1, 0.15
# What lies further behind the best sentence than this is another subject.
_BEHIND = 0.12
_SAME = 0.8
_MOST_ANNOUNCED = 6
_LEANS = re.compile(
    r"(?:it|its|this|that|these|those|they|them|he|she|his|her|their|otherwise|so|then|there|but"
    r"|however|therefore|thus|hence|instead|also|both|such|and)\b(?!\s+(?:is|are)\s+no)",
    re.I,
)
_ASKS_CODE = re.compile(
    r"\b(?:how (?:do|can|to|would|should|does)|code|example|snippet|command|syntax|write|call"
    r"|import|install)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Picked:
    """A quoted piece: offsets are of the passage's text.

    Attributes:
        passage: Where it stands.
        start: Offset of its first character.
        end: Offset after its last character.
        score: How well it answers, higher is better.
        kind: ``code`` for a block of code, else what the sentence is.
    """

    passage: Passage
    start: int
    end: int
    score: float
    kind: str = "prose"

    @property
    def text(self) -> str:
        """The piece to the letter."""
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class _Candidate:
    passage: Passage
    place: int
    sentence: Sentence
    heading: str
    before: str


def rank_sentences(question: str, passages: Sequence[Passage], embed: Embed) -> list[Picked]:
    """Return every sentence and block of code of the passages, the best answer first."""
    found = _candidates(passages)
    if not found:
        return []
    scores = _scores(question, found, passages, embed)
    picked = [
        Picked(c.passage, c.sentence.start, c.sentence.end, float(score), c.sentence.kind)
        for c, score in zip(found, scores, strict=True)
    ]
    return sorted(picked, key=lambda p: -p.score)


def extract(ranked: Sequence[Picked], most: int = 3) -> list[Picked]:
    """Return the pieces that answer a question: the best passage first, each in its own order.

    Args:
        ranked: Sentences, the best first (`rank_sentences`).
        most: Sentences to quote at most; blocks of code and lists that a sentence announces come
            with it.
    """
    kept: list[Picked] = []
    left = most
    for piece in ranked:
        if left <= 0 or piece.score < ranked[0].score - _BEHIND:
            break
        if any(_overlaps(piece, other) or _alike(piece, other) for other in kept):
            continue
        whole, used = _with_company(piece)
        kept = [other for other in kept if not _inside(other, whole)] + [whole]
        left -= used
    best: dict[int, float] = {}
    for piece in kept:
        best[piece.passage.number] = max(piece.score, best.get(piece.passage.number, piece.score))
    return sorted(kept, key=lambda p: (-best[p.passage.number], p.passage.number, p.start))


def _candidates(passages: Sequence[Passage]) -> list[_Candidate]:
    found = []
    for place, passage in enumerate(passages):
        heading, before = passage.headings[-1] if passage.headings else passage.title, ""
        for sentence in split_sentences(passage.text):
            if sentence.kind == "heading":
                heading, before = sentence.text.lstrip("# ").strip(), ""
            elif sentence.kind != "aside" and not _is_rest(sentence, passage):
                found.append(_Candidate(passage, place, sentence, heading, before))
                before = sentence.text
    return found


def _is_rest(sentence: Sentence, passage: Passage) -> bool:
    """Say whether it is the end of a sentence that began before the passage."""
    return sentence.start == 0 and passage.start > 0 and sentence.text[0].islower()


def _scores(
    question: str, found: Sequence[_Candidate], passages: Sequence[Passage], embed: Embed
) -> np.ndarray:
    """Return ``[candidates]``: how well each answers."""
    vectors = embed([question, *(_as_read(c) for c in found)])
    near = vectors[1:] @ vectors[0]
    words = _word_shares(question, found)
    best, worst = _range([passage.score for passage in passages])
    spread = (best - worst) or 1.0
    ranks = np.asarray([(passages[c.place].score - worst) / spread for c in found])
    code = np.asarray([c.sentence.kind == "code" for c in found])
    penalty = 0.0 if _ASKS_CODE.search(question) else _CODE_PENALTY
    # "This should not be an issue" answers nothing by itself.
    leans = np.asarray([bool(_LEANS.match(plain(c.sentence.text))) for c in found])
    scores: np.ndarray = near + _WORDS * words + _PASSAGE * ranks
    scores -= penalty * code + _LEANS_PENALTY * leans
    return scores


def _range(scores: Sequence[float]) -> tuple[float, float]:
    return max(scores), min(scores)


def _as_read(candidate: _Candidate) -> str:
    """Return a sentence with what a reader would have in mind: its heading; before code, a word."""
    text = candidate.sentence.text
    if candidate.sentence.kind == "code":
        return f"{candidate.heading}. {plain(candidate.before)}\n{text}"
    return f"{candidate.heading}. {plain(text)}" if candidate.heading else plain(text)


def _word_shares(question: str, found: Sequence[_Candidate]) -> np.ndarray:
    """Return the share of the question's words in each candidate, by their rarity here (IDF)."""
    asked = set(content_words(question)) | {t for t in tokens(question) if t[0].isdigit()}
    held = [
        set(content_words(c.sentence.text)) | {t for t in tokens(c.sentence.text) if t[0].isdigit()}
        for c in found
    ]
    counts = Counter(word for words in held for word in words & asked)
    weight = {word: math.log(1 + len(held) / (1 + counts[word])) for word in asked}
    total = sum(weight.values()) or 1.0
    return np.asarray([sum(weight[w] for w in words & asked) / total for words in held])


def _with_company(piece: Picked) -> tuple[Picked, int]:
    """Return a piece with what it cannot do without, and how many sentences that makes."""
    parts = split_sentences(piece.passage.text)
    at = next(i for i, part in enumerate(parts) if part.start == piece.start)
    first = last = at
    used = 1
    before = parts[at - 1] if at else None
    if before is not None and before.kind in ("prose", "item"):
        announced = parts[at].kind == "code" and before.text.rstrip().endswith(":")
        # What "it" is stands in the sentence before.
        leans = before.block == parts[at].block and _LEANS.match(plain(parts[at].text))
        if announced or leans:
            first, used = at - 1, 2
    if parts[last].text.rstrip().endswith(":"):
        while last + 1 < len(parts) and last - at < _MOST_ANNOUNCED:
            following = parts[last + 1].kind
            if following not in ("code", "item", "table") or parts[last].kind == "code":
                break
            last += 1
    return replace(piece, start=parts[first].start, end=parts[last].end), used


def _overlaps(a: Picked, b: Picked) -> bool:
    return a.passage.number == b.passage.number and a.start < b.end and b.start < a.end


def _inside(a: Picked, b: Picked) -> bool:
    return a.passage.number == b.passage.number and b.start <= a.start and a.end <= b.end


def _alike(a: Picked, b: Picked) -> bool:
    one, other = set(content_words(a.text)), set(content_words(b.text))
    return len(one & other) >= _SAME * max(1, min(len(one), len(other)))
