"""Reads, chunks and embeds files of a knowledge base on Ray nodes, one task per shard.

The files' bytes go to the nodes; documents, chunks and vectors come back in the files' order, and
the caller writes them as if computed locally. Unchanged files are not sent.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tailorbird import log
from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk import chunk_document
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.documents.find_files import source_of
from tailorbird.documents.pool import read_files, read_options
from tailorbird.documents.read_result import FileResult, FileVersion, ReadOptions, document_digest
from tailorbird.errors import UserError
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.embedders import load_embedder
from tailorbird.knowledge.ledger import PendingDocument, text_hash
from tailorbird.knowledge.write import recipe_of
from tailorbird.records import Document
from tailorbird.runs.ray_nodes import RayNodes, TaskFailed

_FILES, _BYTES = 100, 4 << 20
"""The most files of a shard, and its most bytes."""


@dataclass(frozen=True)
class Shard:
    """The results of some files.

    Attributes:
        results: The result of each file, in order.
        prepared: Chunked documents, by source and digest.
        vectors: The vectors of their texts, by hash.
        generation: Number of the vectors' generation.
    """

    results: Sequence[FileResult] = ()
    prepared: Mapping[tuple[str, str], PendingDocument] = field(default_factory=dict)
    vectors: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    generation: int = -1


class SentFile(NamedTuple):
    """A file as it is sent to a node.

    Attributes:
        mtime_ns: Its modification time.
        earlier: Its recorded version.
    """

    source: str
    name: str
    mtime_ns: int
    content: bytes
    earlier: FileVersion | None


@dataclass(frozen=True)
class ShardTask:
    """The task of a node.

    Attributes:
        config: The settings for reading and chunking.
        embedder: Name or folder of the model, and its fingerprint.
    """

    files: tuple[SentFile, ...]
    config: IndexConfig
    embedder: tuple[str, str]


def read_on_nodes(
    nodes: RayNodes,
    kb: KnowledgeFolder,
    files: Sequence[Path],
    config: IndexConfig,
    earlier: Mapping[str, FileVersion],
) -> Iterator[Shard]:
    """Yield the results of files, in order.

    Args:
        nodes: The cluster.
        kb: The target knowledge base.
        files: As `find_files` returns them.
        config: The settings for reading and chunking.
        earlier: The files' recorded versions, by source.
    """
    work = partial(_read_shard, nodes, kb, config, earlier)
    yield from nodes.each(work, _shards(files))


def _shards(files: Sequence[Path]) -> Iterator[list[Path]]:
    shard: list[Path] = []
    size = 0
    for file in files:
        shard.append(file)
        size += file.stat().st_size if file.is_file() else 0
        if len(shard) >= _FILES or size >= _BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _read_shard(
    nodes: RayNodes,
    kb: KnowledgeFolder,
    config: IndexConfig,
    earlier: Mapping[str, FileVersion],
    files: list[Path],
) -> Shard:
    """Read a shard's new and changed files on a node, and check the others here."""
    options = read_options(config)
    contents = {file: body for file in files if (body := _to_read(file, options, earlier))}
    here = {r.path: r for r in read_files([f for f in files if f not in contents], config, earlier)}
    away: dict[Path, FileResult] = {}
    done = Shard()
    if contents:
        generation = kb.current
        inside = kb.folder.resolve() / generation.embedder
        model = str(inside) if inside.is_dir() else generation.embedder
        sent = tuple(
            SentFile(
                source_of(file), file.name, file.stat().st_mtime_ns, body,
                earlier.get(source_of(file)),
            )
            for file, body in contents.items()
        )  # fmt: skip
        task = ShardTask(sent, config, (model, generation.fingerprint))
        memory, first = int(config.worker_memory_mb * 2**20), sent[0].source
        try:
            done = nodes.call(prepare_shard, task, f"index {first}", memory_bytes=memory)
        except TaskFailed as error:
            log.warn(f"{first} and {len(sent) - 1} more are read here: {error}")
            done = Shard(tuple(read_files(list(contents), config, earlier)))
        done = replace(done, generation=generation.number)
        away = dict(zip(contents, done.results, strict=True))
    results = [here.get(file) or replace(away[file], path=file) for file in files]
    return replace(done, results=results)


def _to_read(file: Path, options: ReadOptions, earlier: Mapping[str, FileVersion]) -> bytes | None:
    """Return the bytes of a file to read; None: it is unchanged, or unreadable."""
    try:
        stat, noted = file.stat(), earlier.get(source_of(file))
        same = noted is not None and (noted.size, noted.mtime_ns) == (
            stat.st_size,
            stat.st_mtime_ns,
        )
        if same or not file.is_file() or stat.st_size > options.file_bytes:
            return None
        return file.read_bytes()
    except OSError:
        return None


def prepare_shard(task: ShardTask) -> Shard:
    """Read, chunk and embed files on this node.

    Raises:
        UserError: The model is missing, or another version.
    """
    name, fingerprint = task.embedder
    model = _embedder(name)
    if fingerprint not in ("", model.fingerprint):
        raise UserError(
            f"the weights of {name} on a node of the cluster differ from those here",
            "give all machines the same model",
        )
    results = _read(task)
    prepared = {
        (document.source, document.digest): prepare_document(
            document, result.source, model.tokenizer, task.config
        )
        for result in results
        for document in result.documents or ()
    }
    texts = {text_hash(text): text for one in prepared.values() for text in one.texts}
    vectors: dict[bytes, Any] = {}
    if texts:
        rows = model.embed_documents(list(texts.values()), "").vectors
        # The caller detects and reports missing vectors.
        usable = np.isfinite(rows).all(axis=1)
        vectors = {key: row for key, row, use in zip(texts, rows, usable, strict=True) if use}
    return Shard(results, prepared, vectors)


def _read(task: ShardTask) -> list[FileResult]:
    with tempfile.TemporaryDirectory(prefix="tailor-", ignore_cleanup_errors=True) as folder:
        paths, earlier = [], {}
        for number, file in enumerate(task.files):
            path = Path(folder) / str(number) / file.name
            path.parent.mkdir()
            path.write_bytes(file.content)
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
            paths.append(path)
            if file.earlier is not None:
                earlier[source_of(path)] = file.earlier
        results = read_files(paths, task.config.replace(workers=1), earlier)
        return [
            renamed_result(result, file.source)
            for result, file in zip(results, task.files, strict=True)
        ]


@cache
def _embedder(name: str) -> Any:
    """Return a model, loaded once by each process of a node."""
    return load_embedder(name)


def renamed_result(result: FileResult, name: str) -> FileResult:
    """Return a file's result as if the file had another name."""
    if result.documents is None:
        return replace(result, source=name)
    documents = tuple(_renamed(document, result.source, name) for document in result.documents)
    return replace(result, source=name, documents=documents)


def _renamed(document: Document, before: str, name: str) -> Document:
    source = name + document.source.removeprefix(before)
    path = str(document.metadata.get("path", before))
    metadata = document.metadata | {"path": name + path.removeprefix(before)}
    renamed = replace(document, source=source, metadata=metadata)
    return replace(renamed, digest=document_digest(renamed))


def prepare_document(
    document: Document, path: str, tokenizer: Any, config: IndexConfig
) -> PendingDocument:
    """Chunk a document of the file `path` for an embedder with this tokenizer."""
    chunks = tuple(chunk_document(document, tokenizer, config))
    texts = tuple(contextual_text(chunk) for chunk in chunks)
    return PendingDocument(document, path, chunks, texts, recipe_of(config))
