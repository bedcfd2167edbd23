"""What every arm offers: one leaf file and one line in the table each."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from tailorbird.arms.predictor import Predictor
from tailorbird.arms.split_embeddings import SplitVectors
from tailorbird.config import dump_config
from tailorbird.records import ArmReport, Cost, Target, TaskSpec
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.scoring import save_scored


class Arm(ABC):
    """A way of answering.

    Attributes:
        key: Its key in the table; kept in the folder of what it made.
        trains: Whether a model is trained: with several seeds, a search, weights to export.
    """

    key: ClassVar[str]
    trains: ClassVar[bool] = False

    def why_not(self, spec: TaskSpec) -> str:
        """Return why it is skipped for a task although it has a name there; empty: it is not."""
        return ""

    @abstractmethod
    def run(self, job: ArmJob) -> ArmReport:
        """Make it, score it, and leave everything in `job.folder`.

        Raises:
            UserError: The model, the data or a setting does not fit.
            Interrupted: Ctrl-C; `job.resume` goes on from there.
            OverBudget: It would not end before the deadline.
        """

    @abstractmethod
    def open(self, folder: RunFolder, *, trust: bool) -> Predictor:
        """Return what `run` left, ready to predict exactly as it did.

        Args:
            trust: Whether code may run that came with its model.

        Raises:
            UserError: The folder is incomplete or damaged, or its base model is not there.
        """

    def open_for_few(self, folder: RunFolder, *, trust: bool) -> Predictor:
        """Return the same as `open`, to be asked for a few texts: what loads soonest.

        Where it can do without torch it computes in fp32, whatever the format of training.
        """
        return self.open(folder, trust=trust)


def cost_of(
    job: ArmJob, vectors: SplitVectors, seconds: float, trained: int = 0, more_ms: float = 0.0
) -> Cost:
    """Return what an arm cost that stands on the split's embeddings."""
    return Cost(
        train_seconds=vectors.fit_seconds + seconds,
        peak_memory_bytes=max(peak_memory_bytes(), vectors.peak_bytes),
        trainable_parameters=trained,
        artifact_bytes=job.folder.size_bytes(MODEL),
        predict_ms_per_example=vectors.ms_per_example + more_ms,
    )


def finish_outputs(
    job: ArmJob, cost: Cost, settings: dict[str, Any], arrays: dict[str, np.ndarray], target: Target
) -> ArmReport:
    """Save what every arm saves, and score it."""
    job.folder.write(CONFIG, dump_config(job.config))
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    report = ArmReport(job.name, "ok", cost=cost, settings=settings)
    return save_scored(report, job, arrays, target)
