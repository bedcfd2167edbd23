"""Writing to a knowledge base so that a kill at any moment leaves it consistent.

1. One ledger transaction inserts the new versions as pending, with chunks and vectors.
2. Their rows are added to the index.
3. One ledger transaction makes them live and their predecessors dead. From here on they are
   durable, and readers see the new versions instead of the old ones.
4. The dead rows are deleted from the index, then from the ledger.

If ledger and index share a database, all four are one transaction. Otherwise the next holder of the
write lock completes what a killed writer left; the ledger suffices for that, since it has the
vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.documents.read_result import FileVersion
from tailorbird.errors import UserError
from tailorbird.knowledge.ledger import Generation, Ledger, PendingDocument, text_hash
from tailorbird.knowledge.protocols import ChunkIndex

_BLOCK = 2000
MOVED = "moved"
"""The setting of a moved ledger that names its new store."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The content of one write.

    Attributes:
        prepared: New versions of documents.
        vectors: Unit vectors by the hash of their text; stored ones may be missing.
        notes: Files whose documents are complete with this batch.
        removed: Sources of documents to delete.
        missing: Files whose records to delete.
        generation: Number of the generation that the vectors belong to.
    """

    prepared: tuple[PendingDocument, ...] = ()
    vectors: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    notes: tuple[FileVersion, ...] = ()
    removed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    generation: int = -1


def recipe_of(config: IndexConfig) -> str:
    """Return a fingerprint of the chunking settings."""
    return f"{config.chunk_tokens or 'default'}/{config.overlap_tokens}"


def commit(
    ledger: Ledger, generation: Generation, store: ChunkIndex, batch: Batch
) -> tuple[int, int]:
    """Write a batch under the write lock; return the numbers of changed and deleted documents."""
    with ledger.link.explained(), ledger.link.together():
        check_place(ledger)
        recover(ledger, generation, store)
        with ledger.link.transaction():
            recipes = ledger.recipes(prepared.document.source for prepared in batch.prepared)
            # Checked again under the lock: another writer may have written the same version.
            fresh = [
                prepared
                for prepared in batch.prepared
                if recipes.get(prepared.document.source)
                != (prepared.document.digest, prepared.recipe)
            ]
            versions, rows = ledger.insert_pending(fresh)
            ledger.insert_vectors(generation.number, batch.vectors)
        texts = [text for prepared in fresh for text in prepared.texts]
        names = [text_hash(text) for text in texts]
        if all(name in batch.vectors for name in names):
            # The new chunks are in memory, so they need not be read back.
            if rows:
                vectors = np.stack([batch.vectors[name] for name in names])
                store.add(np.asarray(rows, dtype=np.int64), vectors, texts)
        else:
            _index(ledger, generation, store, np.asarray(rows, dtype=np.int64))
        with ledger.link.transaction():
            deleted = ledger.flip(versions, batch.removed)
            ledger.note_files(batch.notes, batch.missing)
        _bury(ledger, store)
    return len(versions), deleted


def check_place(ledger: Ledger) -> None:
    """Refuse to write to a knowledge base that was moved away: the write would be lost.

    Raises:
        UserError: It was moved.
    """
    if place := ledger.setting(MOVED):
        raise UserError(
            f"{ledger.link.folder} was moved to {place} meanwhile", "run the command again"
        )


def recover(ledger: Ledger, generation: Generation, store: ChunkIndex) -> None:
    """Complete the work of a killed writer, under the write lock."""
    with ledger.link.explained(), ledger.link.together():
        pending = ledger.versions("pending")
        if pending:
            rows = ledger.rows("pending")
            _index(ledger, generation, store, np.setdiff1d(rows, store.rows()))
            with ledger.link.transaction():
                ledger.flip(pending)
        _bury(ledger, store)


def unsettled(ledger: Ledger) -> bool:
    """Return whether a writer is active or was killed."""
    return bool(ledger.count("SELECT count(*) FROM documents WHERE state <> 'live'"))


def align(ledger: Ledger, generation: Generation, store: ChunkIndex) -> tuple[int, int]:
    """Make the index hold exactly the live rows; return how many were added and deleted.

    Needs the write lock, and every vector in the ledger.
    """
    check_place(ledger)
    live, indexed = ledger.rows("live"), store.rows()
    twice = indexed[1:][np.diff(indexed) == 0] if len(indexed) else indexed
    extra = np.union1d(np.setdiff1d(indexed, live), twice)
    store.delete(extra)
    missing = np.union1d(np.setdiff1d(live, indexed), np.intersect1d(twice, live))
    for start in range(0, len(missing), _BLOCK):
        _index(ledger, generation, store, missing[start : start + _BLOCK])
    return len(missing), len(extra)


def missing_vectors(ledger: Ledger, number: int, limit: int) -> list[tuple[bytes, int]]:
    """Return the hashes without a vector in a generation, each with a live row of that text."""
    sql = (
        "SELECT c.said, min(c.row) FROM chunks c JOIN documents d ON d.version = c.version "
        "WHERE d.state = 'live' AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.generation = ? "
        "AND v.said = c.said) GROUP BY c.said LIMIT ?"
    )
    return list(ledger.link.execute(sql, (number, limit)))


def keep_vectors(ledger: Ledger, number: int, vectors: Mapping[bytes, np.ndarray]) -> None:
    """Store computed vectors, so that nothing is embedded twice."""
    with ledger.link.transaction():
        ledger.insert_vectors(number, vectors)


def _index(ledger: Ledger, generation: Generation, store: ChunkIndex, rows: np.ndarray) -> None:
    if not len(rows):
        return
    listed = list(ledger.chunks_at(rows))
    vectors = ledger.vectors(generation.number, (name for _, name, _ in listed))
    vectorless = [row for row, name, _ in listed if name not in vectors]
    if vectorless:
        raise UserError(
            f"{len(vectorless)} chunks have no vector in the ledger of {ledger.link.folder}",
            f"tailor index --store {ledger.link.folder} --repair",
        )
    store.add(
        np.asarray([row for row, _, _ in listed], dtype=np.int64),
        np.stack([vectors[name] for _, name, _ in listed]),
        [contextual_text(chunk) for _, _, chunk in listed],
    )


def _bury(ledger: Ledger, store: ChunkIndex) -> None:
    dead = ledger.versions("dead")
    if dead:
        store.delete(ledger.rows("dead"))
        with ledger.link.transaction():
            ledger.erase(dead)
