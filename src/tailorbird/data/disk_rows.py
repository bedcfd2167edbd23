"""Examples that stay in a file, read in blocks, and their tokens in another file.

Tokens are read by position, not memory-mapped: touched pages of a mapped file would count as the
process's memory.
"""

import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from tailorbird.records import Example, ExamplesOnDisk

Item = TypeVar("Item")

_BLOCK = 10_000
_BUFFER_BYTES = 1 << 20


class RowsOnDisk(Sequence[np.ndarray]):
    """One-dimensional arrays of different lengths, concatenated in an unnamed file.

    The file disappears with the process, however it ends.

    Args:
        folder: The folder of the file.
        dtype: The number format.
    """

    def __init__(self, folder: Path, dtype: Any) -> None:
        # Closed with the last reference to the rows.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115
        self._dtype = np.dtype(dtype)
        self._ends = array("q")
        self._unwritten = False

    def append(self, row: np.ndarray) -> None:
        """Append an array."""
        self._file.write(np.ascontiguousarray(row, dtype=self._dtype).tobytes())
        self._ends.append(len(row) + (self._ends[-1] if self._ends else 0))
        self._unwritten = True

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` length of each array."""
        return np.diff(np.frombuffer(self._ends, dtype=np.int64), prepend=0)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._unwritten:
            self._file.flush()
            self._unwritten = False
        start = self._ends[index - 1] if index else 0
        size = self._dtype.itemsize
        body = os.pread(self._file.fileno(), (self._ends[index] - start) * size, start * size)
        return np.frombuffer(body, dtype=self._dtype)


Rows = list[np.ndarray] | RowsOnDisk
"""Arrays of different lengths, in memory or on disk."""


def rows_for(examples: Sequence[Example], dtype: Any) -> Rows:
    """Return a container for an array per example: on disk if the examples are."""
    return RowsOnDisk(examples.folder, dtype) if isinstance(examples, ExamplesOnDisk) else []


def blocks(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """Yield the examples in blocks if they are on disk, else all at once."""
    if not isinstance(examples, ExamplesOnDisk):
        yield examples
        return
    rest = iter(examples)
    while block := list(islice(rest, _BLOCK)):
        yield block


def row_lengths(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the length of each array ``[n]``."""
    if isinstance(rows, RowsOnDisk):
        return rows.lengths
    return np.asarray([len(row) for row in rows], dtype=np.int64)
