"""The served models and knowledge bases by name, with their queues."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.models.continuous_batching import RunningBatch
from tailorbird.processes import choose_threads
from tailorbird.records import Answer, Passage
from tailorbird.serve.batch_queue import BatchQueue
from tailorbird.serve.error_responses import no_model, refuse
from tailorbird.serve.generation_queue import GenerationQueue
from tailorbird.serve.prometheus import PrometheusCounters
from tailorbird.serve.served_knowledge_base import ServedStore, StoreQuery
from tailorbird.serve.served_models import (
    AnyModel,
    HeadModel,
    VectorModel,
    WritingModel,
    open_model,
    open_run,
)
from tailorbird.serve.shared_weights import SharedWeights

Kind = TypeVar("Kind")
_BATCH_TOKENS = {"cpu": 1024}
_BATCH_TOKENS_GPU = 16_384
_RETIRE_SECONDS = 10.0
_ASKS = 4
"""The most questions to one knowledge base whose answers are generated together."""


@dataclass
class Entry:
    """One served name, with its model and its queues.

    Attributes:
        name: The name.
        model: The model.
        queue: Its texts.
        chats: Its generated answers.
        asks: A knowledge base's questions.
        vectors: Texts for a knowledge base's own embedder.
        searches: A knowledge base's searches.
        ranks: Pairs for its cross-encoder.
        near: Texts whose nearest training examples another arm retrieves.
        created: When it was opened, in seconds since 1970.
    """

    name: str
    model: AnyModel | ServedStore
    queue: BatchQueue | None = None
    chats: GenerationQueue | None = None
    asks: BatchQueue | None = None
    vectors: BatchQueue | None = None
    searches: BatchQueue | None = None
    ranks: BatchQueue | None = None
    near: BatchQueue | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def queues(self) -> list[BatchQueue | GenerationQueue]:
        """All of its queues."""
        of_texts = (self.queue, self.vectors, self.searches, self.ranks, self.near, self.asks)
        return [queue for queue in (self.chats, *of_texts) if queue is not None]


class ModelRegistry:
    """The served models and knowledge bases, by name.

    Args:
        config: Settings.
        counters: Counts requests and batches.
        trust: Whether code that came with models may run.
    """

    def __init__(
        self, config: Config, counters: PrometheusCounters, *, trust: bool = False
    ) -> None:
        self.config, self.counters, self._trust = config, counters, trust
        self.limits = config.serve
        self.entries: dict[str, Entry] = {}
        self.closing = False
        self.weights = SharedWeights()
        self.opening = asyncio.Lock()
        """Held while a model is opened and others are served: one at a time."""

    # --- opening ------------------------------------------------------------------------------

    def add_run(self, name: str, folder: str | Path) -> None:
        """Open a run; for a comparison, its recommended arm.

        Raises:
            UserError: The name is taken, or it cannot be opened.
        """
        self._need_free(name)
        self.add(name, open_run(Path(folder).expanduser(), self.weights, trust=self._trust))

    def add_model(self, name: str, model: str) -> None:
        """Open a base model.

        Raises:
            UserError: The name is taken, or it cannot be loaded.
        """
        self._need_free(name)
        self.add(name, open_model(model, self.config, self.weights))

    def add_store(self, name: str, folder: str | Path) -> None:
        """Open a knowledge base.

        Raises:
            UserError: The name is taken, or it does not exist.
        """
        self._need_free(name)
        store = ServedStore(Path(folder).expanduser(), self.config, self.weights)

        def ask(questions: Sequence[StoreQuery]) -> list[Answer]:
            return [store.answer(question) for question in questions]

        def search(questions: Sequence[StoreQuery]) -> list[list[Passage]]:
            return [store.search(question) for question in questions]

        # A batch is one question, which may take as long as a request.
        seconds, many = self.limits.deadline_seconds, 1
        limits = self.limits.replace(batch_tokens=1, stall_seconds=seconds)
        entry = Entry(name, store)
        if store.writer is not None:
            # Answers to this many questions are generated in one batch.
            many = min(_ASKS, limits.chats)
            entry.chats = self._generation_queue(f"{name}/write", store.writer)
            store.write_by(entry.chats)
        if store.reranker is not None:
            entry.ranks = self._model_queue(f"{name}/rerank", store.reranker.score_pairs)
        entry.asks = BatchQueue(name, ask, limits, self.counters, many)
        entry.searches = BatchQueue(f"{name}/search", search, limits, self.counters)
        entry.vectors = self._model_queue(f"{name}/embed", store.vectors.embed)
        self.entries[name] = entry

    def remove(self, name: str) -> None:
        """Stop serving a model; waiting requests are still computed.

        Raises:
            RequestFault: There is none.
        """
        if name not in self.entries:
            raise no_model(self.entries)
        _retire(self.entries.pop(name))

    def _need_free(self, name: str) -> None:
        if name in self.entries:
            raise UserError(
                f"two served items are named {name!r}", "rename one: --name OTHER=FOLDER"
            )

    def add(self, name: str, model: AnyModel) -> None:
        """Serve an open model under a name; its predecessor finishes its requests.

        Raises:
            UserError: It generates, but keeps no keys and values per token.
        """
        entry = Entry(name, model)
        if isinstance(model, HeadModel):
            entry.queue = self._model_queue(name, model.predict, parallel=model.parallel)
            if model.near is not None:
                entry.near = self._model_queue(f"{name}/near", model.near, parallel=False)
        elif isinstance(model, VectorModel):
            entry.queue = self._model_queue(name, model.embed)
        elif model.answering is not None:
            entry.chats = self._generation_queue(name, model)
        before, self.entries[name] = self.entries.get(name), entry
        if before is not None:
            _retire(before)

    def _generation_queue(self, name: str, writer: Any) -> GenerationQueue:
        a = writer.answering
        if not RunningBatch(a.model, a.device).possible:
            raise UserError(
                f"{name} keeps a recurrent state instead of keys and values per token: answers "
                "cannot be generated in one batch",
                "serve another model",
            )
        return GenerationQueue(name, a, self.limits, self.counters)

    def _model_queue(
        self, name: str, compute: Callable[[Any], Any], *, parallel: bool = True
    ) -> BatchQueue:
        """Return a model's queue; a thread-safe model gets every core's worker."""
        from tailorbird.models.device import choose

        kind = choose(self.config.model.device, self.config.model.precision).kind
        tokens = self.limits.batch_tokens or _BATCH_TOKENS.get(kind, _BATCH_TOKENS_GPU)
        limits = self.limits.replace(batch_tokens=tokens)
        workers = choose_threads().count if parallel and kind == "cpu" else 1
        return BatchQueue(name, compute, limits, self.counters, workers, own_threads=workers > 1)

    # --- asking ------------------------------------------------------------------------------

    def pick(
        self, name: str | None, view: Callable[[Entry], Kind | None], what: str
    ) -> tuple[Entry, Kind]:
        """Return the model of a name, or the only suitable one.

        Args:
            name: The client's name, or None.
            view: Returns an entry's suitable part, or None.
            what: A description of that, after "a model".

        Raises:
            RequestFault: There is none (404), or it is of another kind (400).
        """
        if name is None:
            matches = [(e, m) for e in self.entries.values() if (m := view(e)) is not None]
            if len(matches) == 1:
                return matches[0]
            names = ", ".join(e.name for e, _ in matches) or "there is none"
            raise refuse(f"name a model {what}: {names}", "model", "model_needed")
        entry = self.entries.get(name)
        if entry is None:
            raise no_model(self.entries)
        model = view(entry)
        if model is None:
            raise refuse(f"this is not a model {what}", "model", "wrong_model")
        return entry, model

    # --- watching -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Replace workers that ended or stalled."""
        for queue in self._queues():
            queue.watch()

    @property
    def healthy(self) -> bool:
        """Whether all workers are alive."""
        return all(queue.healthy for queue in self._queues())

    @property
    def waiting(self) -> int:
        """The number of texts and answers waiting or being computed."""
        return sum(queue.waiting for queue in self._queues())

    def close(self) -> None:
        """Refuse new requests."""
        self.closing = True
        for queue in self._queues():
            queue.close()

    def _queues(self) -> list[Any]:
        return [queue for entry in list(self.entries.values()) for queue in entry.queues]


def _retire(entry: Entry) -> None:
    """Close an entry once its pending requests have arrived."""
    for queue in entry.queues:
        end = threading.Timer(_RETIRE_SECONDS, queue.close)
        end.daemon = True
        end.start()


def head_of(entry: Entry) -> HeadModel | None:
    """Return an entry's model if it predicts labels or numbers."""
    return entry.model if isinstance(entry.model, HeadModel) else None


def writer_of(entry: Entry) -> WritingModel | None:
    """Return an entry's model if it generates text."""
    return entry.model if isinstance(entry.model, WritingModel) else None


def store_of(entry: Entry) -> ServedStore | None:
    """Return an entry's knowledge base if it is one."""
    return entry.model if isinstance(entry.model, ServedStore) else None


def vectors_of(entry: Entry) -> tuple[VectorModel, BatchQueue] | None:
    """Return an entry's embedder, and the queue of its texts."""
    if isinstance(entry.model, ServedStore):
        assert entry.vectors is not None
        return entry.model.vectors, entry.vectors
    if isinstance(entry.model, VectorModel):
        assert entry.queue is not None
        return entry.model, entry.queue
    return None
