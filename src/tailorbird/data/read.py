"""Files to examples: what a person named as data, read by its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird.data.cells import column_texts, missing_label
from tailorbird.data.columns import Chosen, choose_columns
from tailorbird.data.extras import with_extras
from tailorbird.data.formats import Asked, Wish, find_form
from tailorbird.data.layout import PROSE
from tailorbird.data.sources import Source, files_of, parts_of
from tailorbird.data.table import Table, listed
from tailorbird.data.tables import read_table
from tailorbird.data.textfile import kind_of
from tailorbird.data.written import read_written
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example, Finding, Task


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
    """

    examples: tuple[Example, ...]
    columns: dict[str, str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    path: Path = Path()
    task: Task = "classification"
    form: str = ""


def read_examples(
    path: Path | str | Source,
    *,
    text: str | None = None,
    label: str | None = None,
    need_label: bool = True,
    drop_missing: bool = False,
    like: Mapping[str, str] | None = None,
    task: Asked = "classification",
    system: str | None = None,
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
        system: System message put before conversations that have none.

    Raises:
        UserError: The file, its columns or its cells have faults; all of them are told.
    """
    source = Source.of(path)
    table = read_table(source)
    wish = Wish(task, text, label)
    _check_prose(table, task)
    form = find_form(table, wish, need_label=need_label, like=like or {})
    if form is not None:
        found = read_written(
            table, form, system=system, need_label=need_label, drop_missing=drop_missing
        )
        return Loaded(
            with_extras(found.examples, table, source),
            form.columns,
            found.notes,
            found.findings,
            table.path,
            form.task,
            form.words,
        )
    chosen = choose_columns(table, text, label, need_label=need_label, like=like or {})
    loaded = _read_labelled(table, chosen, need_label=need_label, drop_missing=drop_missing)
    return replace(loaded, examples=with_extras(loaded.examples, table, source))


def _check_prose(table: Table, task: Asked) -> None:
    """Refuse to look for labels or answers in plain text."""
    if kind_of(table.path) in PROSE and task not in ("auto", "text"):
        raise UserError(
            f"{table.path}: plain text has no labels and no answers to learn ({task})",
            "leave --task out to have it read on, or give a table: CSV, TSV, JSONL or Parquet",
        )


def _read_labelled(table: Table, chosen: Chosen, *, need_label: bool, drop_missing: bool) -> Loaded:
    """Return texts with labels.

    Raises:
        UserError: The cells have faults; all of them are told.
    """
    faults = Faults()
    texts = column_texts(table, chosen.text, faults)
    labels: list[str | None] = [None] * len(texts)
    if chosen.label is not None:
        cells = column_texts(table, chosen.label, faults)
        labels = [None if c is None or missing_label(c) else c.strip() for c in cells]
    bad = {"text": [i for i, value in enumerate(texts) if value is None or not value.strip()]}
    if need_label:
        bad["label"] = [i for i, value in enumerate(labels) if value is None]
    findings = _refuse_or_drop(table, chosen, bad, faults, drop_missing=drop_missing)
    faults.raise_if_any()
    dropped = {i for rows in bad.values() for i in rows}
    examples = tuple(
        Example(value, labels[i], i + 1)
        for i, value in enumerate(texts)
        if i not in dropped and value is not None
    )
    if not examples:
        raise UserError(
            f"{table.path}: no row is left: each lacks its {' or its '.join(bad)}",
            "check that --text and --label name the right columns",
        )
    notes = (*table.notes, *chosen.notes)
    return Loaded(examples, chosen.as_dict(), notes, findings, table.path)


def read_parts(
    train: Path | str | Source,
    *,
    validation: Path | str | None = None,
    test: Path | str | None = None,
    text: str | None = None,
    label: str | None = None,
    drop_missing: bool = False,
    task: Asked = "classification",
    system: str | None = None,
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
    seen: dict[Path, str] = {}
    for part, name in _given(source, validation, test).items():
        try:
            _check_once(name, part, seen)
            read[part] = read_examples(
                replace(source, name=name),
                text=text,
                label=label,
                drop_missing=drop_missing,
                like=read["training"].columns if "training" in read else None,
                task=read["training"].task if "training" in read else task,
                system=system,
            )
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    return read["training"], read.get("validation"), read.get("test")


def _given(
    source: Source, validation: Path | str | None, test: Path | str | None
) -> dict[str, str]:
    """Return what to read as which part."""
    parts = parts_of(source.name)
    given = {"validation": validation, "test": test}
    return parts | {part: str(path) for part, path in given.items() if path is not None}


def _check_once(name: str, part: str, seen: dict[Path, str]) -> None:
    """Refuse a file that is a part already.

    Raises:
        UserError: It is.
    """
    for file in files_of(name):
        same = seen.setdefault(file.resolve(), part)
        if same != part:
            raise UserError(
                f"{file}: the same file is given as {same} and as {part} data",
                f"give another file, or none: then {part} rows are cut off the training file",
            )


def _refuse_or_drop(
    table: Table,
    chosen: Chosen,
    bad: Mapping[str, list[int]],
    faults: Faults,
    *,
    drop_missing: bool,
) -> tuple[Finding, ...]:
    """Note rows without text or label as faults, or return them as findings if they are dropped."""
    findings = []
    columns = chosen.as_dict()
    for role, rows in bad.items():
        if not rows:
            continue
        where = listed(table.unit, [table.places[i] for i in rows])
        count = f"{len(rows):,} of {len(table.rows):,} rows"
        if not drop_missing:
            faults.add(
                f"{table.path}: column {columns[role]!r}: no {role} (empty, null or NaN) "
                f"in {count}: {where}",
                f"fill in the {role}s, or drop these rows with --drop-missing",
            )
            continue
        message = f"{table.path}: {count} have no {role} and were dropped ({where})."
        samples = tuple(f"{table.unit} {table.places[i]}" for i in rows[:5])
        findings.append(Finding(f"missing_{role}", "warning", message, len(rows), samples))
    return tuple(findings)
