"""Runs, base models and knowledge bases as the server uses them: the one place that opens them."""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np

from tailorbird.config import Config
from tailorbird.data.encode import Text, words_of
from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling
from tailorbird.records import Answer, Example, Message, Passage
from tailorbird.runs.folder import RunFolder
from tailorbird.serve.weights import SharedWeights

Outcome = TypeVar("Outcome")
_MOST_READS = 4

Purposed = tuple[Literal["", "query", "document"], str]
"""A text to embed, and what for: models may want other words before a question."""


@dataclass
class HeadModel:
    """A run whose answers are labels or numbers.

    Attributes:
        task: Its task.
        labels: In the order of probabilities; of regression the targets' names.
        pairs: Whether it reads two texts.
        folder: Of the arm.
        predict: Texts -> what `Predictor.predict` returns.
        count: Length of a text in tokens.
        longest: Tokens that it reads; what is beyond is cut.
        base: The base model's name.
        learn: Takes a text with its label at once; None: the run learns by training only.
        unlearn: Takes that back.
    """

    task: str
    labels: tuple[str, ...]
    pairs: bool
    folder: Path
    predict: Callable[[Sequence[Any]], Sequence[Any]]
    count: Callable[[Any], int]
    longest: int
    base: str
    learn: Callable[[str, str], None] | None = None
    unlearn: Callable[[str, str], None] | None = None


@dataclass
class WritingModel:
    """A run or a base model that answers in words.

    Attributes:
        answering: The model with its tokenizer and settings; None where answers are looked up.
        encode: A conversation -> token ids, as the run was trained to read it.
        copy: A conversation -> an answer that is looked up, where no model writes.
        longest: Tokens of an answer where nobody says.
        base: The base model's name.
        folder: Of the run; None: a base model.
    """

    answering: Any
    encode: Callable[[Sequence[Message]], np.ndarray]
    copy: Callable[[Sequence[Message]], str] | None
    longest: int
    base: str
    folder: Path | None = None

    def sampling(self, **settings: Any) -> Sampling:
        """Return how an answer is written: the run's own way, with what is given changed."""
        own: Sampling = self.answering.sampling(self.longest)
        changes = {name: value for name, value in settings.items() if value is not None}
        if changes.get("temperature") == 0:
            changes |= {"top_p": 1.0, "top_k": None, "min_p": 0.0}
        return replace(own, **changes)

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        return int(self.answering.limit)


@dataclass
class VectorModel:
    """A model that embeds.

    Attributes:
        embed: Texts, each with what for -> unit vectors ``[n, dimension]``.
        count: Length of a text in tokens.
        decode: Token ids -> text.
        longest: Tokens that it reads.
        dimension: Of its vectors.
    """

    embed: Callable[[Sequence[Purposed]], np.ndarray]
    count: Callable[[Any], int]
    decode: Callable[[Sequence[int]], str]
    longest: int
    dimension: int
    base: str


class Store:
    """A knowledge base.

    Args:
        folder: Where it is.
        config: Settings; `retrieve` and `ask` are looked at.
        weights: Of all that is served: what is equal is held once.

    Raises:
        UserError: There is none, or it is damaged.
    """

    def __init__(self, folder: Path, config: Config, weights: SharedWeights) -> None:
        from tailorbird.flows.ask import open_answerer
        from tailorbird.knowledge.base import KnowledgeFolder

        self.folder, self.config = folder, config
        self._answerer = open_answerer(folder, config)
        self._kb = cast(KnowledgeFolder, self._answerer.kb)
        self._writing = threading.Lock()
        # Loaded now rather than by the first question.
        self.vectors = _vector_model(self._kb.embedder, self._kb.settings.embedder)
        weights.share(self._answerer)

    def answer(
        self, question: str, history: Sequence[tuple[str, str]] = (), k: int | None = None,
        where: str | None = None, heard: Callable[[str], None] = lambda piece: None,
    ) -> Answer:  # fmt: skip
        """Return the answer to a question.

        Args:
            question: In words.
            history: Questions and answers before it.
            k: Passages to retrieve.
            where: Condition on the documents' metadata.
            heard: Called with each piece as a model writes it.
        """
        told = False

        def write() -> Answer:
            nonlocal told
            for piece in self._answerer.stream(question, history, where, k):
                if isinstance(piece, Answer):
                    return piece
                heard(piece)
                told = True
            raise AssertionError("a stream ends with its answer")

        return self._steady(write, lambda: told)

    def search(
        self, question: str, k: int | None = None, where: str | None = None
    ) -> list[Passage]:
        """Return the best passages, best first, numbered."""
        return self._steady(lambda: self._answerer.passages(question, where, k), lambda: False)

    def _steady(self, read: Callable[[], Outcome], told: Callable[[], bool]) -> Outcome:
        """Read again what was read while documents were replaced.

        A search whose moment is before may find the index after, where the old text is gone.
        """
        outcome = None
        for _ in range(_MOST_READS):
            before = self._moment()
            outcome = read()
            if told() or self._moment() == before:
                break
        assert outcome is not None
        return outcome

    def _moment(self) -> tuple[int, int]:
        with self._kb.reading() as view:
            return view.moment()

    @property
    def reranker(self) -> Any:
        """The cross-encoder that ranks its hits; None where there is none."""
        return self._answerer.retriever.reranker

    def text(self, source: str) -> str | None:
        """Return a document's text; None where there is no such document."""
        with self._kb.reading() as view:
            return view.text(source) if source in view.sources() else None

    def documents(self) -> list[dict[str, Any]]:
        """Return every document: source, title, chunks, digest."""
        from tailorbird.flows.upkeep import listed

        with self._writing:
            return listed(self._kb)

    def put(self, path: Path, name: str) -> dict[str, Any]:
        """Put a file in under a name, in place of what had it.

        Returns:
            What was done; `skipped` holds why it was not.
        """
        from tailorbird.flows.index import put_file

        with self._writing:
            return put_file(self._kb, path, name).to_json()

    def remove(self, source: str) -> int:
        """Delete a document, or all those of a file; return how many there were.

        Raises:
            UserError: There is none.
        """
        from tailorbird.flows.index import remove

        with self._writing:
            return remove(self._kb, [source])

    def close(self) -> None:
        """Close its files."""
        self._kb.close()


AnyModel = HeadModel | WritingModel | VectorModel


def open_run(
    folder: Path, weights: SharedWeights, *, trust: bool = False
) -> HeadModel | WritingModel:
    """Open a run, or of a comparison's folder the arm it recommends.

    Args:
        folder: Of the run.
        weights: Of all that is served: what is equal is held once.
        trust: Whether code may run that came with it.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    from tailorbird.arms.predictor import HeadPredictor
    from tailorbird.arms.saved import arm_folder, load

    place = arm_folder(folder)
    loaded = load(folder, trust=trust)
    weights.share(loaded)
    if not isinstance(loaded, HeadPredictor):
        return _writing_run(loaded, place.path)
    tokenizer, longest = _reader(loaded.source)
    # What is made on first use is made now rather than for the first client.
    loaded.predict([("a", "b") if loaded.target.pairs else "a"])
    learns = loaded.spec.learns
    return HeadModel(
        task=loaded.target.task,
        labels=tuple(loaded.labels),
        pairs=loaded.target.pairs,
        folder=place.path,
        predict=loaded.predict,
        count=_counter(tokenizer),
        longest=longest,
        base=_base_name(place),
        learn=(lambda text, label: loaded.add([text], [label])) if learns else None,
        unlearn=loaded.remove if learns else None,
    )


def open_model(name: str, config: Config, weights: SharedWeights) -> WritingModel | VectorModel:
    """Open a base model: one that embeds, or one that writes.

    Raises:
        UserError: It cannot be had.
    """
    from tailorbird.flows.writer import open_writer
    from tailorbird.models.builtin import resolve
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    if (Path(resolve(name)).expanduser() / "modules.json").is_file():
        model = config.model.model_copy(update={"name": name})
        embedder = Embedder(model, choose(model.device, model.precision))
        weights.share(embedder)
        return _vector_model(embedder, name)
    writer = open_writer(name, config)
    weights.share(writer)
    return WritingModel(writer.answering, writer.encode, None, 256, name)


def _writing_run(writer: Any, folder: Path) -> WritingModel:
    def example(messages: Sequence[Message]) -> Example:
        return Example(messages[-1].content, messages=tuple(messages))

    def encode(messages: Sequence[Message]) -> np.ndarray:
        asked = [example(messages)]
        ids: np.ndarray = writer.encode(asked)[0]
        return ids

    def look_up(messages: Sequence[Message]) -> str:
        return str(writer.predict([example(messages)])[0].text)

    copies = writer.copies
    return WritingModel(
        None if copies else writer.answering,
        encode,
        look_up if copies else None,
        writer.longest,
        writer.config.model.name,
        folder,
    )


def _vector_model(embedder: Any, name: str) -> VectorModel:
    how = {"": embedder.embed, "query": embedder.embed_queries}
    how["document"] = embedder.embed_documents

    def embed(items: Sequence[Purposed]) -> np.ndarray:
        vectors = np.zeros((len(items), embedder.dimension), dtype=np.float32)
        for purpose in {purpose for purpose, _ in items}:
            places = [i for i, item in enumerate(items) if item[0] == purpose]
            vectors[places] = how[purpose]([items[i][1] for i in places]).vectors
        return vectors

    embedder.embed(["a"])  # what is made on first use
    return VectorModel(
        embed=embed,
        count=_counter(embedder.tokenizer),
        decode=lambda ids: embedder.tokenizer.decode(ids, skip_special_tokens=True),
        longest=embedder.max_length,
        dimension=embedder.dimension,
        base=name,
    )


def _reader(source: Any) -> tuple[Any, int]:
    """Return the tokenizer and the longest text of what answers; None: it reads words."""
    for part in (source, getattr(source, "tuned", None), getattr(source, "embedder", None)):
        if part is not None and hasattr(part, "tokenizer"):
            return part.tokenizer, int(getattr(part, "limit", 0) or part.max_length)
    return None, 1 << 30


def _counter(tokenizer: Any) -> Callable[[Any], int]:
    """Return what counts a text's tokens, with a tokenizer of its own.

    Rust's tokenizers refuse a second borrower while truncation is set.
    """
    if tokenizer is None:
        return lambda text: max(1, len(words_of(text)))
    own = copy.deepcopy(tokenizer)
    own.model_max_length = 1 << 30

    def count(text: Text) -> int:
        parts = (text,) if isinstance(text, str) else text
        return len(own(*parts, verbose=False)["input_ids"])

    return count


def _base_name(folder: RunFolder) -> str:
    from tailorbird.arms.saved import run_config

    try:
        return str(run_config(folder, trust=False).model.name)
    except (UserError, OSError):
        return ""
