"""A knowledge base in memory: exact cosines, BM25 by the book, for what stands above the store."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.models.embed import Embedded
from tailorbird.records import Chunk, Hit

K1, B = 1.2, 0.75


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class CountVectors:
    """Unit vectors of word counts, each word at a place of its own by its hash."""

    dimension = 4096  # so wide that hardly any two words share a place

    def embed_queries(self, questions: Sequence[str], title: str = "") -> Embedded:
        vectors = np.zeros((len(questions), self.dimension), dtype=np.float32)
        for row, text in enumerate(questions):
            for word in words_of(text):
                place = int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dimension
                vectors[row, place] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embedded(vectors / np.maximum(norms, 1e-9), 0.0)


class SmallKnowledge:
    """Documents by source; a chunk is a paragraph (parted by an empty line)."""

    read_only = waits = False

    def __init__(self, texts: dict[str, str], embedder: Any = None) -> None:
        self.folder = Path("small")
        self.texts, self.embedder = texts, embedder or CountVectors()
        self.kept: dict[str, Any] = {}
        self.all = [chunk for source in texts for chunk in _paragraphs(source, texts[source])]
        self.rows = self.embedder.embed_queries([chunk.text for chunk in self.all]).vectors
        self.counts = [Counter(words_of(chunk.text)) for chunk in self.all]

    def whole(self) -> bool:
        return True

    def get_setting(self, name: str) -> Any:
        return self.kept.get(name)

    def set_setting(self, name: str, value: Any) -> None:
        self.kept[name] = value

    @contextmanager
    def reading(self) -> Iterator["SmallKnowledge"]:
        yield self

    def nearest(self, vector: np.ndarray, k: int, where: str | None = None) -> list[Hit]:
        cosines = self.rows @ vector
        best = np.argsort(-cosines, kind="stable")[:k]
        return [self._hit(i, float(cosines[i]), dense=float(cosines[i])) for i in best]

    def matching(self, question: str, k: int, where: str | None = None) -> list[Hit]:
        scores = np.asarray([self._bm25(words_of(question), i) for i in range(len(self.all))])
        best = [i for i in np.argsort(-scores, kind="stable")[:k] if scores[i] > 0]
        return [self._hit(i, float(scores[i]), words=float(scores[i])) for i in best]

    def chunks(self, source: str) -> list[Chunk]:
        return [chunk for chunk in self.all if chunk.source == source]

    def neighbours(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        return [
            [c for c in self.chunks(chunk.source) if abs(c.position - chunk.position) <= n]
            for chunk in chunks
        ]

    def sources(self) -> list[str]:
        return sorted(self.texts)

    def text(self, source: str) -> str:
        return self.texts[source]

    def texts_of(self, sources: Iterable[str]) -> dict[str, str]:
        return {source: self.texts[source] for source in sources}

    def vectors(self, hits: Sequence[Hit]) -> np.ndarray:
        places = {chunk.id: i for i, chunk in enumerate(self.all)}
        return self.rows[[places[hit.chunk.id] for hit in hits]]

    def _hit(self, i: int, score: float, **more: float) -> Hit:
        return Hit(self.all[i], score, metadata={"path": self.all[i].source}, **more)

    def _bm25(self, asked: list[str], i: int) -> float:
        """Robertson and Zaragoza 2009, with Lucene's idf, which is never negative."""
        count, total = self.counts[i], len(self.all)
        mean = sum(c.total() for c in self.counts) / total
        score = 0.0
        for word in asked:
            n = sum(word in c for c in self.counts)
            idf = math.log(1 + (total - n + 0.5) / (n + 0.5))
            length = K1 * (1 - B + B * count.total() / mean)
            score += idf * count[word] * (K1 + 1) / (count[word] + length) if count[word] else 0
        return score


def _paragraphs(source: str, text: str) -> list[Chunk]:
    chunks = []
    for position, found in enumerate(re.finditer(r"[^\n]+(?:\n[^\n]+)*", text)):
        name = hashlib.sha256(f"{source}{position}{found[0]}".encode()).hexdigest()[:32]
        chunks.append(
            Chunk(name, source, position, found[0], found.start(), found.end(), title=source)
        )
    return chunks
