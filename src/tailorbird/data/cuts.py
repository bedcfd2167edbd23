"""Cuts that keep groups whole, or the past before the future, and folds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from tailorbird.data.sameness import rows
from tailorbird.errors import UserError
from tailorbird.records import Example, Finding

Parts = dict[str, tuple[Example, ...]]
_SAMPLES = 5
_ALL = "\0"
"""Stands for all rows beside the labels; no cell can hold it."""


def cut_groups(
    examples: Sequence[Example], shares: Mapping[str, float], seed: int, column: str
) -> Parts:
    """Return the training rows and the parts cut off them, each group in one of them.

    Groups are dealt out one after the other, the largest first, each to the part that it brings
    nearest to its share of every class.

    Args:
        examples: All rows, each with its group.
        shares: Of the parts to cut off.
        seed: Of the order among groups of the same size.
        column: Where the groups stand, for messages.

    Raises:
        UserError: There are fewer groups than parts.
    """
    wanted = {"train": 1 - sum(shares.values())} | dict(shares)
    where = deal_groups(examples, wanted, seed, column)
    return _taken(examples, where, wanted)


def deal_groups(
    examples: Sequence[Example], wanted: Mapping[str, float], seed: int, column: str = ""
) -> list[str]:
    """Return the part of each row; rows of one group have the same.

    Raises:
        UserError: There are fewer groups than parts.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        members[example.group].append(i)
    if len(members) < len(wanted):
        raise UserError(
            f"{column} has {len(members):,} different groups, too few for {len(wanted)} parts",
            "name a column with more groups, or give parts as files of their own",
        )
    groups = list(members.values())
    Random(seed).shuffle(groups)
    groups.sort(key=len, reverse=True)
    every = Counter(example.label for example in examples)
    # Of a class with fewer rows no part can have its share; written answers are hardly ever alike.
    fewest = 1 / min(wanted.values())
    totals = {label: count for label, count in every.items() if count >= fewest}
    totals[_ALL] = len(examples)
    have: dict[str, Counter[str | None]] = {part: Counter() for part in wanted}
    sizes = dict.fromkeys(wanted, 0)
    where = [""] * len(examples)
    for left, group in zip(range(len(groups), 0, -1), groups, strict=True):
        empty = [part for part in wanted if not sizes[part]]
        # As soon as there are only as many groups as empty parts, each gets one.
        open_parts = empty if len(empty) >= left else list(wanted)
        counts = Counter(label for i in group if (label := examples[i].label) in totals)
        counts[_ALL] = len(group)
        best = min(
            open_parts,
            key=lambda part: _excess(counts, have[part], totals, wanted[part]),  # noqa: B023
        )
        have[best].update(counts)
        sizes[best] += len(group)
        for i in group:
            where[i] = best
    return where


def _excess(
    counts: Counter[str | None],
    have: Counter[str | None],
    totals: Mapping[str | None, int],
    share: float,
) -> float:
    """Return by how much a group moves a part away from its share of the classes.

    The change of the squared distance, each class by its size: negative while the part still lacks
    rows of these classes.
    """
    moved = 0.0
    for label, count in counts.items():
        lacking = share * totals[label] - have[label]
        moved += (count * count - 2 * count * lacking) / (share * totals[label])
    return moved


def cut_time(examples: Sequence[Example], shares: Mapping[str, float], column: str) -> Parts:
    """Return the earliest rows for training, then validation, and the latest for the test.

    Rows of the same time are in the same part, so that each part is strictly later than the one
    before it.

    Raises:
        UserError: There are too few different times.
    """
    times = sorted({_when(example) for example in examples})
    if len(times) <= len(shares):
        raise UserError(
            f"{column} has {len(times):,} different times, too few for {len(shares) + 1} parts",
            "name a column with more, or give parts as files of their own",
        )
    counts = Counter(_when(example) for example in examples)
    where = {}
    rest = list(times)
    # Backwards: the latest rows first to the test, then to validation.
    for left, part in enumerate(reversed([p for p in ("validation", "test") if p in shares])):
        room = shares[part] * len(examples)
        taken = 0
        most = len(rest) - (len(shares) - left)
        for number in range(most):
            size = counts[rest[-1]]
            if number and taken + size / 2 > room:
                break
            where[rest.pop()] = part
            taken += size
    parts = [where.get(_when(example), "train") for example in examples]
    return _taken(examples, parts, ("train", *shares))


def _when(example: Example) -> float:
    assert example.time is not None, "rows are read with their times"
    return example.time


def _taken(examples: Sequence[Example], where: Sequence[str], parts: Iterable[str]) -> Parts:
    return {
        part: tuple(e for e, p in zip(examples, where, strict=True) if p == part) for part in parts
    }


def kept_apart(parts: Parts) -> tuple[Parts, list[Finding]]:
    """Return the parts without rows whose group judges them, and what is odd in their times.

    Parts that were cut never share a group; parts that were given as files may.
    """
    found: list[Finding] = []
    kept = dict(parts)
    for part, judges in (("validation", ("test",)), ("train", ("test", "validation"))):
        groups = {e.group for judge in judges for e in kept.get(judge, ()) if e.group}
        shared = [e for e in kept.get(part, ()) if e.group in groups]
        if shared:
            kept[part] = tuple(e for e in kept[part] if e.group not in groups)
            name = "training" if part == "train" else part
            names = sorted({e.group for e in shared})
            found.append(
                Finding(
                    code="group_overlap",
                    level="warning",
                    message=f"{rows(len(shared), name)} of {len(names):,} groups that also stand "
                    f"in the {' or '.join(judges)} rows; dropped.",
                    count=len(shared),
                    samples=tuple(names[:_SAMPLES]),
                )
            )
    if not kept["train"]:
        raise UserError(
            "every group of the training rows also stands in the other parts",
            "give files that do not share groups, or leave --group out",
        )
    return kept, [*found, *_anachronisms(kept)]


def _anachronisms(parts: Parts) -> list[Finding]:
    first = min((e.time for e in parts.get("test", ()) if e.time is not None), default=None)
    if first is None:
        return []
    late = [e for e in parts["train"] if e.time is not None and e.time >= first]
    if not late:
        return []
    return [
        Finding(
            code="time_overlap",
            level="warning",
            message=f"{rows(len(late), 'training')} not earlier than the first test row; kept, so "
            "the test does not show how the future will be.",
            count=len(late),
        )
    ]
