"""Rows of a known format to examples of written answers or of plain text; faults counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tailorbird.data.cells import cell_text
from tailorbird.data.conversations import (
    FIXES,
    as_example,
    checked,
    row_messages,
    row_tools,
    unread_fields,
    with_system,
)
from tailorbird.data.formats import Form
from tailorbird.data.marks import Unusable
from tailorbird.data.normalise import rows
from tailorbird.data.table import RowPlace, Table, place_list
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example, Finding

_NAMED = 8
_CODES = {"prompt": "missing_text", "answer": "missing_label"}
_COLUMNS = {"prompt": ("text", "instruction"), "answer": ("label", "output")}


@dataclass
class _Bad:
    """Rows with one kind of fault."""

    words: str
    places: list[int | RowPlace] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Written:
    """The examples of a table, what was dropped, and what was read, in words."""

    examples: tuple[Example, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def read_written(
    table: Table,
    form: Form,
    *,
    system: str | None = None,
    need_label: bool = True,
    drop_missing: bool = False,
) -> Written:
    """Return a table's conversations, or its plain texts.

    Args:
        table: The file.
        form: How its rows are read.
        system: System message put before conversations that have none.
        need_label: Whether a conversation without an answer is a fault.
        drop_missing: Drop rows that cannot be used, and say so, instead of refusing the file.

    Raises:
        UserError: Rows cannot be used; every kind of fault is told once, with the rows.
    """
    examples: list[Example] = []
    bad: dict[str, _Bad] = {}
    trailing: list[int | RowPlace] = []
    unread: Counter[str] = Counter()
    for number, (cells, place) in enumerate(zip(_rows(table, form), table.places, strict=True), 1):
        try:
            if form.kind == "text":
                examples.append(_plain(cells["text"], number))
                continue
            messages = row_messages(form.kind, cells)
            messages, cut = checked(with_system(messages, system), need_label=need_label)
            examples.append(as_example(messages, row_tools(cells), number))
        except Unusable as fault:
            bad.setdefault(fault.kind, _Bad(fault.words)).places.append(place)
            continue
        unread.update(unread_fields(cells))
        if cut:
            trailing.append(place)
    findings = _refuse_or_drop(table, form, bad, drop_missing=drop_missing)
    if not examples:
        raise UserError(
            f"{table.path}: no row is left: {'; '.join(fault.words for fault in bad.values())}",
            "check that the columns are the right ones",
        )
    if trailing:
        findings.append(
            Finding(
                "trailing_turns",
                "warning",
                f"{table.path}: {rows(len(trailing))} with turns after the last answer; these "
                f"turns are left out ({place_list(table.unit, trailing)}).",
                len(trailing),
            )
        )
    notes = (*table.notes, *form.notes, _told(table, form, examples), *_unread(table, unread))
    return Written(tuple(examples), tuple(findings), notes)


def _rows(table: Table, form: Form) -> Iterator[dict[str, Any]]:
    places = {part: table.columns.index(name) for part, name in form.columns.items()}
    for row in table.rows:
        yield {part: row[place] for part, place in places.items()}


def _plain(cell: Any, number: int) -> Example:
    text, fault = cell_text(cell)
    if fault:
        raise Unusable("content", f"a cell that {fault}")
    if text is None or not text.strip():
        raise Unusable("prompt", "no text")
    return Example(text, None, number)


def _refuse_or_drop(
    table: Table, form: Form, bad: dict[str, _Bad], *, drop_missing: bool
) -> list[Finding]:
    """Raise the faults, or return them as findings if their rows are dropped."""
    faults = Faults()
    findings: list[Finding] = []
    for kind, fault in bad.items():
        name = next((form.columns[c] for c in _COLUMNS.get(kind, ()) if c in form.columns), None)
        where = f"{place_list(table.unit, fault.places)}"
        count = f"{len(fault.places):,} of {len(table.rows):,} rows"
        column = f"column {name!r}: " if name else ""
        if not drop_missing:
            faults.add(f"{table.path}: {column}{fault.words} in {count}: {where}", FIXES[kind])
            continue
        findings.append(
            Finding(
                _CODES.get(kind, "unusable"),
                "warning",
                f"{table.path}: {column}{fault.words} in {count}, which were dropped ({where}).",
                len(fault.places),
                tuple(f"{table.unit} {place}" for place in fault.places[:5]),
            )
        )
    faults.raise_if_any()
    return findings


def _unread(table: Table, counts: Counter[str]) -> Iterator[str]:
    if counts:
        names = [f"{name!r} ({rows(count)})" for name, count in counts.most_common(_NAMED)]
        more = ", ..." if len(counts) > _NAMED else ""
        yield f"{table.path}: not read of the turns: {', '.join(names)}{more}"


def _told(table: Table, form: Form, examples: list[Example]) -> str:
    if form.kind == "text":
        count = f"{len(examples):,} texts"
    else:
        answers = sum(m.role == "assistant" and m.trained for e in examples for m in e.messages)
        count = f"{len(examples):,} conversations, {answers:,} answers to train on"
    return f"{table.path}: read as {form.words}: {count}"
