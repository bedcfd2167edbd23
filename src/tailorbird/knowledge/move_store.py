"""A knowledge base moved to another store: copied, compared, then pointed to."""

import hashlib
from collections.abc import Iterator
from typing import Any

from tailorbird.errors import UserError
from tailorbird.knowledge import write
from tailorbird.knowledge.backends import at, remember
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import Ledger
from tailorbird.knowledge.protocols import Backend, Database

_PAGE = 2000
# By their keys: what is compared is read in the same order on both sides.
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
    """Copy a knowledge base to another store, compare both, and use the copy from then on.

    Readers go on meanwhile, writers wait. A move that was killed begins again; until it is done
    the knowledge base is where it was. What it leaves there is not deleted.

    Args:
        kb: The knowledge base; close it afterwards.
        address: As ``knowledge.store``.

    Returns:
        How many chunks were moved.

    Raises:
        UserError: There is a knowledge base already, or the copy differs.
    """
    backend = at(kb.folder, address)
    if (backend.name, backend.address) == (kb.backend.name, kb.backend.address):
        raise UserError(f"{kb.folder} lies there already", "name another store with --move-to")
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
        for table in _TABLES:
            _copy(source.link, target.link, table)
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
    # Not a knowledge base before it is whole.
    target.keep({"generation": generation.number, "store": backend.name})
    # From here on writers of the old place are told where it is, and openers find the new one.
    source.keep({write.MOVED: backend.address or backend.name})
    remember(backend)
    return count


def _clear(backend: Backend, target: Ledger) -> None:
    """Make the target empty: what is there is half a copy, or the one that was moved away."""
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


def _copy(source: Database, target: Database, table: str) -> None:
    columns, _ = _TABLES[table]
    for rows in _pages(source, table):
        target.insert(table, columns, rows)


def _digest(link: Database, table: str) -> str:
    digest = hashlib.sha256()
    for rows in _pages(link, table):
        digest.update(repr(rows).encode("utf-8", "replace"))
    return digest.hexdigest()


def _pages(link: Database, table: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a table's rows by their keys; of settings those that are not the store's own."""
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
