"""Exact search over vectors in memory.

Large sets are searched in two passes: products of int8 codes for all vectors, which take a third of
the time since memory bandwidth is the limit, then full products for those that may be among the
best. Rounding errs by at most half a step, so a product of unit vectors errs by a standard
deviation of sqrt((step of rows² + step of the query²) / 12); candidates within eight of them are
compared in full.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from tailorbird.knowledge.protocols import Ranking

_PIECE = 1024
_BLOCK = 32
_FEWEST_CODED = 10_000
_SLACK = 8.0


class Resident:
    """Vectors in memory; immutable.

    Args:
        rows: Their rows ``[n]``.
        vectors: ``[n, d]`` float32.
    """

    def __init__(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        if (np.diff(rows) <= 0).any():
            rows, order = np.unique(rows, return_index=True)
            vectors = vectors[order]
        self._rows, self._matrix = rows, vectors
        self._codes: tuple[np.ndarray, np.ndarray] | None = None

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the k rows with the highest products, among sorted rows `among` or all."""
        rows, matrix = self._rows, self._matrix
        query = np.asarray(vector, dtype=np.float32)
        if among is not None:
            places = self._places(among)[1]
        elif len(rows) >= max(_FEWEST_CODED, 2 * _BLOCK * k) and multiplies_bytes():
            if self._codes is None:
                # In pieces, since a quotient of the whole matrix would double its memory.
                pieces = [coded(matrix[at : at + _PIECE]) for at in range(0, len(rows), _PIECE)]
                codes, steps = zip(*pieces, strict=True)
                self._codes = np.concatenate(codes), np.concatenate(steps)
            scores, slack = products_of([self._codes], query)
            places = near(scores, k, slack)
        else:
            scores = np.empty(len(rows), dtype=np.float32)
            exact_products(matrix, query, scores)
            return best(rows, scores, k)
        return best(rows[places], matrix[places] @ query, k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors ``[n, d]`` of rows, zeros for a missing row."""
        vectors = np.zeros((len(rows), self._matrix.shape[1]), dtype=np.float32)
        present, places = self._places(rows)
        vectors[present] = self._matrix[places]
        return vectors

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of those `rows` that are here, and their places."""
        if not len(self._rows):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        at = np.searchsorted(self._rows, rows).clip(max=len(self._rows) - 1)
        is_here = self._rows[at] == rows
        return np.flatnonzero(is_here), at[is_here]


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
