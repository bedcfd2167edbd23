"""Files to examples: CSV, TSV, JSON Lines, JSON, Parquet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird.data.delimited import read_delimited
from tailorbird.data.formats import Asked, Wish, find_form
from tailorbird.data.jsonfile import read_json, read_jsonl
from tailorbird.data.labelled import Asked as Needs
from tailorbird.data.labelled import is_labelled, read_labelled
from tailorbird.data.parquet import read_parquet
from tailorbird.data.table import Table
from tailorbird.data.words import ENDINGS, read_conll
from tailorbird.data.written import read_written
from tailorbird.errors import Faults, UserError, did_you_mean
from tailorbird.records import Example, Finding, Task

READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    **dict.fromkeys(ENDINGS, read_conll),
}
"""What reads a file, by the ending of its name."""


@dataclass(frozen=True, slots=True)
class More:
    """What else the user said about the rows.

    Attributes:
        system: System message put before conversations that have none.
        separator: What stands between the labels in a cell.
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
        separator: What stood between the labels in a cell.
    """

    examples: tuple[Example, ...]
    columns: dict[str, str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    path: Path = Path()
    task: Task = "classification"
    form: str = ""
    targets: tuple[str, ...] = ()
    separator: str | None = None


def read_table(path: Path, named: Sequence[str] = ()) -> Table:
    """Read a file's rows, whatever its columns mean.

    Args:
        path: The file.
        named: The columns the user named; numbers count the columns of files without a header.

    Raises:
        UserError: The file does not exist, is of no known kind, or is damaged.
    """
    path = Path(path)
    _check_path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        kind = f"files in {path.suffix}" if path.suffix else "files whose name has no ending"
        raise UserError(
            f"{path}: {kind} cannot be read{did_you_mean(path.suffix.lower(), READERS)}",
            f"save it as one of: {', '.join(READERS)}",
        )
    try:
        return read_delimited(path, named) if reader is read_delimited else reader(path)
    except PermissionError:
        raise UserError(f"{path}: no permission to read it", f"chmod u+r {path}") from None


def read_examples(
    path: Path,
    *,
    text: str | None = None,
    label: str | None = None,
    need_label: bool = True,
    drop_missing: bool = False,
    like: Mapping[str, str] | None = None,
    task: Asked = "classification",
    more: More = More(),  # noqa: B008 - frozen
) -> Loaded:
    """Read a file's examples.

    Args:
        path: The file.
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
    table = read_table(path, named_in(text, label, like))
    wish = Wish(task, text, label, more.separator)
    labelled = is_labelled(table, wish)
    form = None
    if not labelled:
        form = find_form(table, wish, need_label=need_label, like=like or {})
    if form is not None:
        found = read_written(
            table, form, system=more.system, need_label=need_label, drop_missing=drop_missing
        )
        return Loaded(
            found.examples,
            form.columns,
            found.notes,
            found.findings,
            table.path,
            form.task,
            form.words,
        )
    made = read_labelled(table, wish, Needs(need_label, drop_missing, like or {}))
    return Loaded(
        made.examples,
        made.columns,
        made.notes,
        made.findings,
        table.path,
        made.reading.task,
        targets=made.labels if made.reading.way in ("number", "indicators") else (),
        separator=made.reading.separator or None,
    )


def named_in(
    text: str | None, label: str | None, like: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the columns that the user named, or else those that another file has."""
    given = [value for value in (text, label) if value] or list((like or {}).values())
    return tuple(part.strip() for value in given for part in value.split(",") if part.strip())


def read_parts(
    train: Path,
    *,
    validation: Path | None = None,
    test: Path | None = None,
    text: str | None = None,
    label: str | None = None,
    drop_missing: bool = False,
    task: Asked = "classification",
    more: More = More(),  # noqa: B008 - frozen
) -> tuple[Loaded, Loaded | None, Loaded | None]:
    """Read training, validation and test files, and tell the faults of all of them at once.

    Validation and test rows are read for the task of the training rows.

    Raises:
        UserError: A file has faults, or one file is given as two parts.
    """
    faults = Faults()
    given = {"training": train, "validation": validation, "test": test}
    read: dict[str, Loaded] = {}
    seen: dict[Path, str] = {}
    for part, path in given.items():
        if path is None:
            continue
        same = seen.setdefault(Path(path).resolve(), part)
        if same != part:
            faults.add(
                f"{path}: the same file is given as {same} and as {part} data",
                f"give another file, or none: then {part} rows are cut off the training file",
            )
            continue
        try:
            read[part] = read_examples(
                path,
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


def _check_path(path: Path) -> None:
    try:
        if path.is_file():
            return
        if path.is_dir():
            inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in READERS)
            hint = f"such as {path / inside[0]}" if inside else f"ending in {', '.join(READERS)}"
            raise UserError(f"{path}: this is a folder, not a file", f"name a file, {hint}")
        if path.exists():
            raise UserError(f"{path}: this is not a regular file", "write the data to a file first")
        folder = path.parent
        if not folder.is_dir():
            raise UserError(f"{path}: the folder {str(folder)!r} does not exist", "check the path")
        near = did_you_mean(path.name, (p.name for p in folder.iterdir()))
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {error.strerror}", "check the path") from None
    raise UserError(f"{path}: there is no such file{near}", "check the name and the folder")
