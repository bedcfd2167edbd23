"""Folds: every row is tested once, by a model that saw none of its fold."""

from dataclasses import replace

from tailorbird.data.stratify import deal
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Split

_LISTED = 5


def make_folds(
    split: Split, count: int, *, validation_share: float, seed: int, given_validation: bool = False
) -> tuple[Split, ...]:
    """Return one split per fold, in which the fold is the test.

    Folds have their share of every label, of numbers of low and high ones; rows of one group, or
    where there are none, rows with the same text, are in the same fold. From the other rows
    validation is cut in the same way.

    Args:
        split: All rows; its parts are put together again.
        count: How many folds.
        validation_share: Share of the rows outside a fold that validate.
        seed: Of the deal.
        given_validation: The validation rows were given, and stay what they are.

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
    """Refuse a fold whose model could not learn a class."""
    if not TASKS[fold.task].one_label:
        return
    there = {example.label for example in fold.train}
    lost = [label for label in fold.labels if label not in there]
    if lost:
        more = f" and {len(lost) - _LISTED:,} more" if len(lost) > _LISTED else ""
        raise UserError(
            f"classes too small for {count} folds: all rows of "
            f"{', '.join(map(repr, lost[:_LISTED]))}{more} are in one fold or in validation",
            "add rows to these classes, merge or remove them",
        )
