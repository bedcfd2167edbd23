"""The split of a run, saved so that every arm and every resume uses the same one."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tailorbird.records import TASKS, Example, ExamplesOnDisk, Finding, Split, TaskName
from tailorbird.runs.checked_files import damaged, read_rows
from tailorbird.runs.examples_file import ExamplesFile
from tailorbird.runs.folder import CONFIG, DATA, RunFolder

SPLIT = f"{DATA}/split.json"
_PARTS = ("train", "validation", "test")
_FACTS = ("labels", "how", "task", "form", "separator", "findings")
"""The fields of a split besides its parts."""


def save_split(folder: RunFolder, split: Split, source: str, columns: dict[str, str]) -> None:
    """Write the three parts as JSONL and the rest as JSON; examples on disk are already written."""
    on_disk = isinstance(split.train, ExamplesOnDisk)
    for part in _PARTS[on_disk:]:
        folder.write_rows(f"{DATA}/{part}.jsonl", (asdict(e) for e in getattr(split, part)))
    plain = asdict(replace(split, train=(), validation=(), test=()))
    rest = {"on_disk": len(split.train) if on_disk else None, "source": source, "columns": columns}
    # Written last, so that its presence means that the parts are complete.
    folder.write_json(SPLIT, rest | {name: plain[name] for name in _FACTS})


@dataclass(frozen=True)
class SplitFile:
    """The contents of `split.json` besides the parts.

    Attributes:
        on_disk: The number of training examples left in their file; None: they are loaded.
    """

    source: str
    columns: dict[str, str]
    labels: tuple[str, ...]
    how: str
    task: TaskName
    form: str
    findings: tuple[Finding, ...]
    separator: str | None = None
    on_disk: int | None = None


def load_split(folder: RunFolder) -> tuple[Split, str, dict[str, str]]:
    """Read the split of `save_split`.

    Raises:
        UserError: Something is missing or damaged.
    """
    rest = folder.read_as(SPLIT, SplitFile)
    check = partial(_check_labels, rest)
    parts: dict[str, Any] = {}
    for part in _PARTS:
        path = folder.file(f"{DATA}/{part}.jsonl")
        if part == "train" and rest.on_disk is not None:
            parts[part] = ExamplesFile(path, rest.on_disk, check)
            continue
        parts[part] = tuple(read_rows(path, Example))
        for example in parts[part]:
            check(path, example)
    split = Split(**parts, **{name: getattr(rest, name) for name in _FACTS})
    return split, rest.source, rest.columns


def _check_labels(rest: SplitFile, path: Path, example: Example) -> None:
    """Refuse an example with unknown labels, or with too few numbers."""
    labels, task = set(rest.labels), TASKS[rest.task]
    if not task.head:
        return
    if task.numbers:
        fits = len(example.values) == len(rest.labels)
    elif task.one_label:
        fits = example.label in labels
    else:
        fits = labels.issuperset(example.labels)
    if task.per_word:
        fits = fits and len(example.words) == len(example.labels)
    if not fits:
        raise damaged(path, f"the answer of row {example.row} does not fit {SPLIT}")


def has_split(folder: RunFolder) -> bool:
    """Return whether the folder has a complete split."""
    return folder.file(SPLIT).is_file()


def trained_as(run: Path) -> dict[str, Any]:
    """Return how the run's training rows were read; empty if unknown."""
    for folder in (run, run.parent.parent):
        place = RunFolder(folder)
        if place.file(SPLIT).is_file() and place.file(CONFIG).is_file():
            return asdict(place.read_as(SPLIT, SplitFile))
    return {}
