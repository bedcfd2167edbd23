"""Packs passages into a prompt: best first, cut between sentences, omissions recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tailorbird.errors import UserError
from tailorbird.rag.sentences import split_sentences
from tailorbird.records import Message, Passage

UNKNOWN = "I don't know"
_INSTRUCTIONS = (
    "Answer the question from the numbered passages below and from nothing else. After each "
    "sentence name the passage it comes from in square brackets, like [1]. Be brief. If the "
    f"passages do not hold the answer, write only: {UNKNOWN}."
)

Count = Callable[[Sequence[Message]], int]
"""Returns the number of prompt tokens of messages, including those of the chat template."""


@dataclass(frozen=True, slots=True)
class PackedPrompt:
    """A prompt, and the passages in and out of it.

    Attributes:
        passages: The included passages or their beginnings, numbered from 1.
        dropped: The omitted passages and the remainders of cut ones, each with the reason.
    """

    messages: tuple[Message, ...]
    passages: tuple[Passage, ...]
    dropped: tuple[tuple[Passage, str], ...]
    tokens: int


def pack(question: str, passages: Sequence[Passage], count: Count, room: int) -> PackedPrompt:
    """Put as many passages before a question as fit, in the order of their scores.

    Lengths are measured on the whole prompt, chat template included. A passage that does not fit is
    cut after its last sentence that does; smaller passages after it are still tried.

    Raises:
        UserError: The question alone does not fit.
    """
    bare = count(_messages(question, []))
    if bare > room:
        raise UserError(
            f"the question alone makes a prompt of {bare:,} tokens, but the model has room for "
            f"{max(room, 0):,}",
            "shorten the question, lower ask.answer_tokens, or use a model with a longer context",
        )
    inside: list[Passage] = []
    dropped: list[tuple[Passage, str]] = []
    for passage in sorted(passages, key=lambda p: -p.score):
        numbered = replace(passage, number=len(inside) + 1)
        if twin := _same(numbered, inside):
            dropped.append((numbered, f"the same text as [{twin}]"))
            continue
        part, rest = _fitting(numbered, lambda p: count(_messages(question, [*inside, p])) <= room)
        if part is not None:
            inside.append(part)
        if rest is not None:
            left = room - count(_messages(question, inside))
            what = "its end" if part is not None else "no sentence of it"
            dropped.append((rest, f"{what} did not fit: {left:,} of {room:,} tokens were left"))
    messages = _messages(question, inside)
    return PackedPrompt(messages, tuple(inside), tuple(dropped), count(messages))


def heading_of(passage: Passage) -> str:
    """Return title and heading path without repetitions: ``Model merging > Merge method``."""
    trail = [part for part in (passage.title, *passage.headings) if part]
    return " > ".join(dict.fromkeys(trail))


def _messages(question: str, passages: Sequence[Passage]) -> tuple[Message, ...]:
    # A single user turn, since some chat templates reject a system message.
    blocks = [f"[{p.number}] {heading_of(p)}\n{p.text.strip()}" for p in passages]
    return (Message("user", "\n\n".join([_INSTRUCTIONS, *blocks, f"Question: {question}"])),)


def _fitting(
    passage: Passage, fits: Callable[[Passage], bool]
) -> tuple[Passage | None, Passage | None]:
    """Return the longest beginning of a passage that fits, and the remainder."""
    if fits(passage):
        return passage, None
    ends = [sentence.end for sentence in split_sentences(passage.text)]
    low, high = 0, len(ends) - 1  # counts of sentences; the whole does not fit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_beginning(passage, ends[middle - 1])):
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return None, passage
    cut = ends[low - 1]
    rest = replace(passage, text=passage.text[cut:], start=passage.start + cut)
    return _beginning(passage, cut), rest


def _beginning(passage: Passage, end: int) -> Passage:
    return replace(passage, text=passage.text[:end], end=passage.start + end)


def _same(passage: Passage, others: Sequence[Passage]) -> int:
    words = passage.text.split()
    return next((other.number for other in others if other.text.split() == words), 0)
