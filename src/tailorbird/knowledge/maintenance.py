"""`tailor index --list, --verify, --repair, --stats, --rollback, --embedder`."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.knowledge.backends import backend_of
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import unpack
from tailorbird.knowledge.move_store import move

_BLOCK = 2000


@dataclass(frozen=True)
class Verified:
    """What `--verify` found; `problems` is empty when all is well."""

    documents: int
    chunks: int
    problems: tuple[str, ...]


def listed(kb: KnowledgeFolder) -> list[dict[str, Any]]:
    """Return every document: source, title, chunks, digest."""
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
    """Compare ledger and index with each other and with themselves; nothing is changed."""
    ledger = kb.ledger
    problems: list[str] = []
    # Where nobody may write there is no lock to be had, and nothing changes meanwhile.
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
    """Make the index again from the ledger; return its chunks."""
    log.say("the index is made again from the ledger")
    return kb.rebuild("repair")


def change_embedder(kb: KnowledgeFolder, embedder: str) -> int:
    """Embed everything with another model, then search that; return its generation."""
    log.say(
        f"{kb.folder} was embedded with {kb.current.embedder}: everything is embedded again with "
        f"{embedder}; searches go on with the old one until that is done"
    )
    number = kb.build_generation(embedder, "embed")
    kb.switch(number)
    log.say("switched; back again: --rollback")
    return number


def move_to(kb: KnowledgeFolder, address: str) -> dict[str, Any]:
    """Move it to another store; return where it is now and how many chunks were moved."""
    chunks = move(kb, address)
    left = kb.backend.address or f"ledger.sqlite and index/ of {kb.folder}"
    log.say(f"{chunks:,} chunks were moved and compared; {left} may be deleted")
    return {"store": backend_of(kb.folder).address or address, "chunks": chunks}


def _half_documents(kb: KnowledgeFolder) -> list[str]:
    """Every document has all its chunks, and each is its piece of the text."""
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
        problems.append(f"{twice} chunks are twice in the index")
    if missing := len(np.setdiff1d(live, indexed)):
        problems.append(f"{missing} chunks are missing in the index")
    if extra := len(np.setdiff1d(indexed, live)):
        problems.append(f"{extra} chunks in the index are not in the ledger")
    lost = differing = 0
    for start in range(0, len(live), _BLOCK):
        rows = np.intersect1d(live[start : start + _BLOCK], indexed)
        names = [name for _, name, _ in kb.ledger.chunks_at(rows)]
        stored = kb.ledger.vectors(generation.number, names)
        lost += sum(name not in stored for name in names)
        have = np.asarray([name in stored for name in names], dtype=bool)
        if have.any():
            expected = np.stack([stored[name] for name in names if name in stored])
            differing += int((np.abs(expected - store.vectors(rows[have])) > 1e-6).any(1).sum())
    if lost:
        problems.append(f"{lost} chunks have no vector in the ledger")
    if differing:
        problems.append(f"{differing} vectors in the index differ from the ledger's")
    return problems
