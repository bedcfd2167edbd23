"""A knowledge base: a folder with a ledger and the index built from it."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk_context import chunk_limit, contextual_text
from tailorbird.errors import UserError, check_utf8
from tailorbird.knowledge import write
from tailorbird.knowledge.backends import backend_of, remember
from tailorbird.knowledge.embedders import Embedders, LoadEmbedder, load_embedder
from tailorbird.knowledge.ledger import Generation, Ledger, text_hash
from tailorbird.knowledge.protocols import ChunkIndex
from tailorbird.knowledge.snapshot import Snapshot
from tailorbird.knowledge.sqlite_ledger import make_folder

_BLOCK = 2000
Vectors = Mapping[bytes, np.ndarray]
# The settings saved with the documents; reading limits belong to a single command.
_KEPT = {"chunk_tokens", "overlap_tokens", "text", "title", "id"}


class KnowledgeFolder:
    """Searchable documents in a folder. Several processes may read and write it.

    Args:
        folder: Its path; created if missing and `config` is given.
        config: Settings for a new knowledge base; an existing one keeps its own.
        load: Loads embedders; for tests.
        repairing: Open it even without its index, for `rebuild`.
        store: ``knowledge.store``; None: the existing store, or the default for a new one.

    Raises:
        UserError: It does not exist, is damaged, or has no index.
    """

    def __init__(
        self,
        folder: str | Path,
        config: IndexConfig | None = None,
        load: LoadEmbedder = load_embedder,
        repairing: bool = False,
        store: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        check_utf8(str(self.folder.absolute()), "the knowledge base's folder")
        self.backend = backend_of(self.folder, store)
        self._embedders = Embedders(self.folder, load)
        self._stores: dict[int, ChunkIndex] = {}
        self._idle: list[Ledger] = []
        self._guard = threading.Lock()
        if fresh := config is not None and not self.backend.exists:
            make_folder(self.folder)
        self._ledger = Ledger(self.backend.connect(create=fresh))
        try:
            if self.backend.address and (store or fresh):
                remember(self.backend)
            if self._ledger.setting("generation") is None:
                self._begin(config or IndexConfig())
            if not repairing:
                self.store(self.current)
                self._settle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files."""
        for ledger in [self._ledger, *self._idle]:
            ledger.close()
        self._idle.clear()
        self._stores.clear()  # releases the memory-mapped files
        self.backend.close()

    def __enter__(self) -> "KnowledgeFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def read_only(self) -> bool:
        """Whether this process has no write access to it."""
        return self.backend.read_only

    @property
    def settings(self) -> IndexConfig:
        """The settings that its documents were chunked and embedded with."""
        options = self.get_setting("index") or {}
        return IndexConfig(**options | {"embedder": self.current.embedder})

    @property
    def current(self) -> Generation:
        """The generation that searches use."""
        return self._generation(int(self.get_setting("generation")))

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return self.current.dimension

    @property
    def embedder(self) -> Any:
        """The embedder of the current generation, loaded on first use.

        Raises:
            UserError: It cannot be loaded, or its weights have changed since it embedded the
                documents.
        """
        return self._embedders.of(self.current)

    @property
    def ledger(self) -> Ledger:
        """The writing connection; `flows.index` reads lists through it."""
        return self._ledger

    def get_setting(self, name: str) -> Any:
        """Return a saved value, or None."""
        with self._borrowed() as ledger:
            return ledger.setting(name)

    def set_setting(self, name: str, value: Any) -> None:
        """Save a value, such as a calibrated weight or threshold."""
        with self._ledger.link.explained():
            write.check_place(self._ledger)
            self._ledger.keep({name: value})

    def keep_settings(self, config: IndexConfig) -> None:
        """Save other settings for chunking and reading; existing documents stay as they are.

        Raises:
            UserError: The embedder's input is shorter than a chunk; nothing is saved.
        """
        options = _settings_of(config)
        if options != self.get_setting("index"):
            chunk_limit(self.embedder.tokenizer, config)
            self.set_setting("index", options)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Yield a snapshot: one consistent state, which writers do not change."""
        # Read before the ledger's snapshot begins: `Snapshot.whole` detects changes from here on.
        moments = {number: store.moment for number, store in list(self._stores.items())}
        with self._borrowed() as ledger, ledger.link.explained(), ledger.link.snapshot():
            # The first read starts the snapshot.
            number = int(ledger.setting("generation"))
            generation = next(g for g in ledger.generations() if g.number == number)
            load = partial(self._embedders.of, generation)
            yield Snapshot(ledger, self.store(generation), load, moments.get(number))

    def write(self, batch: write.Batch, title: str = "") -> tuple[int, int]:
        """Embed the new texts of a batch and write it; return (changed, deleted) documents.

        When this returns, the batch is durable: searches find it, and it survives a kill.

        Raises:
            UserError: The disk is full; earlier batches are safe.
            NoVectorError: The embedder fails on a text; nothing of the batch is written.
        """
        texts = {text_hash(text): text for item in batch.prepared for text in item.texts}
        while True:
            generation = self.current
            ready = batch.vectors if batch.generation == generation.number else {}
            vectors = self._embed_missing(generation, texts, ready, title)
            full = replace(batch, vectors=vectors)
            with self.backend.lock(), self._ledger.link.explained():
                if self.current == generation:
                    store = self.store(generation)
                    outcome = write.commit(self._ledger, generation, store, full)
                    # Without this, a first ingest would index all words at its end, and readers
                    # would scan all texts until then.
                    if store.due(50_000):
                        store.optimize()
                    return outcome

    def optimize(self, rows: int = 500) -> bool:
        """Optimise the index if more than `rows` rows are new; return whether it did."""
        with self.backend.lock():
            store = self.store(self.current)
            if not store.due(rows):
                return False
            store.optimize()
            self._ledger.link.checkpoint()
        return True

    def adopts(self, embedder: str) -> bool:
        """Return whether this model, with its present weights, embedded the documents.

        A moved model is recorded under its new name.
        """
        current, name = self.current, self._embedders.name_of(embedder)
        if not current.fingerprint:
            return name == current.embedder
        if current.fingerprint != self._embedders.named(name).fingerprint:
            return False
        if name != current.embedder and not self.read_only:
            self._ledger.rename(current.number, name)
        return True

    def build_generation(
        self, embedder: str, title: str = "", vectors: Mapping[bytes, np.ndarray] | None = None
    ) -> int:
        """Embed all documents with another model; return the new generation's number.

        Searches use the old generation until `switch`. A killed build resumes, unless the weights
        in the model's folder have changed.

        Args:
            embedder: The model; one inside the knowledge base's folder may be moved with it.
            vectors: Vectors that it has already computed, by `text_hash`.
        """
        name = self._embedders.name_of(embedder)
        model = self._embedders.named(name)
        same = [
            generation
            for generation in self._ledger.generations()
            if (generation.embedder, generation.fingerprint) == (name, model.fingerprint)
        ]
        generation = (
            same[-1]
            if same
            else self._ledger.new_generation(name, int(model.dimension), model.fingerprint)
        )
        if vectors:
            with self._ledger.link.explained():
                write.keep_vectors(self._ledger, generation.number, vectors)
        self._embed_all(generation, title)
        with self.backend.lock(), self._ledger.link.explained():
            self._bring_up(generation)
        return generation.number

    def switch(self, number: int, weight: float | None = None) -> None:
        """Make another generation current, after adding the documents written since it was built.

        Args:
            weight: The weight of dense scores that was calibrated for it; set in the same step.
        """
        generation = self._generation(number)
        self._embed_all(generation)
        with self.backend.lock(), self._ledger.link.explained():
            before = self.current.number
            self._bring_up(generation)
            if before == number:
                return
            # These were calibrated on the old vectors and hold for them alone.
            calibration = {name: self._ledger.setting(name) for name in ("weight", "threshold")}
            back = self._ledger.setting(f"calibrated-{number}") or {}
            back |= {} if weight is None else {"weight": weight}
            self._ledger.keep(
                {"generation": number, "previous": before, f"calibrated-{before}": calibration}
                | {name: back.get(name) for name in calibration}
            )
            for old in self._ledger.generations():
                if old.number not in (before, number):
                    self.backend.remove(old.number)
                    self._stores.pop(old.number, None)
                    self._ledger.forget_generation(old.number)

    def rollback(self) -> int:
        """Make the generation before the last switch current again; return its number.

        Raises:
            UserError: There is no earlier generation.
        """
        previous = self.get_setting("previous")
        if previous is None or all(g.number != previous for g in self._ledger.generations()):
            raise UserError(
                f"{self.folder} has no earlier embedder to go back to",
                "--rollback undoes a change of embedder",
            )
        self.switch(int(previous))
        return int(previous)

    def store(self, generation: Generation, create: bool = False) -> ChunkIndex:
        """Return a generation's index.

        Raises:
            UserError: It is missing or damaged, and `create` is not set.
        """
        with self._guard:
            if generation.number not in self._stores:
                self._stores[generation.number] = self.backend.open(
                    generation.number, generation.dimension, create
                )
            return self._stores[generation.number]

    def rebuild(self, title: str = "") -> int:
        """Rebuild the index from the ledger; return its number of chunks."""
        generation = self.current
        self._embed_all(generation, title)
        with self.backend.lock(), self._ledger.link.explained():
            self._stores.pop(generation.number, None)
            self.backend.remove(generation.number)
            write.recover(self._ledger, generation, self.store(generation, create=True))
            added, _ = self._bring_up(generation)
        return added

    def _bring_up(self, generation: Generation) -> tuple[int, int]:
        """Synchronise a generation's index with all live rows; needs the write lock."""
        self._embed_all(generation)
        store = self.store(generation, create=True)
        outcome = write.align(self._ledger, generation, store)
        store.optimize()
        self._ledger.sweep()
        return outcome

    def _embed_all(self, generation: Generation, title: str = "") -> None:
        ledger = self._ledger
        total = len(write.missing_vectors(ledger, generation.number, 1 << 62))
        with log.quiet_progress(title if total else "", total, "chunks") as bar:
            while batch := write.missing_vectors(ledger, generation.number, _BLOCK):
                rows = np.asarray([row for _, row in batch], dtype=np.int64)
                texts = {name: contextual_text(c) for _, name, c in ledger.chunks_at(rows)}
                vectors = self._embedders.embed(generation, texts)
                with ledger.link.explained():
                    write.keep_vectors(ledger, generation.number, vectors)
                bar.advance(len(batch))

    def _embed_missing(
        self, generation: Generation, texts: dict[bytes, str], ready: Vectors, title: str
    ) -> dict[bytes, np.ndarray]:
        vectors = {name: ready[name] for name in texts if name in ready}
        vectors |= self._ledger.vectors(generation.number, texts)
        missing = {name: text for name, text in texts.items() if name not in vectors}
        # Return the known vectors too: a sweep before the lock may delete those that no chunk uses.
        return vectors | self._embedders.embed(generation, missing, title)

    def _generation(self, number: int) -> Generation:
        with self._borrowed() as ledger:
            for generation in ledger.generations():
                if generation.number == number:
                    return generation
        raise UserError(f"{self.folder} has no generation {number}", "build it first")

    def _begin(self, config: IndexConfig) -> None:
        model = self._embedders.named(config.embedder)
        chunk_limit(model.tokenizer, config)
        with self.backend.lock():
            if self._ledger.setting("generation") is None:
                generation = self._ledger.new_generation(
                    config.embedder, int(model.dimension), model.fingerprint
                )
                self.store(generation, create=True)
                settings = {"index": _settings_of(config), "store": self.backend.name}
                self._ledger.keep(settings | {"generation": generation.number})

    def _settle(self) -> None:
        """Complete the work of a killed writer, unless another writer is active."""
        # A process without write access leaves it to one with: readers see live versions alone.
        if self.read_only or not write.unsettled(self._ledger):
            return
        with self.backend.lock(wait_seconds=0) as is_ours:
            if is_ours:
                current = self.current
                write.recover(self._ledger, current, self.store(current))

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Ledger]:
        """Lend a connection: each reading thread has its own."""
        with self._guard:
            ledger = self._idle.pop() if self._idle else None
        ledger = ledger or Ledger(self.backend.connect())
        try:
            yield ledger
        finally:
            with self._guard:
                self._idle.append(ledger)


def _settings_of(config: IndexConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", include=_KEPT, exclude_none=True)
