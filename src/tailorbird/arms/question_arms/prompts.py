"""The prompts of questions, with or without passages, and parsing of the answers."""

import re
from collections.abc import Sequence

import numpy as np

from tailorbird.arms.question_arms.records import Item, PromptPassage
from tailorbird.config.knowledge import RaftConfig
from tailorbird.metrics.answer_match import match_words
from tailorbird.rag.augment import UNKNOWN
from tailorbird.rag.sentences import plain, split_sentences
from tailorbird.records import Example, Message

ABSTAINED = f"{UNKNOWN}."
ANSWER = "Answer:"
# The instruction comes last, next to the answer, and passages have no numbers: small models forget
# earlier instructions, and cite numbers instead of answering.
_FIRST = f"If you do not know, say: {ABSTAINED}"
_LAST = "Give only the answer, in a few words."
# The quotation and the answer share the token limit: words have at most 2 tokens, the marks some. A
# quotation below the least number of words is left out.
_QUOTE_WORDS, _FEWEST_WORDS, _MARK_TOKENS = 25, 5, 12
_MARK = re.compile(rf"\b{ANSWER}", re.IGNORECASE)


def prompt(question: str, pieces: Sequence[PromptPassage] = ()) -> str:
    """Return the user's turn: the passages, then the question."""
    context = [f"{piece.heading}\n{piece.text.strip()}".strip() for piece in pieces]
    return "\n\n".join([_FIRST, *context, f"Question: {question}\n{_LAST}"])


def conversation(
    item: Item,
    pieces: Sequence[PromptPassage] = (),
    answer: str | None = None,
    shots: Sequence[tuple[str, str]] = (),
) -> Example:
    """Return a question as a conversation that ends with the answer, or asks for one.

    Args:
        item: The question.
        pieces: The passages before it.
        answer: The training target.
        shots: Solved questions, most similar first; in the prompt the most similar comes last.
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
    """Return the answer in a model's output: the text after the mark, if there is one.

    Example:
        >>> answer_of('Quote: It fell in 1901. Answer: 1901')
        '1901'
    """
    ends = [mark.end() for mark in _MARK.finditer(output)]
    return output[ends[-1] if ends else 0 :].strip()


def target(
    item: Item, pieces: Sequence[PromptPassage], config: RaftConfig, answer_tokens: int
) -> str:
    """Return the training target for passages: a quotation and the answer, or an abstention.

    Args:
        item: The question.
        pieces: The passages before it.
        config: Whether to quote, and the target if no passage contains the answer.
        answer_tokens: The most tokens of an answer, quotation included.
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
    """Return the sentence with one of the answers, cut to `most` words around the answer."""
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
    """Return the shuffled training passages of each question.

    Distractors come from the user's own retriever: they are harder to tell from the relevant
    passage than random ones, and match those at answer time. Questions without a relevant passage
    count as those without it; more of them would teach a model to abstain.

    Args:
        items: The questions.
        passages: The number of passages before each.
        share: The share of all questions that keep the relevant passage, if that many have one.
        rng: Draws these questions and the order.
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
