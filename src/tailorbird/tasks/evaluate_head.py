"""A run with labels or numbers on other data than its own test."""

import time
from dataclasses import replace
from typing import Any

from tailorbird.data.encode import as_read
from tailorbird.data.examples import Loaded
from tailorbird.data.targets import classes_of
from tailorbird.errors import UserError, did_you_mean
from tailorbird.records import ArmReport, Cost, Split
from tailorbird.tasks.base import Evaluated
from tailorbird.tasks.heads import HeadTask
from tailorbird.tasks.scoring import save_predictions, score_arm


def evaluate_head(task: HeadTask, predictor: Any, arm: ArmReport, loaded: Loaded) -> Evaluated:
    """Let a run predict every row and score it; see `Task.evaluate`.

    Raises:
        UserError: A label is unknown to the run.
    """
    split = _as_test(loaded, predictor)
    target = replace(predictor.target, labels=split.labels)
    texts = [as_read(example) for example in split.test]
    began = time.perf_counter()
    outputs = predictor.probabilities(texts, "predicting")
    seconds = time.perf_counter() - began
    arm = replace(arm, cost=Cost(predict_ms_per_example=1000 * seconds / len(texts)))
    arm = score_arm(arm, None, outputs, split, 0, target)
    return Evaluated(
        split,
        arm,
        task.spec.headline,
        lambda folder: save_predictions(folder, split, {"test": outputs}, target),
    )


def _as_test(loaded: Loaded, predictor: Any) -> Split:
    """Return the examples as a test set of the run's labels.

    Raises:
        UserError: A label the run does not know.
    """
    known, task = set(predictor.labels), predictor.target.task
    given = {label for e in loaded.examples for label in classes_of(e, task)}
    strange = sorted(given - known)
    if strange:
        raise UserError(
            f"{loaded.path}: label {strange[0]!r}{did_you_mean(strange[0], known)} is unknown to "
            f"the run{f', and {len(strange) - 1} more' if len(strange) > 1 else ''}",
            f"the run knows: {', '.join(sorted(known)[:20])}",
        )
    targets = len(loaded.targets) if predictor.target.deviation else len(predictor.labels)
    if targets != len(predictor.labels):
        raise UserError(
            f"{loaded.path}: {targets} numbers per row, and the run gives {len(predictor.labels)}: "
            f"{', '.join(predictor.labels)}",
            "name their columns with --label A,B",
        )
    test, labels = tuple(loaded.examples), tuple(predictor.labels)
    return Split((), test, test, labels, "all rows", loaded.findings, task)
