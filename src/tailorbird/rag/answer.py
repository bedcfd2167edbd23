"""Passages -> an answer whose sentences are checked, or the admission that there is none."""

import re
import textwrap
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tailorbird.config.knowledge import AskConfig
from tailorbird.rag.augment import UNKNOWN, pack
from tailorbird.rag.citations import Support, check_answer, cite
from tailorbird.rag.content_words import asks_for_code
from tailorbird.rag.extract import Embed, Picked, extract, rank_sentences
from tailorbird.rag.refusal import no_figure, too_weak
from tailorbird.rag.sentences import Sentence, bound_row, plain, split_sentences
from tailorbird.records import Answer, Citation, Claim, Message, Passage

EXTRACTIVE = "extractive"
"""The generator's name where sentences are quoted."""

_NEAREST = 3
_SAYS_UNKNOWN = re.compile(
    r"\W*(?:i (?:do not|don['\u2019]?t) know\b|(?:the|these) passages (?:do not|don['\u2019]?t))",
    re.I,
)

Writing = Generator[str, None, "Draft"]
"""Pieces of text as they are written, and in the end the draft."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a generator makes of a question and passages.

    Attributes:
        text: With citation marks.
        passages: What it was given, numbered.
        dropped: What it was not given, each with the reason.
        claims: Its sentences where they need no check: quotes.
        why: Why there is none, where it is known.
    """

    text: str
    passages: tuple[Passage, ...]
    dropped: tuple[tuple[Passage, str], ...] = ()
    claims: tuple[Claim, ...] | None = None
    prompt_tokens: int = 0
    why: str = ""


class Drafter(Protocol):
    """What answers: quoted sentences, a tuned run, a base model, or an endpoint."""

    @property
    def name(self) -> str:
        """What the answer says it is from."""
        ...

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Answer from the passages, the best of which comes first."""
        ...


class Writes(Protocol):
    """A model that writes: local or behind an endpoint."""

    @property
    def name(self) -> str:
        """A run's folder, a model's name, an endpoint."""
        ...

    @property
    def room(self) -> int:
        """Tokens that a prompt may take."""
        ...

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of the prompt, its chat template's own included."""
        ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer as it is written."""
        ...


@dataclass(frozen=True)
class Extractive:
    """Quotes the sentences that answer best; needs no language model."""

    embed: Embed
    sentences: int = 3
    name: str = EXTRACTIVE

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Quote in each document's order, every quote with its citation."""
        code = asks_for_code(question)
        ranked = rank_sentences(question, passages, self.embed, code=code)
        if why := no_figure(question, ranked):
            return Draft("", tuple(passages), why=why)
        picked = extract(ranked, self.sentences, code=code)
        claims = tuple(
            Claim(laid_out(p.passage.text, p.start, p.end), (_quoted(p),), supported=True)
            for p in picked
        )
        pieces = list(_spaced([_marked(c.text, c.citations[0].number) for c in claims]))
        yield from pieces
        return Draft("".join(pieces), tuple(passages), claims=claims)


@dataclass(frozen=True)
class Prompted:
    """Lets a model write from a prompt with the passages."""

    writer: Writes

    @property
    def name(self) -> str:
        """The model's."""
        return self.writer.name

    def draft(self, question: str, passages: Sequence[Passage]) -> Writing:
        """Yield what the model writes, as it writes it."""
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
    """Answer a question from passages: yield text as it is written, and last the checked answer.

    The pieces of quotes and refusals joined are the answer's text; those of a model are its words
    before the check, which may take citations out and mark sentences.

    Args:
        searched: The question as it was searched for; default: as it was asked.
        threshold: The knowledge base's own, used where `config.threshold` is None.
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
    """Return the answer that a stream ends with."""
    answers = [piece for piece in pieces if isinstance(piece, Answer)]
    return answers[-1]


def laid_out(text: str, start: int = 0, end: int | None = None) -> str:
    """Return Markdown as it is read: links as words, lists, rows and code on their own lines."""
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
        return True, draft.why or "the answer came out empty"
    if _SAYS_UNKNOWN.match(draft.text) and len(draft.text) < 200:
        return True, "the model finds no answer in the passages"
    return False, ""


def _quoted(piece: Picked) -> Citation:
    passage = piece.passage
    start, end = passage.start + piece.start, passage.start + piece.end
    return cite(passage, Support(1.0, start, end, piece.text, agrees=True))


def _marked(text: str, number: int) -> str:
    return f"{text}\n[{number}]" if text.endswith(("```", "~~~")) else f"{text} [{number}]"


def _spaced(pieces: Sequence[str]) -> Iterator[str]:
    """Yield pieces of one text with the space before each: those of several lines stand apart."""
    for before, piece in zip(["", *pieces], pieces, strict=False):
        gap = "\n\n" if "\n" in piece or "\n" in before else " "
        yield (gap if before else "") + piece
