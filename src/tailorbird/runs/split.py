"""The split of a run, kept in its folder so that every arm and every resume sees the same one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailorbird.records import TASKS, Example, Finding, Split, TaskName
from tailorbird.runs.files import damaged, read_rows
from tailorbird.runs.folder import CONFIG, DATA, RunFolder

SPLIT = f"{DATA}/split.json"
_PARTS = ("train", "validation", "test")


def save_split(folder: RunFolder, split: Split, source: str, columns: dict[str, str]) -> None:
    """Write the three parts as JSONL and the rest as JSON."""
    for part in _PARTS:
        folder.write_rows(f"{DATA}/{part}.jsonl", (asdict(e) for e in getattr(split, part)))
    rest = {
        "source": source,
        "columns": columns,
        "labels": split.labels,
        "how": split.how,
        "task": split.task,
        "form": split.form,
        "separator": split.separator,
        "findings": [asdict(finding) for finding in split.findings],
    }
    # Last, so that its presence says that the parts are complete.
    folder.write_json(SPLIT, rest)


@dataclass(frozen=True)
class SplitFile:
    """What `split.json` holds beside the parts."""

    source: str
    columns: dict[str, str]
    labels: tuple[str, ...]
    how: str
    task: TaskName
    form: str
    findings: tuple[Finding, ...]
    separator: str | None = None


def load_split(folder: RunFolder) -> tuple[Split, str, dict[str, str]]:
    """Read back what `save_split` wrote."""
    rest = folder.read_as(SPLIT, SplitFile)
    parts = {
        part: tuple(read_rows(folder.file(f"{DATA}/{part}.jsonl"), Example)) for part in _PARTS
    }
    for part, examples in parts.items():
        _check_labels(folder.file(f"{DATA}/{part}.jsonl"), rest, examples)
    split = Split(
        labels=rest.labels,
        how=rest.how,
        findings=rest.findings,
        task=rest.task,
        form=rest.form,
        separator=rest.separator,
        **parts,
    )
    return split, rest.source, rest.columns


def _check_labels(path: Path, rest: SplitFile, examples: Sequence[Example]) -> None:
    """Refuse examples whose answers are none of the labels, or as many numbers as there are."""
    labels, task = set(rest.labels), TASKS[rest.task]
    for example in examples if task.head else ():
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
    """Say whether the folder holds a complete split."""
    return folder.file(SPLIT).is_file()


def trained_as(run: Path) -> dict[str, Any]:
    """Return how the rows were read that the run was trained on; nothing where it is not known."""
    for folder in (run, run.parent.parent):
        place = RunFolder(folder)
        if place.file(SPLIT).is_file() and place.file(CONFIG).is_file():
            return asdict(place.read_as(SPLIT, SplitFile))
    return {}
