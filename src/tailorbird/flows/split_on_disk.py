"""Splits files larger than memory; training rows stay on disk in the run folder.

The file is read once, in blocks of rows. A hash of a row's text decides its part, so that rows with
the same text stay together without comparisons. Validation and test rows are held in memory: as
many as configured, at most 20,000 each.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.config.schema import DataConfig
from tailorbird.data.message_words import listing, rows
from tailorbird.data.near_duplicates import text_key
from tailorbird.data.read import check_once, read_example_blocks, read_examples
from tailorbird.data.sources import files_of, parts_of
from tailorbird.data.targets import in_order
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Example, Finding, Split
from tailorbird.runs.examples_file import ExamplesFile, write_examples
from tailorbird.runs.folder import DATA, RunFolder
from tailorbird.runs.memory_limit import memory_limit

_BLOCK = 10_000
_SHARE = 1 / 8
"""The share of memory for files that are loaded: rows take three times as much, and their tokens
once more."""
_PACKED, _PACKED_TIMES = (".gz", ".bz2", ".xz", ".zst", ".parquet", ".arrow"), 4
MOST_HELD_OUT = 20_000
"""The most validation or test rows split off the training file."""


def stays_on_disk(data: DataConfig) -> bool:
    """Return whether training rows stay on disk.

    Raises:
        UserError: `data.on_disk` conflicts with a setting that needs all rows at once.
    """
    others = {
        "data.group": data.group,
        "data.time": data.time,
        "data.folds": data.folds,
        "data.max_examples": data.max_examples,
    }
    hindrances = [name for name, value in others.items() if value is not None]
    if data.on_disk and hindrances:
        raise UserError(
            f"data.on_disk and {', '.join(hindrances)} exclude each other: the latter needs all "
            "rows in memory",
            "leave one of them out",
        )
    if data.on_disk is not None or hindrances or data.train is None:
        return bool(data.on_disk)
    size = sum(map(_size, files_of(parts_of(data.train)["training"])))
    limit = memory_limit().bytes
    if size <= _SHARE * limit:
        return False
    log.say(
        f"{data.train}: {size / 2**30:.1f} GiB of rows and {limit / 2**30:.1f} GiB of memory: the "
        "training rows stay on disk (data.on_disk)"
    )
    return True


def _size(file: Path) -> int:
    packed = file.suffix.lower() in _PACKED
    return file.stat().st_size * (_PACKED_TIMES if packed else 1)


def stream_split(data: DataConfig, folder: RunFolder) -> tuple[Split, dict[str, str]]:
    """Read the data and write its training rows into the run folder.

    Args:
        data: The data settings.
        folder: The run folder.

    Returns:
        The split, and the column of each role.

    Raises:
        UserError: The files, their columns or rows are wrong, or the task cannot read from disk.
    """
    assert data.train is not None
    how: dict[str, Any] = {
        "text": data.text, "label": data.label, "drop_missing": data.drop_missing,
        "task": data.task, "system": data.system, "separator": data.separator,
    }  # fmt: skip
    names = parts_of(data.train)
    for part, name in (("validation", data.validation), ("test", data.test)):
        names |= {part: name} if name is not None else {}
    part_of: dict[Path, str] = {}
    for part, name in names.items():
        check_once(name, part, part_of)
    _, first = next(read_example_blocks(names["training"], _BLOCK, **how))
    if not (TASKS[first.task].one_label or not TASKS[first.task].head):
        raise UserError(
            f"data.on_disk is for labels, answers and plain text, and {data.train} holds "
            f"{TASKS[first.task].answers}",
            "set data.on_disk=false, and data.max_examples if the rows do not fit into memory",
        )
    for note in first.notes:
        log.say(note)
    how |= {"task": first.task, "like": first.columns, "separator": first.separator}
    own_parts = {
        part: read_examples(names[part], **how).examples
        for part in ("validation", "test")
        if part in names
    }
    shares = {"validation": data.validation_share, "test": data.test_share}
    cut = {part: share for part, share in shares.items() if part not in own_parts}
    classes = TASKS[first.task].one_label
    by_hash = _HashSplit(cut, data.split_seed, classes)
    keys = {text_key(example.text) for part in own_parts.values() for example in part}
    path = folder.file(f"{DATA}/train.jsonl")
    with write_examples(path) as write:
        shared = _write_training_rows(
            _all(names["training"], how), by_hash, keys, data.overlap, write
        )
    parts = own_parts | by_hash.parts()
    split = Split(
        train=ExamplesFile(path, by_hash.count),
        validation=parts["validation"],
        test=parts["test"],
        labels=in_order(by_hash.labels) if classes else (),
        how=f"by a hash of each text, seed {data.split_seed}" if by_hash.shares else "given files",
        findings=tuple(_findings(shared, by_hash.dropped)),
        task=first.task,
        form=first.form,
    )
    _check(split, data.train)
    return split, first.columns


def _all(name: str, how: dict[str, Any]) -> Iterator[tuple[Example, int]]:
    """Yield the examples of all files, each with the number of rows dropped before it.

    Row numbers continue across files.
    """
    several, number = len(files_of(name)) > 1, 0
    for _, loaded in read_example_blocks(name, _BLOCK, **how):
        dropped = sum(finding.count for finding in loaded.findings)
        for example in loaded.examples:
            number += 1
            yield replace(example, row=number) if several else example, dropped
            dropped = 0


@dataclass
class _HashSplit:
    """Assigns rows to the parts to split off, by a hash of their text in [0, 1).

    Attributes:
        shares: The share of each part.
        seed: The seed of the hash.
        classes: Whether rows have a single label.
        count: Training rows so far.
        labels: Labels so far.
        dropped: Incomplete rows.
    """

    shares: dict[str, float]
    seed: int
    classes: bool
    count: int = 0
    labels: set[str] = field(default_factory=set)
    dropped: int = 0

    def __post_init__(self) -> None:
        starts = (0.0, self.shares.get("test", 0.0))
        places = zip(("test", "validation"), starts, strict=True)
        self._ranges = {p: (at, at + self.shares[p]) for p, at in places if p in self.shares}
        # A heap with the largest hash on top, so that a full part returns its last rows.
        self._heaps: dict[str, list[tuple[float, int, Example]]] = {p: [] for p in self.shares}

    def place(self, example: Example) -> list[Example]:
        """Add a row; return the rows that go to training."""
        label, u = example.label or "", self._hash(example)
        if self.classes and label not in self.labels:  # the first of each label goes to training
            self.labels.add(label)
            return [example]
        part = next((p for p, (low, high) in self._ranges.items() if low <= u < high), None)
        if part is None:
            return [example]
        heap = self._heaps[part]
        heapq.heappush(heap, (-u, -example.row, example))
        back: list[Example] = []
        if len(heap) > MOST_HELD_OUT:
            limit = -heap[0][0]
            self._ranges[part] = (self._ranges[part][0], limit)
            while heap and -heap[0][0] >= limit:
                back.append(heapq.heappop(heap)[2])
        return back

    def parts(self) -> dict[str, tuple[Example, ...]]:
        """Return the parts that were split off, in the file's order."""
        return {
            part: tuple(sorted((each[2] for each in heap), key=lambda example: example.row))
            for part, heap in self._heaps.items()
        }

    def _hash(self, example: Example) -> float:
        key = f"{self.seed} {text_key(example.text)}".encode("utf-8", "replace")
        return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56


def _write_training_rows(
    examples: Iterator[tuple[Example, int]],
    by_hash: _HashSplit,
    keys: set[str],
    overlap: str,
    write: Callable[[Example], None],
) -> int:
    """Write the training rows; return how many share their text with a given part."""
    shared = 0
    with log.quiet_progress("reading", 0, "rows") as bar:
        for example, dropped in examples:
            by_hash.dropped += dropped
            bar.advance(1)
            if keys and text_key(example.text) in keys:
                shared += 1
                if overlap == "drop":
                    continue
                if overlap == "error":
                    raise UserError(
                        f"row {example.row} of the training rows also occurs in validation or test",
                        "remove such rows from one of the files, or let --overlap drop do it",
                    )
            for row in by_hash.place(example):
                write(row)
                by_hash.count += 1
    return shared


def _findings(shared: int, dropped: int) -> Iterator[Finding]:
    yield Finding(
        "on_disk",
        "info",
        "The training rows stay on disk (data.on_disk): they were not compared with each other, "
        "so duplicates, near-duplicates and contradicting labels among them are not reported.",
    )
    if shared:
        message = f"{rows(shared)} of the training rows also in validation or test (data.overlap)."
        yield Finding("overlap", "warning", message, shared)
    if dropped:
        yield Finding(
            "unusable", "warning", f"{rows(dropped)} that lack something dropped.", dropped
        )


def _check(split: Split, name: str) -> None:
    """Check that training and scoring are possible.

    Raises:
        UserError: A part is empty, there is only one label, or a given part has other labels.
    """
    for part in ("train", "validation", "test"):
        if not len(getattr(split, part)):
            raise UserError(
                f"{name}: no row is left for the {part} part",
                "give a file for it, or set data.on_disk=false: so few rows fit into memory",
            )
    if not TASKS[split.task].head:
        return
    if len(split.labels) == 1:
        raise UserError(
            f"{name}: every row has the label {split.labels[0]!r}; there is nothing to classify",
            "add rows with other labels, or name another column with --label",
        )
    answers = {str(e.label) for e in (*split.validation, *split.test)}
    if foreign := sorted(answers - set(split.labels)):
        raise UserError(
            f"{name}: no training row has the label {listing([*map(repr, foreign)])} of validation "
            "or test",
            "correct it, or add training rows for it",
        )
