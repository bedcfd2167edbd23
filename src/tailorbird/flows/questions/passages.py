"""Retrieves the passages of questions, and finds those that hold their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from time import perf_counter

import numpy as np

from tailorbird.arms.question_arms.records import Item, PromptPassage
from tailorbird.config import Config
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.metrics.answer_match import match_words
from tailorbird.rag.retrieval_analysis import Names
from tailorbird.rag.retrieve import Retriever
from tailorbird.records import Chunk, Question

_MOST_PASSAGES = 4
_SEEN = 100
_CPU_TOKENS, _GPU_TOKENS = 512, 2048


@dataclass
class Finder:
    """Retrieves passages for questions, and finds the chunks with the answers."""

    kb: KnowledgeFolder
    config: Config
    names: Names

    def __post_init__(self) -> None:
        alone = self.config.retrieve.replace(neighbours=0)
        self.retriever = Retriever(self.kb, alone)
        self.seconds = 0.0

    def search(
        self, questions: Sequence[Question], k: int, answers: Mapping[str, tuple[str, ...]] = {}
    ) -> list[tuple[PromptPassage, ...]]:
        """Return the best `k` passages of each question.

        Args:
            questions: The questions.
            k: The number of passages.
            answers: The correct answers by id, if they are not the questions' own.
        """
        started = perf_counter()
        hits = self.retriever.many([question.text for question in questions], k=k)
        self.seconds = perf_counter() - started
        return [
            tuple(passage_of(hit.chunk, answers.get(q.id, q.answers)) for hit in of_one)
            for q, of_one in zip(questions, hits, strict=True)
        ]

    def gold(
        self, questions: Sequence[Question], answers: Mapping[str, tuple[str, ...]] = {}
    ) -> dict[str, Chunk]:
        """Return by id the chunk with the answer that shares most words with the question.

        Candidates are the relevant documents if they are named, or else the first hundred hits.
        """
        best: dict[str, Chunk] = {}
        with self.kb.reading() as view:
            by_name: dict[str, list[str]] = {}
            for source in view.sources():
                by_name.setdefault(self.names(source), []).append(source)
            cut = cache(view.chunks)
            unnamed = [q for q in questions if q.answerable and not set(q.judged) & set(by_name)]
            near = self.retriever.many([q.text for q in unnamed], k=_SEEN) if unnamed else []
            nearby = {q.id: [h.chunk for h in hits] for q, hits in zip(unnamed, near, strict=True)}
            for question in questions:
                named = [source for name in question.judged for source in by_name.get(name, ())]
                chunks = nearby.get(question.id) or [c for source in named for c in cut(source)]
                right = answers.get(question.id, question.answers)
                holding = [chunk for chunk in chunks if holds(chunk.text, right)]
                if holding and question.answerable:
                    shared = [_shared(chunk.text, question.text) for chunk in holding]
                    best[question.id] = holding[shared.index(max(shared))]
        return best

    def sources(self) -> set[str]:
        """Return the names of all documents, as in the questions."""
        with self.kb.reading() as view:
            return {self.names(source) for source in view.sources()}


def passage_of(chunk: Chunk, answers: Sequence[str]) -> PromptPassage:
    """Return a chunk as a passage in a prompt."""
    trail = [part for part in (chunk.title, *chunk.headings) if part]
    heading = " > ".join(dict.fromkeys(trail))
    return PromptPassage(chunk.source, heading, chunk.text, holds(chunk.text, answers))


def holds(text: str, answers: Sequence[str]) -> bool:
    """Return whether a text contains one of the answers as consecutive words."""
    words = _spaced(text)
    return any(_spaced(answer).strip() and _spaced(answer) in words for answer in answers)


@lru_cache(maxsize=50_000)
def _spaced(text: str) -> str:
    return f" {' '.join(match_words(text))} "


def _shared(text: str, question: str) -> int:
    return len(set(_spaced(text).split()) & set(_spaced(question).split()))


def passages_that_fit(config: Config, probe: Sequence[Sequence[PromptPassage]], cpu: bool) -> int:
    """Return the number of passages before a question within the token budget."""
    settings = config.questions
    if settings.passages is not None:
        return settings.passages
    budget = settings.prompt_tokens or (_CPU_TOKENS if cpu else _GPU_TOKENS)
    # A word with its punctuation is about 1.4 tokens in most tokenizers.
    lengths = [1.4 * len(f"{p.heading} {p.text}".split()) for of_one in probe for p in of_one]
    mean = float(np.mean(lengths)) if lengths else 1.0
    return max(1, min(_MOST_PASSAGES, round(budget / max(mean, 1.0))))


def with_shots(
    kb: KnowledgeFolder, train: Sequence[Question], items: Sequence[Item], count: int
) -> tuple[Item, ...]:
    """Return the items with the most similar training questions and their answers."""
    solved = [question for question in train if question.answerable and question.answers]
    if not solved or not items:
        return tuple(items)
    memory = kb.embedder.embed_queries([question.text for question in solved]).vectors
    queries = kb.embedder.embed_queries([item.question for item in items]).vectors
    nearest = np.argsort(-(queries @ memory.T), axis=1, kind="stable")[:, :count]
    return tuple(
        replace(item, shots=tuple((solved[i].text, solved[i].answers[0]) for i in row))
        for item, row in zip(items, nearest, strict=True)
    )
