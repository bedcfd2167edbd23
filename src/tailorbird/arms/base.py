"""The interface of an arm; each arm is one module and one line in `arms/registry.py`."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from tailorbird.arms.predictor import Predictor
from tailorbird.arms.split_embeddings import SplitVectors
from tailorbird.config import dump_config
from tailorbird.records import ArmReport, Cost, Target, TaskSpec
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.head_scoring import save_scored


class Arm(ABC):
    """One way of solving the task, compared with the others on the same split.

    Attributes:
        key: The arm's key in the table, saved in its folder.
        trains: Whether the arm trains a model, and so takes several seeds, a search and an export.
    """

    key: ClassVar[str]
    trains: ClassVar[bool] = False

    def why_not(self, spec: TaskSpec) -> str:
        """Return why the arm is skipped for a task that lists it; empty if it is not skipped."""
        return ""

    @abstractmethod
    def run(self, job: ArmJob) -> ArmReport:
        """Fit and score the arm, and save all outputs in `job.folder`.

        Raises:
            UserError: The model, the data or a setting does not fit.
            Interrupted: Ctrl-C; `job.resume` continues the run.
            OverBudget: The arm would not finish before the deadline.
        """

    @abstractmethod
    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
        """Load what `run` saved and return a predictor with the same predictions.

        Args:
            trust: Whether code that came with the model may run.
            few: Whether only a few texts will be predicted. Then the predictor that loads fastest
                is returned: it computes in fp32, whatever the format of training, wherever torch
                can be avoided.

        Raises:
            UserError: The folder is incomplete or damaged, or the base model is missing.
        """


def cost_of(
    job: ArmJob, vectors: SplitVectors, seconds: float, trained: int = 0, more_ms: float = 0.0
) -> Cost:
    """Return the cost of an arm that is fitted on the embeddings of the split."""
    return Cost(
        train_seconds=vectors.fit_seconds + seconds,
        peak_memory_bytes=max(peak_memory_bytes(), vectors.peak_bytes),
        trainable_parameters=trained,
        artifact_bytes=job.folder.size_bytes(MODEL),
        predict_ms_per_example=vectors.ms_per_example + more_ms,
    )


def with_cost_of(cost: Cost, used: Cost) -> Cost:
    """Return an arm's cost including that of the arm whose weights it uses."""
    return replace(
        cost,
        train_seconds=(cost.train_seconds or 0.0) + (used.train_seconds or 0.0),
        peak_memory_bytes=max(cost.peak_memory_bytes or 0, used.peak_memory_bytes or 0),
        trainable_parameters=used.trainable_parameters,
        artifact_bytes=(cost.artifact_bytes or 0) + (used.artifact_bytes or 0),
    )


def finish_outputs(
    job: ArmJob, cost: Cost, settings: dict[str, Any], arrays: dict[str, np.ndarray], target: Target
) -> ArmReport:
    """Save the outputs that every arm saves, and score the arm."""
    job.folder.write(CONFIG, dump_config(job.config))
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    report = ArmReport(job.name, "ok", cost=cost, settings=settings)
    return save_scored(report, job, arrays, target)
