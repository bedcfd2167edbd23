"""How a knowledge base is written so that a kill at any moment leaves it whole.

1. One ledger transaction notes the new versions as pending, with chunks and vectors.
2. Their rows go into the index.
3. One ledger transaction makes them live and the ones before them dead: from here on they are
   acknowledged, and readers see the new and not the old.
4. The dead rows leave the index, then the ledger.

Where ledger and index share a database, all four are one transaction. Else whoever takes the write
lock first finishes what a killed writer left between these steps: nothing
but the ledger is needed for it, since the vectors are in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk import chunk_document, contextual_text
from tailorbird.errors import UserError
from tailorbird.knowledge.ledger import FileNote, Generation, Ledger, PendingDocument, text_hash
from tailorbird.knowledge.protocols import ChunkIndex
from tailorbird.records import Document

_BLOCK = 2000
MOVED = "moved"
"""Setting of a ledger that was moved to another store: which."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one pass writes.

    Attributes:
        prepared: New versions of documents.
        vectors: Unit vectors by the hash of what they say; those kept already may be missing.
        notes: Files whose documents are all in when this is.
        removed: Sources of documents to delete.
        missing: Files to forget.
        generation: Number of the generation that the vectors are of.
    """

    prepared: tuple[PendingDocument, ...] = ()
    vectors: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    notes: tuple[FileNote, ...] = ()
    removed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    generation: int = -1


def prepare_document(
    document: Document, path: str, tokenizer: Any, config: IndexConfig
) -> PendingDocument:
    """Cut a document of the file `path` for an embedder with this tokenizer."""
    chunks = tuple(chunk_document(document, tokenizer, config))
    texts = tuple(contextual_text(chunk) for chunk in chunks)
    return PendingDocument(document, path, chunks, texts, recipe_of(config))


def recipe_of(config: IndexConfig) -> str:
    """Return a fingerprint of the settings that cut documents."""
    return f"{config.chunk_tokens or 'default'}/{config.overlap_tokens}"


def commit(
    ledger: Ledger, generation: Generation, store: ChunkIndex, batch: Batch
) -> tuple[int, int]:
    """Write a batch; the write lock is held. Return how many documents changed and were deleted."""
    with ledger.link.explained(), ledger.link.together():
        check_place(ledger)
        recover(ledger, generation, store)
        with ledger.link.transaction():
            recipes = ledger.recipes(prepared.document.source for prepared in batch.prepared)
            # Looked at again under the lock: another writer may have brought the same version in.
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
            # What stands in the ledger by now is at hand: no need to read it back.
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
    """Refuse to write where a knowledge base was moved away: it would be lost.

    Raises:
        UserError: It was.
    """
    if place := ledger.setting(MOVED):
        raise UserError(
            f"{ledger.link.folder} was moved to {place} meanwhile", "run the command again"
        )


def recover(ledger: Ledger, generation: Generation, store: ChunkIndex) -> None:
    """Finish what a killed writer left; the write lock is held."""
    with ledger.link.explained(), ledger.link.together():
        pending = ledger.versions("pending")
        if pending:
            rows = ledger.rows("pending")
            _index(ledger, generation, store, np.setdiff1d(rows, store.rows()))
            with ledger.link.transaction():
                ledger.flip(pending)
        _bury(ledger, store)


def unsettled(ledger: Ledger) -> bool:
    """Say whether a writer is at work or was killed."""
    return bool(ledger.count("SELECT count(*) FROM documents WHERE state <> 'live'"))


def align(ledger: Ledger, generation: Generation, store: ChunkIndex) -> tuple[int, int]:
    """Make the index hold the live rows and nothing else; return how many were added and deleted.

    The write lock is held, and every vector is in the ledger.
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
    """Return hashes that a generation has no vector of, each with a live row that says it."""
    sql = (
        "SELECT c.said, min(c.row) FROM chunks c JOIN documents d ON d.version = c.version "
        "WHERE d.state = 'live' AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.generation = ? "
        "AND v.said = c.said) GROUP BY c.said LIMIT ?"
    )
    return list(ledger.link.execute(sql, (number, limit)))


def keep_vectors(ledger: Ledger, number: int, vectors: Mapping[bytes, np.ndarray]) -> None:
    """Keep vectors that were embedded, so that nothing is embedded twice."""
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
