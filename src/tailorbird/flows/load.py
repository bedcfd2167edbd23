"""A run folder -> something that predicts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tailorbird.config import Config, load_config
from tailorbird.data.encode import encode
from tailorbird.errors import UserError
from tailorbird.evaluate.predict import predict
from tailorbird.flows.arm import HEADS, max_length
from tailorbird.methods import get_method
from tailorbird.metrics.labels import softmax
from tailorbird.models.device import choose
from tailorbird.models.load import load_classifier
from tailorbird.rag.embed import Embedder
from tailorbird.rag.memory import Memory, VoteSettings
from tailorbird.records import Example, Neighbour
from tailorbird.runs.folder import ARMS, CONFIG, LABELS, MODEL, REPORT, TASK, RunFolder
from tailorbird.runs.split import example_from_json

if TYPE_CHECKING:
    from tailorbird.flows.load_writing import Writer


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run says about one text.

    Attributes:
        label: The most likely label.
        confidence: Its probability.
        probabilities: Probability by label.
        neighbours: For retrieval runs, the labelled examples that voted.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    neighbours: tuple[Neighbour, ...] = ()


class Source(Protocol):
    """Anything with probabilities."""

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        """Return ``[n, classes]`` float32."""
        ...


class Predictor:
    """A loaded run.

    Attributes:
        labels: Class names in the order of the probabilities.
    """

    def __init__(self, name: str, labels: list[str], source: Source) -> None:
        self.name, self.labels, self._source = name, labels, source

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        """Return class probabilities ``[n, classes]`` float32, in the order of `labels`."""
        if not texts:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return self._source.probabilities(texts, title)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one `Prediction` per text."""
        found = self.probabilities(texts)
        near = [()] * len(texts) if not isinstance(self._source, _Rag) else self._source.near(texts)
        return [
            Prediction(
                self.labels[int(row.argmax())],
                float(row.max()),
                dict(zip(self.labels, map(float, row), strict=True)),
                tuple(neighbours),
            )
            for row, neighbours in zip(found, near, strict=True)
        ]

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Add labelled examples to a retrieval run; they count from the next prediction on.

        Raises:
            UserError: The run does not retrieve, or the lists differ in length.
        """
        if not isinstance(self._source, _Rag):
            raise UserError(
                f"{self.name} learns by training only", "add examples to a rag run, or tune again"
            )
        if len(texts) != len(labels):
            raise UserError(f"{len(texts)} texts, but {len(labels)} labels", "give as many of both")
        self._source.add(texts, labels)
        self.labels = self._source.memory.labels

    def save(self) -> None:
        """Keep added examples in the run folder."""
        if isinstance(self._source, _Rag):
            self._source.save()


def load_any(run: Path | str) -> "Predictor | Writer":
    """Load a run (``RUN/arms/lora``, or the folder of a comparison: its recommended arm).

    Returns:
        A `Predictor` of labels, or a `Writer` of answers.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    folder = arm_folder(Path(run))
    if folder.file(TASK).is_file():
        from tailorbird.flows.load_writing import Writer

        return Writer(folder)
    return load(run)


def load(run: Path | str) -> Predictor:
    """Load a run that answers with labels; see `load_any`.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    folder = arm_folder(Path(run))
    labels = [str(label) for label in folder.read_json(LABELS)]
    return Predictor(str(folder.path), labels, _source(folder, labels))


def arm_folder(path: Path) -> RunFolder:
    """Return the folder of an arm; for a comparison's folder, of the arm it recommends.

    Raises:
        UserError: There is no run, or it did not come to its end.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"there is no run {path}", "give a folder that `tailor tune` made")
    if folder.file(MODEL).is_dir():
        return folder
    if (path / ARMS).is_dir():
        verdict = folder.read_json(REPORT)["verdict"]
        if verdict["recommended"] is None:
            raise UserError(f"no arm of {path} succeeded", "look at its report.html")
        return folder.arm(verdict["recommended"])
    if folder.exists:
        raise UserError(f"the run {path} did not come to its end", "go on with it: --resume")
    raise UserError(
        f"{path} holds no run", "give a folder that `tailor tune` or `tailor compare` made"
    )


def _source(folder: RunFolder, labels: list[str]) -> Source:
    """Return what predicts, told by the files in the folder's model."""
    model = folder.file(MODEL)
    if (model / "majority.json").is_file():
        return _Majority(folder)
    config = load_config(folder.file(CONFIG))
    if (model / "mix.json").is_file():
        return _Mix(folder, labels)
    if (model / "rag.json").is_file():
        return _Rag(folder, config, labels)
    if (model / "probe.json").is_file():
        return _Probe(folder, config)
    return Tuned(folder, config, labels)


class Tuned:
    """A trained classifier, with what it reads texts with."""

    def __init__(self, folder: RunFolder, config: Config, labels: list[str]) -> None:
        method = get_method(config.method.name)
        self.device = choose(config.model.device, config.model.precision)
        options = method.load_options(config.method, HEADS, self.device)
        base = load_classifier(config.model, labels, self.device, options)
        self.limit = max_length(config, base, method)
        self.tokenizer = base.tokenizer
        self.method = method
        self.model = method.load(base, folder.file(MODEL))

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        """Return class probabilities ``[n, classes]`` float32."""
        encoded = encode(texts, self.tokenizer, self.limit)
        pad = self.tokenizer.pad_token_id
        return predict(self.model, encoded, pad, self.device, title).probabilities


class _Majority:
    def __init__(self, folder: RunFolder) -> None:
        self.shares = _read_json(folder.file(MODEL) / "majority.json")

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        return np.tile(np.asarray(list(self.shares.values()), dtype=np.float32), (len(texts), 1))


class _Probe:
    def __init__(self, folder: RunFolder, config: Config) -> None:
        settings = _read_json(folder.file(MODEL) / "probe.json")
        self.embedder = _embedder(config, settings["embedder"])
        with np.load(folder.file(MODEL) / "probe.npz") as arrays:
            self.weights, self.bias = arrays["weights"], arrays["bias"]

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        vectors = self.embedder.embed(texts, title).vectors
        return softmax(vectors @ self.weights.T + self.bias)


class _Rag:
    def __init__(self, folder: RunFolder, config: Config, labels: list[str]) -> None:
        self.folder = folder
        place = folder.file(MODEL)
        settings = _read_json(place / "rag.json")
        self.settings = VoteSettings(settings["k"], settings["temperature"])
        self.embedder = _embedder(config, settings["embedder"])
        try:
            vectors = np.load(place / "vectors.npy")
            rows = RunFolder(place).read_rows("examples.jsonl")
            examples = [example_from_json(row) for row in rows]
            known = labels + sorted({str(e.label) for e in examples} - set(labels))
            self.memory = Memory(vectors, examples, known)
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(place, error) from error
        if len(vectors) != len(examples):
            raise _damaged(place, ValueError(f"{len(vectors)} vectors, {len(examples)} examples"))
        labels[:] = self.memory.labels

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        return self.memory.probabilities(self.embedder.embed(texts, title).vectors, self.settings)

    def near(self, texts: Sequence[str]) -> list[tuple[Neighbour, ...]]:
        """Return the three nearest examples of each text."""
        vectors = self.embedder.embed(texts).vectors
        return [self.memory.neighbours(vector, 3) for vector in vectors]

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        examples = [Example(t, label) for t, label in zip(texts, labels, strict=True)]
        self.memory.add(self.embedder.embed(texts).vectors, examples)

    def save(self) -> None:
        from tailorbird.flows.untrained import save_memory

        save_memory(self.folder.file(MODEL), self.memory)
        self.folder.write_json(LABELS, self.memory.labels)


class _Mix:
    def __init__(self, folder: RunFolder, labels: list[str]) -> None:
        settings = _read_json(folder.file(MODEL) / "mix.json")
        arms = RunFolder(folder.path.parent)
        self.weight = float(settings["weight"])
        self.tuned = _source(RunFolder(arms.path / settings["tuned"]), list(labels))
        self.memory = _source(RunFolder(arms.path / settings["memory"]), list(labels))

    def probabilities(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        near = self.memory.probabilities(texts)
        tuned = self.tuned.probabilities(texts, title)
        if near.shape != tuned.shape:
            raise UserError(
                "the memory of this mix has labels that its tuned model has not",
                "use the rag arm alone, or compare again with the new examples",
            )
        return (1 - self.weight) * tuned + self.weight * near


def _embedder(config: Config, name: str) -> Embedder:
    model = config.model.model_copy(update={"name": name})
    return Embedder(model, choose(model.device, model.precision))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged: {error}", "make the run again")
