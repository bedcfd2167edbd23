"""An index of words as bytes: the rows that have a term, how often, how long they are; and BM25.

A segment is what was added together; rows are counted from its first.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tailorbird.knowledge.protocols import Ranking

ENTRY = np.dtype([("row", "<u4"), ("count", "<u2"), ("length", "<u2")])
_MOST = 65_535
_K1, _B = 1.2, 0.75


def pack(
    terms: Sequence[Sequence[str]], rows: np.ndarray
) -> tuple[np.ndarray, Iterator[tuple[str, bytes]]]:
    """Return the lengths of texts, and for each term the entries of the rows that have it.

    Args:
        terms: Of each text, in order.
        rows: From the segment's first on, below 2 ** 32.
    """
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(term, len(numbers)) for text in terms for term in text]
    lengths = np.array([len(text) for text in terms], dtype=np.int64)
    count = len(terms)
    keys = np.array(flat, dtype=np.int64) * count + np.repeat(np.arange(count), lengths)
    pairs, counts = np.unique(keys, return_counts=True)
    entries = np.empty(len(pairs), dtype=ENTRY)
    lengths = lengths.clip(max=_MOST)
    entries["row"], entries["length"] = rows[pairs % count], lengths[pairs % count]
    entries["count"] = counts.clip(max=_MOST)
    ends = np.cumsum(np.bincount(pairs // count, minlength=len(numbers))).tolist()
    pieces = zip(numbers, [0, *ends], ends, strict=False)
    return lengths, ((term, entries[start:end].tobytes()) for term, start, end in pieces)


def unpack(packed: bytes, gone: np.ndarray) -> np.ndarray:
    """Return the entries ``[n]`` of a term without the rows that are gone."""
    entries = np.frombuffer(packed, dtype=ENTRY)
    return entries[~np.isin(entries["row"], gone)] if len(gone) else entries


def pack_rows(rows: Sequence[int]) -> bytes:
    """Return rows of a segment as bytes."""
    return np.array(rows, dtype="<u4").tobytes()


def unpack_rows(packed: bytes) -> np.ndarray:
    """Return what `pack_rows` wrote, one after the other."""
    return np.frombuffer(packed, dtype="<u4")


def rarity(total: int, having: int) -> float:
    """Return what a term of `having` rows among `total` weighs: Lucene's idf, never negative."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def score(
    pieces: list[tuple[str, np.ndarray]], weights: dict[str, float], mean: float, first: int
) -> Ranking:
    """Return the rows of a segment with their BM25, unordered (Robertson and Zaragoza 2009).

    Args:
        pieces: Terms of the question, and what `unpack` gave of each.
        weights: Of the terms: `rarity`, as often as they stand in the question.
        mean: Terms of a text on average.
        first: The segment's first row.
    """
    rows = np.concatenate([entries["row"] for _, entries in pieces]).astype(np.int64)
    parts = []
    for term, entries in pieces:
        count = entries["count"].astype(np.float64)
        long = _K1 * (1 - _B + _B * entries["length"] / mean)
        parts.append(weights[term] * count * (_K1 + 1) / (count + long))
    if not len(rows):
        return rows, np.empty(0)
    least = int(rows.min())
    scores = np.bincount(rows - least, np.concatenate(parts))
    places = np.flatnonzero(scores)
    return places + least + first, scores[places]
