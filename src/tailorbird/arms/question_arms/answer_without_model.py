"""Answers without a language model: of the nearest training question, or the best sentence."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tailorbird.arms.question_arms.question_arm_process import QuestionJob
from tailorbird.arms.question_arms.records import ArmAnswers, Item, Output
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.models.embed import VectorCache
from tailorbird.rag.checked_answer import laid_out
from tailorbird.rag.extract import extract, rank_sentences
from tailorbird.records import Passage
from tailorbird.runs.environment import peak_memory_bytes


def answers(job: QuestionJob) -> ArmAnswers:
    """Answer every question of the set."""
    started = time.perf_counter()
    copies = job.arm.context == "shots"
    look = _nearest if copies else _quoting(job.question_set.store, job.question_set.passages)
    loaded = time.perf_counter()
    test = tuple(map(look, job.question_set.test))
    seconds = time.perf_counter() - loaded
    return ArmAnswers(
        test=test,
        changed=() if copies else tuple(map(look, job.question_set.changed)),
        unchanged=() if copies else tuple(map(look, job.question_set.unchanged)),
        seconds=seconds,
        load_seconds=loaded - started,
        peak_memory_bytes=peak_memory_bytes(),
    )


def _nearest(item: Item) -> Output:
    return Output(item.shots[0][1] if item.shots else "")


def _quoting(store: str, passages: int) -> Callable[[Item], Output]:
    embedder = KnowledgeFolder(Path(store)).embedder
    read = VectorCache(lambda texts: embedder.embed_documents(texts).vectors)

    def embed(texts: Sequence[str]) -> np.ndarray:
        query = embedder.embed_queries(texts[:1]).vectors
        return np.concatenate([query, read(texts[1:])])

    def look(item: Item) -> Output:
        pieces = [
            Passage(n, each.source, each.heading, each.text, 0, len(each.text), -float(n))
            for n, each in enumerate(item.found[:passages], start=1)
        ]
        if not pieces:
            return Output("")
        ranked = rank_sentences(item.question, pieces, embed)
        quoted = (laid_out(each.text) for each in extract(ranked, most=1))
        return Output(next(quoted, ""), shown=len(pieces))

    return look
