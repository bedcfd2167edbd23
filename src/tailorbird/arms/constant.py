"""The constant baseline: the same prediction for every text, which every arm must beat."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tailorbird.arms.base import Arm, finish_outputs
from tailorbird.arms.head_predictor import HeadPredictor, OutputSource
from tailorbird.data.encode import Text, as_read
from tailorbird.records import ArmReport, Cost, Target
from tailorbird.runs.checked_files import damaged, read_as
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.arm_job import CHECKED, ArmJob
from tailorbird.tasks.head_scoring import load_target
from tailorbird.tasks.registry import head_task

FILE = "majority.json"


class ConstantArm(Arm):
    """Predicts from the training targets alone, ignoring the text.

    The prediction is the most frequent label (for multilabel, each label's frequency; for labelled
    words, each word's most frequent label), or the mean.
    """

    key = "constant"

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        started = time.perf_counter()
        split, task = job.split, head_task(job.split.task)
        target = task.target(split)
        constant = task.constant(split, target)
        seconds = time.perf_counter() - started
        with job.folder.new_folder(MODEL) as folder:
            plain = json.dumps(constant, ensure_ascii=False)
            (folder / FILE).write_text(plain, encoding="utf-8")
        cost = Cost(
            train_seconds=seconds,
            peak_memory_bytes=peak_memory_bytes(),
            trainable_parameters=0,
            total_parameters=0,
            predict_ms_per_example=0.0,
        )
        parts = {"validation": split.validation, "test": split.test, "check": split.test[:CHECKED]}
        arrays = {
            name: task.constant_outputs(constant, [as_read(e) for e in part], target)
            for name, part in parts.items()
        }
        return finish_outputs(job, cost, {}, arrays, target)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> HeadPredictor:
        """See `Arm.open`."""
        return HeadPredictor(folder, ConstantSource(folder, load_target(folder)))


class ConstantSource(OutputSource):
    """The constant prediction."""

    def __init__(self, folder: RunFolder, target: Target) -> None:
        path, self.target = folder.file(MODEL) / FILE, target
        task = head_task(target.task)
        self.constant: dict[str, Any] = read_as(path, task.constant_type)
        if fault := task.constant_fault(self.constant, target):
            raise damaged(path, fault)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        return head_task(self.target.task).constant_outputs(self.constant, texts, self.target)
