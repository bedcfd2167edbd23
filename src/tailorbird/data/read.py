"""Reads examples from any named source, by its columns."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tailorbird.data.examples import ExampleOptions, Loaded, TaskChoice
from tailorbird.data.label_rows import is_labelled, read_labels
from tailorbird.data.message_words import place_list
from tailorbird.data.near_duplicates import NEAR, clusters
from tailorbird.data.raw_rows import RowPlace, Table, cell_text
from tailorbird.data.row_formats import find_form
from tailorbird.data.sources import Source, files_of, parts_of
from tailorbird.data.split_files import PROSE
from tailorbird.data.table_files import read_blocks, read_table
from tailorbird.data.text_rows import read_texts
from tailorbird.data.textfile import kind_of
from tailorbird.errors import Faults, UserError, did_you_mean
from tailorbird.records import TASKS, Example


def read_examples(path: Path | str | Source, **how: Any) -> Loaded:
    """Read the examples of a file, or of several as one.

    Args:
        path: Anything that `Source` may name.
        **how: See `ExampleOptions`.

    Raises:
        UserError: The file, its columns or its cells are faulty; all faults are named.
    """
    source = Source.of(path)
    options = _options(how)
    table = read_table(source, named_columns(options.text, options.label, options.like))
    return _examples(table, source, options)


def read_example_blocks(path: Path | str, size: int, **how: Any) -> Iterator[tuple[Table, Loaded]]:
    """Yield the rows of a file `size` at a time, with their examples.

    Raises:
        UserError: The file, its columns or its cells are faulty: the faults of the first faulty
            block are named.
    """
    options = _options(how)
    for table in read_blocks(path, named_columns(options.text, None, options.like), size):
        yield table, _examples(table, Source.of(path), options)


def _options(how: Mapping[str, Any]) -> ExampleOptions:
    return ExampleOptions(**{**how, "like": how.get("like") or {}})


def _examples(table: Table, source: Source, options: ExampleOptions) -> Loaded:
    _check_prose(table, options.task)
    form = None if is_labelled(table, options) else find_form(table, options)
    loaded = read_labels(table, options) if form is None else read_texts(table, form, options)
    return replace(loaded, examples=with_extras(loaded.examples, table, source))


def named_columns(
    text: str | None, label: str | None, like: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the user's columns, or else those of another file."""
    options = [value for value in (text, label) if value] or list((like or {}).values())
    return tuple(part.strip() for value in options for part in value.split(",") if part.strip())


def read_parts(
    train: Path | str | Source,
    *,
    validation: Path | str | None = None,
    test: Path | str | None = None,
    **how: Any,
) -> tuple[Loaded, Loaded | None, Loaded | None]:
    """Read training, validation and test files, and report the faults of all at once.

    Validation and test rows are read for the task of the training rows. If the training data is a
    folder or a hub data set with splits of such names, these are the other parts.

    Args:
        train: The training file, or anything that `Source` may name.
        **how: See `ExampleOptions`.

    Raises:
        UserError: A file is faulty, or one file is given as two parts.
    """
    faults = Faults()
    source = Source.of(train)
    read: dict[str, Loaded] = {}
    part_of: dict[Path, str] = {}
    for part, name in _sources(source, validation, test).items():
        try:
            check_once(name, part, part_of)
            read[part] = loaded = read_examples(replace(source, name=name), **how)
            if part == "training":
                how |= {"like": loaded.columns, "task": loaded.task}
                how |= {"separator": loaded.separator or how.get("separator")}
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    return read["training"], read.get("validation"), read.get("test")


def _sources(
    source: Source, validation: Path | str | None, test: Path | str | None
) -> dict[str, str]:
    """Return the source of each part."""
    parts = parts_of(source.name)
    options = {"validation": validation, "test": test}
    return parts | {part: str(path) for part, path in options.items() if path is not None}


def check_once(name: str, part: str, part_of: dict[Path, str]) -> None:
    """Check that a file is not already another part.

    Raises:
        UserError: It is.
    """
    for file in files_of(name):
        same = part_of.setdefault(file.resolve(), part)
        if same != part:
            raise UserError(
                f"{file}: the same file is given as {same} and as {part} data",
                f"give another file, or none: then {part} rows are split off the training file",
            )


def _check_prose(table: Table, task: TaskChoice) -> None:
    """Refuse to look for labels or answers in plain text."""
    if (
        kind_of(table.path) in PROSE
        and task != "auto"
        and (TASKS[task].head or TASKS[task].prompts)
    ):
        raise UserError(
            f"{table.path}: plain text has no labels and no answers to learn ({task})",
            "leave --task out to train on the text itself, or give a table: CSV, TSV, JSONL or "
            "Parquet",
        )


_DATES = "write dates as 2024-05-31 or 2024-05-31T14:30, or as numbers (years, Unix seconds)"


def with_extras(examples: tuple[Example, ...], table: Table, source: Source) -> tuple[Example, ...]:
    """Return the examples with group and time, if the source names such columns.

    Raises:
        UserError: There is no such column, or it has unusable cells.
    """
    faults = Faults()
    if source.group == NEAR and NEAR not in table.columns:
        # A row similar to no other is a group of its own.
        names = clusters([e.text for e in examples])
        examples = tuple(
            replace(e, group=name or f"row {e.row}")
            for e, name in zip(examples, names, strict=True)
        )
        source = replace(source, group=None)
    groups = _column(examples, table, ("--group", source.group), _group, faults)
    times = _column(examples, table, ("--time", source.time), _time, faults)
    faults.raise_if_any()
    if groups is not None:
        examples = tuple(replace(e, group=g) for e, g in zip(examples, groups, strict=True))
    if times is not None:
        examples = tuple(replace(e, time=t) for e, t in zip(examples, times, strict=True))
    return examples


def _column(
    examples: Sequence[Example],
    table: Table,
    option: tuple[str, str | None],
    read: Callable[[Any], Any],
    faults: Faults,
) -> list[Any] | None:
    flag, name = option
    if name is None:
        return None
    if name not in table.columns:
        columns = ", ".join(map(repr, table.columns))
        faults.add(
            f"{table.path}: there is no column {name!r}{did_you_mean(name, table.columns)}",
            f"{flag} takes one of: {columns}",
        )
        return None
    index = table.columns.index(name)
    values: list[Any] = []
    bad: list[int | RowPlace] = []
    for example in examples:
        value = read(table.rows[example.row - 1][index])
        if value is None:
            bad.append(table.places[example.row - 1])
        values.append(value)
    if bad:
        what = "group" if flag == "--group" else "date or number"
        faults.add(
            f"{table.path}: column {name!r}: no {what} in {len(bad):,} of {len(examples):,} rows: "
            f"{place_list(table.unit, bad)}",
            "fill them in (each row may be a group of its own), or remove these rows"
            if flag == "--group"
            else _DATES,
        )
    elif flag == "--time" and len({_is_number(row[index]) for row in table.rows}) > 1:
        faults.add(f"{table.path}: column {name!r} holds both dates and numbers", _DATES)
    return values


def _is_number(cell: Any) -> bool:
    try:
        float(cell_text(cell)[0] or "")
    except ValueError:
        return False
    return True


def _group(cell: Any) -> str | None:
    text, fault = cell_text(cell)
    return None if fault or text is None or not text.strip() else text.strip()


def _time(cell: Any) -> float | None:
    """Return seconds since 1970, or a number unchanged: only the order matters.

    Years and compact dates (20240531) are numbers that sort correctly.
    """
    if isinstance(cell, datetime):
        return _seconds(cell)
    if isinstance(cell, date):
        return _seconds(datetime(cell.year, cell.month, cell.day))
    text, fault = cell_text(cell)
    if fault or text is None:
        return None
    try:
        number = float(text)
        return number if math.isfinite(number) else None
    except ValueError:
        pass
    try:
        return _seconds(datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _seconds(moment: datetime) -> float:
    # A time without a zone is UTC, on every machine.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp()
