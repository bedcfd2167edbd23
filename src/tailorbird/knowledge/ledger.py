"""The ledger: the documents, chunks and vectors of a knowledge base; the index is derived from it.

A document version is ``pending`` while its chunks are being indexed, then ``live``, and ``dead``
once a newer version is live, until its rows have left the index. Readers see only ``live``
versions.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tailorbird.documents.read_result import FileVersion
from tailorbird.knowledge.filter import metadata_of, metadata_text
from tailorbird.knowledge.protocols import Database
from tailorbird.records import Chunk, Document, Mark

_AT_ONCE = 500

TABLES = """
CREATE TABLE settings (name {name} PRIMARY KEY, value TEXT NOT NULL){by_name};
CREATE TABLE generations (
  number {key}, embedder TEXT NOT NULL, dimension {number} NOT NULL{fingerprint}
);
CREATE TABLE files (
  path {name} PRIMARY KEY, size {number} NOT NULL, mtime_ns {number} NOT NULL, digest TEXT NOT NULL
){by_name};
CREATE TABLE documents (
  version {key}, source {name} NOT NULL, path {name} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'live', 'dead')),
  digest TEXT NOT NULL, made TEXT NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL,
  marks TEXT NOT NULL, chunks {number} NOT NULL
);
CREATE UNIQUE INDEX documents_live ON documents (source) WHERE state = 'live';
CREATE INDEX documents_unsettled ON documents (state) WHERE state <> 'live';
CREATE INDEX documents_path ON documents (path);
CREATE TABLE texts (version {number} PRIMARY KEY, body {bytes} NOT NULL);
CREATE TABLE chunks (
  "row" {key}, version {number} NOT NULL, position {number} NOT NULL,
  id TEXT NOT NULL, start {number} NOT NULL, "end" {number} NOT NULL, page {number},
  headings TEXT NOT NULL, tokens {number} NOT NULL, text TEXT NOT NULL, said {bytes} NOT NULL
);
CREATE UNIQUE INDEX chunks_version ON chunks (version, position);
CREATE INDEX chunks_said ON chunks (said);
CREATE TABLE vectors (
  generation {number} NOT NULL, said {bytes} NOT NULL, vector {bytes} NOT NULL
);
CREATE UNIQUE INDEX vectors_said ON vectors (generation, said);
"""
"""The tables of a ledger of schema 1, with the types of each database in braces."""

Rows = np.ndarray
"""``[n]`` int64, sorted."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One embedding of all documents.

    Attributes:
        number: Increasing.
        fingerprint: Of the model's files; empty if unknown.
    """

    number: int
    embedder: str
    dimension: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class PendingDocument:
    """A document ready to be written.

    Attributes:
        path: The file it came from, as `FileVersion.path`, or else its source.
        texts: The embedded and searched text of each chunk, see `contextual_text`.
        recipe: Fingerprint of the chunking settings.
    """

    document: Document
    path: str
    chunks: tuple[Chunk, ...]
    texts: tuple[str, ...]
    recipe: str


@lru_cache(maxsize=1 << 14)
def text_hash(text: str) -> bytes:
    """Return the key of a text's vector: equal texts are embedded once."""
    # Cached: ingesting a batch needs each hash three times.
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


class Ledger:
    """The queries and writes of a ledger over one connection; several connections may exist."""

    def __init__(self, link: Database) -> None:
        self.link = link

    def close(self) -> None:
        """Close the connection."""
        self.link.close()

    def setting(self, name: str) -> Any:
        """Return a saved value, or None."""
        row = self._one("SELECT value FROM settings WHERE name = ?", name)
        return None if row is None else json.loads(row[0])

    def keep(self, settings: Mapping[str, Any]) -> None:
        """Save values (JSON), all or none."""
        with self.link.transaction():
            self.link.executemany(
                "INSERT INTO settings VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [(name, json.dumps(value)) for name, value in settings.items()],
            )

    def new_generation(self, embedder: str, dimension: int, fingerprint: str = "") -> Generation:
        """Record a new, empty generation."""
        with self.link.transaction():
            number = self.link.next_key("generations", 1)
            sql = "INSERT INTO generations (number, embedder, dimension, fingerprint) "
            values = (number, embedder, dimension, fingerprint)
            self.link.execute(sql + "VALUES (?, ?, ?, ?)", values)
        return Generation(*values)

    def generations(self) -> list[Generation]:
        """Return all generations, the oldest first."""
        columns = "number, embedder, dimension, fingerprint"
        read = self.link.execute(f"SELECT {columns} FROM generations ORDER BY number")
        return [Generation(*row) for row in read]

    def rename(self, number: int, embedder: str) -> None:
        """Record a new name for a generation's model."""
        with self.link.transaction():
            sql = "UPDATE generations SET embedder = ? WHERE number = ?"
            self.link.execute(sql, (embedder, number))

    def forget_generation(self, number: int) -> None:
        """Delete a generation and its vectors."""
        with self.link.transaction():
            self.link.execute("DELETE FROM vectors WHERE generation = ?", (number,))
            self.link.execute("DELETE FROM generations WHERE number = ?", (number,))

    def files(self) -> dict[str, FileVersion]:
        """Return the files whose documents are all ingested, by path."""
        read = self.link.execute("SELECT path, size, mtime_ns, digest FROM files")
        return {row[0]: FileVersion(*row) for row in read}

    def live(self, source: str) -> tuple[str, str] | None:
        """Return digest and path of a live document, or None."""
        sql = "SELECT digest, path FROM documents WHERE state = 'live' AND source = ?"
        row = self._one(sql, source)
        return None if row is None else (row[0], row[1])

    def recipes(self, sources: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return digest and recipe of live documents, by source."""
        read = self.link.execute(
            "SELECT source, digest, made FROM documents WHERE state = 'live' AND source "
            + self.link.AMONG,
            (self.link.listing(list(sources)),),
        )
        return {source: (digest, recipe) for source, digest, recipe in read}

    def live_digests(self, path: str | None = None) -> dict[str, str]:
        """Return the digests by source of the live documents of one file, or of all."""
        sql = "SELECT source, digest FROM documents WHERE state = 'live'"
        return dict(
            self.link.execute(sql + " AND path = ?", (path,)) if path else self.link.execute(sql)
        )

    def paths(self) -> set[str]:
        """Return the files of the live documents."""
        sql = "SELECT DISTINCT path FROM documents WHERE state = 'live'"
        return {row[0] for row in self.link.execute(sql)}

    def outdated(self, recipe: str) -> list[str]:
        """Return the sources of live documents with another recipe."""
        sql = "SELECT source FROM documents WHERE state = 'live' AND made <> ? ORDER BY version"
        return [row[0] for row in self.link.execute(sql, (recipe,))]

    def document(self, source: str) -> tuple[Document, str] | None:
        """Return a live document and the path of its file."""
        row = self._one(
            "SELECT version, path, title, metadata, marks, digest FROM documents "
            "WHERE state = 'live' AND source = ?",
            source,
        )
        if row is None:
            return None
        version, path, title, metadata, listed, digest = row
        marks = tuple(Mark(m["start"], m["page"], tuple(m["headings"])) for m in json.loads(listed))
        body = self._one("SELECT body FROM texts WHERE version = ?", version)
        assert body is not None
        return Document(
            source, unpack(body[0]), title, marks, dict(metadata_of(metadata)), digest
        ), path

    # The writes below are called in a transaction by `knowledge/write.py`, which holds the write
    # lock.

    def insert_pending(self, prepared: Sequence[PendingDocument]) -> tuple[range, list[int]]:
        """Insert pending versions with their chunks; return version numbers and all rows."""
        total = sum(len(one.chunks) for one in prepared)
        version = self.link.next_key("documents", len(prepared))
        first = self.link.next_key("chunks", total)
        numbers = range(version, version + len(prepared))
        versions = list(zip(numbers, prepared, strict=True))
        self.link.insert(
            "documents",
            "version, source, path, state, digest, made, title, metadata, marks, chunks",
            [
                (
                    number, one.document.source, one.path, "pending", one.document.digest,
                    one.recipe, one.document.title, _sound(metadata_text(one.document.metadata)),
                    json.dumps([asdict(mark) for mark in one.document.marks], ensure_ascii=False),
                    len(one.chunks),
                )
                for number, one in versions
            ],
        )  # fmt: skip
        texts = [one.document.text for one in prepared]
        self.link.insert(
            "texts",
            "version, body",
            list(zip(numbers, pack_all([self.link.storable(t) for t in texts]), strict=True)),
        )
        chunks = [
            (number, chunk, text)
            for number, one in versions
            for chunk, text in zip(one.chunks, one.texts, strict=True)
        ]
        rows = list(range(first, first + len(chunks)))
        self.link.insert(
            "chunks",
            '"row", version, position, id, start, "end", page, headings, tokens, text, said',
            [
                (
                    row, number, c.position, c.id, c.start, c.end, c.page,
                    json.dumps(c.headings, ensure_ascii=False) if c.headings else "[]",
                    c.tokens, _sound(c.text), text_hash(text),
                )
                for row, (number, c, text) in zip(rows, chunks, strict=True)
            ],
        )  # fmt: skip
        return numbers, rows

    def insert_vectors(self, generation: int, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Insert vectors by the hash of their text."""
        rows = [(generation, h, v.astype("<f4").tobytes()) for h, v in vectors.items()]
        self.link.insert("vectors", "generation, said, vector", rows, missing=True)

    def flip(self, versions: Sequence[int], removed: Iterable[str] = ()) -> int:
        """Make pending versions live; make their predecessors and `removed` documents dead.

        Returns the number of `removed` documents that existed.
        """
        named = f"version {self.link.AMONG}"
        numbers = self.link.listing(list(versions))
        # Only the last of several versions of one document stays live.
        last = f"SELECT max(version) FROM documents WHERE {named} GROUP BY source"
        lasting = [row[0] for row in self.link.execute(last, (numbers,))]
        sources = f"SELECT source FROM documents WHERE {named}"
        self.link.execute(
            f"UPDATE documents SET state = 'dead' WHERE state = 'live' AND source IN ({sources})",
            (numbers,),
        )
        for state, which in (("dead", list(versions)), ("live", lasting)):
            sql = f"UPDATE documents SET state = '{state}' WHERE {named}"
            self.link.execute(sql, (self.link.listing(which),))
        sql = "UPDATE documents SET state = 'dead' WHERE state = 'live' AND source "
        names = self.link.listing(list(removed))
        return int(self.link.execute(sql + self.link.AMONG, (names,)).rowcount)

    def note_files(self, notes: Iterable[FileVersion], missing: Iterable[str] = ()) -> None:
        """Record files as ingested; delete the records of missing ones."""
        self.link.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            "size = excluded.size, mtime_ns = excluded.mtime_ns, digest = excluded.digest",
            [(n.path, n.size, n.mtime_ns, n.digest) for n in notes],
        )
        self.link.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in missing])

    def versions(self, state: str) -> list[int]:
        """Return the numbers of all versions in a state, the oldest first."""
        sql = f"SELECT version FROM documents WHERE {_is(state)} ORDER BY version"
        return [row[0] for row in self.link.execute(sql)]

    def erase(self, versions: Sequence[int]) -> None:
        """Delete versions that have left the index, and vectors that no other chunk uses."""
        keys = [(version,) for version in versions]
        sql = (
            "SELECT DISTINCT g.number, c.said FROM generations g, chunks c "
            f"WHERE c.version {self.link.AMONG}"
        )
        needless = self.link.execute(sql, (self.link.listing(list(versions)),)).fetchall()
        for table in ("chunks", "texts", "documents"):
            self.link.executemany(f"DELETE FROM {table} WHERE version = ?", keys)
        self.link.executemany(
            "DELETE FROM vectors WHERE generation = ? AND said = ? AND NOT EXISTS "
            "(SELECT 1 FROM chunks c WHERE c.said = vectors.said)",
            needless,
        )

    def rows(self, state: str) -> Rows:
        """Return the rows of all chunks whose versions are in a state."""
        sql = (
            "SELECT c.row FROM documents d CROSS JOIN chunks c ON c.version = d.version "
            f"WHERE {_is(state)}"
        )
        return np.sort(np.fromiter((row[0] for row in self.link.execute(sql)), dtype=np.int64))

    def chunks_at(self, rows: Rows) -> Iterator[tuple[int, bytes, Chunk]]:
        """Yield row, hash and chunk, in the order of `rows`."""
        sql = (
            'SELECT c.row, c.said, c.id, d.source, c.position, c.text, c.start, c."end", d.title, '
            "c.page, c.headings, c.tokens FROM chunks c JOIN documents d ON d.version = c.version "
            f"WHERE c.row {self.link.AMONG} ORDER BY c.row"
        )
        for row, digest, *rest in self.link.execute(sql, (self.link.listing(rows.tolist()),)):
            yield row, digest, chunk_of(rest)

    def vectors(self, generation: int, hashes: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the stored vectors of these hashes."""
        vectors: dict[bytes, np.ndarray] = {}
        unique = list(dict.fromkeys(hashes))
        for start in range(0, len(unique), _AT_ONCE):
            block = unique[start : start + _AT_ONCE]
            sql = "SELECT said, vector FROM vectors WHERE generation = ? AND said IN "
            read = self.link.execute(f"{sql}({','.join('?' * len(block))})", (generation, *block))
            vectors |= {name: np.frombuffer(vector, dtype="<f4") for name, vector in read}
        return vectors

    def sweep(self) -> None:
        """Delete vectors that no chunk uses; `erase` leaves those of abandoned builds."""
        with self.link.transaction():
            self.link.execute(
                "DELETE FROM vectors WHERE NOT EXISTS "
                "(SELECT 1 FROM chunks c WHERE c.said = vectors.said)"
            )

    def count(self, sql: str, *values: Any) -> int:
        """Return the single number that a query yields."""
        row = self._one(sql, *values)
        return int(row[0] or 0) if row else 0

    def _one(self, sql: str, *values: Any) -> Sequence[Any] | None:
        row: Sequence[Any] | None = self.link.execute(sql, values).fetchone()
        return row


def _is(state: str) -> str:
    # Literal SQL selects the partial index of unsettled versions; a parameter would scan all
    # documents.
    assert state in ("pending", "live", "dead")
    return f"state = '{state}'" + ("" if state == "live" else " AND state <> 'live'")


def chunk_of(columns: Sequence[Any]) -> Chunk:
    """Build a chunk from the columns of `Ledger.chunks_at`."""
    name, source, position, text, start, end, title, page, headings, tokens = columns
    trail = tuple(json.loads(headings)) if headings != "[]" else ()
    return Chunk(name, source, position, text, start, end, title, page, trail, tokens)


def pack(text: str) -> bytes:
    """Compress a text."""
    return zlib.compress(_sound(text).encode(), 1)


def pack_all(texts: Sequence[str]) -> list[bytes]:
    """Compress texts, half of them in another thread: zlib releases the GIL."""
    half = len(texts) // 2
    with ThreadPoolExecutor(1, "zlib") as beside:
        later = beside.submit(lambda: [pack(text) for text in texts[half:]])
        return [pack(text) for text in texts[:half]] + later.result()


def unpack(body: bytes) -> str:
    """Decompress a text."""
    return zlib.decompress(body).decode()


def _sound(text: str) -> str:
    # Some files hold half a surrogate pair, which is no character; replacing it keeps offsets.
    return text.encode("utf-8", "replace").decode("utf-8")
