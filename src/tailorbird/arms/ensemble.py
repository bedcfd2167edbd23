"""A mixture of a tuned model's and the neighbours' probabilities, weighted by validation."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from tailorbird.arms.base import Arm, finish_outputs, with_cost_of
from tailorbird.arms.head_predictor import HeadPredictor, OutputSource
from tailorbird.arms.registry import MIX, RETRIEVAL
from tailorbird.arms.saved_arm import open_arm, saved_kind
from tailorbird.data.encode import Text
from tailorbird.errors import UserError
from tailorbird.records import ArmReport
from tailorbird.runs.checked_files import damaged, inner, read_as
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.tasks.head_scoring import load_probabilities, load_target
from tailorbird.tasks.registry import head_task

FILE = "mix.json"
_WEIGHTS = tuple(round(0.05 * i, 2) for i in range(20))


class EnsembleArm(Arm):
    """Mixes the arm after ``rag+`` in its name with the neighbours of the same comparison."""

    key = "mix"

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        tuned, memory = (job.folder.run.arm(n) for n in (job.name.removeprefix(MIX), RETRIEVAL))
        split, task = job.split, head_task(job.split.task)
        target = task.target(split)
        started = time.perf_counter()
        a, b = load_probabilities(tuned), load_probabilities(memory)
        truth, own = task.truths(split.validation, target), job.config.rag.weight
        weights = list(_WEIGHTS) if own is None else [own]

        def quality(weight: float) -> tuple[float, float]:
            mixed = (1 - weight) * a["validation"] + weight * b["validation"]
            return task.quality(mixed, truth, target)

        weight = max(weights, key=quality)
        settings = {"tuned": tuned.path.name, "memory": memory.path.name, "weight": weight}
        with job.folder.new_folder(MODEL) as folder:
            (folder / FILE).write_text(json.dumps(settings, indent=2))
        ours, theirs = read_arm(tuned).cost, read_arm(memory).cost
        cost = with_cost_of(theirs, ours)
        cost = replace(
            cost,
            train_seconds=(cost.train_seconds or 0.0) + time.perf_counter() - started,
            total_parameters=ours.total_parameters,
            predict_ms_per_example=(ours.predict_ms_per_example or 0.0)
            + (theirs.predict_ms_per_example or 0.0),
        )
        mixed = {part: (1 - weight) * a[part] + weight * b[part] for part in a}
        return finish_outputs(job, cost, settings, mixed, target)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> HeadPredictor:
        """See `Arm.open`."""
        return HeadPredictor(folder, EnsembleSource(folder, trust=trust, few=few))


@dataclass(frozen=True)
class EnsembleFile:
    """The contents of `mix.json`."""

    tuned: str
    memory: str
    weight: Annotated[float, Field(ge=0, le=1)]


class EnsembleSource(OutputSource):
    """The two mixed arms."""

    def __init__(self, folder: RunFolder, *, trust: bool, few: bool) -> None:
        path = folder.file(MODEL) / FILE
        settings = read_as(path, EnsembleFile)
        self.weight = settings.weight
        self.tuned, self.memory = (
            _open_part(RunFolder(inner(path, folder.path.parent, name)), folder, trust, few)
            for name in (settings.tuned, settings.memory)
        )
        self.target = load_target(folder)

    @property
    def labels(self) -> Sequence[str]:
        """See `OutputSource.labels`."""
        return self.memory.labels

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        near = self.memory.probabilities(texts)
        tuned = self.tuned.probabilities(texts, title)
        if near.shape != tuned.shape:
            raise UserError(
                "the memory of this mix has labels that its tuned model does not have",
                "use the rag arm alone, or compare again with the new examples",
            )
        mixed: np.ndarray = (1 - self.weight) * tuned + self.weight * near
        return mixed


def _open_part(part: RunFolder, mix: RunFolder, trust: bool, few: bool) -> HeadPredictor:
    """Return one of the two arms."""
    if saved_kind(part).arm == EnsembleArm.key:
        raise damaged(mix.file(MODEL) / FILE, "one of its parts is itself a mix")
    predictor = open_arm(part, trust=trust, few=few)
    if not isinstance(predictor, HeadPredictor):
        raise damaged(mix.file(MODEL) / FILE, f"{part.path.name} has no probabilities to mix")
    return predictor
