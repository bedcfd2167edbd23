"""The embeddings of a run's split, computed once and shared by its arms."""

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tailorbird import log
from tailorbird.config import Config
from tailorbird.data.encode import Text, as_read
from tailorbird.models.builtin import with_place
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedded, Embedder, choose_embedder, open_embedder
from tailorbird.records import Example, Split
from tailorbird.runs.atomic import write_atomically
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.files import check_shape, damaged, read_arrays, read_rows, reading
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import CHECKED

_FILE = "cache/embeddings.npz"
VECTORS, EXAMPLES = "vectors.npy", "examples.jsonl"
# On the validation pairs of STS-B the mean of 16 neighbours has Spearman's 0.79, 0.83, 0.86, 0.88
# and 0.87 with 0, 0.5, 1, 2 and 4; ridge regression 0.87 to 0.88 with all of them.
_ANGLE = 2.0


@dataclass(frozen=True)
class SplitVectors:
    """Unit vectors ``[n, dimension]`` of each part, and what they cost.

    Attributes:
        fit_seconds: For the training and validation examples.
        check: The first test examples, embedded by themselves: what a fresh process repeats.
        ms_per_example: For a test example.
        peak_bytes: The most memory of the process that computed them.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    check: np.ndarray
    embedder: str
    fit_seconds: float
    ms_per_example: float
    peak_bytes: int

    def each(self, answer: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """Return what `answer` gives for the vectors of each part that is predicted."""
        return {name: answer(getattr(self, name)) for name in ("validation", "test", "check")}


def split_vectors(config: Config, split: Split, folder: RunFolder) -> SplitVectors:
    """Return the embeddings of the split, from the run's cache when it has them.

    A learning curve's splits have the run's rows but for some of its training rows.
    """
    model = choose_embedder(config.rag.embedder, config.model)
    path = folder.file(_FILE)
    if path.is_file():
        arrays = read_arrays(path)
        with reading(path):
            if str(arrays["embedder"]) == model.name:
                return _part(_read(arrays), arrays, split)
    embedder = Embedder(model, choose(model.device, model.precision))
    texts = {
        part: [as_read(e) for e in getattr(split, part)] for part in ("train", "validation", "test")
    }
    parts = {part: embed(embedder, rows, f"embedding {part}") for part, rows in texts.items()}
    parts["check"] = embed(embedder, texts["test"][:CHECKED])
    log.say(f"embedded {sum(map(len, texts.values())):,} texts with {model.name}")
    arrays = {part: embedded.vectors for part, embedded in parts.items()}
    arrays |= {
        "embedder": np.asarray(model.name),
        "fit_seconds": np.asarray(parts["train"].seconds + parts["validation"].seconds),
        "ms_per_example": np.asarray(1000 * parts["test"].seconds / max(1, len(split.test))),
        "peak_bytes": np.asarray(peak_memory_bytes()),
        "train_rows": np.asarray([example.row for example in split.train]),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
    return _read(arrays)


def embed(embedder: Embedder, texts: Sequence[Text], title: str = "") -> Embedded:
    """Return a unit vector per text; of a pair one that says how the two are related.

    It holds both vectors, their difference and their product, as in InferSent (Conneau et al. 2017,
    arXiv 1705.02364, section 3.1), and the angle between the texts, which outweighs them: the
    neighbours of a pair are then those that are as much alike.
    """
    if not texts or isinstance(texts[0], str):
        return embedder.embed([str(text) for text in texts], title)
    first = embedder.embed([text[0] for text in texts], title)
    second = embedder.embed([text[1] for text in texts], title)
    return Embedded(relation(first.vectors, second.vectors), first.seconds + second.seconds)


def saved_embedder(config: Config, name: str, few: bool = False) -> Embedder:
    """Return the embedder that a saved arm names; files name none of the author's folders.

    See `open_embedder` on embedders of a `few` texts.
    """
    place = with_place(name, config.rag.embedder, config.model.name)
    return open_embedder(config.model.model_copy(update={"name": place}), few)


def vector_width(embedder: Embedder, pairs: bool) -> int:
    """Return how long the vectors are that `embed` gives, of texts or of pairs."""
    return 4 * embedder.dimension + 2 if pairs else embedder.dimension


def relation(u: np.ndarray, v: np.ndarray, angle: float = _ANGLE) -> np.ndarray:
    """Return unit vectors ``[n, 4 d + 2]`` of pairs of unit vectors ``[n, d]``."""
    # By half the angle: 1 - cosine^2 would lose half of the digits where texts are nearly the same.
    half = np.linalg.norm(u - v, axis=1, keepdims=True) / 2
    cosine, sine = 1 - 2 * half**2, 2 * half * np.sqrt(np.maximum(0, 1 - half**2))
    # All of about the same length, and none divided by its own: the difference of two texts that
    # are nearly the same is rounding.
    parts = [u / 2, v / 2, np.abs(u - v) / 2, u * v * math.sqrt(u.shape[1]) / 2]
    joint = np.concatenate([*parts, angle * cosine, angle * sine], axis=1)
    unit: np.ndarray = joint / np.linalg.norm(joint, axis=1, keepdims=True)
    return unit


def _part(vectors: SplitVectors, arrays: dict[str, np.ndarray], split: Split) -> SplitVectors:
    """Return the vectors of a split that has a part of the training rows that were embedded."""
    if len(split.train) == len(vectors.train):
        return vectors
    place = {row: i for i, row in enumerate(arrays["train_rows"].tolist())}
    rows = [place[example.row] for example in split.train]
    return replace(vectors, train=vectors.train[rows])


def _read(arrays: dict[str, np.ndarray]) -> SplitVectors:
    return SplitVectors(
        arrays["train"],
        arrays["validation"],
        arrays["test"],
        arrays["check"],
        str(arrays["embedder"]),
        float(arrays["fit_seconds"]),
        float(arrays["ms_per_example"]),
        int(arrays["peak_bytes"]),
    )


def save_examples(place: Path, vectors: np.ndarray, examples: Sequence[Example]) -> None:
    """Write the examples that an arm retrieves, and their vectors ``[n, dimension]``."""
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    rows = "".join(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in examples)
    write_atomically(place / EXAMPLES, rows.encode())
    write_atomically(place / VECTORS, buffer.getvalue())


def read_examples_of(
    place: Path, embedder: Embedder, *, pairs: bool = False
) -> tuple[np.ndarray, list[Example]]:
    """Return the vectors of the examples that an arm retrieves ``[n, dimension]``, and those.

    Raises:
        UserError: They are missing or damaged, or of another embedder.
    """
    path = place / VECTORS
    vectors = read_arrays(path).get("", np.empty(0))
    examples = read_rows(place / EXAMPLES, Example)
    if not examples:
        raise damaged(place / EXAMPLES, "it holds no examples")
    check_shape(path, vectors, (len(examples), vector_width(embedder, pairs)))
    return vectors, examples
