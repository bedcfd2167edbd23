"""A PostgreSQL server: its address, the ledger's schema, and its errors as messages.

A knowledge base is a schema of a database, named by ``?schema=`` in the address, by default
`tailorbird`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from tailorbird.errors import UserError
from tailorbird.knowledge.ledger import TABLES

SCHEMA = "tailorbird"
CLASS = 0x746C7262  # of advisory locks: "tlrb"
_VECTOR = (0, 8)
_FIRST = TABLES.format(
    name='TEXT COLLATE "C"', number="BIGINT", bytes="BYTEA", key="BIGINT PRIMARY KEY", by_name="",
    fingerprint=", fingerprint TEXT NOT NULL DEFAULT ''",
)  # fmt: skip
_FIRST += "CREATE TABLE tailorbird_keys (name TEXT PRIMARY KEY, last BIGINT NOT NULL);"
MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Migrations from version n to n + 1; the table `tailorbird_keys` has a ledger's version."""


class Server:
    """The address of a knowledge base in PostgreSQL.

    Args:
        folder: The knowledge base's folder.
        address: ``postgresql://USER@HOST:PORT/DATABASE?schema=NAME``; missing parts are libpq's
            defaults (PGHOST, PGUSER, PGPASSWORD, ~/.pgpass, ...).

    Attributes:
        address: The address without its password.

    Raises:
        UserError: The address is invalid, or the extra is not installed.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        parts, self.schema = urlsplit(address), SCHEMA
        options = dict(parse_qsl(parts.query))
        self.schema = options.pop("schema", SCHEMA)
        self.address = _without_password(address)
        self._conninfo = urlunsplit(parts._replace(query=urlencode(options, quote_via=quote)))
        try:
            # Never shown, since the invalid part may be of a password.
            from psycopg.conninfo import conninfo_to_dict

            self.secret = str(conninfo_to_dict(self._conninfo).get("password") or "")
            hosts = parts.netloc.rpartition("@")[2].split(",")
            ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts]
            plain = all(port.isdigit() or not port for port in ports)
            broken = address.count("@") > 1 or not plain or not self.schema.isidentifier()
        except ImportError as error:
            raise UserError(
                "knowledge.store: PostgreSQL needs the extra pgvector",
                "pip install 'tailorbird[pgvector]'",
            ) from error
        except Exception:
            broken = True
        if broken:
            raise UserError(
                "knowledge.store is not a PostgreSQL address",
                "write postgresql://USER@HOST:PORT/DATABASE?schema=NAME; characters such as @ "
                "and / in a password as %40 and %2F, or the password in PGPASSWORD or ~/.pgpass",
            ) from None

    def link(self) -> Any:
        """Return a connection, with the schema as its search path.

        Raises:
            UserError: The server is unreachable or denies access.
        """
        import psycopg
        from psycopg import sql

        with self.explained():
            link = psycopg.connect(
                self._conninfo, autocommit=True, connect_timeout=10, application_name="tailorbird"
            )
        try:
            with self.explained():
                extension = link.execute(
                    "SELECT n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n "
                    "ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
                ).fetchone()
                path = sql.SQL(", ").join(
                    map(sql.Identifier, dict.fromkeys((self.schema, (extension or [SCHEMA])[0])))
                )
                link.execute(sql.SQL("SET search_path TO {}").format(path))
                link.execute("SET jit = off")
            if extension:
                from pgvector.psycopg import register_vector

                self._check_extension(link, extension[1])
                register_vector(link)
        except BaseException:
            link.close()
            raise
        return link

    def is_laid_out(self, link: Any) -> bool:
        """Return whether the ledger exists.

        Raises:
            UserError: A newer version wrote it.
        """
        name = f'"{self.schema}".tailorbird_keys'
        with self.explained():
            if link.execute("SELECT to_regclass(%s)", (name,)).fetchone()[0] is None:
                return False
            row = link.execute("SELECT last FROM tailorbird_keys WHERE name = 'schema'").fetchone()
        if row and row[0] > len(MIGRATIONS):
            raise UserError(
                f"{self.address} was written by a newer tailorbird (its version {row[0]}, ours "
                f"{len(MIGRATIONS)})",
                "pip install --upgrade tailorbird",
            )
        return row is not None

    def lay_out(self, link: Any) -> Any:
        """Create the ledger's tables if missing; return a connection that sees them."""
        from psycopg import errors, sql

        try:
            with self.explained(), link.transaction():
                link.execute("SELECT pg_advisory_xact_lock(%s, 0)", (CLASS,))
                self._make_extension(link)
                if not self.is_laid_out(link):
                    name = sql.Identifier(self.schema)
                    link.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
                    for statement in filter(str.strip, _FIRST.split(";")):
                        link.execute(statement)
                    laid_out = "INSERT INTO tailorbird_keys VALUES ('schema', %s)"
                    link.execute(laid_out, (len(MIGRATIONS),))
        except errors.DuplicateTable as error:
            raise UserError(
                f"the schema {self.schema} of {self.address} holds another program's tables",
                "name another: ?schema=NAME at the end of knowledge.store",
            ) from error
        link.close()
        return self.link()  # with a new extension's schema

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn PostgreSQL's errors into `UserError` with a fix; passwords are never shown."""
        try:
            import psycopg
            from psycopg import errors
        except ImportError:  # reported when the address is parsed
            yield
            return
        try:
            yield
        except errors.InsufficientPrivilege as error:
            raise UserError(
                f"{self.address}: {self._words(error)}",
                f"have its owner run: GRANT CREATE, USAGE ON SCHEMA {self.schema} TO you, or "
                "GRANT CREATE ON DATABASE; CREATE EXTENSION vector is the administrator's",
            ) from None
        except errors.DiskFull as error:
            raise UserError(
                f"the disk of {self.address} is full: {self._words(error)}",
                "free some space and run the same command again: it continues, nothing is lost",
            ) from None
        except errors.ReadOnlySqlTransaction:
            raise UserError(
                f"{self.address} is read-only: it is a standby that follows another server",
                "name the server that it follows in knowledge.store",
            ) from None
        except (errors.UndefinedTable, errors.DataCorrupted, errors.IndexCorrupted) as error:
            raise UserError(
                f"{self.address} is damaged: {self._words(error)}",
                f"tailor index --store {self.folder} --repair, or restore a backup",
            ) from None
        except psycopg.OperationalError as error:
            raise UserError(
                f"no connection to {self.address}: {self._words(error)}",
                "changes that were not confirmed are not stored; run the same command again "
                "when the server can be reached (a password: PGPASSWORD or ~/.pgpass)",
            ) from None

    def _words(self, error: Exception) -> str:
        words = " ".join(str(error).split())
        return words.replace(self.secret, "***") if self.secret else words

    def _make_extension(self, link: Any) -> None:
        from psycopg import errors

        try:
            link.execute("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")
        except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
            raise UserError(
                f"{self.address} has no extension pgvector",
                "install it on the server: https://github.com/pgvector/pgvector#installation",
            ) from error
        version = link.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()[0]
        self._check_extension(link, version)

    def _check_extension(self, link: Any, version: str) -> None:
        if tuple(int(part) for part in version.split(".")[:2]) < _VECTOR:
            raise UserError(
                f"{self.address} has pgvector {version}, 0.8 or newer is needed",
                "have its administrator run: ALTER EXTENSION vector UPDATE",
            )


def _without_password(address: str) -> str:
    """Return an address without its password."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    options = [(k, v) for k, v in parse_qsl(parts.query) if k not in ("password", "sslpassword")]
    query = urlencode(options, quote_via=quote, safe="/")
    return urlunsplit(parts._replace(netloc=user.partition(":")[0] + at + host, query=query))
