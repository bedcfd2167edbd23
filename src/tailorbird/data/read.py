"""Files to examples: what a person named as data, read by its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird.data.formats import Asked, Wish, find_form
from tailorbird.data.group_time import with_extras
from tailorbird.data.labelled import Asked as Needs
from tailorbird.data.labelled import is_labelled, read_labelled
from tailorbird.data.layout import PROSE
from tailorbird.data.sources import Source, files_of, parts_of
from tailorbird.data.table import Table
from tailorbird.data.tables import read_table
from tailorbird.data.textfile import kind_of
from tailorbird.data.written import read_written
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example, Finding, TaskName


@dataclass(frozen=True, slots=True)
class More:
    """What else the user said about the rows.

    Attributes:
        system: System message put before conversations that have none.
        separator: What stands between the labels in a cell; of numbers, their decimal mark.
    """

    system: str | None = None
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The examples of one file.

    Attributes:
        examples: One per kept row, in the file's order.
        columns: Which column plays which part: ``{"text": "body", "label": "category"}``.
        notes: What was assumed while reading, in words for the user.
        findings: Rows that were dropped.
        path: The file.
        task: What is learnt from them.
        form: The format the rows were in, in words; empty for labels.
        targets: Of regression, what the numbers are called; of multi-label columns, the labels.
        separator: What stood between the labels in a cell; of numbers, their decimal mark.
    """

    examples: tuple[Example, ...]
    columns: dict[str, str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    path: Path = Path()
    task: TaskName = "classification"
    form: str = ""
    targets: tuple[str, ...] = ()
    separator: str | None = None


def read_examples(
    path: Path | str | Source,
    *,
    text: str | None = None,
    label: str | None = None,
    need_label: bool = True,
    drop_missing: bool = False,
    like: Mapping[str, str] | None = None,
    task: Asked = "classification",
    more: More = More(),  # noqa: B008 - frozen
) -> Loaded:
    """Read the examples of a file, or of several as one.

    Args:
        path: What to read: anything that `Source` may name.
        text: The column of texts, prompts or conversations; guessed when None.
        label: The column of labels or answers; guessed when None.
        need_label: Whether a row without label or answer is a fault.
        drop_missing: Drop rows that lack something, and say so, instead of refusing the file.
        like: Another file's `Loaded.columns`, preferred to a guess where this file has them.
        task: What is to be learnt; auto: as the columns say.
        more: What else the user said.

    Raises:
        UserError: The file, its columns or its cells have faults; all of them are told.
    """
    source = Source.of(path)
    table = read_table(source, named_columns(text, label, like))
    wish = Wish(task, text, label, more.separator)
    _check_prose(table, task)
    labelled = is_labelled(table, wish)
    form = None
    if not labelled:
        form = find_form(table, wish, need_label=need_label, like=like or {})
    if form is not None:
        answers = read_written(
            table, form, system=more.system, need_label=need_label, drop_missing=drop_missing
        )
        return Loaded(
            with_extras(answers.examples, table, source),
            form.columns,
            answers.notes,
            answers.findings,
            table.path,
            form.task,
            form.words,
        )
    labels = read_labelled(table, wish, Needs(need_label, drop_missing, like or {}))
    return Loaded(
        with_extras(labels.examples, table, source),
        labels.columns,
        labels.notes,
        labels.findings,
        table.path,
        labels.reading.task,
        targets=labels.labels if labels.reading.way in ("number", "indicators") else (),
        separator=labels.reading.separator or None,
    )


def named_columns(
    text: str | None, label: str | None, like: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the columns that the user named, or else those that another file has."""
    options = [value for value in (text, label) if value] or list((like or {}).values())
    return tuple(part.strip() for value in options for part in value.split(",") if part.strip())


def read_parts(
    train: Path | str | Source,
    *,
    validation: Path | str | None = None,
    test: Path | str | None = None,
    text: str | None = None,
    label: str | None = None,
    drop_missing: bool = False,
    task: Asked = "classification",
    more: More = More(),  # noqa: B008 - frozen
) -> tuple[Loaded, Loaded | None, Loaded | None]:
    """Read training, validation and test files, and tell the faults of all of them at once.

    Validation and test rows are read for the task of the training rows. Where the training data
    is a folder, or a set on the hub, with splits of such names, these are the other parts.

    Raises:
        UserError: A file has faults, or one file is given as two parts.
    """
    faults = Faults()
    source = Source.of(train)
    read: dict[str, Loaded] = {}
    part_of: dict[Path, str] = {}
    for part, name in _sources(source, validation, test).items():
        try:
            _check_once(name, part, part_of)
            read[part] = read_examples(
                replace(source, name=name),
                text=text,
                label=label,
                drop_missing=drop_missing,
                like=read["training"].columns if "training" in read else None,
                task=read["training"].task if "training" in read else task,
                more=more,
            )
            if part == "training":
                more = replace(more, separator=read[part].separator or more.separator)
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    return read["training"], read.get("validation"), read.get("test")


def _sources(
    source: Source, validation: Path | str | None, test: Path | str | None
) -> dict[str, str]:
    """Return what to read as which part."""
    parts = parts_of(source.name)
    options = {"validation": validation, "test": test}
    return parts | {part: str(path) for part, path in options.items() if path is not None}


def _check_once(name: str, part: str, part_of: dict[Path, str]) -> None:
    """Refuse a file that is a part already.

    Raises:
        UserError: It is.
    """
    for file in files_of(name):
        same = part_of.setdefault(file.resolve(), part)
        if same != part:
            raise UserError(
                f"{file}: the same file is given as {same} and as {part} data",
                f"give another file, or none: then {part} rows are cut off the training file",
            )


def _check_prose(table: Table, task: Asked) -> None:
    """Refuse to look for labels or answers in plain text."""
    if kind_of(table.path) in PROSE and task not in ("auto", "text"):
        raise UserError(
            f"{table.path}: plain text has no labels and no answers to learn ({task})",
            "leave --task out to have it read on, or give a table: CSV, TSV, JSONL or Parquet",
        )
