"""The ledger of the PostgreSQL store, over one connection.

The index (`postgres_index`) is in the same database, so that a replacement is one transaction.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tailorbird.knowledge.postgres_server import CLASS, Server


class PostgresDatabase:
    """One connection to a ledger on a server; see `knowledge.protocols.Database`.

    A lost connection is reopened between transactions.
    """

    AMONG = "= ANY(?)"

    def __init__(self, server: Server, link: Any, active: threading.local) -> None:
        self.server, self._link, self._active = server, link, active
        self._guard = threading.RLock()
        self._settings: dict[str, int] = {}
        self._column_types: dict[tuple[str, str], list[int]] = {}

    @property
    def folder(self) -> Path:
        """The knowledge base."""
        return self.server.folder

    @property
    def link(self) -> Any:
        """The connection."""
        if self._link.closed:
            self._link, self._settings = self.server.link(), {}
        return self._link

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """See `Database.execute`."""
        import psycopg

        plain = [_plain(value) for value in values] or None
        with self.explained():
            idle = not self._link.closed and not self._link.info.transaction_status
            try:
                return self.link.execute(_translated(sql), plain, binary=True)
            except psycopg.OperationalError:
                # Lost while idle, so only this statement must be repeated.
                if not (idle and self._link.closed):
                    raise
                return self.link.execute(_translated(sql), plain, binary=True)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> Any:
        """See `Database.executemany`."""
        with self.explained(), self.link.cursor() as cursor:
            cursor.executemany(_translated(sql), [[_plain(v) for v in row] for row in values])
            return cursor

    def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], *, missing: bool = False
    ) -> None:
        """See `Database.insert`: by COPY, which takes a fifth of the time of statements."""
        from psycopg import errors

        with self.explained(), self.transaction():
            try:
                with self.transaction():
                    return self._copy(table, table, columns, rows)
            except errors.UniqueViolation:
                if not missing:
                    raise
            # COPY cannot skip conflicts. They are rare: only then a second table is written.
            place, as_there = f"{table}_incoming", f"(LIKE {table}) ON COMMIT DELETE ROWS"
            self.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {place} {as_there}")
            self._copy(place, table, columns, rows)
            self.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {place} "
                "ON CONFLICT DO NOTHING"
            )

    def _copy(self, place: str, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Copy rows into `place`, whose columns are those of `table`."""
        types = self._types(table, columns)
        with self.copy(f"{place} ({columns})") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row([_plain(value) for value in row])

    def set(self, name: str, value: int) -> None:
        """Set a server parameter for this connection, unless it has the value."""
        if self._settings.get(name) != value:
            self.execute(f"SET {name} = {value}")
            self._settings[name] = value

    def _types(self, table: str, columns: str) -> list[int]:
        """Return the types of columns."""
        if (table, columns) not in self._column_types:
            with self.link.cursor() as cursor:
                cursor.execute(f"SELECT {columns} FROM {table} LIMIT 0")
                types = [column.type_code for column in cursor.description]
            self._column_types[table, columns] = types
        return self._column_types[table, columns]

    def copy(self, columns: str) -> contextlib.AbstractContextManager[Any]:
        """Return a context that copies rows into a table's columns, in binary."""
        copy = f"COPY {columns} FROM STDIN WITH (FORMAT BINARY)"
        context: contextlib.AbstractContextManager[Any] = self.link.cursor().copy(copy)
        return context

    def storable(self, text: str) -> str:
        """See `Database.storable`."""
        return str(_plain(text))

    def listing(self, values: Sequence[Any]) -> list[Any]:
        """See `Database.listing`."""
        return [_plain(value) for value in values]

    def next_key(self, table: str, count: int) -> int:
        """See `Database.next_key`."""
        row = self.execute(
            "INSERT INTO tailorbird_keys AS k VALUES (?, ?) ON CONFLICT (name) DO UPDATE "
            "SET last = k.last + excluded.last RETURNING last",
            (table, count),
        ).fetchone()
        return int(row[0]) - count + 1

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        """Commit all writes or none; a nested transaction joins the outer one."""
        if not self.link.info.transaction_status:
            self.execute("SELECT 1")  # reopens a lost connection
        transaction: contextlib.AbstractContextManager[Any] = self.link.transaction()
        return transaction

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """See `Database.together`: inside, this thread's indexes use this connection."""
        outer = getattr(self._active, "database", None)
        with self.transaction():
            self._active.database = self
            try:
                yield
            finally:
                self._active.database = outer

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `Database.snapshot`."""
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            if not self._link.closed:
                self._link.execute("ROLLBACK")

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.explained`."""
        return self.server.explained()

    @contextlib.contextmanager
    def lock(self, wait_seconds: float) -> Iterator[bool]:
        """Hold the knowledge base's write lock over this connection, which also ends it."""
        deadline = time.monotonic() + (wait_seconds if wait_seconds >= 0 else math.inf)
        if not self._guard.acquire(timeout=max(-1.0, wait_seconds)):
            yield False
            return
        key = f"{CLASS}, hashtext('{self.server.schema}')"
        try:
            # Polled, since waiting in the server could not be interrupted.
            ask = f"SELECT pg_try_advisory_lock({key})"
            while not (is_ours := self.execute(ask).fetchone()[0]):
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.02)
            link = self._link
            try:
                yield bool(is_ours)
            finally:
                if is_ours and not link.closed:
                    link.execute(f"SELECT pg_advisory_unlock({key})")
        finally:
            self._guard.release()

    def check(self) -> str:
        """See `Database.check`: a server checks its own files."""
        return ""

    def checkpoint(self) -> None:
        """See `Database.checkpoint`: a server does that by itself."""

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


@lru_cache(maxsize=256)
def _translated(sql: str) -> str:
    # SQLite takes CROSS JOIN as a join order; PostgreSQL plans by itself.
    return sql.replace("?", "%s").replace("CROSS JOIN", "JOIN")


def _plain(value: Any) -> Any:
    # PostgreSQL cannot store NUL; replacing it keeps offsets.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
