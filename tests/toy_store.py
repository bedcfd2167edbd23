"""A store as a stranger would add one: arrays in one file, compared one by one."""

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import snowballstemmer

from tailorbird.errors import UserError
from tailorbird.knowledge.memory_index import best
from tailorbird.knowledge.protocols import Ranking
from tailorbird.knowledge.sqlite_ledger import INDEX, FolderBackend

STEM = snowballstemmer.stemmer("english").stemWord
STOP = frozenset(["a", "and", "or", "not", "the", "is", "was"])


def words_of(text: str) -> list[str]:
    return [STEM(word) for word in re.findall(r"\w+", text.lower()) if word not in STOP]


class ToyBackend(FolderBackend):
    """The ledger of all stores that lie in a folder, and one file per generation."""

    name = "toy"

    def open(self, number: int, dimension: int, create: bool = False) -> "ToyStore":
        return ToyStore(self.folder / INDEX / f"{number}.npz", dimension, create)

    def remove(self, number: int) -> None:
        (self.folder / INDEX / f"{number}.npz").unlink(missing_ok=True)


class ToyStore:
    """Rows, vectors and texts; every change writes the file anew."""

    waits = False

    def __init__(self, path: Path, dimension: int, create: bool) -> None:
        self.path, self.added = path, 0
        if not path.exists():
            if not create:
                raise UserError(f"{path} is missing", "--repair")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(np.empty(0, np.int64), np.empty((0, dimension), np.float32), [])

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        old = self._read()
        plain = [text.encode("utf-8", "replace").decode() for text in texts]
        self._write(np.append(old[0], rows), np.vstack([old[1], vectors]), [*old[2], *plain])
        self.added += len(rows)

    def delete(self, rows: np.ndarray) -> None:
        old, vectors, texts = self._read()
        left = np.flatnonzero(~np.isin(old, rows))
        self._write(old[left], vectors[left], [texts[i] for i in left])

    @property
    def moment(self) -> tuple[int, int]:
        file = self.path.stat()
        return file.st_ino, file.st_mtime_ns

    def rows(self) -> np.ndarray:
        return np.sort(self._read()[0])

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        rows, vectors, _ = self._read()
        held = np.isin(rows, rows if among is None else among)
        return best(rows[held], vectors[held] @ vector, k)

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        rows, _, texts = self._read()
        counts = [Counter(words_of(text)) for text in texts]
        mean = sum(c.total() for c in counts) / max(1, len(counts))
        scores = np.zeros(len(rows))
        for word in set(words_of(question)):
            n = sum(word in c for c in counts)
            idf = math.log(1 + (len(rows) - n + 0.5) / (n + 0.5))
            for place, c in enumerate(counts):
                length = 1.2 * (0.25 + 0.75 * c.total() / mean)
                scores[place] += idf * 2.2 * c[word] / (c[word] + length) if c[word] else 0
        fits = (scores > 0) & np.isin(rows, rows if among is None else among)
        return best(rows[fits], scores[fits], k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        held, vectors, _ = self._read()
        places = {row: place for place, row in enumerate(held.tolist())}
        none = np.zeros(vectors.shape[1], np.float32)
        return np.stack([vectors[places[r]] if r in places else none for r in rows.tolist()])

    def due(self, rows: int) -> bool:
        return self.added > rows

    def optimize(self) -> None:
        self.added = 0

    def _read(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        with np.load(self.path) as file:
            return file["rows"], file["vectors"], file["texts"].tolist()

    def _write(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        part = self.path.with_suffix(f".{os.getpid()}")
        with part.open("wb") as file:
            np.savez(file, rows=rows, vectors=vectors, texts=np.asarray(texts, dtype=str))
        part.replace(self.path)
