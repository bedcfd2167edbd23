"""The default store: vectors and words in memory-mapped segment files.

Adding writes a segment, deleting marks its rows, optimising merges small segments. `segments.json`
lists the current segments and is replaced atomically, so readers see a change whole or not at all,
and a kill leaves at most an unlisted file. Only the process with the write lock writes.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tailorbird.errors import UserError
from tailorbird.knowledge.bm25 import ranked
from tailorbird.knowledge.index_terms import key_of, terms_to_find
from tailorbird.knowledge.memory_index import (
    best,
    exact_products,
    multiplies_bytes,
    near,
    products_of,
)
from tailorbird.knowledge.protocols import Ranking
from tailorbird.knowledge.segment_file import Segment, merge_segments, write_segment
from tailorbird.knowledge.sqlite_ledger import INDEX, FolderBackend, disk_explained
from tailorbird.runs.atomic import sync_folder

_NAMES = "segments.json"
_SEGMENTS = 24
_FEWEST_CODED = 10_000
# From this many rows on, words and vectors are searched by two threads, and memory of vectors is
# released after every few queries: 1 M rows have 1.5 GB, and each page fault maps 64 kB.
_MANY, _RELEASE = 300_000, 8
# Queries before torch is loaded for int8 products; loading takes longer than these queries.
_PATIENCE = 3
# The order of summation changes products by less than this.
_ROUNDING = 1e-5


class SegmentBackend(FolderBackend):
    """Segments in the folder, one folder per generation; the default store."""

    name = "files"

    def open(self, number: int, dimension: int, create: bool = False) -> "SegmentStore":
        """See `Backend.open`."""
        return SegmentStore(self.folder / INDEX / f"g{number}", dimension, create)

    def remove(self, number: int) -> None:
        """See `Backend.remove`."""
        shutil.rmtree(self.folder / INDEX / f"g{number}", ignore_errors=True)


class SegmentStore:
    """The segments of a folder.

    Args:
        folder: The folder.
        dimension: Dimension of the vectors.
        create: Create the store if it is missing.

    Raises:
        UserError: The store is missing or damaged.
    """

    def __init__(self, folder: Path, dimension: int, create: bool = False) -> None:
        self.folder, self.dimension = folder, dimension
        self._names = folder / _NAMES
        self._lock = threading.Lock()
        self._moment: tuple[int, int] | None = None
        self._segments: dict[str, Segment] = {}
        self._fresh: list[str] = []
        self._last = 0
        self._questions = 0
        if create and not self._names.is_file():
            with disk_explained(self.folder.parent):
                folder.mkdir(parents=True, exist_ok=True)
                self._publish([], [])
        self._current()

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        """See `Index.add`.

        Raises:
            UserError: The disk is full.
        """
        if not len(rows):
            return
        segments = self._current()
        with disk_explained(self.folder.parent):
            name = self._name()
            write_segment(self._path(name), np.asarray(rows, dtype=np.int64), vectors, texts)
            self._publish([*segments, name], [*self._fresh, name])

    def delete(self, rows: np.ndarray) -> None:
        """See `Index.delete`."""
        ordered, segments = np.unique(rows), self._current()
        marks = [(segment, segment.places(ordered)[1]) for segment in segments.values()]
        if any(len(places) for _, places in marks):
            with disk_explained(self.folder.parent):
                # Published before the marks, so that readers that searched meanwhile notice a
                # deletion.
                self._publish(list(segments), self._fresh)
                for segment, places in marks:
                    if len(places):
                        segment.mark(places)

    @property
    def waits(self) -> bool:
        """See `Index.waits`."""
        return sum(len(segment.rows) for segment in self._current().values()) >= _MANY

    @property
    def moment(self) -> tuple[int, int]:
        """See `Index.moment`."""
        file = self._names.stat()
        return file.st_ino, file.st_mtime_ns

    def rows(self) -> np.ndarray:
        """See `Index.rows`."""
        here = [s.rows if s.gone is None else s.rows[~s.gone] for s in self._current().values()]
        return np.sort(np.concatenate([np.empty(0, np.int64), *here]))

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `VectorIndex.nearest`; exact."""
        query = np.asarray(vector, dtype=np.float32)
        segments = list(self._current().values())
        if among is not None:
            places = [segment.places(among)[1] for segment in segments]
            return _in_full(segments, places, query, k)
        firsts = np.cumsum([0, *(len(segment.rows) for segment in segments)])
        count = int(firsts[-1])
        coded = count >= max(_FEWEST_CODED, 64 * k) and self._codes_pay()
        if coded:
            scores, slack = products_of([(s.codes, s.steps) for s in segments], query)
        else:
            scores, slack = np.empty(count, dtype=np.float32), _ROUNDING
            for first, segment in zip(firsts, segments, strict=False):
                exact_products(segment.vectors, query, scores[first : first + len(segment.rows)])
                # Where int8 products never pay, every query reads all vectors again.
                if count >= _MANY and self._questions <= _PATIENCE:
                    segment.release()
        for first, segment in zip(firsts, segments, strict=False):
            if segment.gone is not None:
                scores[first : first + len(segment.rows)][segment.gone] = -np.inf
        all_here = count < 64 * k
        candidates = np.flatnonzero(np.isfinite(scores)) if all_here else near(scores, k, slack)
        cuts = np.searchsorted(candidates, firsts)
        places = [
            candidates[a:b] - first for first, a, b in zip(firsts, cuts, cuts[1:], strict=False)
        ]
        if coded and count >= _MANY and not self._questions % _RELEASE:
            for segment in segments:
                segment.release()
        return _in_full(segments, places, query, k)

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `WordIndex.matching`."""
        terms = Counter(terms_to_find(question))
        keys = np.array([key_of(term) for term in terms], dtype=np.uint64)
        segments = list(self._current().values())
        total = sum(segment.alive for segment in segments)
        mean = sum(segment.terms for segment in segments) / max(1, total)
        pieces = (
            (number, term, entries)
            for number, segment in enumerate(segments)
            for term, entries in zip(terms, segment.postings(keys), strict=True)
        )
        rows, scores = [np.empty(0, np.int64)], [np.empty(0)]
        for number, places, values in ranked(terms, pieces, total, mean):
            here = segments[number].rows[places]
            inside = slice(None) if among is None else np.isin(here, among)
            rows.append(here[inside])
            scores.append(values[inside])
        return best(np.concatenate(rows), np.concatenate(scores), k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `VectorIndex.vectors`."""
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        for segment in self._current().values():
            numbers, places = segment.places(rows)
            vectors[numbers] = segment.vectors[places]
        return vectors

    def due(self, rows: int) -> bool:
        """See `Index.due`."""
        segments = self._current()
        fresh = sum(len(segments[name].rows) for name in self._fresh if name in segments)
        return fresh > rows or len(segments) > _SEGMENTS

    def optimize(self) -> None:
        """See `Index.optimize`: merges new segments with smaller ones, and those with gaps."""
        segments = self._current()
        mergeable = {
            name: segment
            for name, segment in segments.items()
            if name in self._fresh or 4 * segment.alive < 3 * len(segment.rows)
        }
        size = sum(segment.alive for segment in mergeable.values())
        for name, segment in sorted(segments.items(), key=lambda item: len(item[1].rows)):
            if name not in mergeable and len(segment.rows) <= size:
                mergeable[name] = segment
                size += segment.alive
        others = [name for name in segments if name not in mergeable]
        whole = len(mergeable) == 1 and size == len(next(iter(mergeable.values())).rows)
        with disk_explained(self.folder.parent):
            if whole or not mergeable:
                self._publish(list(segments), [])
            elif not size:
                self._publish(others, [])
            else:
                name = self._name()
                merge_segments(self._path(name), list(mergeable.values()))
                self._publish([*others, name], [])
            self._sweep()

    def _codes_pay(self) -> bool:
        self._questions += 1
        return (self._questions > _PATIENCE or "torch" in sys.modules) and multiplies_bytes()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.segment"

    def _name(self) -> str:
        """Return an unused name: another process may still read a deleted file."""
        self._last += 1
        return f"{self._last:06}"

    def _publish(self, names: list[str], fresh: list[str]) -> None:
        part = self._names.with_suffix(".part")
        listed = {"segments": names, "fresh": fresh, "last": self._last}
        with part.open("w", encoding="utf-8") as file:
            json.dump(listed, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._names)
        sync_folder(self.folder)

    def _sweep(self) -> None:
        """Delete unlisted files; processes that map them can still read them."""
        names = self._current()
        for path in self.folder.glob("*.*"):
            if path.suffix != ".json" and path.stem not in names:
                with contextlib.suppress(OSError):  # Windows does not delete a file in use
                    path.unlink()

    def _current(self) -> dict[str, Segment]:
        """Return the current segments by name."""
        with self._lock:
            try:
                while self._moment != (moment := self.moment):
                    listed = json.loads(self._names.read_text(encoding="utf-8"))
                    try:
                        self._segments = {
                            name: self._segments.get(name) or Segment(self._path(name))
                            for name in listed["segments"]
                        }
                    except FileNotFoundError:
                        if moment == self.moment:  # not merged meanwhile, so the file is missing
                            raise
                        continue
                    self._fresh, self._last = listed["fresh"], int(listed["last"])
                    self._moment = moment
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"the index in {self.folder} is "
                    + (f"damaged: {error}" if self._names.is_file() else "missing"),
                    f"tailor index --store {self.folder.parent.parent} --repair",
                ) from error
            return self._segments


def _in_full(
    segments: Sequence[Segment], places: Sequence[np.ndarray], query: np.ndarray, k: int
) -> Ranking:
    """Return the best by exact products, of some places in each segment."""
    pairs = list(zip(segments, places, strict=True))
    rows = [np.empty(0, np.int64), *(segment.rows[own] for segment, own in pairs)]
    scores = [np.empty(0, np.float32), *(segment.vectors[own] @ query for segment, own in pairs)]
    return best(np.concatenate(rows), np.concatenate(scores), k)
