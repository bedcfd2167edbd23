"""Reads examples from any named source, by its columns."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tailorbird.data.examples import ExampleOptions, Loaded, TaskChoice
from tailorbird.data.group_time import with_extras
from tailorbird.data.label_rows import is_labelled, read_labels
from tailorbird.data.raw_rows import Table
from tailorbird.data.row_formats import find_form
from tailorbird.data.sources import Source, files_of, parts_of
from tailorbird.data.split_files import PROSE
from tailorbird.data.table_files import read_blocks, read_table
from tailorbird.data.text_rows import read_texts
from tailorbird.data.textfile import kind_of
from tailorbird.errors import Faults, UserError
from tailorbird.records import TASKS


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
