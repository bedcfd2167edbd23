"""A segment: the vectors and words of some rows, in one immutable file.

The file is memory-mapped, so that opening it costs nothing and only the pages that a query touches
are read. Its arrays follow one another; a line of JSON at the end has their offsets.
"""

import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tailorbird.knowledge.bm25 import ENTRY, packed_terms
from tailorbird.knowledge.index_terms import keys_to_index
from tailorbird.knowledge.memory_index import coded

_ALIGNMENT = 64
_BLOCK = 8192
_ENTRIES = 1 << 22


class Segment:
    """A memory-mapped segment file; places count rows from 0.

    Args:
        path: The file; a file beside it marks deleted rows.

    Attributes:
        rows: ``[n]`` int64, increasing.
        vectors: ``[n, d]`` float32.
        codes: ``[n, d]`` int8, the rounded vectors.
        steps: ``[n]`` float32, the quantisation step of each code.
        lengths: ``[n]`` uint32, the number of terms in each text.
        keys: ``[t]`` uint64, increasing, of the terms.
        ends: ``[t]`` int64, the end of each term's entries.
        entries: ``[e]`` of `bm25.ENTRY`, whose rows are places.

    Raises:
        ValueError: The file is damaged.
        OSError: The file cannot be read.
    """

    rows: np.ndarray
    vectors: np.ndarray
    codes: np.ndarray
    steps: np.ndarray
    lengths: np.ndarray
    keys: np.ndarray
    ends: np.ndarray
    entries: np.ndarray

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            # Copy-on-write, though never written: torch refuses read-only arrays.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        whole = np.frombuffer(self._map, np.uint8)
        size = int.from_bytes(whole[-8:].tobytes(), "little")
        for name, (kind, shape, start) in json.loads(whole[-8 - size : -8].tobytes()).items():
            dtype = ENTRY if name == "entries" else np.dtype(kind)
            end = start + dtype.itemsize * int(np.prod(shape))
            if name == "vectors":
                first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
                self._pages = first, max(0, end - first)
            setattr(self, name, whole[start:end].view(dtype).reshape(shape))
        self._marks: np.ndarray | None = None
        self._terms = -1, 0

    def release(self) -> None:
        """Release the memory of mapped vectors; later reads come from the file again."""
        if hasattr(mmap, "MADV_DONTNEED") and self._pages[1]:  # Windows has none
            self._map.madvise(mmap.MADV_DONTNEED, *self._pages)

    @property
    def gone(self) -> np.ndarray | None:
        """Mask of deleted rows ``[n]`` bool; None: no row is deleted."""
        if self._marks is None:
            try:
                marks = np.memmap(self.path.with_suffix(".gone"), np.bool_, "r")
                self._marks = np.asarray(marks)
            except OSError:
                return None
        return self._marks

    @property
    def alive(self) -> int:
        """The number of rows that are not deleted."""
        return len(self.rows) - (0 if self.gone is None else int(np.count_nonzero(self.gone)))

    @property
    def terms(self) -> int:
        """The number of terms in the texts of these rows."""
        alive = self.alive
        if self._terms[0] != alive:
            lengths = self.lengths if self.gone is None else self.lengths[~self.gone]
            self._terms = alive, int(lengths.sum())
        return self._terms[1]

    def mark(self, places: np.ndarray) -> None:
        """Mark rows as deleted, also in every process that maps the file."""
        path = self.path.with_suffix(".gone")
        if not path.is_file():
            part = path.with_suffix(".gone-part")
            np.zeros(len(self.rows), np.bool_).tofile(part)
            part.replace(path)
        marks = np.memmap(path, np.bool_, "r+")
        marks[places] = True
        marks.flush()

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of those `rows` in this segment, and their places."""
        at = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        is_here = self.rows[at] == rows
        if self.gone is not None:
            is_here &= ~self.gone[at]
        return np.flatnonzero(is_here), at[is_here]

    def postings(self, keys: np.ndarray) -> list[np.ndarray]:
        """Return the entries of each term, without deleted rows."""
        at = np.searchsorted(self.keys, keys).clip(max=max(0, len(self.keys) - 1))
        gone, pieces = self.gone, []
        for place, key in zip(at.tolist(), keys.tolist(), strict=True):
            if not len(self.keys) or self.keys[place] != key:
                pieces.append(self.entries[:0])
                continue
            entries = self.entries[self.ends[place - 1] if place else 0 : self.ends[place]]
            pieces.append(entries if gone is None else entries[~gone[entries["row"]]])
        return pieces


def write_segment(path: Path, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> int:
    """Write rows with their vectors and texts to a new file; return its size in bytes."""
    if (np.diff(rows) <= 0).any():
        order = np.argsort(rows, kind="stable")
        rows, vectors, texts = rows[order], vectors[order], [texts[i] for i in order]
    codes, steps = coded(vectors)
    numbers, counts, all_keys = keys_to_index(texts)
    lengths, terms, ends, entries = packed_terms(numbers, counts, np.arange(len(rows)))
    keys = all_keys[terms]
    order = np.argsort(keys)
    starts = np.concatenate([[0], ends[:-1]])[order] if len(ends) else ends
    spans = (ends[order] - starts) if len(ends) else ends
    with _ArrayFile(path) as file:
        file.put("rows", rows.astype(np.int64))
        file.put("vectors", np.ascontiguousarray(vectors, dtype=np.float32))
        file.put("codes", codes)
        file.put("steps", steps)
        file.put("lengths", lengths.astype(np.uint32))
        file.put("entries", entries[_ranges(starts, spans)])
        file.put("keys", keys[order])
        file.put("ends", np.cumsum(spans))
    return file.place


def merge_segments(path: Path, segments: Sequence[Segment]) -> None:
    """Merge the remaining rows of several segments into one file, in bounded memory."""
    rows = np.concatenate([s.rows for s in segments])
    alive = np.concatenate(
        [np.ones(len(s.rows), np.bool_) if s.gone is None else ~s.gone for s in segments]
    )
    order = np.flatnonzero(alive)
    if (np.diff(rows[order]) <= 0).any():
        order = order[np.argsort(rows[order], kind="stable")]
    firsts = np.cumsum([0, *(len(s.rows) for s in segments)])
    with _ArrayFile(path) as file:
        file.put("rows", rows[order])
        for name in ("vectors", "codes", "steps", "lengths"):
            sources = [getattr(s, name) for s in segments]
            file.put(name, _gathered(sources, firsts, order))
        moved = np.full(len(rows), -1, dtype=np.int64)
        moved[order] = np.arange(len(order))
        parts = [
            moved[first : first + len(s.rows)] for first, s in zip(firsts, segments, strict=False)
        ]
        keys, ends = _TermMerge(segments, parts).write(file)
        file.put("keys", keys)
        file.put("ends", ends)


class _TermMerge:
    """Merges the terms of several segments in the order of their keys."""

    def __init__(self, segments: Sequence[Segment], places: Sequence[np.ndarray]) -> None:
        self._segments, self._places = segments, places
        self._keys = np.concatenate([s.keys for s in segments])
        self._owner = np.repeat(np.arange(len(segments)), [len(s.keys) for s in segments])
        self._starts = np.concatenate([np.append(0, s.ends)[: len(s.keys)] for s in segments])
        self._spans = np.concatenate([s.ends for s in segments]) - self._starts
        self._order = np.argsort(self._keys, kind="stable")

    def write(self, file: "_ArrayFile") -> tuple[np.ndarray, np.ndarray]:
        """Write the entries; return the keys of the remaining terms, and their ends."""
        counts = np.zeros(len(self._order), dtype=np.int64)
        total = np.cumsum(self._spans[self._order])
        cuts = np.searchsorted(total, np.arange(0, total[-1] if len(total) else 0, _ENTRIES))
        cuts = np.unique(np.append(cuts, len(self._order)))
        blocks = (
            self._block(self._order[a:b], counts[a:b])
            for a, b in zip(np.append(0, cuts[:-1]), cuts, strict=True)
        )
        file.put("entries", blocks)
        keys, firsts = np.unique(self._keys[self._order], return_index=True)
        sums = np.add.reduceat(counts, firsts) if len(firsts) else counts
        nonempty = sums > 0
        return keys[nonempty], np.cumsum(sums[nonempty])

    def _block(self, pieces: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the entries of some terms in some segments, and count what remains of each."""
        spans = self._spans[pieces]
        ends = np.cumsum(spans)
        block = np.empty(int(ends[-1]) if len(ends) else 0, dtype=ENTRY)
        for number, segment in enumerate(self._segments):
            own, places = self._owner[pieces] == number, self._places[number]
            part = segment.entries[_ranges(self._starts[pieces][own], spans[own])]
            moved = places[part["row"]]
            part["row"] = moved
            part["count"][moved < 0] = 0  # 0 marks a deleted entry
            block[_ranges((ends - spans)[own], spans[own])] = part
        present = block["count"] > 0
        counts[:] = np.add.reduceat(present, ends - spans, dtype=np.int64) if len(ends) else 0
        return block[present]


def _gathered(
    sources: Sequence[np.ndarray], firsts: np.ndarray, order: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield rows of several arrays in a global order, block by block."""
    for start in range(0, len(order), _BLOCK):
        block_places = order[start : start + _BLOCK]
        block = np.empty((len(block_places), *sources[0].shape[1:]), dtype=sources[0].dtype)
        for source, first in zip(sources, firsts, strict=False):
            own = (block_places >= first) & (block_places < first + len(source))
            if own.all():
                block = source[block_places - first]
            elif own.any():
                block[own] = source[block_places[own] - first]
        yield block


def _ranges(starts: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the numbers of several ranges, concatenated."""
    total = int(spans.sum())
    shifts = np.repeat(starts - np.cumsum(spans) + spans, spans)
    return shifts + np.arange(total)


class _ArrayFile:
    """Writes a file of arrays that gets its name only once it is complete and synced."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_suffix(".part")
        self._table: dict[str, tuple[str, list[int], int]] = {}
        self.place = 0

    def __enter__(self) -> "_ArrayFile":
        self._file: BinaryIO = self._part.open("wb")
        return self

    def put(self, name: str, blocks: np.ndarray | Iterator[np.ndarray]) -> None:
        """Write an array, whole or in blocks along its first dimension."""
        start, count = self.place, 0
        block = np.empty(0)
        for block in [blocks] if isinstance(blocks, np.ndarray) else blocks:
            self._write(np.ascontiguousarray(block).view(np.uint8).data)
            count += len(block)
        self._table[name] = (block.dtype.str, [count, *block.shape[1:]], start)
        self._write(bytes(-self.place % _ALIGNMENT))

    def _write(self, data: Any) -> None:
        self.place += self._file.write(data)

    def __exit__(self, failed: Any, *_: object) -> None:
        with self._file:
            if not failed:
                table = json.dumps(self._table).encode()
                self._write(table + len(table).to_bytes(8, "little"))
                self._file.flush()
                os.fsync(self._file.fileno())
        if failed:
            self._part.unlink(missing_ok=True)
        else:
            self._part.replace(self._path)
