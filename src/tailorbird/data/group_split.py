"""Splits that keep groups whole, or the past before the future."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tailorbird.data.message_words import listing, rows
from tailorbird.data.stratify import deal
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Example, Finding, Split, TaskName

Parts = dict[str, tuple[Example, ...]]
_SAMPLES = 5


def cut_groups(
    examples: Sequence[Example], shares: Mapping[str, float], seed: int, column: str, task: TaskName
) -> Parts:
    """Split training rows into parts, each group in one part.

    Raises:
        UserError: There are fewer groups than parts.
    """
    parts = {"train": 1 - sum(shares.values())} | dict(shares)
    where = deal(examples, parts, seed, column, task)
    return parts_of(examples, where, parts)


def cut_time(examples: Sequence[Example], shares: Mapping[str, float], column: str) -> Parts:
    """Return the earliest rows for training, then validation, and the latest for the test.

    Rows of the same time are in the same part, so that each part is strictly later than the one
    before.

    Raises:
        UserError: There are too few different times.
    """
    times = sorted({_when(example) for example in examples})
    if len(times) <= len(shares):
        raise UserError(
            f"{column} has {len(times):,} different times, too few for {len(shares) + 1} parts",
            "name a column with more, or give the parts as separate files",
        )
    counts = Counter(_when(example) for example in examples)
    where = {}
    rest = list(times)
    # Backwards: the latest rows go to the test, the next to validation.
    for left, part in enumerate(reversed([p for p in ("validation", "test") if p in shares])):
        room = shares[part] * len(examples)
        count = 0
        most = len(rest) - (len(shares) - left)
        for number in range(most):
            size = counts[rest[-1]]
            if number and count + size / 2 > room:
                break
            where[rest.pop()] = part
            count += size
    parts = [where.get(_when(example), "train") for example in examples]
    return parts_of(examples, parts, ("train", *shares))


def _when(example: Example) -> float:
    assert example.time is not None, "rows are read with their times"
    return example.time


def parts_of(examples: Sequence[Example], where: Sequence[str], parts: Iterable[str]) -> Parts:
    """Return the examples of each part; `where` has the part of each example."""
    return {
        part: tuple(e for e, p in zip(examples, where, strict=True) if p == part) for part in parts
    }


def drop_shared_groups(parts: Parts) -> tuple[Parts, list[Finding]]:
    """Return the parts without rows whose group is in a later part, and findings on their times.

    Split-off parts never share a group; parts from files may.
    """
    findings: list[Finding] = []
    apart = dict(parts)
    for part, judges in (("validation", ("test",)), ("train", ("test", "validation"))):
        groups = {e.group for judge in judges for e in apart.get(judge, ()) if e.group}
        shared = [e for e in apart.get(part, ()) if e.group in groups]
        if shared:
            apart[part] = tuple(e for e in apart[part] if e.group not in groups)
            name = "training" if part == "train" else part
            names = sorted({e.group for e in shared})
            findings.append(
                Finding(
                    "group_overlap",
                    "warning",
                    f"{rows(len(shared), name)} of {len(names):,} groups that also occur in the "
                    f"{' or '.join(judges)} rows; dropped.",
                    len(shared),
                    tuple(names[:_SAMPLES]),
                )
            )
    if not apart["train"]:
        raise UserError(
            "every group of the training rows also occurs in the other parts",
            "give files that do not share groups, or leave --group out",
        )
    return apart, [*findings, *_anachronisms(apart)]


def _anachronisms(parts: Parts) -> list[Finding]:
    first = min((e.time for e in parts.get("test", ()) if e.time is not None), default=None)
    if first is None:
        return []
    late = [e for e in parts["train"] if e.time is not None and e.time >= first]
    if not late:
        return []
    return [
        Finding(
            "time_overlap",
            "warning",
            f"{rows(len(late), 'training')} not earlier than the first test row; kept, so the "
            "test does not measure performance on future data.",
            len(late),
        )
    ]


def make_folds(
    split: Split, count: int, *, validation_share: float, seed: int, given_validation: bool = False
) -> tuple[Split, ...]:
    """Return one split per fold, with the fold as its test.

    Folds are stratified by label, or by the value of numbers; rows of one group, or without groups
    those with the same text, are in the same fold. Validation is split off the other rows in the
    same way.

    Raises:
        UserError: There are too few rows, groups or rows of a class.
    """
    every = [*split.train, *split.test, *(() if given_validation else split.validation)]
    rows = sorted(every, key=lambda example: example.row)
    names = [str(number) for number in range(1, count + 1)]
    where = deal(rows, dict.fromkeys(names, 1 / count), seed, "the data", split.task)
    folds = []
    for name in names:
        rest = [e for e, fold in zip(rows, where, strict=True) if fold != name]
        validation = split.validation
        if not given_validation:
            shares = {"train": 1 - validation_share, "validation": validation_share}
            parts = deal(rest, shares, seed, "the data", split.task)
            validation = tuple(e for e, p in zip(rest, parts, strict=True) if p != "train")
            rest = [e for e, p in zip(rest, parts, strict=True) if p == "train"]
        fold = replace(
            split,
            train=tuple(rest),
            validation=validation,
            test=tuple(e for e, f in zip(rows, where, strict=True) if f == name),
            how=f"fold {name} of {count}, seed {seed}",
        )
        _check(fold, count)
        folds.append(fold)
    return tuple(folds)


def _check(fold: Split, count: int) -> None:
    """Refuse a fold without training rows of a class."""
    if not TASKS[fold.task].one_label:
        return
    there = {example.label for example in fold.train}
    untrained = [label for label in fold.labels if label not in there]
    if untrained:
        raise UserError(
            f"classes too small for {count} folds: all rows of "
            f"{listing([*map(repr, untrained)])} are in one fold or in validation",
            "add rows to these classes, merge or remove them",
        )
