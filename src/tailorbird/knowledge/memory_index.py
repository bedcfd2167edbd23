"""Exact search over vectors in memory.

Large sets are searched in two passes: products of int8 codes for all vectors, which take a third of
the time since memory bandwidth is the limit, then full products for those that may be among the
best. Rounding errs by at most half a step, so a product of unit vectors errs by a standard
deviation of sqrt((step of rows² + step of the query²) / 12); candidates within eight of them are
compared in full.
"""

from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock

import numpy as np

from tailorbird.knowledge.protocols import Ranking

Read = Callable[[np.ndarray], Ranking]
"""Returns those of the sorted rows that exist, in any order, and their vectors ``[n, d]``."""

_NONE = np.empty(0, dtype=np.int64)
_PIECE = 1024
_BLOCK = 32
_FEWEST_CODED = 10_000
_SLACK = 8.0


class Resident:
    """The vectors of one version of a table; immutable.

    Later versions share its memory: added vectors lie behind the part that this one uses, and
    deleted ones are only marked. So a table of 100,000 rows follows a small change in milliseconds,
    where copying its 150 MB takes a tenth of a second.

    Args:
        version: The table's version; None: no table.
    """

    def __init__(self, dimension: int, version: int | None = None) -> None:
        self.version = version
        self._buffer = _NONE, np.empty((0, dimension), dtype=np.float32)
        self._count = 0
        self._removed = _NONE  # places, sorted
        self._codes: _Codes | None = None

    def brought_up(self, version: int, present: np.ndarray, read: Read) -> "Resident":
        """Return the vectors of a later version. Only the latest version may be updated, and once.

        Args:
            present: Its rows, sorted.
            read: Reads rows that are not in memory.
        """
        later = self._shared(version)
        rows = self._rows
        later._removed = np.flatnonzero(~_in_sorted(rows, present))
        alive = np.delete(rows, later._removed) if len(later._removed) else rows
        missing = present[~_in_sorted(present, alive)]
        new = _sorted(*read(missing)) if len(missing) else None
        if new is not None and (not len(rows) or new[0][0] > rows[-1]):
            later._append(*new)
        elif new is not None:
            later._merge(*new)
        if 4 * len(later._removed) > later._count:
            later._merge(_NONE, self._buffer[1][:0])
        return later

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the k rows with the highest products, among sorted rows `among` or all."""
        rows, matrix = self._rows, self._buffer[1][: self._count]
        query = np.asarray(vector, dtype=np.float32)
        if among is not None:
            places = self._places(among)
            return best(rows[places], matrix[places] @ query, k)
        if len(rows) >= max(_FEWEST_CODED, 2 * _BLOCK * k) and multiplies_bytes():
            places = self._near(query, k)
            return best(rows[places], matrix[places] @ query, k)
        scores = np.empty(len(rows), dtype=np.float32)
        exact_products(matrix, query, scores)
        scores[self._removed] = -np.inf
        nearest, values = best(rows, scores, k)
        there = np.isfinite(values)
        return nearest[there], values[there]

    def holds(self, rows: np.ndarray) -> bool:
        """Return whether all rows are in memory."""
        return bool(_in_sorted(rows, self._rows[self._places(np.unique(rows))]).all())

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors ``[n, d]`` of rows, zeros for a missing row."""
        vectors = np.zeros((len(rows), self._buffer[1].shape[1]), dtype=np.float32)
        here = self._rows[self._places(np.unique(rows))]
        mask = _in_sorted(rows, here)
        vectors[mask] = self._buffer[1][np.searchsorted(self._rows, rows[mask])]
        return vectors

    def _near(self, query: np.ndarray, k: int) -> np.ndarray:
        """Return the places of all vectors that may be among the `k` nearest, and of few others."""
        if self._codes is None:
            self._codes = _Codes(self._buffer[1].shape[1])
        scores, slack = self._codes.products(self._buffer[1][: self._count], query)
        scores[self._removed] = -np.inf
        return near(scores, k, slack)

    @property
    def alive(self) -> int:
        """The number of rows."""
        return self._count - len(self._removed)

    @property
    def last(self) -> int:
        """The highest row ever held; -1: none."""
        return int(self._rows[-1]) if self._count else -1

    def grown(self, version: int, rows: np.ndarray, vectors: np.ndarray) -> "Resident":
        """Return a later version with rows added behind `last`; see `brought_up`."""
        later = self._shared(version)
        if len(rows):
            later._append(*_sorted(rows, vectors))
        return later

    def without(self, rows: np.ndarray) -> "Resident":
        """Return this version without some rows; see `brought_up`."""
        later = self._shared(self.version)
        later._removed = np.union1d(self._removed, self._places(np.unique(rows)))
        return later

    def _shared(self, version: int | None) -> "Resident":
        later = Resident(self._buffer[1].shape[1], version)
        later._buffer, later._count, later._removed = self._buffer, self._count, self._removed
        later._codes = self._codes
        return later

    @property
    def _rows(self) -> np.ndarray:
        return self._buffer[0][: self._count]

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Return the places of those sorted `rows` that are in memory."""
        places = np.searchsorted(self._rows, rows)[_in_sorted(rows, self._rows)]
        left: np.ndarray = places[~_in_sorted(places, self._removed)]
        return left

    def _append(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        start, end = self._count, self._count + len(rows)
        if not start:
            self._buffer = rows, vectors
        elif end > len(self._buffer[0]):
            room = end + end // 8
            before = self._buffer
            self._buffer = np.empty(room, np.int64), np.empty((room, vectors.shape[1]), np.float32)
            self._buffer[0][:start], self._buffer[1][:start] = (old[:start] for old in before)
        if start:
            self._buffer[0][start:end], self._buffer[1][start:end] = rows, vectors
        self._count = end

    def _merge(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Insert rows into a new copy that leaves out deleted ones."""
        alive = np.delete(self._rows, self._removed)
        matrix = np.delete(self._buffer[1][: self._count], self._removed, axis=0)
        self._buffer = _sorted(np.concatenate([alive, rows]), np.concatenate([matrix, vectors]))
        self._count, self._removed, self._codes = len(self._buffer[0]), _NONE, None


class _Codes:
    """The int8 codes of a growing matrix's first vectors, each with its own step."""

    def __init__(self, dimension: int) -> None:
        self._bytes = np.empty((0, dimension), dtype=np.int8)
        self._steps = np.empty(0, dtype=np.float32)
        self._count = 0
        self._guard = Lock()

    def products(self, matrix: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the products ``[n]`` of the codes, and their largest error."""
        with self._guard:
            self._follow(matrix)
            codes, steps = self._bytes[: len(matrix)], self._steps[: len(matrix)]
        return products_of([(codes, steps)], query)

    def _follow(self, matrix: np.ndarray) -> None:
        start, end = self._count, len(matrix)
        if end > len(self._steps):
            room = end + end // 8
            codes, steps = np.empty((room, matrix.shape[1]), np.int8), np.empty(room, np.float32)
            codes[:start], steps[:start] = self._bytes[:start], self._steps[:start]
            self._bytes, self._steps = codes, steps
        for at in range(start, end, _PIECE):
            past = min(at + _PIECE, end)
            self._bytes[at:past], self._steps[at:past] = coded(matrix[at:past])
        self._count = max(start, end)


def coded(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors ``[n, d]`` as int8 codes ``[n, d]``, each with its own step ``[n]``."""
    steps = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float32) / np.float32(127)
    steps[steps == 0] = 1.0
    return np.rint(vectors / steps[:, None]).astype(np.int8), steps


def exact_products(matrix: np.ndarray, query: np.ndarray, scores: np.ndarray) -> None:
    """Write the products of the vectors ``[n, d]`` with a query into `scores` ``[n]``."""
    # In pieces too small for a BLAS to use several threads: memory is the limit, and the word
    # search uses the other core.
    for start in range(0, len(matrix), _PIECE):
        end = start + _PIECE
        np.dot(matrix[start:end], query, out=scores[start:end])


def products_of(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], query: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the products ``[n]`` of codes from `coded`, and their largest error."""
    import torch

    step = float(np.abs(query).max()) / 127 or 1.0
    rounded = torch.from_numpy(np.rint(query / step).astype(np.int8))[:, None]
    scores = np.empty(sum(len(codes) for codes, _ in parts), dtype=np.float32)
    start, widest = 0, 0.0
    for codes, steps in parts:
        past = start + len(codes)
        products = torch._int_mm(torch.from_numpy(codes), rounded).numpy()[:, 0]
        np.multiply(products, steps * np.float32(step), out=scores[start:past])
        start, widest = past, max(widest, float(steps.max(initial=0.0)))
    return scores, _SLACK * float(np.sqrt((widest**2 + step**2) / 12))


def near(scores: np.ndarray, k: int, slack: float) -> np.ndarray:
    """Return the places of all scores that may be among the `k` best, and of few others."""
    # The threshold is the k-th best of the blocks' maxima: at least k vectors reach it, and few
    # others do.
    whole = len(scores) // _BLOCK * _BLOCK
    tops = scores[:whole].reshape(-1, _BLOCK).max(axis=1)
    least = np.partition(tops, len(tops) - k)[len(tops) - k]
    # With fewer than `k` rows, the threshold is the score of deleted ones.
    return np.flatnonzero(scores >= max(least - slack, np.finfo(np.float32).min))


@cache
def multiplies_bytes() -> bool:
    """Return whether this processor has instructions for int8 products (VNNI)."""
    import torch

    return bool(torch.cpu._is_vnni_supported())


def best(rows: np.ndarray, scores: np.ndarray, k: int) -> Ranking:
    """Return the k best; equal scores are ordered by row, so that every run repeats."""
    if len(scores) > 4 * k:
        # All rows equal to the k-th score stay in, or the choice among them would be arbitrary.
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = np.flatnonzero(scores >= least)
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order].astype(np.int64), scores[order].astype(np.float32)


def _in_sorted(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return which values occur in a sorted array, in a fraction of the time of `np.isin`."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    places = np.searchsorted(ordered, values).clip(max=len(ordered) - 1)
    mask: np.ndarray = ordered[places] == values
    return mask


def _sorted(rows: np.ndarray, vectors: np.ndarray) -> Ranking:
    if (np.diff(rows) > 0).all():
        return rows, vectors
    unique, order = np.unique(rows, return_index=True)
    return unique, vectors[order]
