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
from tailorbird.runs.checked_files import check_shape, damaged, read_arrays, read_rows, reading
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import CHECKED

_FILE = "cache/embeddings.npz"
VECTORS, EXAMPLES = "vectors.npy", "examples.jsonl"
# The weight of the angle. On the validation pairs of STS-B, the mean of 16 neighbours has
# Spearman's 0.79, 0.83, 0.86, 0.88 and 0.87 with 0, 0.5, 1, 2 and 4; ridge regression 0.87 to 0.88
# with all of them.
_ANGLE = 2.0


@dataclass(frozen=True)
class SplitVectors:
    """Unit vectors ``[n, dimension]`` of each part, and their cost.

    Attributes:
        fit_seconds: Time for the training and validation examples.
        check: The first test examples, embedded alone as the reload check will do.
        ms_per_example: Time per test example.
        peak_bytes: Peak memory of the process that computed them.
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
        """Apply `answer` to the vectors of each predicted part."""
        return {name: answer(getattr(self, name)) for name in ("validation", "test", "check")}


def split_vectors(config: Config, split: Split, folder: RunFolder) -> SplitVectors:
    """Return the embeddings of the split, from the run's cache if present.

    A learning curve's split has the same rows except for some training rows.
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
    """Return a unit vector per text; for a pair, one vector of the relation between both texts.

    It consists of both vectors, their difference and their product, as in InferSent (Conneau et al.
    2017, arXiv 1705.02364, section 3.1), and the angle between the texts, which outweighs them: a
    pair's neighbours are then pairs of the same similarity.
    """
    if not texts or isinstance(texts[0], str):
        return embedder.embed([str(text) for text in texts], title)
    first = embedder.embed([text[0] for text in texts], title)
    second = embedder.embed([text[1] for text in texts], title)
    return Embedded(relation(first.vectors, second.vectors), first.seconds + second.seconds)


def saved_embedder(config: Config, name: str, few: bool = False) -> Embedder:
    """Return the embedder that a saved arm names; files contain no paths of their author's machine.

    For `few`, see `open_embedder`.
    """
    place = with_place(name, config.rag.embedder, config.model.name)
    return open_embedder(config.model.replace(name=place), few)


def vector_width(embedder: Embedder, pairs: bool) -> int:
    """Return the width of `embed`'s vectors, for texts or pairs."""
    return 4 * embedder.dimension + 2 if pairs else embedder.dimension


def relation(u: np.ndarray, v: np.ndarray, angle: float = _ANGLE) -> np.ndarray:
    """Return unit vectors ``[n, 4 d + 2]`` of pairs of unit vectors ``[n, d]``."""
    # From half the angle: 1 - cosine^2 would lose half of the digits for nearly equal texts.
    half = np.linalg.norm(u - v, axis=1, keepdims=True) / 2
    cosine, sine = 1 - 2 * half**2, 2 * half * np.sqrt(np.maximum(0, 1 - half**2))
    # All parts have about the same length by constant factors. None is normalised, since the
    # difference of nearly equal texts is rounding noise.
    parts = [u / 2, v / 2, np.abs(u - v) / 2, u * v * math.sqrt(u.shape[1]) / 2]
    joint = np.concatenate([*parts, angle * cosine, angle * sine], axis=1)
    unit: np.ndarray = joint / np.linalg.norm(joint, axis=1, keepdims=True)
    return unit


def _part(vectors: SplitVectors, arrays: dict[str, np.ndarray], split: Split) -> SplitVectors:
    """Return the vectors of a split with some of the embedded training rows."""
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
    """Write an arm's retrievable examples and their vectors ``[n, dimension]``."""
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    rows = "".join(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in examples)
    write_atomically(place / EXAMPLES, rows.encode())
    write_atomically(place / VECTORS, buffer.getvalue())


def read_examples_of(
    place: Path, embedder: Embedder, *, pairs: bool = False
) -> tuple[np.ndarray, list[Example]]:
    """Return the vectors ``[n, dimension]`` of an arm's retrievable examples, and the examples.

    Raises:
        UserError: They are missing or damaged, or another embedder made them.
    """
    path = place / VECTORS
    vectors = read_arrays(path).get("", np.empty(0))
    examples = read_rows(place / EXAMPLES, Example)
    if not examples:
        raise damaged(place / EXAMPLES, "it holds no examples")
    check_shape(path, vectors, (len(examples), vector_width(embedder, pairs)))
    return vectors, examples
