"""A ledger in a SQLite file: its tables, their migrations, how it is opened and locked."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tailorbird.errors import UserError

LEDGER, INDEX, LOCK = "ledger.sqlite", "index", "lock"

# "tlrb": tells our files from other programs' SQLite files.
APPLICATION_ID = 0x746C7262
_WAIT_SECONDS = 60.0
# For who indexes the folder that a knowledge base's own folder lies in.
_IGNORE = "# made by tailorbird: this folder is a knowledge base\n*\n"

_FIRST = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE generations (
  number INTEGER PRIMARY KEY AUTOINCREMENT, embedder TEXT NOT NULL, dimension INTEGER NOT NULL
);
CREATE TABLE files (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE documents (
  version INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, path TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'live', 'dead')),
  digest TEXT NOT NULL, made TEXT NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL,
  marks TEXT NOT NULL, chunks INTEGER NOT NULL
);
CREATE UNIQUE INDEX documents_live ON documents (source) WHERE state = 'live';
CREATE INDEX documents_unsettled ON documents (state) WHERE state <> 'live';
CREATE INDEX documents_path ON documents (path);
CREATE TABLE texts (version INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE chunks (
  row INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, position INTEGER NOT NULL,
  id TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER,
  headings TEXT NOT NULL, tokens INTEGER NOT NULL, text TEXT NOT NULL, said BLOB NOT NULL
);
CREATE UNIQUE INDEX chunks_version ON chunks (version, position);
CREATE INDEX chunks_said ON chunks (said);
CREATE TABLE vectors (
  generation INTEGER NOT NULL, said BLOB NOT NULL, vector BLOB NOT NULL
);
CREATE UNIQUE INDEX vectors_said ON vectors (generation, said);
"""

# Which weights a generation was made with: a folder may hold others by now. Empty: not known.
_SECOND = "ALTER TABLE generations ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''"

MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND)
"""What makes version n + 1 of version n; a ledger's `PRAGMA user_version` is how many it has."""


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
        """Write all or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise

    def together(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.together`: an index beside the ledger has no transaction with it."""
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
        """Turn what SQLite says of a damaged file or a full disk into a fault with its fix."""
        with _explained(self.path):
            yield

    def check(self) -> str:
        """See `Database.check`."""
        verdict = str(self.execute("PRAGMA quick_check").fetchone()[0])
        return "" if verdict == "ok" else verdict

    def checkpoint(self) -> None:
        """Copy the log into the file, as far as readers allow."""
        self.execute("PRAGMA wal_checkpoint(PASSIVE)")


class FolderBackend:
    """What backends share whose ledger lies in the folder: all but the index.

    Args:
        address: Not needed: the folder is all.
    """

    name, address = "sqlite", ""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether there is a ledger."""
        return (self.folder / LEDGER).is_file()

    @property
    def read_only(self) -> bool:
        """Whether this process may not write there."""
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
        """See `Backend.close`: nothing is held open."""

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the folder, and of the index in it."""
        folders = self.folder, self.folder / INDEX
        files = ([f for f in folder.rglob("*") if f.is_file()] for folder in folders)
        whole, index = (sum(file.stat().st_size for file in each) for each in files)
        return whole, index


def make_folder(folder: Path) -> None:
    """Make the folder of a knowledge base; one that holds other files is left as it is.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            # Not through a link, nor over a file that was laid there meanwhile.
            with contextlib.suppress(FileExistsError), (folder / ".tailorignore").open("x") as file:
                file.write(_IGNORE)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}", "name another with --store"
        ) from error


def connect(path: Path, create: bool = False) -> SqliteDatabase:
    """Open a ledger, bring it to this version's tables, and return the connection.

    A ledger that may only be read, on a read-only file system or in another person's folder, is
    opened for reading.

    Raises:
        UserError: There is none, it is no ledger, it is damaged, or a newer version wrote it.
    """
    if not create and not path.is_file():
        raise UserError(
            f"{path.parent} is no knowledge base", "make one: tailor index PATHS --store FOLDER"
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
    """Say whether a ledger that is there, and what SQLite lays beside it, may be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _address(path: Path, create: bool) -> str:
    """Return the URI that SQLite opens a ledger by."""
    address = path.absolute().as_uri()
    if create or writable(path):
        return address
    # Without its log a ledger is whole in itself; SQLite would need to make an empty log to read
    # it. With one it must be read together with it, which works where the writer left both files.
    log = path.with_name(path.name + "-wal")
    return address + ("?mode=ro" if log.is_file() and log.stat().st_size else "?immutable=1")


def _prepare(link: SqliteDatabase, path: Path) -> None:
    if _version(link, path) < len(MIGRATIONS):
        if path.is_file() and not writable(path):
            raise UserError(
                f"{path} was written by an older tailorbird, and may only be read here",
                "open it once where it can be written",
            )
        _lay_out(link, path)
    link.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    link.execute("PRAGMA cache_size = -32000")
    # 64 MB of log before it is copied into the file: by default that is after every batch.
    link.execute("PRAGMA wal_autocheckpoint = 4000")


def _version(link: sqlite3.Connection, path: Path) -> int:
    """Return which version's tables a ledger has."""
    # In one transaction: another process may be making it at this moment.
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
    # Vectors and texts take 1.5 to 4 kB each: small pages would stand half empty. A ledger that
    # is there already keeps its own.
    link.execute("PRAGMA page_size = 16384")
    # WAL: readers go on while one writes. The file remembers it.
    link.execute("PRAGMA journal_mode = WAL")
    if _version(link, path) < len(MIGRATIONS):
        _migrate(link)


def _patiently(step: Callable[[], None]) -> None:
    """Try a step again while another process makes the same ledger.

    SQLite's own waiting does not hold where the journal's mode changes: it fails at once.
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
        version = link.execute("PRAGMA user_version").fetchone()[0]  # another process may be faster
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in filter(str.strip, script.split(";")):
                link.execute(statement)
            link.execute(f"PRAGMA user_version = {number}")
        link.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a damaged file or a full disk into a fault with its fix."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        words = str(error).lower()
        if any(sign in words for sign in ("full", "disk i/o")):
            raise disk_full(path) from error
        if "malformed" in words or "not a database" in words:
            raise UserError(
                f"{path} is damaged: {error}",
                "put back a copy of the folder, or remove it and index the documents again",
            ) from error
        if "unable to open" in words or "readonly" in words:
            raise UserError(
                f"{path} cannot be written: {error}", "check the folder's permissions"
            ) from error
        if "locked" in words:
            raise UserError(f"{path} is held by another program", "wait for it") from error
        raise


def disk_full(path: Path) -> UserError:
    """Return the one error that a full disk becomes."""
    return UserError(
        f"the disk with {path.parent} is full",
        "free some space and run the same command again: it goes on, nothing is lost",
    )
