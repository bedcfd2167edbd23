"""Served runs and base models: how they are opened, and the interface that the routes use."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailorbird.config import Config
from tailorbird.data.encode import Text, words_of
from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling
from tailorbird.records import Example, Message, Neighbour
from tailorbird.runs.folder import ARMS, MODEL, RunFolder
from tailorbird.serve.shared_weights import SharedWeights

Purposed = tuple[Literal["", "query", "document"], str]
"""A text to embed, and its purpose, since models may have another prompt for questions."""


@dataclass
class HeadModel:
    """A run that predicts labels or numbers.

    Attributes:
        task: Its task.
        labels: In the order of probabilities; for regression the targets' names.
        pairs: Whether it reads pairs of texts.
        folder: Of the arm.
        predict: Maps texts to the result of `Predictor.predict`.
        count: Returns a text's length in tokens.
        longest: Maximum input length in tokens; longer texts are truncated.
        base: The base model's name.
        learn: Adds a labelled text at once; None: the run learns by training only.
        unlearn: Undoes that.
        near: Maps texts to their nearest labelled training examples, if another arm of the
            comparison retrieves and this one does not.
        parallel: Whether it is thread-safe.
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
    near: Callable[[Sequence[Any]], Sequence[tuple[Neighbour, ...]]] | None = None
    parallel: bool = False


@dataclass
class WritingModel:
    """A run or a base model that generates text.

    Attributes:
        answering: The model with its tokenizer and settings; None if answers are copied.
        encode: Maps a conversation to token ids, as in the run's training.
        copy: Maps a conversation to a copied answer, without a model.
        longest: Default limit of an answer in tokens.
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
        """Return the run's settings of generation, with these changes."""
        own: Sampling = self.answering.sampling(self.longest)
        changes = {name: value for name, value in settings.items() if value is not None}
        if changes.get("temperature") == 0:
            changes |= {"top_p": 1.0, "top_k": None, "min_p": 0.0}
        return replace(own, **changes)

    def token(self, token: int) -> str:
        """Return the text of a token; for a partial character the replacement sign."""
        return str(self.answering.tokenizer.decode([token], clean_up_tokenization_spaces=False))

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        return int(self.answering.limit)


@dataclass
class VectorModel:
    """An embedder.

    Attributes:
        embed: Maps texts with their purpose to unit vectors ``[n, dimension]``.
        count: Returns a text's length in tokens.
        decode: Maps token ids to text.
        vocabulary: Size of the vocabulary.
        longest: Maximum input length in tokens.
        dimension: Of its vectors.
    """

    embed: Callable[[Sequence[Purposed]], np.ndarray]
    count: Callable[[Any], int]
    decode: Callable[[Sequence[int]], str]
    vocabulary: int
    longest: int
    dimension: int
    base: str


AnyModel = HeadModel | WritingModel | VectorModel


def open_run(
    folder: Path, weights: SharedWeights, *, trust: bool = False
) -> HeadModel | WritingModel:
    """Open a run; for a comparison's folder, its recommended arm.

    Args:
        folder: Of the run.
        weights: The weights of all served models, which share equal tensors.
        trust: Whether code that came with it may run.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    from tailorbird.arms.head_predictor import HeadPredictor
    from tailorbird.arms.saved_arm import load
    from tailorbird.runs.finished_run import arm_folder

    place = arm_folder(folder)
    loaded = load(folder, trust=trust)
    weights.share(loaded)
    if not isinstance(loaded, HeadPredictor):
        return _writing_run(loaded, place.path)
    tokenizer, longest = _reader(loaded.source)
    # Initialised now rather than at the first request.
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
        near=None if learns else _examples_beside(place, weights, trust=trust),
        parallel=loaded.source.parallel,
    )


def _examples_beside(
    folder: RunFolder, weights: SharedWeights, *, trust: bool
) -> Callable[[Sequence[Any]], Sequence[tuple[Neighbour, ...]]] | None:
    """Return the search for training examples of an arm beside this one, or None."""
    from tailorbird.arms.head_predictor import HeadPredictor
    from tailorbird.arms.registry import RETRIEVAL
    from tailorbird.arms.saved_arm import open_arm

    other = RunFolder(folder.path.parent / RETRIEVAL)
    if folder.path.parent.name != ARMS or not other.file(MODEL).is_dir():
        return None
    retrieval = open_arm(other, trust=trust)
    if not isinstance(retrieval, HeadPredictor):
        return None
    weights.share(retrieval)
    return retrieval.source.near


def open_model(name: str, config: Config, weights: SharedWeights) -> WritingModel | VectorModel:
    """Open a base model: an embedder, or a generative model.

    Raises:
        UserError: It cannot be loaded.
    """
    from tailorbird.arms.local_generator import open_generator
    from tailorbird.models.builtin import resolve
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    if (Path(resolve(name)).expanduser() / "modules.json").is_file():
        model = config.model.replace(name=name)
        embedder = Embedder(model, choose(model.device, model.precision))
        weights.share(embedder)
        return vector_model(embedder, name)
    writer = open_generator(name, config)
    weights.share(writer)
    return WritingModel(writer.answering, writer.encode, None, 256, name)


def _writing_run(writer: Any, folder: Path) -> WritingModel:
    def example(messages: Sequence[Message]) -> Example:
        return Example(messages[-1].content, messages=tuple(messages))

    def encode(messages: Sequence[Message]) -> np.ndarray:
        prompts = [example(messages)]
        ids: np.ndarray = writer.encode(prompts)[0]
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


def vector_model(embedder: Any, name: str) -> VectorModel:
    """Return an embedder in the server's interface."""
    how = {"": embedder.embed, "query": embedder.embed_queries}
    how["document"] = embedder.embed_documents

    def embed(items: Sequence[Purposed]) -> np.ndarray:
        vectors = np.zeros((len(items), embedder.dimension), dtype=np.float32)
        for purpose in {purpose for purpose, _ in items}:
            places = [i for i, item in enumerate(items) if item[0] == purpose]
            vectors[places] = how[purpose]([items[i][1] for i in places]).vectors
        return vectors

    embedder.embed(["a"])  # initialises it
    return VectorModel(
        embed=embed,
        count=_counter(embedder.tokenizer),
        decode=lambda ids: embedder.tokenizer.decode(ids, skip_special_tokens=True),
        vocabulary=len(embedder.tokenizer),
        longest=embedder.max_length,
        dimension=embedder.dimension,
        base=name,
    )


def _reader(source: Any) -> tuple[Any, int]:
    """Return a model's tokenizer and maximum input length; None: it reads words."""
    for part in (source, getattr(source, "tuned", None), getattr(source, "embedder", None)):
        if part is not None and hasattr(part, "tokenizer"):
            return part.tokenizer, int(getattr(part, "limit", 0) or part.max_length)
    return None, 1 << 30


def _counter(tokenizer: Any) -> Callable[[Any], int]:
    """Return a token counter with a tokenizer of its own.

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
    from tailorbird.runs.finished_run import run_config

    try:
        return str(run_config(folder, trust=False).model.name)
    except (UserError, OSError):
        return ""
