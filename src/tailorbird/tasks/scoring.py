"""Outputs -> everything the report says about an arm's quality."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.data.targets import classes_of
from tailorbird.metrics.slices import by_length, slices
from tailorbird.records import KINDS, ArmReport, Example, Score, SeedScore, Slice, Split, Target
from tailorbird.runs.files import checked, damaged, read_arrays
from tailorbird.runs.folder import (
    LABELS,
    PREDICTIONS,
    PROBABILITIES,
    TARGET,
    RunFolder,
    write_atomically,
)
from tailorbird.tasks.reading import split_rows
from tailorbird.tasks.table import TOOLS
from tailorbird.tasks.truths import truths

_MOST_GROUPS = 50


def score_arm(
    report: ArmReport,
    validation: np.ndarray | None,
    test: np.ndarray,
    split: Split,
    seed: int,
    target: Target,
) -> ArmReport:
    """Return `report` with scores, curves' companions and wrong examples filled in.

    Args:
        report: Name, cost, settings and curve of the arm.
        validation: Outputs of the validation examples; None: there is nothing to say of them.
        test: Outputs of the test examples.
        split: The examples.
        seed: The training seed.
        target: What the outputs mean.
    """
    tools = TOOLS[target.task]
    truth = truths(split.test, target)
    on_test = tools.scores([test], truth, [target])
    on_validation: dict[str, Score] = {}
    if validation is not None:
        on_validation = tools.scores([validation], truths(split.validation, target), [target])
    report = replace(
        report,
        validation=on_validation,
        test=on_test,
        per_class=tools.per_class([test], truth, [target]),
        slices=_slices(tools.losses(test, truth, target), split.test, target),
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
    return tools.look(report, test, truth, split.test, target)


def _slices(losses: np.ndarray, examples: Sequence[Example], target: Target) -> tuple[Slice, ...]:
    """Return the parts of the test by length, by class, and by group where rows have one."""
    parts = by_length(np.asarray([len(e.text.split()) for e in examples]))
    given = [classes_of(e, target.task) for e in examples]
    for label in sorted({label for classes in given for label in classes}):
        parts[f"class: {label}"] = np.asarray([label in classes for classes in given])
    groups = [e.group for e in examples]
    for group, _ in Counter(filter(None, groups)).most_common(_MOST_GROUPS):
        parts[f"group: {group}"] = np.asarray([own == group for own in groups])
    return slices(losses, parts)


def settle(validation: np.ndarray, split: Split, target: Target) -> Target:
    """Return the target with what is chosen on validation."""
    return TOOLS[target.task].settle(validation, truths(split.validation, target), target)


def save_predictions(
    folder: RunFolder, split: Split, arrays: dict[str, np.ndarray], target: Target
) -> None:
    """Write `predictions.jsonl` for people and `probabilities.npz` for other arms."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(folder.file(PROBABILITIES), buffer.getvalue())
    row = TOOLS[target.task].row
    outputs = split_rows(arrays["test"], [e.words for e in split.test], target)
    rows = (
        {"row": e.row, "text": e.text, "label": _plain(e, target)} | row(p, target.of_row(i))
        for i, (e, p) in enumerate(zip(split.test, outputs, strict=True))
    )
    folder.write_rows(PREDICTIONS, rows)


def _plain(example: Example, target: Target) -> Any:
    if target.task in ("multilabel", "tokens"):
        return list(example.labels)
    if target.task == "regression":
        named = dict(zip(target.labels, example.values, strict=True))
        return example.values[0] if len(named) == 1 else named
    return example.label


def load_probabilities(folder: RunFolder) -> dict[str, np.ndarray]:
    """Read `probabilities.npz`: ``validation``, ``test`` and ``check``.

    Raises:
        UserError: It is missing or damaged.
    """
    return read_arrays(folder.file(PROBABILITIES))


def save_target(folder: RunFolder, target: Target) -> None:
    """Write what the outputs mean beside the model."""
    folder.write_json(LABELS, list(target.labels))
    folder.write_json(TARGET, asdict(target))


def load_target(folder: RunFolder) -> Target:
    """Read what `save_target` wrote; a run without it answers with one label.

    Raises:
        UserError: It is not what was written.
    """
    if not folder.file(TARGET).exists():
        return _whole(folder.file(LABELS), Target("classification", _labels(folder)))
    path = folder.file(TARGET)
    return _whole(path, checked(path, _today(folder.read_json(TARGET)), Target))


def _labels(folder: RunFolder) -> tuple[str, ...]:
    names = checked(folder.file(LABELS), folder.read_json(LABELS), list[str | int | float | bool])
    return tuple(map(str, names))


def _whole(path: Path, target: Target) -> Target:
    """Return the target, whose parts fit each other.

    Raises:
        UserError: They do not.
    """
    count, thresholds = len(target.labels), target.thresholds
    rows = [row if isinstance(row, tuple) else (row,) * count for row in thresholds]
    flat = bool(rows) and not isinstance(thresholds[0], tuple)
    faults = {
        f"there are no answers in words where {path.name} is": target.task not in KINDS,
        "it has no labels": not count,
        "a label stands in it twice": len(set(target.labels)) < count,
        "mean and deviation do not fit the labels": target.task == "regression"
        and not (len(target.mean) == len(target.deviation) == count),
        "mean and deviation are no numbers": not np.isfinite(
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
    """Return a target as it is written now; runs used to have one threshold for all labels."""
    if not isinstance(plain, dict) or "threshold" not in plain:
        return plain
    labels = plain.get("labels", []) if plain.get("task") == "multilabel" else []
    count = len(labels) if isinstance(labels, list) else 0
    return plain | {"thresholds": [plain["threshold"]] * count}
