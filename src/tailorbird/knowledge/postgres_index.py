"""The index of the PostgreSQL store: vectors in pgvector, and our own word index beside it.

PostgreSQL has no BM25 ranking. So for each term and each segment of rows, one value holds the rows
with the term, its frequencies, and the text lengths; the few values of a question's terms are read
and scored here exactly. Vectors are searched exactly while they are few, and through an IVFFlat
index beyond: it takes a tenth of the time of an HNSW index to build, and accepts new rows at once.
"""

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.errors import UserError
from tailorbird.knowledge.bm25 import pack, pack_rows, ranked, unpack, unpack_rows
from tailorbird.knowledge.index_terms import terms_to_find, terms_to_index
from tailorbird.knowledge.memory_index import best
from tailorbird.knowledge.postgres_ledger import PostgresDatabase
from tailorbird.knowledge.postgres_server import Server
from tailorbird.knowledge.protocols import Ranking

# An exact search of this many rows takes 10 ms on a core.
_EXACT_ROWS = 10_000
_PROBED = 16  # one list in so many is searched
_SEGMENTS = 32

_PARTS = ("", "_rows", "_words", "_segments")
_TABLES = """
CREATE TABLE {g}_segments (
  segment INTEGER PRIMARY KEY GENERATED ALWAYS AS IDENTITY, first BIGINT NOT NULL,
  rows BIGINT NOT NULL, length BIGINT NOT NULL, gone BYTEA NOT NULL DEFAULT '', fresh BOOL NOT NULL
);
CREATE TABLE {g}_words (
  term TEXT COLLATE "C", segment INTEGER, entries BYTEA NOT NULL, PRIMARY KEY (term, segment)
);
ALTER TABLE {g}_words ALTER entries SET STORAGE EXTERNAL;
CREATE TABLE {g}_rows (
  "row" BIGINT PRIMARY KEY, segment INTEGER NOT NULL, length INTEGER NOT NULL
);
CREATE TABLE {g} ("row" BIGINT PRIMARY KEY, vector VECTOR({dimension}) NOT NULL);
"""


class PostgresBackend:
    """A schema of a database, shared by several hosts; see `Backend`.

    Args:
        folder: The knowledge base's folder, with the address and published models.
        address: See `postgres_server.Server`.
    """

    name = "postgresql"

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.server = Server(folder, address)
        self.address = self.server.address
        self._active = threading.local()
        self._writer: PostgresDatabase | None = None
        self._idle: list[PostgresDatabase] = []

    @property
    def exists(self) -> bool:
        """Whether the ledger exists."""
        link = self.server.link()
        try:
            return self.server.is_laid_out(link)
        finally:
            link.close()

    @property
    def read_only(self) -> bool:
        """Whether this process has no write access."""
        sql = "SELECT pg_is_in_recovery() OR NOT has_table_privilege('documents', 'INSERT')"
        with self.lent() as link:
            return bool(link.execute(sql).fetchone()[0])

    def connect(self, create: bool = False) -> PostgresDatabase:
        """See `Backend.connect`."""
        link = self.server.link()
        if not self.server.is_laid_out(link):
            if not create:
                link.close()
                raise UserError(
                    f"{self.address} is not a knowledge base",
                    f"make one: tailor index PATHS --store {self.folder}",
                )
            link = self.server.lay_out(link)
        database = PostgresDatabase(self.server, link, self._active)
        self._writer = self._writer or database
        return database

    def open(self, number: int, dimension: int, create: bool = False) -> "PostgresStore":
        """See `Backend.open`."""
        with self.lent() as link, link.transaction():
            if link.execute("SELECT to_regclass(?)", (f"g{number}",)).fetchone()[0] is None:
                if not create:
                    raise UserError(
                        f"the index in {self.address} is missing",
                        f"tailor index --store {self.folder} --repair",
                    )
                for sql in filter(str.strip, _TABLES.split(";")):
                    link.execute(sql.format(g=f"g{number}", dimension=dimension))
        return PostgresStore(self, f"g{number}", dimension)

    def remove(self, number: int) -> None:
        """See `Backend.remove`."""
        with self.lent() as link:
            tables = ", ".join(f"g{number}{part}" for part in _PARTS)
            link.execute(f"DROP TABLE IF EXISTS {tables}")

    def lock(self, wait_seconds: float = -1) -> contextlib.AbstractContextManager[bool]:
        """See `Backend.lock`; the server releases it when the connection ends."""
        return (self._writer or self.connect()).lock(wait_seconds)

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the schema's tables, and of the indexes among them."""
        sql = (
            "SELECT coalesce(sum(s), 0), coalesce(sum(s) FILTER (WHERE name ~ '^g[0-9]'), 0) FROM "
            "(SELECT relname AS name, pg_total_relation_size(oid) AS s FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r') t"
        )
        with self.lent() as link:
            whole, index = link.execute(sql).fetchone()
        return int(whole), int(index)

    @contextlib.contextmanager
    def lent(self) -> Iterator[PostgresDatabase]:
        """Lend a connection: this thread's batch connection, else one of its own."""
        active = getattr(self._active, "database", None)
        if active is not None:
            yield active
            return
        try:
            database = self._idle.pop()
        except IndexError:
            database = PostgresDatabase(self.server, self.server.link(), self._active)
        try:
            with self.server.explained():
                yield database
        finally:
            self._idle.append(database)

    def close(self) -> None:
        """Close the lent connections."""
        while self._idle:
            self._idle.pop().close()


class PostgresStore:
    """The tables of one generation."""

    waits = True

    def __init__(self, backend: PostgresBackend, name: str, dimension: int) -> None:
        self._backend, self._name, self._dimension = backend, name, dimension

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        """See `Index.add`."""
        if not len(rows):
            return
        first = _base(rows)
        lengths, packed = pack([terms_to_index(text) for text in texts], rows - first)
        with self._changing() as link:
            segment = self._segment(link, first, len(rows), int(lengths.sum()))
            self._copy_words(link, segment, packed)
            with link.copy(f'{self._name}_rows ("row", segment, length)') as copy:
                copy.set_types(["int8", "int4", "int4"])
                for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
                    copy.write_row((row, segment, length))
            with link.copy(f'{self._name} ("row", vector)') as copy:
                copy.set_types(["int8", "vector"])
                plain = np.asarray(vectors, dtype=np.float32)
                for row, vector in zip(rows.tolist(), plain, strict=True):
                    copy.write_row((row, vector))

    def delete(self, rows: np.ndarray) -> None:
        """See `Index.delete`."""
        with self._changing() as link:
            named = (link.listing(rows.tolist()),)
            link.execute(f'DELETE FROM {self._name} WHERE "row" {link.AMONG}', named)
            deleted = link.execute(
                f'WITH gone AS (DELETE FROM {self._name}_rows WHERE "row" {link.AMONG} '
                'RETURNING "row", segment, length) SELECT s.segment, s.first, g."row", g.length '
                f"FROM gone g JOIN {self._name}_segments s ON s.segment = g.segment",
                named,
            ).fetchall()
            for segment, first in {(one[0], one[1]) for one in deleted}:
                here = [one for one in deleted if one[0] == segment]
                gone = pack_rows([row - first for _, _, row, _ in here])
                link.execute(
                    f"UPDATE {self._name}_segments SET rows = rows - ?, length = length - ?, "
                    "gone = gone || ? WHERE segment = ?",
                    (len(here), sum(length for *_, length in here), gone, segment),
                )

    @property
    def moment(self) -> int:
        """See `Index.moment`: constant, since searches read in the ledger's own transaction."""
        return 0

    def rows(self) -> np.ndarray:
        """See `Index.rows`."""
        with self._backend.lent() as link:
            read = link.execute(f'SELECT "row" FROM {self._name} ORDER BY "row"').fetchall()
        return np.fromiter((row for (row,) in read), dtype=np.int64, count=len(read))

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `VectorIndex.nearest`; exact for few rows."""
        with self._backend.lent() as link:
            if among is None and (lists := self._lists(link)):
                link.set("ivfflat.probes", max(8, lists // _PROBED))
                rows, scores = self._ordered(link, vector, k)
                if len(rows) >= k:
                    return best(rows, scores, k)
            with link.transaction():
                # An index may return fewer rows than there are.
                link.execute("SET LOCAL enable_indexscan = off")
                return best(*self._ordered(link, vector, k, among), k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `VectorIndex.vectors`."""
        with self._backend.lent() as link:
            read = link.execute(
                f'SELECT "row", vector FROM {self._name} WHERE "row" {link.AMONG}',
                (link.listing(rows.tolist()),),
            )
            by_row = {row: vector.to_numpy() for row, vector in read}
        none = np.zeros(self._dimension, dtype=np.float32)
        ordered = [by_row.get(row, none) for row in rows.tolist()]
        return np.asarray(ordered, dtype=np.float32).reshape(len(rows), self._dimension)

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `WordIndex.matching`."""
        terms = Counter(terms_to_find(question))
        name, segments, read = self._name, {}, []
        with self._backend.lent() as link:
            # A single statement reads a consistent state.
            for number, term, packed, *counts in link.execute(
                f"SELECT segment, NULL, gone, first, rows, length FROM {name}_segments UNION ALL "
                f"SELECT segment, term, entries, 0, 0, 0 FROM {name}_words WHERE term {link.AMONG}",
                (link.listing(list(terms)),),
            ):
                if term is None:
                    segments[number] = (*counts, unpack_rows(packed))
                else:
                    read.append((term, number, packed))
        total = sum(rows for _, rows, _, _ in segments.values())
        mean = sum(length for _, _, length, _ in segments.values()) / max(1, total)
        pieces = ((n, term, unpack(packed, segments[n][3])) for term, n, packed in read)
        parts = [(np.empty(0, dtype=np.int64), np.empty(0))]
        for number, places, values in ranked(terms, pieces, total, mean):
            parts.append((places + segments[number][0], values))
        rows, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        inside = slice(None) if among is None else np.isin(rows, among)
        return best(rows[inside], scores[inside], k)

    def due(self, rows: int) -> bool:
        """See `Index.due`."""
        with self._backend.lent() as link:
            fresh, segments = link.execute(
                "SELECT coalesce(sum(rows) FILTER (WHERE fresh), 0), count(*) "
                f"FROM {self._name}_segments"
            ).fetchone()
        return bool(fresh > rows or segments > 2 * _SEGMENTS)

    def optimize(self) -> None:
        """See `Index.optimize`: merges segments, and builds a vector index for many rows."""
        with self._changing() as link:
            segments = link.execute(
                f"SELECT segment, rows, length(gone) / 4 FROM {self._name}_segments ORDER BY rows"
            ).fetchall()
            total = sum(rows for _, rows, _ in segments)
            holed = [one for one in segments if one[2] > one[1] // 4]
            small = [one for one in segments if one[1] < max(1000, total // _SEGMENTS)]
            if holed:
                self._merge(link, [one[0] for one in holed])
            if len(small) > _SEGMENTS:
                self._merge(link, [one[0] for one in small if one not in holed])
            link.execute(f"UPDATE {self._name}_segments SET fresh = false WHERE fresh")
            lists, target = self._lists(link), math.isqrt(total)
            if total > _EXACT_ROWS and target > 2 * lists:
                link.execute("SET LOCAL maintenance_work_mem = '512MB'")
                link.execute(
                    f"CREATE INDEX {self._name}_next ON {self._name} "
                    f"USING ivfflat (vector vector_ip_ops) WITH (lists = {target})"
                )
                # Last, since readers wait from here on.
                link.execute(f"DROP INDEX IF EXISTS {self._name}_nearest")
                link.execute(f"ALTER INDEX {self._name}_next RENAME TO {self._name}_nearest")
        with self._backend.lent() as link:
            link.execute(f"ANALYZE {self._name}")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[PostgresDatabase]:
        """Change all tables or none; readers continue, other writers wait."""
        with self._backend.lent() as link, link.transaction():
            link.execute(f"LOCK TABLE {self._name}_segments IN SHARE ROW EXCLUSIVE MODE")
            yield link

    def _segment(self, link: PostgresDatabase, *counts: int) -> int:
        sql = f"INSERT INTO {self._name}_segments (first, rows, length, fresh) "
        sql += "VALUES (?, ?, ?, true) RETURNING segment"
        return int(link.execute(sql, counts).fetchone()[0])

    def _copy_words(self, link: PostgresDatabase, segment: int, packed: Any) -> None:
        with link.copy(f"{self._name}_words (term, segment, entries)") as copy:
            copy.set_types(["text", "int4", "bytea"])
            # In the order of the B-tree, which then grows faster.
            for term, entries in sorted(packed):
                copy.write_row((term, segment, entries))

    def _lists(self, link: PostgresDatabase) -> int:
        """Return the number of lists of the vector index; 0: there is none."""
        row = link.execute(
            "SELECT reloptions[1] FROM pg_class WHERE oid = to_regclass(?)",
            (f"{self._name}_nearest",),
        ).fetchone()
        return int(row[0].partition("=")[2]) if row else 0

    def _ordered(
        self, link: PostgresDatabase, vector: np.ndarray, k: int, among: np.ndarray | None = None
    ) -> Ranking:
        values: list[Any]
        where, values = "", [np.asarray(vector, dtype=np.float32)]
        if among is not None:
            where, values = f'WHERE "row" {link.AMONG}', [*values, link.listing(among.tolist())]
        read = link.execute(
            # The limit as a literal: with a parameter, the planner would ignore it.
            f'SELECT "row", vector <#> ? AS unlike FROM {self._name} {where} '
            f"ORDER BY unlike LIMIT {int(k)}",
            values,
        ).fetchall()
        rows = np.array([row for row, _ in read], dtype=np.int64)
        return rows, np.array([-unlike for _, unlike in read], dtype=np.float32)

    def _merge(self, link: PostgresDatabase, numbers: list[int]) -> None:
        """Merge several segments into one, without deleted rows."""
        segments = link.execute(
            "SELECT segment, first, rows, length, gone "
            f"FROM {self._name}_segments WHERE segment {link.AMONG}",
            (numbers,),
        ).fetchall()
        first = min(one[1] for one in segments)
        moves = {one[0]: (one[1] - first, unpack_rows(one[4])) for one in segments}
        rows, length = (sum(one[place] for one in segments) for place in (2, 3))
        segment = self._segment(link, first, rows, length)
        if any(shift or len(gone) for shift, gone in moves.values()):
            self._move_words(link, segment, moves)
        else:
            self._join_words(link, segment, numbers)
        link.execute(
            f"UPDATE {self._name}_rows SET segment = ? WHERE segment {link.AMONG}",
            (segment, numbers),
        )
        link.execute(f"DELETE FROM {self._name}_segments WHERE segment {link.AMONG}", (numbers,))

    def _join_words(self, link: PostgresDatabase, segment: int, numbers: list[int]) -> None:
        """Merge a term's values in several segments on the server."""
        link.execute("SET LOCAL work_mem = '256MB'")
        link.execute(
            f"INSERT INTO {self._name}_words (term, segment, entries) "
            f"SELECT term, {segment}, string_agg(entries, '') FROM {self._name}_words "
            f"WHERE segment {link.AMONG} GROUP BY term",
            (numbers,),
        )
        link.execute(f"DELETE FROM {self._name}_words WHERE segment {link.AMONG}", (numbers,))

    def _move_words(
        self, link: PostgresDatabase, segment: int, moves: dict[int, tuple[int, np.ndarray]]
    ) -> None:
        """Merge them here if a segment's base row changes or rows are deleted."""
        joined: dict[str, list[np.ndarray]] = {}
        for term, number, packed in link.execute(
            f"DELETE FROM {self._name}_words WHERE segment {link.AMONG} "
            "RETURNING term, segment, entries",
            (list(moves),),
        ):
            shift, gone = moves[number]
            entries = unpack(packed, gone).copy()
            entries["row"] += np.uint32(shift)
            joined.setdefault(term, []).append(entries)
        packed = ((t, b"".join(e.tobytes() for e in parts)) for t, parts in joined.items())
        self._copy_words(link, segment, ((t, e) for t, e in packed if e))


def _base(rows: np.ndarray) -> int:
    """Return a segment's base row: usually 0, so that the server can merge."""
    first = int(rows.min()) >> 32 << 32
    return first if int(rows.max()) - first < 1 << 32 else int(rows.min())
