"""The table of stores, one backend each; the ledger records which store a knowledge base uses."""

import json
from pathlib import Path

from tailorbird.errors import UserError, did_you_mean
from tailorbird.knowledge.ledger import Ledger
from tailorbird.knowledge.protocols import Backend
from tailorbird.knowledge.sqlite_ledger import FolderBackend, make_folder
from tailorbird.lazy_import import leaf

BACKENDS: dict[str, str] = {
    "files": "segments.SegmentBackend",
    "lancedb": "lance.LanceBackend",
    "postgresql": "postgres_index.PostgresBackend",
}
"""Module and class of each store, by the name that ``knowledge.store`` is or begins with, as in ``name://host/database``."""

_OBJECTS = ("s3", "gs", "az", "abfs", "r2")
DEFAULT, _FIRST = "files", "lancedb"
POINTER = "ledger.json"
"""A file in the knowledge base's folder that records where an outside ledger lies."""


def backend_of(folder: Path, address: str | None = None) -> Backend:
    """Return the backend of an existing knowledge base, or of one to be created.

    Args:
        folder: The knowledge base.
        address: The requested ``knowledge.store``; None: the existing store, or files for a new
            one.

    Raises:
        UserError: There is no such store, or the knowledge base lies in another.
    """
    scheme, sign, _ = folder.as_posix().partition(":/")
    if sign and scheme in BACKENDS:
        raise UserError(
            f"--store takes a folder, which may point to {scheme}",
            f"tailor index --store FOLDER --set knowledge.store={scheme}://...",
        )
    if sign and scheme in _OBJECTS:
        raise _no_ledger(scheme)
    recorded = _recorded(folder)
    backend = at(folder, address or recorded or DEFAULT)
    if address and recorded and recorded.partition("://")[0] != backend.name:
        raise UserError(
            f"{folder} is stored in {recorded}, but knowledge.store is "
            f"{backend.address or backend.name}",
            f"leave knowledge.store out, or move it: tailor index --store {folder} --move-to STORE",
        )
    return backend


def at(folder: Path, address: str) -> Backend:
    """Return the backend of an address, whether or not a knowledge base exists there.

    Raises:
        UserError: There is no such store, or the address is invalid.
    """
    name = address.partition("://")[0]
    if name in _OBJECTS:
        raise _no_ledger(name)
    if name not in BACKENDS:
        # An unknown name may contain a password.
        label = (
            f" {name!r}{did_you_mean(name, BACKENDS)}" if name.isidentifier() else " of that name"
        )
        raise UserError(
            f"knowledge.store: there is no store{label}",
            f"use one of: {', '.join(BACKENDS)}; for a server its address: "
            "postgresql://HOST/DATABASE",
        )
    backend: Backend = leaf("tailorbird.knowledge", *BACKENDS[name].split("."))(folder, address)
    return backend


def _no_ledger(scheme: str) -> UserError:
    """Return the error for object storage: it can hold LanceDB's tables but not the ledger."""
    return UserError(
        f"a knowledge base cannot be stored in object storage ({scheme}://): its ledger is written "
        "in place and locked, which object storage does not support",
        "use a folder, or knowledge.store=postgresql://... for several hosts; a folder that is "
        "not being written may be copied there and back",
    )


def remember(backend: Backend) -> None:
    """Record in the folder where an outside ledger lies; passwords are left out."""
    pointer = backend.folder / POINTER
    if not backend.address:
        pointer.unlink(missing_ok=True)
        return
    make_folder(backend.folder)
    part = pointer.with_suffix(".part")
    part.write_text(json.dumps({"store": backend.address}) + "\n", encoding="utf-8")
    part.replace(pointer)


def _recorded(folder: Path) -> str | None:
    """Return the store that a folder's knowledge base uses; None: no knowledge base yet."""
    pointer = folder / POINTER
    if pointer.is_file():
        try:
            return str(json.loads(pointer.read_text(encoding="utf-8"))["store"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{pointer} is damaged: {error}",
                'write into it: {"store": "ADDRESS"}, the address as in knowledge.store',
            ) from error
    home = FolderBackend(folder)
    if not home.exists:
        return None
    ledger = Ledger(home.connect())
    try:
        with ledger.link.explained():
            has_generation = ledger.setting("generation") is not None
            # Earlier versions had LanceDB alone.
            return str(ledger.setting("store") or _FIRST) if has_generation else None
    finally:
        ledger.link.close()
