"""A served knowledge base: answers, searches, and updates while others read."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.records import Answer, Message, Passage
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.generation_queue import GenerationQueue
from tailorbird.serve.served_models import vector_model
from tailorbird.serve.shared_weights import SharedWeights

Outcome = TypeVar("Outcome")
_MOST_READS = 4


@dataclass(frozen=True)
class StoreQuery:
    """A question for a knowledge base.

    Attributes:
        question: Its text.
        history: Questions and answers before it.
        k: Passages to retrieve.
        where: Filter on the documents' metadata.
        on_piece: Called with each piece as a model generates it.
        withdrawal: Set when the client has disconnected.
    """

    question: str
    history: tuple[tuple[str, str], ...] = ()
    k: int | None = None
    where: str | None = None
    on_piece: Callable[[str], None] = lambda piece: None
    withdrawal: threading.Event = field(default_factory=threading.Event)


@dataclass
class QueuedWriter:
    """Generates answers from passages through a queue, together with other answers.

    Attributes:
        local: The model and its prompts.
        queue: The generation queue.
        seconds: Time limit of an answer.
    """

    local: Any
    queue: GenerationQueue
    seconds: float

    @property
    def name(self) -> str:
        """See `rag.checked_answer.Writes`."""
        return str(self.local.name)

    @property
    def room(self) -> int:
        """See `rag.checked_answer.Writes`."""
        return int(self.local.room)

    def count(self, messages: Sequence[Message]) -> int:
        """See `rag.checked_answer.Writes`."""
        return int(self.local.count(messages))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer as it is generated."""
        length, prompt = 0, self.local.encode(messages)
        for piece in self.queue.stream(prompt, self.local.sampling, self.seconds):
            yield piece.text[length:]
            length = len(piece.text)


class ServedStore:
    """A knowledge base.

    Args:
        folder: Its folder.
        config: Settings, of which `retrieve` and `ask` are used.
        weights: The weights of all served models, which share equal tensors.

    Raises:
        UserError: It does not exist, or is damaged.
    """

    def __init__(self, folder: Path, config: Config, weights: SharedWeights) -> None:
        from tailorbird.flows.ask import open_answerer

        self.folder, self.config = folder, config
        self._answerer = open_answerer(folder, config)
        self._kb = self._answerer.kb
        self._writing = threading.Lock()
        # Loaded now rather than at the first question.
        self.vectors = vector_model(self._kb.embedder, self._kb.settings.embedder)
        weights.share(self._answerer)

    @property
    def writer(self) -> Any:
        """The local model that generates its answers, or None."""
        from tailorbird.arms.local_generator import LocalGenerator

        writer = self._answerer.writer
        return writer if isinstance(writer, LocalGenerator) else None

    def write_by(self, queue: GenerationQueue) -> None:
        """Generate answers through a queue, which batches those of several questions."""
        writer = QueuedWriter(self.writer, queue, self.config.serve.deadline_seconds)
        self._answerer = replace(self._answerer, writer=writer)

    def answer(self, query: "StoreQuery") -> Answer:
        """Return the answer to a question.

        Raises:
            RequestFault: The client has disconnected.
        """
        begun = False

        def write() -> Answer:
            nonlocal begun
            stream: Any = self._answerer.stream(query.question, query.history, query.where, query.k)
            with closing(stream) as pieces:
                for piece in pieces:
                    if isinstance(piece, Answer):
                        return piece
                    query.on_piece(piece)
                    begun = True
                    if query.withdrawal.is_set():
                        break
            raise RequestFault(499, "the client disconnected", code="client_left")

        return self._steady(write, lambda: begun, query)

    def search(self, query: "StoreQuery") -> list[Passage]:
        """Return the best passages, best first, numbered."""

        def read() -> list[Passage]:
            return self._answerer.passages(query.question, query.where, query.k)

        return self._steady(read, lambda: False, query)

    def _steady(
        self, read: Callable[[], Outcome], begun: Callable[[], bool], query: "StoreQuery"
    ) -> Outcome:
        """Repeat a read during which documents were replaced.

        Its snapshot may be older than the index, from which the old text is gone.
        """
        outcome = None
        try:
            for _ in range(_MOST_READS):
                before = self._moment()
                outcome = read()
                if begun() or self._moment() == before:
                    break
        except UserError as error:
            if query.where is None or not error.problem.startswith("--where"):
                raise
            # The message of `tailor ask` would repeat the client's words.
            why = "the condition is invalid, or names metadata that no document has"
            raise refuse(why, "where", "condition") from None
        assert outcome is not None
        return outcome

    def _moment(self) -> tuple[int, int]:
        with self._kb.reading() as view:
            return view.moment()

    @property
    def reranker(self) -> Any:
        """The cross-encoder that reranks its hits, or None."""
        return self._answerer.retriever.reranker

    def text(self, source: str) -> str | None:
        """Return a document's text; None if it does not exist."""
        with self._kb.reading() as view:
            return view.text(source) if source in view.sources() else None

    def documents(self) -> list[dict[str, Any]]:
        """Return every document: source, title, chunks, digest."""
        from tailorbird.knowledge.maintenance import listed

        with self._writing:
            return listed(self._kb)

    def put(self, path: Path, name: str) -> dict[str, Any]:
        """Index a file under a name, replacing what had the name.

        Returns:
            The changes; `skipped` has the reason of a refusal.
        """
        from tailorbird.flows.index import put_file

        with self._writing:
            return put_file(self._kb, path, name).to_json()

    def remove(self, source: str) -> int:
        """Delete a document, or all of a file; return the number deleted.

        Raises:
            UserError: It does not exist.
        """
        from tailorbird.flows.index import remove

        with self._writing:
            return remove(self._kb, [source])

    def close(self) -> None:
        """Close its files."""
        self._kb.close()
