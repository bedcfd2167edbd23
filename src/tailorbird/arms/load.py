"""A run folder -> something that predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from tailorbird.arms.trained import HEADS, max_length
from tailorbird.arms.vectors import embed, vector_width
from tailorbird.config import Config, load_config
from tailorbird.data.encode import Encoded, Text, words_of
from tailorbird.errors import UserError, check_utf8
from tailorbird.methods import get_method
from tailorbird.models.builtin import with_place
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder
from tailorbird.models.load import load_classifier
from tailorbird.rag.neighbours import Memory, VoteSettings
from tailorbird.records import Example, Neighbour, Report, Target
from tailorbird.runs.files import (
    check_shape,
    damaged,
    inner,
    read_arrays,
    read_as,
    read_rows,
    reading,
)
from tailorbird.runs.folder import ARMS, CONFIG, LABELS, MODEL, REPORT, TASK, RunFolder
from tailorbird.tasks import head_task
from tailorbird.tasks.predictions import Answer, check_texts
from tailorbird.tasks.scoring import load_target

if TYPE_CHECKING:
    from tailorbird.arms.load_writing import Writer


class Source(Protocol):
    """Anything with probabilities, or values."""

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """Return ``[n, outputs]``."""
        ...


class Predictor:
    """A loaded run.

    Attributes:
        target: What the outputs mean.
        labels: Class names in the order of the probabilities; of regression the targets' names.
    """

    def __init__(self, name: str, target: Target, labels: list[str], source: Source) -> None:
        self.name, self.target, self.labels, self._source = name, target, labels, source

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """Return probabilities ``[n, classes]`` in the order of `labels`; of regression values.

        Raises:
            UserError: The run reads pairs and these are single texts, or the other way round.
        """
        if not texts:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        check_texts(texts, self.target, self.name)
        return self._source.probabilities(texts, title)

    def predict(self, texts: Sequence[Text]) -> list[Answer]:
        """Return one `Prediction`, `LabelSet` or `Value` per text, or per pair of texts."""
        task = head_task(self.target.task)
        outputs = task.by_text(self.probabilities(texts), list(map(words_of, texts)))
        near = [()] * len(texts) if not isinstance(self._source, _Rag) else self._source.near(texts)
        target = replace(self.target, labels=tuple(self.labels))
        return [
            task.prediction(row, target, tuple(neighbours), text)
            for row, neighbours, text in zip(outputs, near, texts, strict=True)
        ]

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Add labelled examples to a retrieval run; they count from the next prediction on.

        Raises:
            UserError: The run does not retrieve, or the lists differ in length.
        """
        if not isinstance(self._source, _Rag) or self.target.task != "classification":
            raise UserError(
                f"{self.name} learns by training only",
                "add examples to a rag run of one label each, or tune again",
            )
        if len(texts) != len(labels):
            raise UserError(f"{len(texts)} texts, but {len(labels)} labels", "give as many of both")
        check_utf8([*texts, *labels], "a text or label to add")
        self._source.add(texts, labels)
        self.labels = self._source.memory.labels

    def save(self) -> None:
        """Keep added examples in the run folder."""
        if isinstance(self._source, _Rag):
            self._source.save()


def load_any(run: Path | str, *, trust: bool = False) -> "Predictor | Writer":
    """Load a run (``RUN/arms/lora``, or the folder of a comparison: its recommended arm).

    Args:
        run: Its folder.
        trust: Whether code may run that came with its model.

    Returns:
        A `Predictor` of labels, or a `Writer` of answers.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    folder = arm_folder(Path(run))
    if folder.file(TASK).is_file():
        from tailorbird.arms.load_writing import Writer

        return Writer(folder, trust=trust)
    return load(run, trust=trust)


def load(run: Path | str, *, trust: bool = False) -> Predictor:
    """Load a run that answers with labels; see `load_any`.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    folder = arm_folder(Path(run))
    target = load_target(folder)
    labels = list(target.labels)
    return Predictor(str(folder.path), target, labels, _source(folder, target, labels, trust))


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
        name = read_report(folder).verdict.recommended
        if name is None:
            raise UserError(f"no arm of {path} succeeded", "look at its report.html")
        return RunFolder(inner(folder.file(REPORT), path / ARMS, name))
    if folder.exists:
        raise UserError(f"the run {path} did not come to its end", "go on with it: --resume")
    raise UserError(
        f"{path} holds no run", "give a folder that `tailor tune` or `tailor compare` made"
    )


def read_report(folder: RunFolder) -> Report:
    """Read the report of a run.

    Raises:
        UserError: It is missing or damaged.
    """
    report, path = folder.read_as(REPORT, Report), folder.file(REPORT)
    names = {arm.name for arm in report.arms}
    if {report.verdict.recommended, report.verdict.best} - names - {None}:
        raise damaged(path, "its verdict names an arm that it does not have")
    for arm in report.arms:
        if arm.status == "ok" and report.headline not in arm.test:
            raise damaged(path, f"arm {arm.name!r} has no {report.headline}")
    return report


def run_config(folder: RunFolder, *, trust: bool) -> Config:
    """Return the settings of a finished run, whose folder somebody else may have made.

    Args:
        folder: The run, or an arm of it.
        trust: Whether the caller lets code run that came with its model; what the folder says of
            that does not count.

    Raises:
        UserError: They are missing or damaged.
    """
    try:
        config = load_config(folder.file(CONFIG))
    except UserError as error:
        raise damaged(folder.file(CONFIG), error.problem) from error
    model = config.model.model_copy(update={"trust_remote_code": trust})
    return config.model_copy(update={"model": model})


def _source(
    folder: RunFolder, target: Target, labels: list[str], trust: bool, *, mixed: bool = False
) -> Source:
    """Return what predicts, told by the files in the folder's model; `mixed`: within a mix."""
    model = folder.file(MODEL)
    if (model / "majority.json").is_file():
        return _Constant(folder, target)
    if (model / "mix.json").is_file():
        if mixed:
            raise damaged(model / "mix.json", "it mixes a mix")
        return _Mix(folder, target, trust)
    config = run_config(folder, trust=trust)
    if (model / "rag.json").is_file():
        return _Rag(folder, config, target, labels)
    if (model / "probe.json").is_file():
        return _Probe(folder, config, target)
    return Tuned(folder, config, target)


class Tuned:
    """A trained model, with what it reads texts with."""

    def __init__(self, folder: RunFolder, config: Config, target: Target) -> None:
        method = get_method(config.method.name)
        self.target = target
        self.device = choose(config.model.device, config.model.precision)
        options = method.load_options(config.method, HEADS, self.device)
        base = load_classifier(config.model, target, self.device, options)
        self.limit = max_length(config, base, method)
        self.tokenizer = base.tokenizer
        self.method = method
        self.model = method.load(base, folder.file(MODEL))

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Return the texts as the model reads them."""
        task = head_task(self.target.task)
        return task.encode(texts, self.tokenizer, self.model, self.limit, self.target)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """Return class probabilities ``[n, classes]``; of regression values."""
        pad = self.tokenizer.pad_token_id
        task, encoded = head_task(self.target.task), self.encode(texts)
        predicted = task.predict(self.model, encoded, pad, self.device, self.target, title)
        return task.outputs(predicted.logits, self.target)


class _Constant:
    def __init__(self, folder: RunFolder, target: Target) -> None:
        path, self.target = folder.file(MODEL) / "majority.json", target
        task = head_task(target.task)
        self.constant: dict[str, Any] = read_as(path, task.constant_type)
        if fault := task.constant_fault(self.constant, target):
            raise damaged(path, fault)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        return head_task(self.target.task).constant_outputs(self.constant, texts, self.target)


@dataclass(frozen=True)
class _ProbeFile:
    embedder: Annotated[str, Field(min_length=1)]


class _Probe:
    def __init__(self, folder: RunFolder, config: Config, target: Target) -> None:
        self.target = target
        place = folder.file(MODEL)
        self.embedder = _embedder(config, read_as(place / "probe.json", _ProbeFile).embedder)
        arrays, path = read_arrays(place / "probe.npz"), place / "probe.npz"
        with reading(path):
            self.weights, self.bias = arrays["weights"], arrays["bias"]
            outputs, width = len(target.labels), vector_width(self.embedder, target.pairs)
            check_shape(path, self.weights, (outputs, width))
            check_shape(path, self.bias, (outputs,))

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        vectors = embed(self.embedder, texts, title).vectors
        task = head_task(self.target.task)
        return task.outputs(vectors @ self.weights.T + self.bias, self.target)


@dataclass(frozen=True)
class _RagFile:
    embedder: Annotated[str, Field(min_length=1)]
    k: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Rag:
    def __init__(
        self, folder: RunFolder, config: Config, target: Target, labels: list[str]
    ) -> None:
        self.folder = folder
        place = folder.file(MODEL)
        settings = read_as(place / "rag.json", _RagFile)
        self.settings = VoteSettings(settings.k, settings.temperature)
        self.embedder = _embedder(config, settings.embedder)
        vectors, examples = read_memory(place, self.embedder, pairs=target.pairs)
        known = list(labels)
        if target.task == "classification":
            known += sorted({str(e.label) for e in examples} - set(labels))
        with reading(place / "examples.jsonl"):
            votes = head_task(target.task).votes(examples, target)
            self.memory = Memory(vectors, examples, known, votes)
        labels[:] = self.memory.labels

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        vectors = embed(self.embedder, texts, title).vectors
        # As the scores were computed: in the format that outputs are kept in.
        return self.memory.probabilities(vectors, self.settings).astype(np.float32)

    def near(self, texts: Sequence[Text]) -> list[tuple[Neighbour, ...]]:
        """Return the three nearest examples of each text."""
        vectors = embed(self.embedder, texts).vectors
        return [self.memory.neighbours(vector, 3) for vector in vectors]

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        examples = [Example(t, label) for t, label in zip(texts, labels, strict=True)]
        self.memory.add(self.embedder.embed(texts).vectors, examples)

    def save(self) -> None:
        from tailorbird.arms.untrained import save_memory

        save_memory(self.folder.file(MODEL), self.memory)
        self.folder.write_json(LABELS, self.memory.labels)


@dataclass(frozen=True)
class _MixFile:
    tuned: str
    memory: str
    weight: Annotated[float, Field(ge=0, le=1)]


class _Mix:
    def __init__(self, folder: RunFolder, target: Target, trust: bool) -> None:
        path, arms = folder.file(MODEL) / "mix.json", folder.path.parent
        settings = read_as(path, _MixFile)
        self.weight = settings.weight
        labels = list(target.labels)
        # How it reads pairs is the tuned model's own.
        tuned = RunFolder(inner(path, arms, settings.tuned))
        memory = RunFolder(inner(path, arms, settings.memory))
        self.tuned = _source(tuned, load_target(tuned), list(labels), trust, mixed=True)
        self.memory = _source(memory, target, labels, trust, mixed=True)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        near = self.memory.probabilities(texts)
        tuned = self.tuned.probabilities(texts, title)
        if near.shape != tuned.shape:
            raise UserError(
                "the memory of this mix has labels that its tuned model has not",
                "use the rag arm alone, or compare again with the new examples",
            )
        return (1 - self.weight) * tuned + self.weight * near


def _embedder(config: Config, name: str) -> Embedder:
    place = with_place(name, config.rag.embedder, config.model.name)
    model = config.model.model_copy(update={"name": place})
    return Embedder(model, choose(model.device, model.precision))


def read_memory(
    place: Path, embedder: Embedder, *, pairs: bool = False
) -> tuple[np.ndarray, list[Example]]:
    """Return the vectors of the examples that an arm retrieves ``[n, dimension]``, and those.

    Raises:
        UserError: They are missing or damaged, or of another embedder.
    """
    path = place / "vectors.npy"
    vectors = read_arrays(path).get("", np.empty(0))
    examples = read_rows(place / "examples.jsonl", Example)
    if not examples:
        raise damaged(place / "examples.jsonl", "it holds no examples")
    check_shape(path, vectors, (len(examples), vector_width(embedder, pairs)))
    return vectors, examples
