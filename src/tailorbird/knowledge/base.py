"""A knowledge base: a folder with a ledger and an index made from it."""

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
from tailorbird.documents.chunk import chunk_limit, contextual_text
from tailorbird.errors import UserError, check_utf8
from tailorbird.knowledge import write
from tailorbird.knowledge.backends import backend_of, remember
from tailorbird.knowledge.embedders import Embedders, LoadEmbedder, load_embedder
from tailorbird.knowledge.ledger import Generation, Ledger, PendingDocument, text_hash
from tailorbird.knowledge.protocols import ChunkIndex
from tailorbird.knowledge.snapshot import Snapshot
from tailorbird.knowledge.sqlite import make_folder
from tailorbird.records import Document

_BLOCK = 2000
Vectors = Mapping[bytes, np.ndarray]
# Of the settings, what is kept with the documents; limits of reading belong to a command.
_KEPT = {"chunk_tokens", "overlap_tokens", "text", "title", "id"}


class KnowledgeFolder:
    """Documents that can be searched. Several processes may read and write it.

    Args:
        folder: Where it is, or is made when `config` is given and there is none.
        config: Settings to make it with; those of one that is there are not changed by it.
        load: Loads embedders; for tests.
        repairing: Open it also without its index, for `rebuild`.
        store: ``knowledge.store``; None: as it is, the default for one that is made.

    Raises:
        UserError: There is none, it is damaged, or its index is missing.
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

    @classmethod
    def open(cls, folder: str | Path, load: LoadEmbedder = load_embedder) -> "KnowledgeFolder":
        """Open one that is there."""
        return cls(folder, None, load)

    @classmethod
    def create(
        cls, folder: str | Path, config: IndexConfig, load: LoadEmbedder = load_embedder
    ) -> "KnowledgeFolder":
        """Open one, or make it with these settings."""
        return cls(folder, config, load)

    def close(self) -> None:
        """Close its files."""
        for ledger in [self._ledger, *self._idle]:
            ledger.close()
        self._idle.clear()
        self._stores.clear()  # files that are mapped are let go of with them
        self.backend.close()

    def __enter__(self) -> "KnowledgeFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def read_only(self) -> bool:
        """Whether it lies where this process may not write."""
        return self.backend.read_only

    @property
    def settings(self) -> IndexConfig:
        """The settings that its documents were cut and embedded with."""
        options = self.get_setting("index") or {}
        return IndexConfig(**options | {"embedder": self.current.embedder})

    @property
    def current(self) -> Generation:
        """The generation that is searched."""
        return self._generation(int(self.get_setting("generation")))

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return self.current.dimension

    @property
    def embedder(self) -> Any:
        """The model of the generation that is searched, loaded when first asked for.

        Raises:
            UserError: It cannot be loaded, or is not the one any more that embedded the documents.
        """
        return self._embedders.of(self.current)

    @property
    def ledger(self) -> Ledger:
        """The connection that writes; `flows.index` reads lists through it."""
        return self._ledger

    def get_setting(self, name: str) -> Any:
        """Return a kept value; None where there is none."""
        with self._borrowed() as ledger:
            return ledger.setting(name)

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a value, such as a calibrated weight or threshold."""
        with self._ledger.link.explained():
            write.check_place(self._ledger)
            self._ledger.keep({name: value})

    def keep_settings(self, config: IndexConfig) -> None:
        """Keep other settings of cutting and reading; the documents are not changed by it.

        Raises:
            UserError: The embedder cannot read so much; nothing is kept.
        """
        options = _settings_of(config)
        if options != self.get_setting("index"):
            chunk_limit(self.embedder.tokenizer, config)
            self.set_setting("index", options)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Look at one moment of it: writers change nothing of what is seen."""
        # Before the ledger's moment: what comes or goes from here on is told by `Snapshot.whole`.
        moments = {number: store.moment for number, store in list(self._stores.items())}
        with self._borrowed() as ledger, ledger.link.explained(), ledger.link.snapshot():
            # The first read fixes the moment.
            number = int(ledger.setting("generation"))
            generation = next(g for g in ledger.generations() if g.number == number)
            load = partial(self._embedders.of, generation)
            yield Snapshot(ledger, self.store(generation), load, moments.get(number))

    def prepare(self, document: Document, path: str, config: IndexConfig) -> PendingDocument:
        """Cut a document."""
        return write.prepare_document(document, path, self.embedder.tokenizer, config)

    def write(self, batch: write.Batch, title: str = "") -> tuple[int, int]:
        """Embed what is new in a batch and write it; return (changed, deleted) documents.

        When this returns the batch is acknowledged: searches find it, and no kill loses it.

        Raises:
            UserError: The disk is full; nothing written before is lost.
            NoVectorError: The embedder fails at a text; nothing of the batch is written.
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
                    # A first ingest would end with all words to index at once; and readers
                    # would scan them all until then.
                    if store.due(50_000):
                        store.optimize()
                    return outcome

    def optimize(self, rows: int = 500) -> bool:
        """Tidy the index if more than `rows` were added since; return whether it was."""
        with self.backend.lock():
            store = self.store(self.current)
            if not store.due(rows):
                return False
            store.optimize()
            self._ledger.link.checkpoint()
        return True

    def adopts(self, embedder: str) -> bool:
        """Say whether this model, as it is now, embedded the documents.

        One that was moved is known by its new name from then on.
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
        """Embed everything with another model; return the new generation's number.

        Searches go on with the old one until `switch`. A build that was killed goes on, unless the
        model's folder holds other weights by now.

        Args:
            embedder: The model; one in the knowledge base's own folder may be moved with it.
            vectors: What it has embedded already, by `text_hash`.
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
        """Search another generation from now on; what was added since it was built is added.

        Args:
            weight: Of the dense side, chosen for it; it holds from the same moment on.
        """
        generation = self._generation(number)
        self._embed_all(generation)
        with self.backend.lock(), self._ledger.link.explained():
            before = self.current.number
            self._bring_up(generation)
            if before == number:
                return
            # Calibrated on the old vectors, so they hold for it alone.
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
        """Search the generation before the last switch again; return its number.

        Raises:
            UserError: There is none.
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
        """Make the index again from the ledger; return how many chunks it holds."""
        generation = self.current
        self._embed_all(generation, title)
        with self.backend.lock(), self._ledger.link.explained():
            self._stores.pop(generation.number, None)
            self.backend.remove(generation.number)
            write.recover(self._ledger, generation, self.store(generation, create=True))
            added, _ = self._bring_up(generation)
        return added

    def _bring_up(self, generation: Generation) -> tuple[int, int]:
        """Give a generation's index all live rows; the write lock is held."""
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
        # The known ones too: a sweep between here and the lock may take what no chunk needs.
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
        """Finish what a killed writer left, unless another writer is at work."""
        # Where it may only be read that is left to who may write: readers see live versions alone.
        if self.read_only or not write.unsettled(self._ledger):
            return
        with self.backend.lock(wait_seconds=0) as is_ours:
            if is_ours:
                current = self.current
                write.recover(self._ledger, current, self.store(current))

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Ledger]:
        """Lend a connection: each thread that reads has its own while it reads."""
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
