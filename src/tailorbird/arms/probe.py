"""The linear probe: a linear model on frozen embeddings."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from tailorbird.arms.base import Arm, cost_of, finish_outputs
from tailorbird.arms.head_predictor import HeadPredictor, OutputSource
from tailorbird.arms.knn_vote import NO_VECTORS
from tailorbird.arms.split_embeddings import embed, saved_embedder, split_vectors, vector_width
from tailorbird.config import Config
from tailorbird.data.encode import Text
from tailorbird.models.builtin import without_place
from tailorbird.records import ArmReport, Target, TaskSpec
from tailorbird.runs.checked_files import check_shape, read_arrays, read_as, reading
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.head_scoring import load_target
from tailorbird.tasks.registry import head_task

FILE, WEIGHTS = "probe.json", "probe.npz"
_CS = (0.1, 1.0, 10.0, 100.0)


class ProbeArm(Arm):
    """Fits a linear model on frozen embeddings, its C chosen on validation.

    It is a logistic regression (for multilabel one per label), or a ridge regression for numbers.
    """

    key = "probe"

    def why_not(self, spec: TaskSpec) -> str:
        """See `Arm.why_not`."""
        return NO_VECTORS if spec.per_word else ""

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        split, task = job.split, head_task(job.split.task)
        target = task.target(split)
        vectors = split_vectors(job.config, split, job.folder.run)
        targets = task.training_targets(split.train, target)
        truth = task.truths(split.validation, target)
        started = time.perf_counter()
        fits, seed = [], job.config.train.seed
        for c in _CS:
            how = {"max_iter": 2000, "random_state": seed}
            weights, bias = task.fit_linear(vectors.train, targets, c, **how)
            on_validation = task.outputs(vectors.validation @ weights.T + bias, target)
            fits.append((task.quality(on_validation, truth, target), c, weights, bias))
        _, c, weights, bias = max(fits, key=lambda item: item[0])
        seconds = time.perf_counter() - started
        with job.folder.new_folder(MODEL) as folder:
            np.savez(folder / WEIGHTS, weights=weights, bias=bias)
            shared = {"embedder": without_place(vectors.embedder), "C": c}
            (folder / FILE).write_text(json.dumps(shared))
        cost = cost_of(job, vectors, seconds, weights.size + bias.size)
        settings = {"embedder": vectors.embedder, "C": c}
        arrays = vectors.each(lambda rows: task.outputs(rows @ weights.T + bias, target))
        return finish_outputs(job, cost, settings, arrays, target)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> HeadPredictor:
        """See `Arm.open`."""
        target = load_target(folder)
        config = run_config(folder, trust=trust)
        return HeadPredictor(folder, ProbeSource(folder, config, target, few))


@dataclass(frozen=True)
class ProbeFile:
    """The contents of `probe.json`."""

    embedder: Annotated[str, Field(min_length=1)]


class ProbeSource(OutputSource):
    """The linear model and the embedder of its inputs."""

    parallel = True

    def __init__(
        self, folder: RunFolder, config: Config, target: Target, few: bool = False
    ) -> None:
        self.target = target
        place = folder.file(MODEL)
        self.embedder = saved_embedder(config, read_as(place / FILE, ProbeFile).embedder, few)
        arrays, path = read_arrays(place / WEIGHTS), place / WEIGHTS
        with reading(path):
            self.weights, self.bias = arrays["weights"], arrays["bias"]
            outputs, width = len(target.labels), vector_width(self.embedder, target.pairs)
            check_shape(path, self.weights, (outputs, width))
            check_shape(path, self.bias, (outputs,))

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        vectors = embed(self.embedder, texts, title).vectors
        logits = vectors @ self.weights.T + self.bias
        return head_task(self.target.task).outputs(logits, self.target)
