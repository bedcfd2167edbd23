"""Question answering on one knowledge base, for single questions and conversations."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tailorbird.config import Config
from tailorbird.errors import UserError, check_utf8
from tailorbird.knowledge.protocols import Knowledge
from tailorbird.models.embed import Remembered
from tailorbird.rag.answer import Drafter, Extractive, Prompted, Writes, last_answer, stream_answer
from tailorbird.rag.followup import Turn, standalone
from tailorbird.rag.retrieve import Retriever
from tailorbird.records import Answer, Message, Passage


@dataclass
class Answerer:
    """Answers questions from one knowledge base.

    Calls do not change it, so several threads and any number of conversations can share one
    answerer with one model.

    Attributes:
        writer: The generating model; None: sentences are quoted.
    """

    kb: Knowledge
    config: Config
    writer: Writes | None = None

    def __post_init__(self) -> None:
        self.retriever = Retriever(self.kb, self.config.retrieve)
        self._read = Remembered(self._embed_read)
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
        embedder: Any = self.kb.embedder
        vectors: np.ndarray = embedder.embed_documents(texts).vectors
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
