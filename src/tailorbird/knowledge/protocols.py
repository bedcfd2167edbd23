"""The interfaces of stores.

A store consists of a vector index, a word index and the database of the ledger. A backend opens
them; `knowledge/backends.py` has the table of backends.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

Ranking = tuple[np.ndarray, np.ndarray]
"""Rows (int64) and their scores (float32), best first."""


class Index(Protocol):
    """A searchable index of rows; the ledger assigns row numbers and never reuses one."""

    @property
    def waits(self) -> bool:
        """Whether word and vector search should run at the same time.

        True if a search waits for another program or its own threads, or takes longer than starting
        a thread.
        """
        ...

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        """Add rows ``[n]`` int64 with unit vectors ``[n, d]`` float32; searchable on return."""
        ...

    def delete(self, rows: np.ndarray) -> None:
        """Delete rows; unknown rows are ignored."""
        ...

    @property
    def moment(self) -> Any:
        """A value that changes with the rows; constant if ledger and index share transactions."""
        ...

    def rows(self) -> np.ndarray:
        """Return all rows, sorted; duplicates are repeated."""
        ...

    def due(self, rows: int) -> bool:
        """Return whether more than `rows` rows, or very many small changes, await `optimize`."""
        ...

    def optimize(self) -> None:
        """Index new rows, merge small segments, delete old versions."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """An index searched by vector."""

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the rows nearest to a unit vector ``[d]``, with cosines, best first.

        The result has `k` rows if the index (or sorted `among`) has as many. It may include a few
        rows that another process has deleted; snapshots leave those out.
        """
        ...

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors ``[n, d]`` of rows in order; zeros for a missing row."""
        ...


@runtime_checkable
class WordIndex(Protocol):
    """An index searched by words."""

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the rows that share stems with the question, with BM25.

        A text has the same score with and without `among`.
        """
        ...


class ChunkIndex(Index, VectorIndex, WordIndex, Protocol):
    """An index of vectors and words; a store with only one of them is searched by that one."""


class Database(Protocol):
    """One connection to a ledger: SQL that SQLite and PostgreSQL share, with ``?`` for values.

    Attributes:
        AMONG: The SQL operator after a column that tests whether `listing` has its value.
    """

    AMONG: str

    @property
    def folder(self) -> Path:
        """The knowledge base."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement; return its rows, to iterate over or fetch."""
        ...

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> Any:
        """Run a statement for each tuple of values."""
        ...

    def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], *, missing: bool = False
    ) -> None:
        """Insert rows into a table, in a transaction.

        Args:
            columns: Column names, separated by commas.
            missing: Skip rows whose keys exist.
        """
        ...

    def listing(self, values: Sequence[Any]) -> Any:
        """Return the parameter for several numbers or texts after `AMONG`."""
        ...

    def storable(self, text: str) -> str:
        """Return a text that the database can store, of the same length."""
        ...

    def next_key(self, table: str, count: int) -> int:
        """Return the first of `count` new keys of a table, in the transaction that inserts them.

        Keys are never reused, not even those of deleted rows.
        """
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a context that commits all writes or none."""
        ...

    def together(self) -> AbstractContextManager[Any]:
        """Return a context that joins ledger and index in one transaction, where possible."""
        ...

    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a context whose reads are of one moment; the first read starts it."""
        ...

    def explained(self) -> AbstractContextManager[Any]:
        """Return a context that turns the database's errors into `UserError` with a fix."""
        ...

    def check(self) -> str:
        """Return a description of any damage; empty if there is none."""
        ...

    def checkpoint(self) -> None:
        """Compact the database's own files."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Backend(Protocol):
    """A store at one place, which holds the ledger and the indexes of a knowledge base.

    Attributes:
        name: Its name in ``knowledge.store`` and the ledger.
        address: The address of a ledger outside the folder, without a password; else empty.
    """

    name: str
    folder: Path
    address: str

    @property
    def exists(self) -> bool:
        """Whether the ledger exists."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether this process has no write access."""
        ...

    def connect(self, create: bool = False) -> Database:
        """Open a connection to the ledger, migrated to the current schema.

        Raises:
            UserError: The ledger is missing or damaged, or a newer version wrote it.
        """
        ...

    def open(self, number: int, dimension: int, create: bool = False) -> ChunkIndex:
        """Open the index of a generation.

        Raises:
            UserError: It is missing or damaged, and `create` is not set.
        """
        ...

    def remove(self, number: int) -> None:
        """Delete the index of a generation, even one too damaged to open."""
        ...

    def lock(self, wait_seconds: float = -1) -> AbstractContextManager[bool]:
        """Return a context that acquires the write lock and yields whether it did.

        Args:
            wait_seconds: How long to wait for another writer; negative: without limit.
        """
        ...

    def close(self) -> None:
        """Close everything except the connections from `connect`."""
        ...

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the whole store, and of the index alone."""
        ...
