"""The retrieval arm: the nearest labelled training examples vote, without training."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from tailorbird.arms.base import Arm, cost_of, finish_outputs
from tailorbird.arms.head_predictor import HeadPredictor, OutputSource
from tailorbird.arms.split_embeddings import (
    EXAMPLES,
    embed,
    read_examples_of,
    save_examples,
    saved_embedder,
    split_vectors,
)
from tailorbird.config import Config
from tailorbird.data.encode import Text
from tailorbird.models.builtin import without_place
from tailorbird.rag.labelled_vectors import LabelledVectors, VoteSettings
from tailorbird.records import ArmReport, Example, Neighbour, Target, TaskSpec
from tailorbird.runs.checked_files import read_as, reading
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import LABELS, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.head_scoring import load_target
from tailorbird.tasks.registry import head_task

FILE = "rag.json"
NO_VECTORS = "it reads one vector of a whole text, and here every word has a label"


class NeighboursArm(Arm):
    """Embeds a text and lets the nearest training examples vote."""

    key = "neighbours"

    def why_not(self, spec: TaskSpec) -> str:
        """See `Arm.why_not`."""
        return NO_VECTORS if spec.per_word else ""

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        split, rag, task = job.split, job.config.rag, head_task(job.split.task)
        target = task.target(split)
        vectors = split_vectors(job.config, split, job.folder.run)
        started = time.perf_counter()
        memory = LabelledVectors(
            vectors.train, split.train, split.labels, task.votes(split.train, target)
        )
        truth = task.truths(split.validation, target)
        judge = None
        if memory.values is not None:

            def judge(outputs: np.ndarray) -> tuple[float, float]:
                return task.quality(outputs, truth, target)

        settings = memory.choose(vectors.validation, truth, (rag.k, rag.temperature), judge)
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        arrays = vectors.each(lambda rows: memory.probabilities(rows, settings))
        search_ms = 1000 * (time.perf_counter() - started) / max(1, sum(map(len, arrays.values())))
        report = {"embedder": vectors.embedder} | asdict(settings)
        with job.folder.new_folder(MODEL) as folder:
            save_examples(folder, vectors.train, split.train)
            shared = report | {"embedder": without_place(vectors.embedder)}
            (folder / FILE).write_text(json.dumps(shared, indent=2))
        cost = cost_of(job, vectors, seconds, more_ms=search_ms)
        return finish_outputs(job, cost, report, arrays, target)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> HeadPredictor:
        """See `Arm.open`."""
        target = load_target(folder)
        config = run_config(folder, trust=trust)
        return HeadPredictor(folder, NeighboursSource(folder, config, target, few))


@dataclass(frozen=True)
class NeighboursFile:
    """The contents of `rag.json`."""

    embedder: Annotated[str, Field(min_length=1)]
    k: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class NeighboursSource(OutputSource):
    """The labelled examples, and the embedder of the texts compared with them."""

    def __init__(
        self, folder: RunFolder, config: Config, target: Target, few: bool = False
    ) -> None:
        self.folder, self.target = folder, target
        self.place = folder.file(MODEL)
        settings = read_as(self.place / FILE, NeighboursFile)
        self.settings = VoteSettings(settings.k, settings.temperature)
        self.embedder = saved_embedder(config, settings.embedder, few)
        vectors, examples = read_examples_of(self.place, self.embedder, pairs=target.pairs)
        task, labels = head_task(target.task), list(target.labels)
        self.learns = task.adds_labels
        if self.learns:
            labels += sorted({str(e.label) for e in examples} - set(labels))
        with reading(self.place / EXAMPLES):
            self.memory = LabelledVectors(vectors, examples, labels, task.votes(examples, target))
        self._last: tuple[tuple[Text, ...], np.ndarray] = ((), vectors[:0])

    @property
    def labels(self) -> Sequence[str]:
        """See `OutputSource.labels`; added examples may have new ones."""
        return self.memory.labels

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        vectors = embed(self.embedder, texts, title).vectors
        self._last = tuple(texts), vectors
        # In the format of the saved outputs, as the scores were computed.
        return self.memory.probabilities(vectors, self.settings).astype(np.float32)

    def near(self, texts: Sequence[Text]) -> list[tuple[Neighbour, ...]]:
        """Return the three nearest examples of each text."""
        (last, vectors), self._last = self._last, ((), self._last[1][:0])
        # A prediction asks for the neighbours of texts that were just embedded.
        if last != tuple(texts):
            vectors = embed(self.embedder, texts).vectors
        return [self.memory.neighbours(vector, 3) for vector in vectors]

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> list[str]:
        """See `OutputSource.add`."""
        examples = [Example(t, label) for t, label in zip(texts, labels, strict=True)]
        self.memory.add(self.embedder.embed(texts).vectors, examples)
        return list(self.memory.labels)

    def remove(self, text: str, label: str) -> None:
        """See `OutputSource.remove`."""
        self.memory.remove(text, label)

    def save(self) -> None:
        """See `OutputSource.save`."""
        save_examples(self.place, self.memory.vectors, self.memory.examples)
        self.folder.write_json(LABELS, self.memory.labels)
