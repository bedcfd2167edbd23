"""Postings of a word index as bytes (rows, term frequencies, text lengths), and BM25.

A segment holds rows that were added in one call or merged; its row numbers start from its first
row.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

ENTRY = np.dtype([("row", "<u4"), ("count", "<u2"), ("length", "<u2")])
_MOST = 65_535
_K1, _B = 1.2, 0.75


def pack(
    terms: Sequence[Sequence[str]], rows: np.ndarray
) -> tuple[np.ndarray, Iterator[tuple[str, bytes]]]:
    """Return the lengths of texts, and the packed postings of each term.

    Args:
        rows: Relative to the segment's first row, below 2 ** 32.
    """
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(term, len(numbers)) for text in terms for term in text]
    counts = np.array([len(text) for text in terms], dtype=np.int64)
    lengths, present, ends, entries = packed_terms(np.array(flat, dtype=np.int64), counts, rows)
    assert len(present) == len(numbers)
    pieces = zip(numbers, [0, *ends.tolist()], ends.tolist(), strict=False)
    return lengths, ((term, entries[start:end].tobytes()) for term, start, end in pieces)


def packed_terms(
    numbers: np.ndarray, lengths: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the lengths of texts, the terms, the end of each term's entries, and the entries.

    Args:
        numbers: The term numbers of all texts, concatenated.
        lengths: The number of terms in each text.
        rows: The row of each text.
    """
    count = len(rows)
    keys = numbers * count + np.repeat(np.arange(count), lengths)
    keys.sort()
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    pairs, counts = keys[firsts], np.diff(firsts, append=len(keys))
    terms, places = np.divmod(pairs, max(1, count))
    entries = np.empty(len(pairs), dtype=ENTRY)
    lengths = lengths.clip(max=_MOST)
    entries["row"], entries["length"] = rows[places], lengths[places]
    entries["count"] = counts.clip(max=_MOST)
    starts = np.flatnonzero(np.diff(terms, prepend=-1))
    return lengths, terms[starts], np.append(starts[1:], len(terms))[: len(starts)], entries


def unpack(packed: bytes, removed: np.ndarray) -> np.ndarray:
    """Return a term's entries ``[n]`` without those of deleted rows."""
    entries = np.frombuffer(packed, dtype=ENTRY)
    return entries[~np.isin(entries["row"], removed)] if len(removed) else entries


def pack_rows(rows: Sequence[int]) -> bytes:
    """Pack rows of a segment into bytes."""
    return np.array(rows, dtype="<u4").tobytes()


def unpack_rows(packed: bytes) -> np.ndarray:
    """Unpack concatenated outputs of `pack_rows`."""
    return np.frombuffer(packed, dtype="<u4")


def rarity(total: int, having: int) -> float:
    """Return the weight of a term in `having` of `total` rows: Lucene's idf, never negative."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def ranked(
    question: Counter[str], pieces: Iterable[tuple[Any, str, np.ndarray]], total: int, mean: float
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield each segment with its rows that have a term of the question, and their BM25, unordered.

    Args:
        question: The frequency of each term.
        pieces: Segment, term and the entries that `unpack` gave.
        total: Rows of all segments.
        mean: Terms of a text on average.
    """
    having: Counter[str] = Counter()
    segments: dict[Any, list[tuple[str, np.ndarray]]] = {}
    for segment, term, entries in pieces:
        if len(entries):
            having[term] += len(entries)
            segments.setdefault(segment, []).append((term, entries))
    weights = {term: times * rarity(total, having[term]) for term, times in question.items()}
    for segment, pairs in segments.items():
        yield segment, *score(pairs, weights, mean)


def score(
    pieces: list[tuple[str, np.ndarray]], weights: dict[str, float], mean: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a segment with their BM25, unordered (Robertson and Zaragoza 2009).

    Args:
        pieces: Terms of the question with their entries from `unpack`; at least one entry.
        weights: The weight of each term: `rarity` times its frequency in the question.
        mean: The mean number of terms in a text.
    """
    rows = np.concatenate([entries["row"] for _, entries in pieces]).astype(np.int64)
    parts = []
    for term, entries in pieces:
        count = entries["count"].astype(np.float32)
        long = np.float32(_K1 * (1 - _B)) + np.float32(_K1 * _B / mean) * entries["length"]
        parts.append(np.float32(weights[term] * (_K1 + 1)) * count / (count + long))
    least = int(rows.min())
    scores = np.bincount(rows - least, np.concatenate(parts))
    places = np.flatnonzero(scores)
    return places + least, scores[places]
