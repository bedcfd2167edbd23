"""The options of reading a file of examples, and its result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tailorbird.data.message_words import place_list
from tailorbird.data.raw_rows import RowPlace, Table
from tailorbird.errors import Faults
from tailorbird.records import TASKS, Example, Finding, TaskName, TaskSpec

TaskChoice = str
"""A task of the table, or auto."""
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """The options for reading the examples of a file.

    Attributes:
        task: The task; auto: as the columns suggest.
        text: The column of texts, prompts or conversations; guessed if None.
        label: The column of labels or answers; guessed if None.
        separator: The separator of labels in a cell; for numbers, the decimal mark.
        system: System message for conversations that have none.
        need_label: Whether a row without label or answer is a fault.
        drop_missing: Drop incomplete rows with a finding, instead of refusing the file.
        like: Another file's `Loaded.columns`, preferred to a guess if this file has them.
    """

    task: TaskChoice = "classification"
    text: str | None = None
    label: str | None = None
    separator: str | None = None
    system: str | None = None
    need_label: bool = True
    drop_missing: bool = False
    like: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> TaskSpec | None:
        """The task's facts; None if the columns decide the task."""
        return None if self.task == "auto" else TASKS[self.task]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The examples of one file.

    Attributes:
        examples: One per row that is not dropped, in the file's order.
        columns: The column of each role: ``{"text": "body", "label": "category"}``.
        notes: Assumptions made while reading, in words for the user.
        form: The format of the rows, in words; empty for labels.
        targets: For regression, the names of the numbers; for multilabel columns, the labels.
        separator: The separator of labels in a cell; for numbers, the decimal mark.
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


@dataclass(slots=True)
class BadRows:
    """Rows with one kind of fault: the fault, its fix, and their places."""

    what: str
    fix: str
    code: str = "unusable"
    column: str | None = None
    places: list[int | RowPlace] = field(default_factory=list)


def settle(
    table: Table, kinds: Iterable[BadRows], faults: Faults, *, drop: bool
) -> tuple[Finding, ...]:
    """Note unusable rows as faults, or return them as findings if they are dropped."""
    findings = []
    for bad in kinds:
        where = place_list(table.unit, bad.places)
        column = f"column {bad.column!r}: " if bad.column else ""
        rows = f"{column}{bad.what} in {len(bad.places):,} of {len(table.rows):,} rows"
        if not drop:
            faults.add(f"{table.path}: {rows}: {where}", bad.fix)
            continue
        message = f"{table.path}: {rows}, which were dropped ({where})."
        samples = tuple(f"{table.unit} {place}" for place in bad.places[:_SAMPLES])
        findings.append(Finding(bad.code, "warning", message, len(bad.places), samples))
    return tuple(findings)
