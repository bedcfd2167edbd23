"""Generates an answer from passages, quoted or written by a model, and checks it; or refuses."""

import re
import textwrap
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tailorbird.config.knowledge import AskConfig
from tailorbird.rag.augment import UNKNOWN, heading_of, pack
from tailorbird.rag.citations import Support, check_answer, cite, with_marks
from tailorbird.rag.content_words import (
    asks_for_code,
    asks_for_figure,
    meaning,
    names_code,
    share_held,
)
from tailorbird.rag.extract import Embed, Picked, extract, rank_sentences
from tailorbird.rag.retrieve import confidence
from tailorbird.rag.sentences import Sentence, bound_row, plain, split_sentences
from tailorbird.records import Answer, Citation, Claim, Message, Passage

EXTRACTIVE = "extractive"
"""The generator's name if sentences are quoted."""

_NEAREST = 3
_SAYS_UNKNOWN = re.compile(
    r"\W*(?:i (?:do not|don['\u2019]?t) know\b|(?:the|these) passages (?:do not|don['\u2019]?t))",
    re.I,
)

Writing = Generator[str, None, "Draft"]
"""Pieces of text as they are generated; the generator returns the draft."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A generator's unchecked answer to a question.

    Attributes:
        text: The answer with citation marks.
        passages: The numbered passages in the prompt.
        dropped: The passages left out of the prompt, each with the reason.
        claims: The sentences, if they are quotes and need no check.
        why: Why there is no answer, if known.
    """

    text: str
    passages: tuple[Passage, ...]
    dropped: tuple[tuple[Passage, str], ...] = ()
    claims: tuple[Claim, ...] | None = None
    prompt_tokens: int = 0
    why: str = ""


class Drafter(Protocol):
    """A generator of answers: quoted sentences, a tuned run, a base model or an endpoint."""

    @property
    def name(self) -> str:
        """The name that the answer gives as its generator."""
        ...

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Answer from the passages, ordered best first."""
        ...


class Writes(Protocol):
    """A language model, local or behind an endpoint."""

    @property
    def name(self) -> str:
        """A run folder, a model's name or an endpoint."""
        ...

    @property
    def room(self) -> int:
        """The most tokens that a prompt may have."""
        ...

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of prompt tokens, including those of the chat template."""
        ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer piece by piece as it is generated."""
        ...


@dataclass(frozen=True)
class Extractive:
    """Quotes the sentences that answer best, without a language model."""

    embed: Embed
    sentences: int = 3
    name: str = EXTRACTIVE

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Return the quotes in the order of their document, each with its citation."""
        code = asks_for_code(question)
        ranked = rank_sentences(question, passages, self.embed, code=code)
        if why := no_figure(question, ranked):
            return Draft("", tuple(passages), why=why)
        picked = extract(ranked, self.sentences, code=code)
        claims = tuple(
            Claim(laid_out(p.passage.text, p.start, p.end), (_quoted(p),), supported=True)
            for p in picked
        )
        marks = (f"[{claim.citations[0].number}]" for claim in claims)
        pieces = list(_spaced([with_marks(c.text, m) for c, m in zip(claims, marks, strict=True)]))
        yield from pieces
        return Draft("".join(pieces), tuple(passages), claims=claims)


@dataclass(frozen=True)
class Prompted:
    """Generates an answer from a prompt that contains the passages."""

    writer: Writes

    @property
    def name(self) -> str:
        """The model's name."""
        return self.writer.name

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Yield the answer as the model generates it."""
        packed = pack(question, passages, self.writer.count, self.writer.room)
        pieces: list[str] = []
        for piece in self.writer.stream(packed.messages):
            yield piece
            pieces.append(piece)
        return Draft(
            text="".join(pieces).strip(),
            passages=packed.passages,
            dropped=packed.dropped,
            prompt_tokens=packed.tokens,
        )


def stream_answer(
    question: str,
    passages: Sequence[Passage],
    drafter: Drafter,
    config: AskConfig,
    *,
    searched: str = "",
    threshold: float | None = None,
) -> Iterator[str | Answer]:
    """Answer a question from passages: yield text as it is generated, then the checked answer.

    For quotes and refusals the joined pieces are the answer's text. A model's pieces are its words
    before the check, which may remove citations and mark sentences.

    Args:
        searched: The question as it was searched for; default: `question`.
        threshold: The knowledge base's own, used if `config.threshold` is None.
    """
    started = time.perf_counter()
    numbered = [replace(p, number=n) for n, p in enumerate(passages, start=1)]
    base = Answer(question, searched or question, f"{UNKNOWN}.", generator=drafter.name)
    if why := too_weak(numbered, config.threshold, threshold, base.searched):
        yield base.text
        yield replace(
            base, passages=tuple(numbered[:_NEAREST]), refused=True, why=why,
            seconds=time.perf_counter() - started,
        )  # fmt: skip
        return
    draft = yield from drafter.draft(base.searched, numbered)
    text, claims = draft.text, draft.claims
    refused, why = _refusal(draft)
    if claims is None:
        text, claims = (text, ()) if refused else check_answer(text, draft.passages, config.support)
    yield replace(
        base,
        text=f"{UNKNOWN}." if refused else text,
        claims=() if refused else claims,
        passages=draft.passages,
        dropped=draft.dropped,
        refused=refused,
        why=why,
        prompt_tokens=draft.prompt_tokens,
        seconds=time.perf_counter() - started,
    )


def last_answer(pieces: Iterator[str | Answer]) -> Answer:
    """Return the answer at the end of a stream."""
    answers = [piece for piece in pieces if isinstance(piece, Answer)]
    return answers[-1]


def laid_out(text: str, start: int = 0, end: int | None = None) -> str:
    """Return Markdown as plain text: links as words; lists, rows and code on their own lines."""
    parts = split_sentences(text[start:end])
    layout = ""
    before: Sentence | None = None
    for part in parts:
        if part.kind == "code":
            piece, gap = textwrap.dedent(part.text), "\n"
        elif part.kind in ("item", "table"):
            lead = "- " if len(parts) > 1 else ""
            same = before is not None and before.block == part.block
            row = part.kind == "table"
            words = bound_row(text, start + part.start) if row else plain(part.text)
            piece, gap = (words, " ") if same else (lead + words, "\n")
        else:
            piece, gap = plain(part.text.lstrip("# ")), " "
            gap = "\n" if before is not None and before.kind not in ("prose", "heading") else gap
        layout += (gap if layout else "") + piece
        before = part
    return layout


def _refusal(draft: Draft) -> tuple[bool, str]:
    if not draft.text.strip():
        return True, draft.why or "the answer is empty"
    if _SAYS_UNKNOWN.match(draft.text) and len(draft.text) < 200:
        return True, "the model finds no answer in the passages"
    return False, ""


def _quoted(piece: Picked) -> Citation:
    passage = piece.passage
    start, end = passage.start + piece.start, passage.start + piece.end
    return cite(passage, Support(1.0, start, end, piece.text, agrees=True))


def _spaced(pieces: Sequence[str]) -> Iterator[str]:
    """Yield pieces with the separator before each; pieces of several lines stand apart."""
    for before, piece in zip(["", *pieces], pieces, strict=False):
        gap = "\n\n" if "\n" in piece or "\n" in before else " "
        yield (gap if before else "") + piece


# A page on another subject may be near a question in meaning, or share a word with it; a page with
# the answer does both, so cosine and share of the question's words are added. Words inside blocks
# of code do not count: code that mentions a thing does not explain it.
# Each was tuned on one half of the questions of benchmarks/refusals.py and reported on the other.
LEAST = 0.8
"""Least sum of the best passage's cosine and the share of the question's words in one passage."""
LEAST_SHARE = 0.4
"""Least share of the question's words in one passage, without a dense search."""
LEAST_FIGURE = 1.0
"""As `LEAST`, for the best single sentence, if the question asks for a figure."""
# For a question without content words: the cosine decides.
_WORDLESS = 0.5


def too_weak(
    passages: Sequence[Passage],
    threshold: float | None,
    calibrated: float | None = None,
    question: str = "",
) -> str:
    """Return why passages are too weak to answer from; empty if they are not.

    Args:
        threshold: The user's least cosine (BM25 with word search only).
        question: The question's text; without either threshold, its words count.
    """
    if not passages:
        return "no passage was retrieved"
    cosines = any(p.dense is not None for p in passages)
    best = confidence(passages)
    name = "similarity" if cosines else "BM25"
    least = threshold if threshold is not None else calibrated
    if least is not None:
        return "" if best >= least else _why(f"the best passage has {name} {best:.2f}", least)
    share = max(_share(question, passage) for passage in passages)
    words = f"{share:.0%} of the question's words"
    if not cosines:
        return (
            "" if share >= LEAST_SHARE else _why(f"no passage holds more than {words}", LEAST_SHARE)
        )
    if best + share >= LEAST:
        return ""
    return _why(
        f"the best passage has similarity {best:.2f} and one holds {words}, in sum "
        f"{best + share:.2f}",
        LEAST,
    )


def no_figure(question: str, ranked: Sequence[Picked]) -> str:
    """Return why no sentence has the figure that a question asks for; empty if one may.

    A page on the right subject nearly always has some other figure, which would be quoted.
    """
    if not asks_for_figure(question):
        return ""
    best = max((piece.nearness for piece in ranked if piece.kind != "code"), default=0.0)
    if best >= LEAST_FIGURE:
        return ""
    return (
        "no sentence matches the figure that the question asks for: the best has "
        f"{best:.2f}, needed is 1.00"
    )


def _share(question: str, passage: Passage) -> float:
    """Return the share of a question's words that a passage contains outside code."""
    words = meaning(question)
    code = names_code(question)
    parts = [p for p in split_sentences(passage.text) if code or p.kind != "code"]
    text = " ".join([heading_of(passage), *(plain(part.text) for part in parts)])
    return share_held(words, meaning(text)) if words else _WORDLESS


def _why(what: str, least: float) -> str:
    return f"no passage matches the question well enough: {what}, needed is {least:.2f}"
