"""`tailor index`: reads, chunks, embeds and writes documents to a knowledge base."""

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.find_files import below, find_files, source_of
from tailorbird.documents.pool import read_files
from tailorbird.documents.read_result import FileResult, FileVersion
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.index_on_ray import Shard, prepare_document, read_on_nodes, renamed_result
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.embedders import NoVectorError
from tailorbird.knowledge.ledger import PendingDocument
from tailorbird.knowledge.write import Batch, recipe_of
from tailorbird.records import Document
from tailorbird.runs.ray_nodes import RayNodes
from tailorbird.terminal import one_line

_BATCH_CHUNKS = 2000
# A slow machine takes minutes to embed a full batch, too much to lose by a kill.
_BATCH_SECONDS = 20.0


@dataclass
class Indexed:
    """The result of an `index`.

    Attributes:
        unchanged: Unchanged files.
        moved: Files found under another path with the same content.
        skipped: Files that were not read, each with the reason.
        notes: The readers' notes on files that were read.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    moved: int = 0
    deleted: int = 0
    chunks: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def index(
    kb: KnowledgeFolder,
    paths: Sequence[str | Path],
    config: IndexConfig,
    sync: bool = False,
    ray: str | None = None,
) -> Indexed:
    """Update a knowledge base from files and folders.

    Args:
        config: Settings; other chunk lengths than before chunk everything again.
        sync: Delete the documents of missing files below `paths`.
        ray: Address of a Ray cluster whose nodes read, chunk and embed; None: this machine.

    Raises:
        UserError: A path does not exist, the disk is full, or the cluster is unreachable.
    """
    tally = Indexed()
    work = _Ingest(kb, config, tally)
    _recut(kb, config, tally)
    files = find_files(paths, config)
    notes = kb.ledger.files()
    with ExitStack() as around:
        nodes = around.enter_context(RayNodes(ray)) if ray and files else None
        title = "index" if files else ""
        bar = around.enter_context(log.quiet_progress(title, len(files), "files"))
        shards = (
            (Shard((result,)) for result in read_files(files, config, notes))
            if nodes is None
            else read_on_nodes(nodes, kb, files, config, notes)
        )
        for shard in shards:
            work.begin(shard)
            for result in shard.results:
                work.take(result, notes)
                bar.advance(1, f"{tally.chunks:,} chunks")
        work.write()
    if sync:
        _delete_gone(kb, paths, {source_of(file) for file in files}, tally)
    return work.finish()


def add_documents(kb: KnowledgeFolder, documents: Iterable[Document]) -> Indexed:
    """Add documents without a file; one with the same source is replaced."""
    work = _Ingest(kb, kb.settings, Indexed())
    for document in documents:
        work.tally.unchanged += not work.add(document, document.source)
    return work.finish()


def put_file(kb: KnowledgeFolder, path: Path, name: str) -> Indexed:
    """Index one file under a given name, replacing its predecessor.

    Readers see all of its documents change at once: a batch is one transaction.

    Args:
        path: The file, which may be deleted afterwards.
    """
    work = _Ingest(kb, kb.settings, Indexed())
    (result,) = read_files([path], kb.settings)
    # A batch is also written after some seconds, and reading may take longer than that.
    work.wrote = time.monotonic()
    work.take(renamed_result(result, name), {})
    return work.finish()


def remove(kb: KnowledgeFolder, sources: Sequence[str]) -> int:
    """Delete documents by source, or all of a file or folder; return the number deleted.

    Raises:
        UserError: A source does not exist.
    """
    doomed: list[str] = []
    missing: list[str] = []
    for name in sources:
        for plain in (name, source_of(Path(name))):
            if of_file := kb.ledger.live_digests(plain):
                doomed.extend(of_file)
                missing.append(plain)
                break
            if document := kb.ledger.live(plain):
                doomed.append(plain)
                # Without this, the unchanged file would be skipped from now on.
                missing.append(document[1])
                break
            if inside := [path for path in kb.ledger.paths() if below(path, [plain])]:
                doomed += [source for path in inside for source in kb.ledger.live_digests(path)]
                missing += inside
                break
        else:
            candidates = [*kb.ledger.live_digests(), *kb.ledger.paths()]
            raise UserError(
                f"{name} is not in the knowledge base{did_you_mean(name, candidates)}",
                f"tailor index --store {kb.folder} --list",
            )
    _, deleted = kb.write(Batch(removed=tuple(dict.fromkeys(doomed)), missing=tuple(missing)))
    kb.optimize()
    return deleted


class _Ingest:
    """Collects documents until they fill a batch."""

    def __init__(self, kb: KnowledgeFolder, config: IndexConfig, tally: Indexed) -> None:
        self.kb, self.config, self.tally = kb, config, tally
        self.accepted: dict[str, tuple[str, str]] = {}
        self.moving: set[str] = set()
        self.refused: set[str] = set()
        self.prepared: list[PendingDocument] = []
        self.notes: list[FileVersion] = []
        self.removed: list[str] = []
        self.missing: list[str] = []
        self.count, self.started = 0, time.monotonic()
        self.wrote = self.started
        self.shard = Shard()
        self.vectors: dict[bytes, np.ndarray] = {}

    def begin(self, shard: Shard) -> None:
        """Start a shard's files, with the documents and vectors that a node has prepared."""
        if self.vectors and shard.generation != self.shard.generation:
            self.write()
        self.shard = shard
        self.vectors.update(shard.vectors)

    def take(self, result: FileResult, notes: dict[str, FileVersion]) -> None:
        """Process the result of one file."""
        path = result.source
        if result.notes:
            self.tally.notes[path] = list(result.notes)
            log.warn(f"{one_line(path)}: {'; '.join(result.notes)}")
        if result.why:
            before = " (its version indexed before stays)" if path in notes else ""
            self.tally.skipped[path] = result.why + before
            log.warn(f"{one_line(path)} is left out: {result.why}{before}")
            return
        note = FileVersion(path, result.size, result.mtime_ns, result.digest)
        if result.unchanged:
            self.tally.unchanged += 1
            if notes.get(path) != note:
                self.notes.append(note)
            return
        moved = self._drop_moved(note, notes)
        documents = [d for d in result.documents or () if self._owner(d.source) in (None, path)]
        for document in documents:
            self.add(document, path, counted=not moved)
        sources = {document.source for document in documents}
        self.removed += [s for s in self.kb.ledger.live_digests(path) if s not in sources]
        if len(documents) == len(result.documents or ()):
            self.notes.append(note)
        else:
            # Without a note, the file is read again next time: the other one may have been renamed.
            self._tell_collision(result)

    def add(
        self, document: Document, path: str, *, counted: bool = True, again: bool = False
    ) -> bool:
        """Add a new or changed document; write the batch when it is full.

        Args:
            again: Whether to chunk it even if it is unchanged.

        Returns:
            Whether it was added.
        """
        before = self._live(document.source)
        if before is not None and before[0] == document.digest and not again:
            return False
        self.accepted[document.source] = document.digest, path
        prepared = self.shard.prepared.get((document.source, document.digest))
        prepared = prepared or prepare_document(
            document, path, self.kb.embedder.tokenizer, self.config
        )
        self.prepared.append(prepared)
        self.count += len(prepared.chunks)
        self.tally.chunks += len(prepared.chunks)
        if counted:
            self.tally.added += before is None
            self.tally.changed += before is not None
        if self.count >= _BATCH_CHUNKS or time.monotonic() - self.wrote > _BATCH_SECONDS:
            self.write()
        return True

    def _live(self, source: str) -> tuple[str, str] | None:
        """Return digest and file of the live document with a source."""
        return self.accepted.get(source) or self.kb.ledger.live(source)

    def _owner(self, source: str) -> str | None:
        live = self._live(source)
        return None if live is None else live[1]

    def _tell_collision(self, result: FileResult) -> None:
        """Report that a file's documents would replace another file's."""
        path = result.source
        others = [d.source for d in result.documents or () if self._owner(d.source) != path]
        owner = self._owner(others[0])
        why = f"{others[0]} is a document of {owner} already: rename one of the files"
        if len(others) == len(result.documents or ()):
            self.tally.skipped[path] = why
        else:
            why = f"{len(others)} documents are left out: {why}"
            self.tally.notes.setdefault(path, []).append(why)
        log.warn(f"{path}: {why}")

    def write(self) -> None:
        """Write the batch; documents that cannot be embedded are skipped and reported."""
        while not self._write_batch():
            pass
        self.prepared, self.notes, self.removed, self.missing = [], [], [], []
        self.moving, self.vectors = set(), dict(self.shard.vectors)
        self.count, self.wrote = 0, time.monotonic()

    def finish(self) -> Indexed:
        """Write the rest, optimize the knowledge base, and return the tally."""
        self.write()
        self.kb.optimize()
        self.tally.seconds = round(time.monotonic() - self.started, 3)
        return self.tally

    def _write_batch(self) -> bool:
        """Write the batch, or drop the documents that cannot be embedded."""
        batch = Batch(
            prepared=tuple(self.prepared),
            vectors=self.vectors,
            generation=self.shard.generation,
            notes=tuple(note for note in self.notes if note.path not in self.refused),
            removed=tuple(self.removed),
            missing=tuple(self.missing),
        )
        if not (batch.prepared or batch.notes or batch.removed or batch.missing):
            return True
        try:
            _, deleted = self.kb.write(batch)
        except NoVectorError as error:
            self._refuse(error)
            return False
        self.tally.deleted += max(0, deleted - len(self.moving))
        return True

    def _refuse(self, error: NoVectorError) -> None:
        refused = [one for one in self.prepared if not error.texts.isdisjoint(one.texts)]
        self.prepared = [one for one in self.prepared if error.texts.isdisjoint(one.texts)]
        for one in refused:
            source = one.document.source
            self.refused.add(one.path)
            self.tally.skipped[source] = error.problem
            self.tally.chunks -= len(one.chunks)
            if self.kb.ledger.live(source) is None:
                self.tally.added -= 1
            else:
                self.tally.changed -= 1
            log.warn(f"{source} is left out: {error.problem}")

    def _drop_moved(self, note: FileVersion, notes: dict[str, FileVersion]) -> bool:
        """Delete the documents of a missing path with the same content as this file."""
        if note.path in notes:
            return False
        for other in notes.values():
            if other.digest == note.digest and not os.path.exists(other.path):
                # The document is counted as moved, neither as added nor as deleted.
                left = self.kb.ledger.live_digests(other.path)
                self.removed += left
                self.moving |= set(left)
                self.missing.append(other.path)
                self.tally.moved += 1
                notes.pop(other.path)
                return True
        return False


def _recut(kb: KnowledgeFolder, config: IndexConfig, tally: Indexed) -> None:
    """Chunk documents with an outdated recipe again, from their texts in the ledger."""
    old = kb.ledger.outdated(recipe_of(config))
    # Saved first, so that the next run continues a killed one.
    kb.keep_settings(config)
    if not old:
        return
    log.say(f"the chunk settings have changed: {len(old):,} documents are chunked again")
    work = _Ingest(kb, config, Indexed())
    for source in old:
        stored = kb.ledger.document(source)
        if stored is not None:
            document, path = stored
            work.add(document, path, again=True)
    work.write()
    tally.changed += len(old)
    tally.chunks += work.tally.chunks


def _delete_gone(
    kb: KnowledgeFolder, paths: Sequence[str | Path], there: set[str], tally: Indexed
) -> None:
    """Delete documents of missing files below the paths."""
    roots = [source_of(Path(path)) for path in paths]
    away = [path for path in kb.ledger.paths() if path not in there and below(path, roots)]
    missing = [path for path in away if not _out_of_sight(path)]
    if hidden := len(away) - len(missing):
        log.warn(f"{hidden:,} files cannot be checked now: their indexed versions stay")
    removed = [source for path in missing for source in kb.ledger.live_digests(path)]
    if removed:
        _, deleted = kb.write(Batch(removed=tuple(removed), missing=tuple(missing)))
        tally.deleted += deleted


def _out_of_sight(path: str) -> bool:
    """Return whether a file may still exist in a folder without read permission."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return not os.access(os.path.dirname(path) or ".", os.R_OK)
