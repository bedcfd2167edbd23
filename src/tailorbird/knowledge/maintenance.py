"""`tailor index --list, --verify, --repair, --stats, --rollback, --embedder, --move-to`."""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.errors import UserError
from tailorbird.knowledge import write
from tailorbird.knowledge.backends import at, backend_of, remember
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import Ledger, unpack
from tailorbird.knowledge.protocols import Backend, Database

_BLOCK = 2000


@dataclass(frozen=True)
class Verified:
    """The result of `--verify`; `problems` is empty if all is well."""

    documents: int
    chunks: int
    problems: tuple[str, ...]


def listed(kb: KnowledgeFolder) -> list[dict[str, Any]]:
    """Return source, title, number of chunks and digest of every document."""
    read = kb.ledger.link.execute(
        "SELECT source, title, chunks, digest FROM documents WHERE state = 'live' ORDER BY source"
    )
    return [dict(zip(("source", "title", "chunks", "digest"), row, strict=True)) for row in read]


def stats(kb: KnowledgeFolder) -> dict[str, Any]:
    """Return counts and sizes."""
    ledger = kb.ledger
    count = ledger.count
    whole, index = kb.backend.sizes()
    current = kb.current
    return {
        "documents": count("SELECT count(*) FROM documents WHERE state = 'live'"),
        "files": len(ledger.paths()),
        "chunks": len(ledger.rows("live")),
        "tokens": count(
            "SELECT sum(c.tokens) FROM chunks c JOIN documents d ON d.version = c.version "
            "WHERE d.state = 'live'"
        ),
        "store": kb.backend.address or kb.backend.name,
        "embedder": current.embedder,
        "dimension": current.dimension,
        "generation": current.number,
        "settings": kb.settings.model_dump(mode="json", exclude_defaults=True),
        "bytes": whole,
        "index_bytes": index,
    }


def verify(kb: KnowledgeFolder) -> Verified:
    """Check ledger and index against each other and themselves, without changes."""
    ledger = kb.ledger
    problems: list[str] = []
    # A read-only knowledge base has no lock, and nothing changes it meanwhile.
    with nullcontext() if kb.read_only else kb.backend.lock():
        if damage := ledger.link.check():
            problems.append(f"the ledger is damaged: {damage}")
        for state in ("pending", "dead"):
            if left := len(ledger.versions(state)):
                problems.append(f"{left} documents were left {state} by a killed writer")
        live = ledger.rows("live")
        problems += _half_documents(kb)
        problems += _compare_index(kb, live)
    documents = ledger.count("SELECT count(*) FROM documents WHERE state = 'live'")
    return Verified(documents, len(live), tuple(problems))


def repair(kb: KnowledgeFolder) -> int:
    """Rebuild the index from the ledger; return its number of chunks."""
    log.say("rebuilding the index from the ledger")
    return kb.rebuild("repair")


def change_embedder(kb: KnowledgeFolder, embedder: str) -> int:
    """Embed everything with another model and switch to it; return its generation."""
    log.say(
        f"{kb.folder} was embedded with {kb.current.embedder}: everything is embedded again with "
        f"{embedder}; searches use the old embedder until that is done"
    )
    number = kb.build_generation(embedder, "embed")
    kb.switch(number)
    log.say("switched to the new embedder; undo: --rollback")
    return number


def move_to(kb: KnowledgeFolder, address: str) -> dict[str, Any]:
    """Move the knowledge base to another store; return its new place and number of chunks."""
    chunks = move(kb, address)
    left = kb.backend.address or f"ledger.sqlite and index/ of {kb.folder}"
    log.say(f"{chunks:,} chunks were moved and compared; {left} may be deleted")
    return {"store": backend_of(kb.folder).address or address, "chunks": chunks}


def _half_documents(kb: KnowledgeFolder) -> list[str]:
    """Return documents with missing chunks, or with a chunk that differs from its text."""
    problems = []
    read = kb.ledger.link.execute(
        "SELECT d.version, d.source, d.chunks, t.body FROM documents d LEFT JOIN texts t "
        "ON t.version = d.version WHERE d.state = 'live'"
    )
    for version, source, expected, body in read:
        chunks = kb.ledger.link.execute(
            'SELECT position, start, "end", text FROM chunks WHERE version = ? ORDER BY position',
            (version,),
        ).fetchall()
        text = unpack(body) if body is not None else ""
        if [c[0] for c in chunks] != list(range(expected)):
            problems.append(f"{source} has {len(chunks)} of {expected} chunks")
        elif any(text[start:end] != piece for _, start, end, piece in chunks):
            problems.append(f"{source} has chunks that are not in its text")
    return problems


def _compare_index(kb: KnowledgeFolder, live: np.ndarray) -> list[str]:
    generation = kb.current
    store = kb.store(generation)
    indexed = store.rows()
    problems = []
    if twice := len(indexed) - len(np.unique(indexed)):
        problems.append(f"{twice} chunks occur twice in the index")
    if missing := len(np.setdiff1d(live, indexed)):
        problems.append(f"{missing} chunks are missing in the index")
    if extra := len(np.setdiff1d(indexed, live)):
        problems.append(f"{extra} chunks in the index are not in the ledger")
    absent = differing = 0
    for start in range(0, len(live), _BLOCK):
        rows = np.intersect1d(live[start : start + _BLOCK], indexed)
        names = [name for _, name, _ in kb.ledger.chunks_at(rows)]
        stored = kb.ledger.vectors(generation.number, names)
        absent += sum(name not in stored for name in names)
        have = np.asarray([name in stored for name in names], dtype=bool)
        if have.any():
            expected = np.stack([stored[name] for name in names if name in stored])
            differing += int((np.abs(expected - store.vectors(rows[have])) > 1e-6).any(1).sum())
    if absent:
        problems.append(f"{absent} chunks have no vector in the ledger")
    if differing:
        problems.append(f"{differing} vectors in the index differ from the ledger's")
    return problems


_PAGE = 2000
# Ordered by key, so that both sides are read in the same order.
_TABLES = {
    "generations": ("number, embedder, dimension, fingerprint", "number"),
    "files": ("path, size, mtime_ns, digest", "path"),
    "documents": (
        "version, source, path, state, digest, made, title, metadata, marks, chunks", "version"
    ),
    "texts": ("version, body", "version"),
    "chunks": (
        'row, version, position, id, start, "end", page, headings, tokens, text, said', "row"
    ),
    "vectors": ("generation, said, vector", "generation, said"),
    "settings": ("name, value", "name"),
}  # fmt: skip
_OWN = ("generation", "store", write.MOVED)


def move(kb: KnowledgeFolder, address: str) -> int:
    """Copy a knowledge base to another store, verify the copy, and switch to it.

    Readers continue meanwhile; writers wait. A killed move starts over, and until it is complete
    the old place is valid. The data there is not deleted.

    Args:
        kb: The knowledge base; close it afterwards.

    Returns:
        The number of chunks moved.

    Raises:
        UserError: The target has a knowledge base already, or the copy differs.
    """
    backend = at(kb.folder, address)
    if (backend.name, backend.address) == (kb.backend.name, kb.backend.address):
        raise UserError(f"{kb.folder} is there already", "name another store with --move-to")
    if not (backend.address or kb.backend.address):
        raise UserError(
            f"{kb.backend.name} and {backend.name} both keep their ledger in {kb.folder}",
            f"index the documents into another folder, with knowledge.store={backend.name}",
        )
    target = Ledger(backend.connect(create=True))
    try:
        with kb.backend.lock(), backend.lock(), target.link.explained():
            return _moved(kb, backend, target)
    finally:
        target.close()
        backend.close()


def _moved(kb: KnowledgeFolder, backend: Backend, target: Ledger) -> int:
    source, generation = kb.ledger, kb.current
    write.recover(source, generation, kb.store(generation))
    _clear(backend, target)
    with target.link.transaction():
        for table, (columns, _) in _TABLES.items():
            for rows in _pages(source.link, table):
                target.link.insert(table, columns, rows)
        for table, key in (("generations", "number"), ("documents", "version"), ("chunks", "row")):
            last = source.count(f"SELECT max({key}) FROM {table}")
            target.link.next_key(table, last)
    store = backend.open(generation.number, generation.dimension, create=True)
    count, _ = write.align(target, generation, store)
    store.optimize()
    differing = [t for t in _TABLES if _digest(source.link, t) != _digest(target.link, t)]
    if differing or len(store.rows()) != count:
        raise UserError(
            f"the copy in {backend.address or backend.folder} differs in "
            f"{', '.join(differing) or 'its index'}: {kb.folder} stays where it was",
            "run the same command again; if it differs again, please report it",
        )
    # Written last: without it the copy is not yet a knowledge base.
    target.keep({"generation": generation.number, "store": backend.name})
    # From here on, writers at the old place get its new address, and openers use the new one.
    source.keep({write.MOVED: backend.address or backend.name})
    remember(backend)
    return count


def _clear(backend: Backend, target: Ledger) -> None:
    """Empty the target: its content is a partial copy, or the source of an earlier move."""
    if target.setting("generation") is not None and not target.setting(write.MOVED):
        raise UserError(
            f"{backend.address or backend.folder} holds a knowledge base already",
            "name another place with --move-to",
        )
    for generation in target.generations():
        backend.remove(generation.number)
    with target.link.transaction():
        for table in _TABLES:
            target.link.execute(f"DELETE FROM {table}")


def _digest(link: Database, table: str) -> str:
    digest = hashlib.sha256()
    for rows in _pages(link, table):
        digest.update(repr(rows).encode("utf-8", "replace"))
    return digest.hexdigest()


def _pages(link: Database, table: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a table's rows by key, without the settings that belong to the store itself."""
    columns, key = _TABLES[table]
    width, last = key.count(",") + 1, ()
    while True:
        after = f"WHERE ({key}) > ({', '.join('?' * width)})" if last else ""
        sql = f"SELECT {key}, {columns} FROM {table} {after} ORDER BY {key} LIMIT {_PAGE}"
        rows = link.execute(sql, last).fetchall()
        if not rows:
            return
        last = tuple(rows[-1][:width])
        yield [tuple(r[width:]) for r in rows if table != "settings" or r[0] not in _OWN]
