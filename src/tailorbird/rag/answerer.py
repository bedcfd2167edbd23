"""Answers questions and conversations from one knowledge base, follow-up questions included."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tailorbird.config import Config
from tailorbird.errors import UserError, check_utf8
from tailorbird.models.embed import VectorCache
from tailorbird.rag.checked_answer import (
    Drafter,
    Extractive,
    Prompted,
    Writes,
    last_answer,
    stream_answer,
)
from tailorbird.rag.content_words import content_words, tokens
from tailorbird.rag.retrieve import Retriever
from tailorbird.records import Answer, Message, Passage

if TYPE_CHECKING:
    from tailorbird.knowledge.base import KnowledgeFolder

Turn = tuple[str, str]
"""A question as it was searched for, and its answer."""


@dataclass
class Answerer:
    """Answers questions from one knowledge base.

    Calls do not change it, so several threads and any number of conversations can share one
    answerer with one model.

    Attributes:
        writer: The generating model; None: sentences are quoted.
    """

    kb: "KnowledgeFolder"
    config: Config
    writer: Writes | None = None

    def __post_init__(self) -> None:
        self.retriever = Retriever(self.kb, self.config.retrieve)
        self._read = VectorCache(self._embed_read)
        self._drafter: Drafter = (
            Prompted(self.writer)
            if self.writer is not None
            else Extractive(self._embed, self.config.ask.sentences)
        )

    def passages(
        self, question: str, where: str | None = None, k: int | None = None
    ) -> list[Passage]:
        """Return the passages nearest to a question, numbered and best first.

        Raises:
            UserError: The question is empty, or the condition cannot be parsed.
        """
        _need_words(question)
        hits = self.retriever.search(question, where, k)
        return [replace(passage, number=n) for n, passage in enumerate(hits, start=1)]

    def answer(
        self,
        question: str,
        history: Sequence[Turn] = (),
        where: str | None = None,
        k: int | None = None,
    ) -> Answer:
        """Answer a question, resolved against the conversation before it.

        Args:
            history: Earlier questions (as they were searched for) with their answers.

        Raises:
            UserError: The question is empty, or a model or an endpoint fails.
        """
        return last_answer(self.stream(question, history, where, k))

    def stream(
        self,
        question: str,
        history: Sequence[Turn] = (),
        where: str | None = None,
        k: int | None = None,
    ) -> Iterator[str | Answer]:
        """Yield the text as it is generated, and last the `Answer` with its checked citations.

        A model's text is yielded before the check; only `Answer.text` is final. Closing the
        iterator ends the generation.

        Raises:
            UserError: As for `answer`; an empty question at once, all else during iteration.
        """
        _need_words(question)
        return self._stream(question, tuple(history), where, k)

    def _stream(
        self, question: str, history: Sequence[Turn], where: str | None, k: int | None
    ) -> Iterator[str | Answer]:
        started = time.perf_counter()
        searched = standalone(question, history, self._rewrite if self.writer else None)
        pieces = stream_answer(
            question,
            self.passages(searched, where, k),
            self._drafter,
            self.config.ask,
            searched=searched,
            threshold=self.kb.get_setting("threshold"),
        )
        for piece in pieces:
            if isinstance(piece, Answer):
                piece = replace(piece, seconds=round(time.perf_counter() - started, 4))
            yield piece

    def _rewrite(self, prompt: str) -> str:
        assert self.writer is not None
        return "".join(self.writer.stream([Message("user", prompt)]))

    def _embed_read(self, texts: Sequence[str]) -> np.ndarray:
        vectors: np.ndarray = self.kb.embedder.embed_documents(texts).vectors
        return vectors

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        query = self.kb.embedder.embed_queries(texts[:1]).vectors
        return np.concatenate([query, self._read(texts[1:])])


@dataclass
class Conversation:
    """Questions of one conversation, where each may refer to those before."""

    answerer: Answerer
    history: list[Turn] = field(default_factory=list)

    def ask(self, question: str, where: str | None = None, k: int | None = None) -> Answer:
        """Answer the next question; see `Answerer.answer`."""
        return last_answer(self.stream(question, where, k))

    def stream(
        self, question: str, where: str | None = None, k: int | None = None
    ) -> Iterator[str | Answer]:
        """Answer the next question piece by piece; see `Answerer.stream`."""
        for piece in self.answerer.stream(question, self.history, where, k):
            if isinstance(piece, Answer):
                self.history.append((piece.searched, piece.text))
            yield piece


def _need_words(question: str) -> None:
    check_utf8(question, "the question")
    if not question.strip():
        raise UserError("the question is empty", "ask at least one word")


_MOST_CARRIED = 12
_LONGEST = 400
_MOST_BEFORE = 2
# A follow-up may take up an answer's words, but a rewriting must not bring in a new subject.
_LEAST_KNOWN = 0.7
_REFERS = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|theirs|he|she|him|his|hers|such|the same"
    r"|the (?:former|latter|first|second|third|other|others)|(?:another|which|this|that) one"
    r"|the ones?)\b",
    re.I,
)
# Pronouns that refer to nothing: "is it possible", "it says that", "that is".
_EMPTY = re.compile(
    r"\b(?:is it (?:ok|okay|possible|better|safe|normal|true|necessary|allowed|bad|good|wrong)\b"
    r"|does it (?:make sense|matter)|(?:it|python) (?:says|complains|looks|seems)|like this"
    r"|so that|(?:say|says|said|know|means?|sure|think|see|told|complains?) that\b"
    r"|in that case|that (?:i|you|we|is|are|has|have|was|were|can)\b)",
    re.I,
)
_LINKS = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|what if|why(?: not)?\W*$|how(?: so)?\W*$"
    r"|when\W*$|where\W*$|who\W*$|for example|any (?:other|more)|else|more|go on|tell me more"
    r"|in what way|since when|with which)\b",
    re.I,
)


def leans_on_history(question: str) -> bool:
    """Return whether a question cannot be understood without the one before it."""
    if _LINKS.search(question):
        return True
    words = content_words(question)
    if len(words) <= 1:
        return True
    rest = _EMPTY.sub(" ", question)
    pronoun = _REFERS.search(rest)
    # After more words than this, a pronoun refers to something in the question itself.
    return pronoun is not None and len(content_words(rest[: pronoun.start()])) <= _MOST_BEFORE


def standalone(
    question: str, history: Sequence[Turn], write: Callable[[str], str] | None = None
) -> str:
    """Return the question with the words that it needs from the conversation.

    Without a model, a dependent question (a pronoun, "and ...", "what about ...", hardly a word of
    its own) is extended by the content words of the one before. A model's rewriting is used only if
    it is a single question without new content.

    Args:
        question: The original question.
        history: The turns so far, in order; questions as they were searched for.
        write: Returns a model's answer to a prompt; None: use rules.
    """
    if not history:
        return question
    if write is not None:
        rewritten = _cleaned(write(_prompt(question, history)))
        if _is_faithful(rewritten, question, history):
            return rewritten
    if not leans_on_history(question):
        return question
    carried = _carried(question, history[-1][0])
    return f"{question.rstrip()} ({' '.join(carried)})" if carried else question


def _carried(question: str, before: str) -> list[str]:
    """Return the content words of the earlier question that this one lacks."""
    here = set(content_words(question))
    words: list[str] = []
    for word in re.findall(r"[^\s()\[\]{}\"?!,;]+", before):
        bare = word.strip(".:'`")
        means = [*content_words(bare), *(t for t in tokens(bare) if t[0].isdigit())]
        if means and not set(means) & here:
            words.append(bare)
            here |= set(means)
    return words[:_MOST_CARRIED]


def _prompt(question: str, history: Sequence[Turn]) -> str:
    turns = "\n".join(
        f"User: {earlier}\nAssistant: {answer[:500]}" for earlier, answer in history[-3:]
    )
    return (
        "Rewrite the last question so that it can be understood without the conversation. Keep "
        "its meaning, add nothing, answer nothing. Write only the question.\n\n"
        f"{turns}\nUser: {question}\n\nQuestion:"
    )


def _cleaned(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    first = lines[0] if len(lines) == 1 else ""
    return re.sub(r"^(?:rewritten |standalone )?question:\s*", "", first, flags=re.I).strip(' "')


def _is_faithful(rewritten: str, question: str, history: Sequence[Turn]) -> bool:
    """Return whether a rewriting is short, keeps the question's words and adds no new ones."""
    if not rewritten or len(rewritten) > max(_LONGEST, 2 * len(question)):
        return False
    words, own = set(content_words(rewritten)), set(content_words(question))
    conversation = " ".join(part for turn in history[-3:] for part in turn)
    familiar = own | set(content_words(conversation))
    return (
        bool(words)
        and len(words & familiar) >= _LEAST_KNOWN * len(words)
        and (len(words & own) >= _LEAST_KNOWN * len(own))
    )
