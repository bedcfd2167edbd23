"""The ledger in a SQLite file of the knowledge base's folder: schema, opening, locking."""

import contextlib
import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tailorbird.errors import UserError
from tailorbird.knowledge.ledger import TABLES

LEDGER, INDEX, LOCK = "ledger.sqlite", "index", "lock"

# "tlrb"; marks our SQLite files.
APPLICATION_ID = 0x746C7262
_WAIT_SECONDS = 60.0
# Keeps the knowledge base out of an index of the folder that contains it.
_IGNORE = "# made by tailorbird: this folder is a knowledge base\n*\n"

_FIRST = TABLES.format(
    name="TEXT", number="INTEGER", bytes="BLOB", key="INTEGER PRIMARY KEY AUTOINCREMENT",
    by_name=" WITHOUT ROWID", fingerprint="",
)  # fmt: skip

# The weights that made a generation, since a folder may have other weights by now; empty: unknown.
_SECOND = "ALTER TABLE generations ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''"

MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND)
"""Migrations from version n to n + 1; `PRAGMA user_version` is a ledger's version."""


class SqliteDatabase(sqlite3.Connection):
    """One connection to a ledger in a folder; see `knowledge.protocols.Database`."""

    AMONG = "IN (SELECT value FROM json_each(?))"
    path: Path

    @property
    def folder(self) -> Path:
        """The knowledge base."""
        return self.path.parent

    def storable(self, text: str) -> str:
        """See `Database.storable`."""
        return text

    def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], *, missing: bool = False
    ) -> None:
        """See `Database.insert`."""
        places = ", ".join("?" * (columns.count(",") + 1))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({places})"
        self.executemany(sql + " ON CONFLICT DO NOTHING" * missing, rows)

    def listing(self, values: Sequence[Any]) -> str:
        """See `Database.listing`."""
        return json.dumps(values)

    def next_key(self, table: str, count: int) -> int:
        """See `Database.next_key`."""
        row = self.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return int(row[0]) + 1 if row else 1

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes or none."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise

    def together(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.together`: an index in files has no transaction with the ledger."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `Database.snapshot`."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("ROLLBACK")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors for a damaged file or a full disk into `UserError` with a fix."""
        with _explained(self.path):
            yield

    def check(self) -> str:
        """See `Database.check`."""
        verdict = str(self.execute("PRAGMA quick_check").fetchone()[0])
        return "" if verdict == "ok" else verdict

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file, as far as readers allow."""
        self.execute("PRAGMA wal_checkpoint(PASSIVE)")


class FolderBackend:
    """What all backends with their ledger in the folder share: everything but the index.

    Args:
        address: Unused: the folder is the place.
    """

    name, address = "sqlite", ""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether the ledger exists."""
        return (self.folder / LEDGER).is_file()

    @property
    def read_only(self) -> bool:
        """Whether this process has no write access."""
        return not writable(self.folder / LEDGER)

    def connect(self, create: bool = False) -> SqliteDatabase:
        """See `Backend.connect`."""
        return connect(self.folder / LEDGER, create)

    @contextlib.contextmanager
    def lock(self, wait_seconds: float = -1) -> Iterator[bool]:
        """See `Backend.lock`; the system releases it when the process dies."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=wait_seconds, poll_interval=0.02)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written: {error}", "check its permissions"
            ) from error
        try:
            yield True
        finally:
            lock.release()

    def close(self) -> None:
        """See `Backend.close`: there is nothing to close."""

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the folder, and of the index in it."""
        folders = self.folder, self.folder / INDEX
        files = ([f for f in folder.rglob("*") if f.is_file()] for folder in folders)
        whole, index = (sum(file.stat().st_size for file in each) for each in files)
        return whole, index


def make_folder(folder: Path) -> None:
    """Create the folder of a knowledge base; a folder with other files is left as it is.

    Raises:
        UserError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            # Never writes through a symbolic link or over a file that has appeared meanwhile.
            with contextlib.suppress(FileExistsError), (folder / ".tailorignore").open("x") as file:
                file.write(_IGNORE)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}", "name another with --store"
        ) from error


def connect(path: Path, create: bool = False) -> SqliteDatabase:
    """Open a ledger, migrate it to the current schema, and return the connection.

    A ledger without write access, on a read-only file system or in another user's folder, is opened
    for reading.

    Raises:
        UserError: It is missing, damaged, not a ledger, or written by a newer version.
    """
    if not create and not path.is_file():
        raise UserError(
            f"{path.parent} is not a knowledge base", "make one: tailor index PATHS --store FOLDER"
        )
    with _explained(path):
        link = sqlite3.connect(
            _address(path, create), uri=True, timeout=_WAIT_SECONDS, isolation_level=None,
            check_same_thread=False, factory=SqliteDatabase,
        )  # fmt: skip
        link.path = path
        try:
            _patiently(lambda: _prepare(link, path))
        except BaseException:
            link.close()
            raise
    return link


def writable(path: Path) -> bool:
    """Return whether an existing ledger, and SQLite's files beside it, can be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _address(path: Path, create: bool) -> str:
    """Return the SQLite URI that opens a ledger."""
    address = path.absolute().as_uri()
    if create or writable(path):
        return address
    # Without its log a ledger is complete, but SQLite would create an empty log to read it. With
    # its log it must be read together, which works if the writer left both files.
    log = path.with_name(path.name + "-wal")
    return address + ("?mode=ro" if log.is_file() and log.stat().st_size else "?immutable=1")


def _prepare(link: SqliteDatabase, path: Path) -> None:
    if _version(link, path) < len(MIGRATIONS):
        if path.is_file() and not writable(path):
            raise UserError(
                f"{path} was written by an older tailorbird and is read-only here",
                "open it once where it can be written",
            )
        _lay_out(link, path)
    link.execute("PRAGMA synchronous = FULL")  # acknowledged writes survive a power cut
    link.execute("PRAGMA cache_size = -32000")
    # Copy the log into the file every 64 MB; the default copies it after every batch.
    link.execute("PRAGMA wal_autocheckpoint = 4000")


def _version(link: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a ledger."""
    # In one transaction: another process may be creating it now.
    link.execute("BEGIN")
    try:
        tables = link.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version: int = link.execute("PRAGMA user_version").fetchone()[0]
        ours = link.execute("PRAGMA application_id").fetchone()[0]
    finally:
        link.execute("ROLLBACK")
    if tables and ours != APPLICATION_ID:
        raise UserError(f"{path} is another program's file", "name another folder with --store")
    if version > len(MIGRATIONS):
        raise UserError(
            f"{path} was written by a newer tailorbird (its version {version}, ours "
            f"{len(MIGRATIONS)})",
            "pip install --upgrade tailorbird",
        )
    return version


def _lay_out(link: SqliteDatabase, path: Path) -> None:
    # Vectors and texts take 1.5 to 4 kB each, so small pages would be half empty. An existing
    # ledger keeps its page size.
    link.execute("PRAGMA page_size = 16384")
    # WAL lets readers continue during a write. The file records the mode.
    link.execute("PRAGMA journal_mode = WAL")
    if _version(link, path) < len(MIGRATIONS):
        _migrate(link)


def _patiently(step: Callable[[], None]) -> None:
    """Retry a step while another process creates the same ledger.

    SQLite's own busy timeout does not apply to a change of journal mode, which fails at once.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error).lower() or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _migrate(link: SqliteDatabase) -> None:
    with link.transaction():
        version = link.execute("PRAGMA user_version").fetchone()[0]  # may be migrated already
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in filter(str.strip, script.split(";")):
                link.execute(statement)
            link.execute(f"PRAGMA user_version = {number}")
        link.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors for a damaged file or a full disk into `UserError` with a fix."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        words = str(error).lower()
        if any(sign in words for sign in ("full", "disk i/o")):
            raise disk_full(path) from error
        if "malformed" in words or "not a database" in words:
            raise UserError(
                f"{path} is damaged: {error}",
                "restore a backup of the folder, or remove it and index the documents again",
            ) from error
        if "unable to open" in words or "readonly" in words:
            raise UserError(
                f"{path} cannot be written: {error}", "check the folder's permissions"
            ) from error
        if "locked" in words:
            raise UserError(f"{path} is locked by another program", "wait for it") from error
        raise


@contextlib.contextmanager
def disk_explained(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, also LanceDB's, into `UserError` with a fix."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full or "No space left" in str(error) or "os error 28" in str(error):
            raise disk_full(path) from error
        raise


def disk_full(path: Path) -> UserError:
    """Return the error for a full disk."""
    return UserError(
        f"the disk with {path.parent} is full",
        "free some space and run the same command again: it continues, nothing is lost",
    )
