"""What retrieval needs of a knowledge base, and what a knowledge base needs of a store.

A store is three small things: an index of vectors, an index of words, and the database with the
ledger. A backend opens them; `knowledge/backends.py` has the table of backends.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tailorbird.models.embed import Embedded
from tailorbird.records import Chunk, Hit

Ranking = tuple[np.ndarray, np.ndarray]
"""Rows int64, and their scores float32, best first."""


class EmbedsQuestions(Protocol):
    """The side of an embedder that questions meet."""

    def embed_queries(self, questions: Sequence[str], title: str = "") -> Embedded:
        """Return the vectors of questions."""
        ...


class View(Protocol):
    """One snapshot: what is found, read and cited here belongs together."""

    @property
    def embedder(self) -> EmbedsQuestions:
        """The model whose vectors are searched here."""
        ...

    @property
    def waits(self) -> bool:
        """Whether both sides are better searched at once, see `Index.waits`."""
        ...

    def nearest(self, vector: np.ndarray, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks most like a unit vector ``[d]``, by cosine, best first."""
        ...

    def matching(self, question: str, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks that match the words best, by BM25, best first."""
        ...

    def chunks(self, source: str) -> list[Chunk]:
        """Return a document's chunks, in order."""
        ...

    def neighbours(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """Return of each chunk up to `n` of its document before and after it, in order."""
        ...

    def sources(self) -> list[str]:
        """Return the sources of all documents, sorted."""
        ...

    def text(self, source: str) -> str:
        """Return a document's text, to which the chunks' offsets belong."""
        ...

    def texts_of(self, sources: Iterable[str]) -> dict[str, str]:
        """Return the texts of documents, by their sources."""
        ...

    def vectors(self, hits: Sequence[Hit]) -> np.ndarray:
        """Return the chunks' unit vectors ``[n, d]``."""
        ...

    def whole(self) -> bool:
        """Say whether the index is still as it was when the look began."""
        ...


class Knowledge(Protocol):
    """A knowledge base as a retriever sees it."""

    folder: Path

    @property
    def embedder(self) -> EmbedsQuestions:
        """The model that its chunks were embedded with."""
        ...

    def reading(self) -> AbstractContextManager[View]:
        """Return a look at it that no writer changes."""
        ...

    def get_setting(self, name: str) -> Any:
        """Return a value that was kept, None where there is none."""
        ...


class Index(Protocol):
    """What is searched of each row; the ledger gives rows out and never gives one twice.

    Attributes:
        waits: Whether a search waits for another program or for threads of its own: then words and
            vectors are searched at once. Else that costs more than it saves.
    """

    waits: bool

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        """Add rows ``[n]`` int64 with unit vectors ``[n, d]`` float32; found from then on."""
        ...

    def delete(self, rows: np.ndarray) -> None:
        """Delete rows; those it does not hold are left out."""
        ...

    @property
    def moment(self) -> Any:
        """What differs once rows came or went; equal where they do so with the ledger."""
        ...

    def rows(self) -> np.ndarray:
        """Return every row held, sorted; one that is held twice stands twice."""
        ...

    def due(self, rows: int) -> bool:
        """Say whether more than `rows` were added since `optimize`, or very many small changes."""
        ...

    def optimize(self) -> None:
        """Index what was added, merge small pieces, forget old versions."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """An index that compares vectors."""

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the rows most like a unit vector ``[d]``, with cosines.

        Never fewer than `k` where so many are held, of sorted rows `among` or of all. A few that
        another opening has deleted may still be among them; snapshots leave them out.
        """
        ...

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors ``[n, d]`` of rows, in their order; zeros for a row not held."""
        ...


@runtime_checkable
class WordIndex(Protocol):
    """An index that ranks by words."""

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        """Return the rows that share words with the question, stemmed, with BM25.

        The same text has the same score with and without `among`.
        """
        ...


class ChunkIndex(Index, VectorIndex, WordIndex, Protocol):
    """An index of both; one that has only one side is searched by that side alone."""


class Database(Protocol):
    """One connection to a ledger: SQL that SQLite and PostgreSQL share, with ``?`` for values.

    Attributes:
        AMONG: Follows a column: its value is in a `listing`.
    """

    AMONG: str

    @property
    def folder(self) -> Path:
        """The knowledge base."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement; return its rows, to be iterated or fetched."""
        ...

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> Any:
        """Run a statement for each tuple of values."""
        ...

    def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], *, missing: bool = False
    ) -> None:
        """Add rows to a table, in a transaction.

        Args:
            columns: Names of the values, with commas between.
            missing: Leave out rows whose keys are there already.
        """
        ...

    def listing(self, values: Sequence[Any]) -> Any:
        """Return what stands for several numbers or texts where `AMONG` has its place."""
        ...

    def storable(self, text: str) -> str:
        """Return a text as the database can hold it, as long as it was."""
        ...

    def next_key(self, table: str, count: int) -> int:
        """Return the first of `count` new keys of a table, in a transaction that inserts them all.

        No key is given twice, also not that of a row that was deleted.
        """
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a context in which all is written or nothing."""
        ...

    def together(self) -> AbstractContextManager[Any]:
        """Return a context that makes ledger and index one transaction, where they can be."""
        ...

    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a context in which what is read is of one moment; the first read fixes it."""
        ...

    def explained(self) -> AbstractContextManager[Any]:
        """Return a context in which the database's errors become `UserError` with their fix."""
        ...

    def check(self) -> str:
        """Return what is damaged; empty when nothing is."""
        ...

    def checkpoint(self) -> None:
        """Tidy the database's own files."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Backend(Protocol):
    """A kind of store at one place: where the ledger and the indexes of a knowledge base lie.

    Attributes:
        name: As ``knowledge.store`` and the ledger name it.
        address: What its folder notes where the ledger lies elsewhere, without a password; else
            empty.
    """

    name: str
    folder: Path
    address: str

    @property
    def exists(self) -> bool:
        """Whether there is a ledger."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether this process may not write there."""
        ...

    def connect(self, create: bool = False) -> Database:
        """Open a connection to the ledger, brought to this version's tables.

        Raises:
            UserError: There is none, it is damaged, or a newer version wrote it.
        """
        ...

    def open(self, number: int, dimension: int, create: bool = False) -> ChunkIndex:
        """Open the index of a generation.

        Raises:
            UserError: It is missing or damaged, and `create` is not set.
        """
        ...

    def remove(self, number: int) -> None:
        """Delete the index of a generation, also one too damaged to be opened."""
        ...

    def lock(self, wait_seconds: float = -1) -> AbstractContextManager[bool]:
        """Return a context that holds the write lock and says whether it does.

        Args:
            wait_seconds: How long to wait for another writer; negative: as long as it takes.
        """
        ...

    def close(self) -> None:
        """Close what it holds open besides the connections that it gave."""
        ...

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of all, and of the index alone."""
        ...
