"""Retrieves passages for questions: dense and word search, fusion, reranking, joining."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tailorbird.config.knowledge import RetrieveConfig
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.errors import UserError
from tailorbird.rag.fuse import EVEN, best_first, convex, diverse, rrf
from tailorbird.records import Chunk, Hit, Passage

if TYPE_CHECKING:
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.knowledge.snapshot import Snapshot
    from tailorbird.rag.rerank import Reranker

_TRIES = 4
Result = TypeVar("Result")
_BESIDE = ThreadPoolExecutor(4, "words")

RERANKER = "reranker"
"""The setting with a published reranker's path in the knowledge base's folder."""


@dataclass(frozen=True)
class Sides:
    """The results of dense and word search for one question, before fusion.

    Attributes:
        dense: By cosine, best first; chunks that only the word search found come last.
        words: By BM25, best first.
        dense_count: How many of `dense` the dense search found.
    """

    question: str
    dense: tuple[Hit, ...]
    words: tuple[Hit, ...]
    dense_count: int


class Retriever:
    """Finds chunks and passages of a knowledge base.

    Args:
        config: The settings; if the weight is None, the knowledge base's tuned weight is used, or
            else 0.5.
        reranker: Rescores the best candidates; default: the one of `reranker_name`.
    """

    def __init__(
        self, kb: "KnowledgeFolder", config: RetrieveConfig, reranker: "Reranker | None" = None
    ) -> None:
        self.kb, self.config = kb, config
        self.reranker = reranker or load_reranker(config, kb)

    def search(
        self, question: str, where: str | None = None, k: int | None = None
    ) -> list[Passage]:
        """Return the best passages, best first, unnumbered."""
        count = k or self.config.k

        def look(view: "Snapshot") -> list[Passage]:
            vector = self._vectors(view, [question])
            sides = self._sides(view, question, vector[0], where)
            # Hits may be joined, so k passages may need more than k hits; but not many more, since
            # the worst of them would lengthen the best passages.
            most = 2 * count if self.config.neighbours else count
            hits = self._ranked(view, sides, most)
            return join(view, hits, count, self.config.neighbours)

        return self._look(look)

    def hits(self, question: str, where: str | None = None, k: int | None = None) -> list[Hit]:
        """Return the best chunks, best first."""
        return self.many([question], where, k)[0]

    def many(
        self, questions: Sequence[str], where: str | None = None, k: int | None = None
    ) -> list[list[Hit]]:
        """Return the best chunks of each question, the questions embedded together."""
        count = k or self.config.k

        def look(view: "Snapshot") -> list[list[Hit]]:
            vectors = self._vectors(view, questions)
            return [
                self._ranked(view, self._sides(view, question, vector, where), count)
                for question, vector in zip(questions, vectors, strict=True)
            ]

        return self._look(look)

    def _look(self, search: "Callable[[Snapshot], Result]") -> Result:
        """Search one snapshot, and retry if the index changed meanwhile.

        A document replaced at that time would be found in neither version. Under constant writes,
        the last attempt counts.
        """
        for _ in range(_TRIES):
            with self.kb.reading() as view:
                result = search(view)
                if view.whole():
                    break
        return result

    def sides(self, questions: Sequence[str], where: str | None = None) -> list[Sides]:
        """Return each side's results, to tune a weight or to explain a ranking."""
        with self.kb.reading() as view:
            vectors = self._vectors(view, questions)
            return [
                self._sides(view, question, vector, where)
                for question, vector in zip(questions, vectors, strict=True)
            ]

    def fuse(self, sides: Sides, weight: float | None = None, most: int | None = None) -> list[Hit]:
        """Return both sides' hits fused, best first, each text once."""
        share = self.weight if weight is None else weight
        hits = {hit.chunk.id: hit for hit in (*sides.words, *sides.dense)}
        matches = {hit.chunk.id: hit.words for hit in sides.words}
        if self.config.fusion == "rrf":
            by_vector = [hit.chunk.id for hit in sides.dense[: sides.dense_count]]
            scores = rrf(by_vector, [hit.chunk.id for hit in sides.words], share)
        else:
            scores = convex(
                {hit.chunk.id: hit.dense or 0.0 for hit in sides.dense},
                {hit.chunk.id: hit.words or 0.0 for hit in sides.words},
                share,
            )
        fused = (
            Hit(hit.chunk, scores[name], hit.dense, matches.get(name), None, hit.metadata)
            for name in best_first(scores)
            for hit in (hits[name],)
        )
        return list(islice(_once(fused), most))

    def rerank(self, question: str, hits: list[Hit]) -> list[Hit]:
        """Return the hits, the top ones reordered by the reranker if there is one."""
        if self.reranker is None:
            return hits
        first, rest = hits[: self.config.rerank], hits[self.config.rerank :]
        scores = self.reranker.score(question, [contextual_text(hit.chunk) for hit in first])
        first = [
            replace(hit, score=float(score), reranked=float(score))
            for hit, score in zip(first, scores, strict=True)
        ]
        first.sort(key=lambda hit: -hit.score)
        # Unscored hits stay behind the reranked ones, whose scores are from 0 to 1.
        return first + [replace(hit, score=hit.score - 1.0) for hit in rest]

    @property
    def weight(self) -> float:
        """The dense side's weight: the setting, else the saved one, else `EVEN`."""
        if self.config.mode != "hybrid":
            return float(self.config.mode == "dense")
        if self.config.weight is not None:
            return self.config.weight
        calibrated = self.kb.get_setting("weight")
        return EVEN if calibrated is None else float(calibrated)

    def _vectors(self, view: "Snapshot", questions: Sequence[str]) -> np.ndarray:
        if not questions or self.config.mode == "words":
            return np.zeros((len(questions), 0), dtype=np.float32)
        # The snapshot's model, since another may become current at any time.
        vectors: np.ndarray = view.embedder.embed_queries(questions).vectors
        if not np.isfinite(vectors).all():
            raise UserError(
                "the embedder gives no valid vector (not a number) for the question",
                "rephrase the question, or search by words only: --set retrieve.mode=words",
            )
        return vectors

    def _sides(
        self, view: "Snapshot", question: str, vector: np.ndarray, where: str | None
    ) -> Sides:
        k, mode = self.config.candidates, self.config.mode
        if mode == "hybrid" and view.waits:
            # Both searches release the GIL, so they run on two cores.
            task = _BESIDE.submit(view.matching, question, k, where)
            try:
                dense = view.nearest(vector, k, where)
            finally:
                wait([task])  # an error here must not close the snapshot in use
            words = task.result()
        else:
            dense = view.nearest(vector, k, where) if mode != "words" else []
            words = view.matching(question, k, where) if mode != "dense" else []
        by_vector = len(dense)
        ids = {hit.chunk.id for hit in dense}
        missed = [hit for hit in words if hit.chunk.id not in ids] if mode == "hybrid" else []
        if missed:
            # A chunk found by words alone needs its true cosine: the lowest cosine of the list
            # would punish it for being at place 101.
            cosines = view.vectors(missed) @ vector
            dense = dense + [
                # `replace` takes several times as long.
                Hit(hit.chunk, cosine, dense=cosine, metadata=hit.metadata)
                for hit, cosine in zip(missed, cosines.tolist(), strict=True)
            ]
        return Sides(question, tuple(dense), tuple(words), by_vector)

    def _ranked(self, view: "Snapshot", sides: Sides, count: int) -> list[Hit]:
        # Reranking and diversity need all candidates.
        most = None if self.reranker or self.config.diversity else count
        hits = self.rerank(sides.question, self.fuse(sides, most=most))
        if self.config.diversity and len(hits) > 1:
            near = hits[: max(4 * count, 20)]
            scores = np.asarray([hit.score for hit in near])
            order = diverse(scores, view.vectors(near), count, self.config.diversity)
            hits = [near[place] for place in order]
        return hits[:count]


def _once(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Yield the hits without repeated texts, of which the best stays."""
    texts: set[str] = set()
    for hit in hits:
        words = " ".join(hit.chunk.text.split())
        if words not in texts:
            texts.add(words)
            yield hit


def confidence(results: Sequence[Passage | Hit]) -> float:
    """Return the confidence that `ask.threshold` is compared with.

    It is the best cosine, or the best BM25 without a dense search. Fused scores are scaled per
    question so that the best is near 1, and say nothing about it.
    """
    cosines = [result.dense for result in results if result.dense is not None]
    matches = [result.words for result in results if result.words is not None]
    return max(cosines or matches, default=0.0)


@dataclass
class _ChunkRun:
    """Adjacent chunks of one document, and the hits among them."""

    chunks: dict[int, Chunk]
    hits: list[Hit]

    def touches(self, other: dict[int, Chunk]) -> bool:
        return min(other) <= max(self.chunks) + 1 and min(self.chunks) <= max(other) + 1


def join(view: "Snapshot", hits: Sequence[Hit], k: int, neighbours: int) -> list[Passage]:
    """Return up to `k` passages: hits with their neighbours, adjacent ones joined.

    Args:
        k: The number of passages.
        neighbours: Chunks added before and after each hit; 0: hits stay separate.
    """
    spans: list[_ChunkRun] = []
    nearby: list[list[Chunk]] = [[] for _ in hits]
    if neighbours:
        nearby = view.neighbours([hit.chunk for hit in hits], neighbours)
    for hit, near in zip(hits, nearby, strict=True):
        chunks = {chunk.position: chunk for chunk in (*near, hit.chunk)}
        same = [
            span
            for span in spans
            if neighbours and span.hits[0].chunk.source == hit.chunk.source and span.touches(chunks)
        ]
        if not same:
            if len(spans) == k:
                break
            spans.append(_ChunkRun(chunks, [hit]))
            continue
        same[0].chunks |= chunks
        same[0].hits.append(hit)
        for other in same[1:]:  # separate runs that the new hit joins
            same[0].chunks |= other.chunks
            same[0].hits += other.hits
            spans.remove(other)
    texts = view.texts_of({span.hits[0].chunk.source for span in spans})
    return [_passage(span, texts[span.hits[0].chunk.source]) for span in spans]


def _passage(span: _ChunkRun, text: str) -> Passage:
    ordered = [span.chunks[position] for position in sorted(span.chunks)]
    first = ordered[0]
    start, end = first.start, max(chunk.end for chunk in ordered)
    cosines = [hit.dense for hit in span.hits if hit.dense is not None]
    matches = [hit.words for hit in span.hits if hit.words is not None]
    return Passage(
        number=0,
        source=first.source,
        title=first.title,
        text=text[start:end],
        start=start,
        end=end,
        score=max(hit.score for hit in span.hits),
        page=first.page,
        headings=first.headings,
        chunks=tuple(chunk.id for chunk in ordered),
        dense=max(cosines, default=None),
        words=max(matches, default=None),
    )


def reranker_name(config: RetrieveConfig, kb: "KnowledgeFolder | None" = None) -> str | None:
    """Return the cross-encoder in use, or None.

    Args:
        config: The settings; "none" disables even a published one.
        kb: The knowledge base that may have a published one.
    """
    if config.reranker is not None or kb is None:
        return None if config.reranker == "none" else config.reranker
    published = kb.get_setting(RERANKER)
    # A published reranker lies in the folder and moves with it.
    return None if published is None else str(kb.folder.resolve() / str(published))


def load_reranker(config: RetrieveConfig, kb: "KnowledgeFolder | None" = None) -> "Reranker | None":
    """Load the cross-encoder of `reranker_name`, or return None."""
    name = reranker_name(config, kb)
    if name is None:
        return None
    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.device import choose
    from tailorbird.rag.rerank import Reranker

    return Reranker(ModelConfig(name=name), choose())
