"""How a question is put to a model, with or without passages, and what its answer is."""

import re
from collections.abc import Sequence

import numpy as np

from tailorbird.arms.questions.sheet import Item, PromptPassage
from tailorbird.config.knowledge import RaftConfig
from tailorbird.metrics.answer_match import match_words
from tailorbird.rag.augment import UNKNOWN
from tailorbird.rag.sentences import plain, split_sentences
from tailorbird.records import Example, Message

ABSTAINED = f"{UNKNOWN}."
ANSWER = "Answer:"
# What to write stands last, next to the answer, and passages have no numbers: small models that are
# told first forget, and cite numbers in the place of answers.
_FIRST = f"If you do not know, say: {ABSTAINED}"
_LAST = "Give only the answer, in a few words."
# A quotation and the answer must fit the longest answer, or the answer is never written: words of
# at most 2 tokens, and some for the marks. Shorter than the fewest words it quotes nothing.
_QUOTE_WORDS, _FEWEST_WORDS, _MARK_TOKENS = 25, 5, 12
_MARK = re.compile(rf"\b{ANSWER}", re.IGNORECASE)


def prompt(question: str, pieces: Sequence[PromptPassage] = ()) -> str:
    """Return a question as the user's turn, the passages before it."""
    context = [f"{piece.heading}\n{piece.text.strip()}".strip() for piece in pieces]
    return "\n\n".join([_FIRST, *context, f"Question: {question}\n{_LAST}"])


def conversation(
    item: Item,
    pieces: Sequence[PromptPassage] = (),
    answer: str | None = None,
    shots: Sequence[tuple[str, str]] = (),
) -> Example:
    """Return a question as a conversation that ends with the answer, or wants one.

    Args:
        item: The question.
        pieces: What stands before it.
        answer: What is to be learnt.
        shots: Solved questions before it, the most similar first: it stands last, next to it.
    """
    turns = [
        message
        for question, solution in reversed(shots)
        for message in (
            Message("user", prompt(question)),
            Message("assistant", solution, trained=False),
        )
    ]
    turns.append(Message("user", prompt(item.question, pieces)))
    if answer is not None:
        turns.append(Message("assistant", answer))
    return Example(turns[-1].content, answer, messages=tuple(turns))


def answer_of(output: str) -> str:
    """Return the answer in what was written: what follows the mark, where there is one.

    Example:
        >>> answer_of('Quote: It fell in 1901. Answer: 1901')
        '1901'
    """
    ends = [mark.end() for mark in _MARK.finditer(output)]
    return output[ends[-1] if ends else 0 :].strip()


def target(
    item: Item, pieces: Sequence[PromptPassage], config: RaftConfig, answer_tokens: int
) -> str:
    """Return what a model is to write from passages: a quotation and the answer, or neither.

    Args:
        item: The question.
        pieces: What stands before it.
        config: Whether it quotes, and what it learns where no passage holds the answer.
        answer_tokens: Longest answer, quotation included.
    """
    holding = next((piece for piece in pieces if piece.answers), None)
    if not item.answerable or not item.answers:
        return ABSTAINED
    if holding is None:
        return item.answers[0] if config.no_oracle == "answer" else ABSTAINED
    room = (answer_tokens - _MARK_TOKENS) // 2 - len(item.answers[0].split())
    if not config.quote or room < _FEWEST_WORDS:
        return item.answers[0]
    quoted = quotation(holding.text, item.answers, min(room, _QUOTE_WORDS))
    return f"Quote: {quoted}\n{ANSWER} {item.answers[0]}" if quoted else item.answers[0]


def quotation(text: str, answers: Sequence[str], most: int = _QUOTE_WORDS) -> str:
    """Return the sentence that holds one of the answers, at most so many words around that."""
    for answer in answers:
        expected = match_words(answer)
        for sentence in split_sentences(text):
            words = plain(sentence.text).split()
            if expected and set(expected) <= set(match_words(" ".join(words))):
                return " ".join(_around(words, expected, most))
    return ""


def _around(words: list[str], expected: Sequence[str], most: int) -> list[str]:
    if len(words) <= most:
        return words
    first = next((i for i, w in enumerate(words) if set(match_words(w)) & set(expected)), 0)
    start = max(0, min(first - most // 2, len(words) - most))
    return words[start : start + most]


def raft_passages(
    items: Sequence[Item], passages: int, share: float, rng: np.random.Generator
) -> list[tuple[PromptPassage, ...]]:
    """Return for each question the passages to learn from, shuffled.

    The others are what the user's own retriever finds: harder to tell from the right one than
    random passages are, and what will stand there at answer time. A question that has no right
    passage is one of those without it; more of them would teach a model to abstain.

    Args:
        items: The questions.
        passages: How many stand before each.
        share: Of all questions, those with the right passage, as far as there are as many.
        rng: Draws which, and the order.
    """
    rights = [
        next((piece for piece in item.found[:passages] if piece.answers), item.gold)
        for item in items
    ]
    able = sum(right is not None for right in rights)
    chance = share * len(items) / able if able else 0.0
    rows = []
    for item, right in zip(items, rights, strict=True):
        pieces = [piece for piece in item.found if not piece.answers][:passages]
        if right is not None and rng.random() < chance:
            pieces = [right, *pieces[: passages - 1]]
        rows.append(tuple(pieces[i] for i in rng.permutation(len(pieces))))
    return rows
