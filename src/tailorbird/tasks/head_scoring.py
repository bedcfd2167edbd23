"""Scores, slices and errors of an arm, from its outputs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.data.targets import classes_of
from tailorbird.metrics.intervals import Groups
from tailorbird.metrics.slices import by_length, slices
from tailorbird.records import ArmReport, Example, Score, SeedScore, Slice, Split, Target, has_head
from tailorbird.runs.atomic import write_atomically
from tailorbird.runs.checked_files import checked, damaged, read_arrays
from tailorbird.runs.folder import ARM, LABELS, PREDICTIONS, PROBABILITIES, TARGET, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.registry import head_task

_MOST_GROUPS = 50


def score_arm(
    report: ArmReport,
    validation: np.ndarray | None,
    test: np.ndarray,
    split: Split,
    seed: int,
    target: Target,
) -> ArmReport:
    """Return `report` with scores, curves' data and wrong examples filled in."""
    task = head_task(target.task)
    truth = task.truths(split.test, target)
    on_test = task.scores([test], truth, [target], group_ids(split.test))
    on_validation: dict[str, Score] = {}
    if validation is not None:
        judges = task.truths(split.validation, target)
        on_validation = task.scores([validation], judges, [target])
    report = replace(
        report,
        validation=on_validation,
        test=on_test,
        per_class=task.per_class([test], truth, [target]),
        slices=_slices(task.losses(test, truth, target), split.test, target),
        seeds=(
            SeedScore(
                seed,
                {name: score.value for name, score in on_validation.items()},
                {name: score.value for name, score in on_test.items()},
            ),
        )
        if validation is not None
        else (),
    )
    return task.errors(report, test, truth, split.test, target)


def _slices(losses: np.ndarray, examples: Sequence[Example], target: Target) -> tuple[Slice, ...]:
    """Return the test's slices by length, by class, and by group if rows have groups."""
    parts = by_length(np.asarray([len(e.text.split()) for e in examples]))
    classes = [classes_of(example, target.task) for example in examples]
    for label in sorted({label for each in classes for label in each}):
        parts[f"class: {label}"] = np.asarray([label in each for each in classes])
    groups = [e.group for e in examples]
    for group, _ in Counter(filter(None, groups)).most_common(_MOST_GROUPS):
        parts[f"group: {group}"] = np.asarray([own == group for own in groups])
    return slices(losses, parts)


def group_ids(examples: Sequence[Example]) -> Groups | None:
    """Return integers ``[n]``, equal for examples of one group; None without groups."""
    if not any(example.group for example in examples):
        return None
    # A row without a group is a group of its own.
    names = [example.group or f"row {i}" for i, example in enumerate(examples)]
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


def settle(validation: np.ndarray, split: Split, target: Target) -> Target:
    """Return the target completed on validation."""
    task = head_task(target.task)
    return task.settle(validation, task.truths(split.validation, target), target)


def save_predictions(
    folder: RunFolder, split: Split, arrays: dict[str, np.ndarray], target: Target
) -> None:
    """Write `predictions.jsonl` for people and `probabilities.npz` for other arms."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(folder.file(PROBABILITIES), buffer.getvalue())
    task = head_task(target.task)
    outputs = task.by_text(arrays["test"], [e.words for e in split.test])
    rows = (
        {"row": e.row, "text": e.text, "label": task.plain(e, target)}
        | task.row(p, target.of_row(i))
        for i, (e, p) in enumerate(zip(split.test, outputs, strict=True))
    )
    folder.write_rows(PREDICTIONS, rows)


def load_probabilities(folder: RunFolder) -> dict[str, np.ndarray]:
    """Read `probabilities.npz`: ``validation``, ``test`` and ``check``.

    Raises:
        UserError: It is missing or damaged.
    """
    return read_arrays(folder.file(PROBABILITIES))


def save_target(folder: RunFolder, target: Target) -> None:
    """Write the meaning of the outputs beside the model."""
    folder.write_json(LABELS, list(target.labels))
    folder.write_json(TARGET, asdict(target))


def load_target(folder: RunFolder) -> Target:
    """Read the target of `save_target`; a run without one is single-label classification.

    Raises:
        UserError: It is invalid.
    """
    if not folder.file(TARGET).exists():
        return _whole(folder.file(LABELS), Target("classification", _labels(folder)))
    path = folder.file(TARGET)
    return _whole(path, checked(path, _today(folder.read_json(TARGET)), Target))


def _labels(folder: RunFolder) -> tuple[str, ...]:
    names = checked(folder.file(LABELS), folder.read_json(LABELS), list[str | int | float | bool])
    return tuple(map(str, names))


def _whole(path: Path, target: Target) -> Target:
    """Return the target, after checking that its parts are consistent."""
    count, thresholds = len(target.labels), target.thresholds
    rows = [row if isinstance(row, tuple) else (row,) * count for row in thresholds]
    flat = bool(rows) and not isinstance(thresholds[0], tuple)
    faults = {
        f"the task writes answers, but there is a {path.name}": not has_head(target.task),
        "it has no labels": not count,
        "a label occurs in it twice": len(set(target.labels)) < count,
        "mean and deviation do not fit the labels": target.task == "regression"
        and not (len(target.mean) == len(target.deviation) == count),
        "mean and deviation are not finite numbers": not np.isfinite(
            [*target.mean, *target.deviation]
        ).all(),
        "a deviation is not positive": any(deviation <= 0 for deviation in target.deviation),
        "thresholds do not fit the labels": any(len(row) != count for row in rows)
        or (flat and len(thresholds) != count),
    }
    for words, wrong in faults.items():
        if wrong:
            raise damaged(path, words)
    return target


def _today(plain: Any) -> Any:
    """Convert a target to the current format; older runs have one threshold for all labels."""
    if not isinstance(plain, dict) or "threshold" not in plain:
        return plain
    labels = plain.get("labels", []) if plain.get("task") == "multilabel" else []
    count = len(labels) if isinstance(labels, list) else 0
    return plain | {"thresholds": [plain["threshold"]] * count}


def save_scored(
    report: ArmReport, job: ArmJob, arrays: dict[str, np.ndarray], target: Target
) -> ArmReport:
    """Score an arm by its outputs, and write the files of every head arm."""
    target = settle(arrays["validation"], job.split, target)
    save_target(job.folder, target)
    save_predictions(job.folder, job.split, arrays, target)
    seed = job.config.train.seed
    report = score_arm(report, arrays["validation"], arrays["test"], job.split, seed, target)
    job.folder.write_json(ARM, asdict(report))
    return report
