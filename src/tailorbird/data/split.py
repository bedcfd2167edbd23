"""Training, validation and test rows: given as files, or split off the training file."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tailorbird.data.examples import Loaded
from tailorbird.data.group_split import cut_groups, cut_time, drop_shared_groups, parts_of
from tailorbird.data.message_words import listing, rows
from tailorbird.data.near_duplicates import text_key
from tailorbird.data.targets import classes_of, in_order
from tailorbird.errors import Faults, UserError, did_you_mean
from tailorbird.records import TASKS, Example, Split

Group = list[int]
"""Rows with the same text, which stay together so that the split itself does not leak."""

_LISTED = 5


@dataclass(frozen=True, slots=True)
class Boundary:
    """Columns that define groups or the order in time of the parts."""

    group: str | None = None
    time: str | None = None


def make_split(
    train: Loaded,
    validation: Loaded | None,
    test: Loaded | None,
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    by: Boundary = Boundary(),  # noqa: B008 - frozen
) -> Split:
    """Return the three parts; those not given are split off the training rows.

    The split is stratified by label, or by the value of numbers, and depends on the seed and the
    rows only. Rows keep the file's order within their part, and rows with the same text (in
    conversations: the same prompt) stay in the same part.

    Raises:
        UserError: There is only one class, a class is too small to split, or a given part has
            labels that the training rows lack.
    """
    files = {"validation": validation, "test": test}
    all_shares = {"validation": validation_share, "test": test_share}
    shares = {part: all_shares[part] for part, loaded in files.items() if loaded is None}
    _check_shares(shares)
    faults = Faults()
    if TASKS[train.task].one_label:
        labels = in_order({_label(example) for example in train.examples})
        _check_labels(train, labels, files, faults)
    else:
        labels = _target_names(train, files, faults)
    faults.raise_if_any()
    parts, way = _parts(train, labels, shares, seed, by)
    return _join(train, files, parts, labels, _how(shares, seed, way))


def _parts(
    train: Loaded, labels: Sequence[str], shares: dict[str, float], seed: int, by: Boundary
) -> tuple[dict[str, tuple[Example, ...]], str]:
    """Return the training rows and the parts split off them, and the criterion."""
    if by.group and by.time:
        raise UserError(
            f"data.group={by.group} and data.time={by.time} cannot both decide the split",
            "leave one of them out",
        )
    if by.group:
        where = f"{train.path}: column {by.group!r}"
        parts = cut_groups(train.examples, shares, seed, where, train.task)
        _check_trained(train, labels, parts["train"])
        return parts, f"whole groups of {by.group!r}"
    if by.time:
        parts = cut_time(train.examples, shares, f"{train.path}: column {by.time!r}")
        _check_trained(train, labels, parts["train"])
        return parts, f"the latest by {by.time!r}"
    task = TASKS[train.task]
    if not task.one_label:
        by_target = f"stratified by {'value' if task.numbers else 'label'}"
        return _cut_texts(train, shares, seed), by_target if task.head else "at random"
    return _cut(train, labels, shares, seed), "stratified by label"


def _check_trained(train: Loaded, labels: Sequence[str], left: Sequence[Example]) -> None:
    """Refuse a split that leaves a class without training rows."""
    there = {example.label for example in left}
    untrained = [label for label in labels if label not in there]
    if TASKS[train.task].one_label and untrained:
        raise UserError(
            f"{train.path}: no training row is left with the label "
            f"{listing([*map(repr, untrained)])}: all its rows are in other parts",
            "set smaller data.test_share and data.validation_share, or merge or remove the label",
        )


def _target_names(
    train: Loaded, files: dict[str, Loaded | None], faults: Faults
) -> tuple[str, ...]:
    """Return the labels of texts or words, or the regression targets, else nothing."""
    if TASKS[train.task].several_labels or TASKS[train.task].per_word:
        there = {label for example in train.examples for label in example.labels}
        labels = train.targets or in_order(there)
        _check_labels(train, labels, files, faults)
        return labels
    for i, name in enumerate(train.targets):
        values = {example.values[i] for example in train.examples}
        if len(values) == 1:
            faults.add(
                f"{train.path}: every row has the {name} {values.pop():g}: nothing to learn",
                "add rows with other values, or name another column with --label",
            )
    return train.targets


def _join(
    train: Loaded,
    files: dict[str, Loaded | None],
    parts: dict[str, tuple[Example, ...]],
    labels: tuple[str, ...],
    how: str,
) -> Split:
    """Return the split from the parts split off and those given."""
    loaded_parts = [loaded for loaded in (train, *files.values()) if loaded is not None]
    parts |= {part: loaded.examples for part, loaded in files.items() if loaded is not None}
    parts, apart = drop_shared_groups(parts)
    return Split(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        labels=labels,
        how=how,
        findings=(*(f for loaded in loaded_parts for f in loaded.findings), *apart),
        task=train.task,
        form=train.form,
        separator=train.separator,
    )


def _label(example: Example) -> str:
    assert example.label is not None, "training, validation and test rows are read with labels"
    return example.label


def _check_shares(shares: dict[str, float]) -> None:
    faults = Faults()
    for part, share in shares.items():
        if not 0 < share < 1:
            faults.add(
                f"data.{part}_share={share} is not between 0 and 1",
                f"set a share such as data.{part}_share=0.1, or give a file with --{part}",
            )
    faults.raise_if_any()
    if sum(shares.values()) >= 1:
        settings = " and ".join(f"data.{part}_share={share}" for part, share in shares.items())
        raise UserError(
            f"{settings} leave nothing to train on", "set smaller shares, such as 0.1 each"
        )


def _check_labels(
    train: Loaded, labels: Sequence[str], files: dict[str, Loaded | None], faults: Faults
) -> None:
    """Note a single class, and labels of given parts without training rows."""
    if len(train.examples) == 1:
        faults.add(f"{train.path}: there is only one row", "give at least a few rows per class")
    elif len(labels) == 1 and TASKS[train.task].one_label:
        faults.add(
            f"{train.path}: every row has the label {labels[0]!r}; there is nothing to classify",
            "add rows with other labels, or name another column with --label",
        )
    for part, loaded in files.items():
        rows_of = loaded.examples if loaded else ()
        counts = Counter(label for e in rows_of for label in classes_of(e, train.task))
        unknown = sorted(set(counts) - set(labels))
        names = [f"{x!r} ({rows(counts[x])}){did_you_mean(x, labels)}" for x in unknown[:_LISTED]]
        if loaded and unknown:
            faults.add(
                f"{loaded.path}: labels in the {part} rows that no training row has: "
                f"{listing(names + unknown[_LISTED:], _LISTED)}",
                f"correct them, add training rows for them, or remove them from the {part} file",
            )


def _cut(
    train: Loaded, labels: Sequence[str], shares: dict[str, float], seed: int
) -> dict[str, tuple[Example, ...]]:
    """Assign the rows to training and the parts to split off."""
    groups = _groups(train.examples)
    pure: dict[str, list[Group]] = defaultdict(list)
    mixed: Counter[str] = Counter()
    for group in groups:
        there = {_label(train.examples[i]) for i in group}
        if len(there) == 1:
            pure[there.pop()].append(group)
        else:
            # A text with several labels cannot be scored, so it stays in training.
            mixed.update(_label(train.examples[i]) for i in group)
    _check_sizes(train, pure, mixed, labels, shares)
    sizes = {label: sum(map(len, pure[label])) + mixed[label] for label in labels}
    targets = {part: _targets(sizes, share) for part, share in shares.items()}
    where = ["train"] * len(train.examples)
    for label in labels:
        # Seeded by label too, so that another class does not change this one's split.
        random = Random(f"{seed}/{label}")
        _deal(pure[label], {part: targets[part][label] for part in shares}, where, random)
    return parts_of(train.examples, where, ("train", *shares))


def _cut_texts(
    train: Loaded, shares: dict[str, float], seed: int
) -> dict[str, tuple[Example, ...]]:
    """Assign rows of other tasks, those with the same text or prompt together."""
    spec = TASKS[train.task]
    groups = _groups(train.examples)
    if shares and len(groups) <= len(shares):
        kind = f"{'prompt' if spec.prompts else 'text'}{'s' * (len(groups) > 1)}"
        why, files = "", " and ".join(f"--{part}" for part in shares)
        if not (spec.head or spec.prompts):
            why = f"{train.columns['text']!r} is the only column read, so there are no labels; "
        raise UserError(
            f"{train.path}: {why}{len(groups):,} different {kind} cannot be split into training "
            f"and {' and '.join(shares)} rows",
            f"add rows, or give {files} as separate files",
        )
    if spec.head:
        return cut_groups(train.examples, shares, seed, str(train.path), train.task)
    targets = {part: round(len(train.examples) * share) for part, share in shares.items()}
    where = ["train"] * len(train.examples)
    _deal(groups, targets, where, Random(seed))
    return parts_of(train.examples, where, ("train", *shares))


def _groups(examples: Sequence[Example]) -> list[Group]:
    by_text: dict[str, Group] = {}
    for i, example in enumerate(examples):
        by_text.setdefault(text_key(example.text), []).append(i)
    return list(by_text.values())


def _check_sizes(
    train: Loaded,
    pure: dict[str, list[Group]],
    mixed: Counter[str],
    labels: Sequence[str],
    shares: dict[str, float],
) -> None:
    """Refuse classes without a text for every part."""
    texts = {label: len(pure[label]) + bool(mixed[label]) for label in labels}
    small = [x for x in labels if shares and texts[x] <= len(shares)]
    if not small:
        return
    names = listing([f"{x!r} ({texts[x]})" for x in small])
    files = " and ".join(f"--{part}" for part in shares)
    fix = f"add rows to these classes, merge or remove them, or give {files} as separate files"
    if len(small) > len(labels) / 2:
        fix += "; if the column holds values or ids rather than classes, name another with --label"
        fix += ", or set --task regression for values or --task multilabel for several labels"
    raise UserError(
        f"{train.path}: classes too small to split off {' and '.join(shares)} rows: a class "
        f"needs {len(shares) + 1} different texts, and these have fewer: {names}",
        fix,
    )


def _targets(sizes: dict[str, int], share: float) -> dict[str, int]:
    """Return the number of rows of each class in a part.

    The largest remainder method: each class is within one row of its exact share, and so is the
    part as a whole.
    """
    exact = {label: size * share for label, size in sizes.items()}
    counts = {label: int(value) for label, value in exact.items()}
    left = round(sum(exact.values())) - sum(counts.values())
    for label in sorted(exact, key=lambda x: (counts[x] - exact[x], x))[:left]:
        counts[label] += 1
    return counts


def _deal(groups: list[Group], targets: dict[str, int], where: list[str], random: Random) -> None:
    """Write the part of each row of one class into ``where``."""
    random.shuffle(groups)
    parts = list(targets)
    counts = dict.fromkeys([*parts, "train"], 0)
    # Each part and the training rows get one group first, even if it exceeds the target, so that
    # none is empty; small groups, to miss the target by little.
    by_size = sorted(range(len(groups)), key=lambda i: len(groups[i]))
    first = dict(zip(by_size, (*parts, "train"), strict=False))
    for i in sorted(range(len(groups)), key=lambda i: i not in first):
        size = len(groups[i])
        room = (part for part in parts if counts[part] + size <= targets[part])
        part = first.get(i) or next(room, "train")
        counts[part] += size
        for row in groups[i]:
            where[row] = part


def _how(shares: dict[str, float], seed: int, way: str) -> str:
    if not shares:
        return "given files"
    cut = " and ".join(f"{part} ({100 * share:.0f} %)" for part, share in shares.items())
    files = [part for part in ("validation", "test") if part not in shares]
    tail = f"; {files[0]} as given" if files else ""
    return f"{cut} split off the training rows, {way}, seed {seed}{tail}"
