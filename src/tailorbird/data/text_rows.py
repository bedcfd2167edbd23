"""Examples of generation or plain text from rows of a known format, with faults counted."""

from collections import Counter
from typing import Any

from tailorbird.data.conversations import (
    FIXES,
    as_example,
    checked,
    row_messages,
    row_tools,
    unread_fields,
    with_system,
)
from tailorbird.data.examples import BadRows, ExampleOptions, Loaded, settle
from tailorbird.data.loss_masks import Unusable
from tailorbird.data.message_words import place_list, rows
from tailorbird.data.raw_rows import RowPlace, Table, cell_text
from tailorbird.data.row_formats import Form
from tailorbird.errors import Faults, UserError
from tailorbird.records import TASKS, Example, Finding

_NAMED = 8
_CODES = {"prompt": "missing_text", "answer": "missing_label"}
_COLUMNS = {"prompt": ("text", "instruction"), "answer": ("label", "output")}


def read_texts(table: Table, form: Form, options: ExampleOptions) -> Loaded:
    """Return a table's conversations, or its plain texts.

    Raises:
        UserError: Rows are unusable; each kind of fault is reported once, with its rows.
    """
    prompts = TASKS[form.task].prompts
    examples: list[Example] = []
    bad: dict[str, BadRows] = {}
    trailing: list[int | RowPlace] = []
    unread: Counter[str] = Counter()
    places = {part: table.columns.index(name) for part, name in form.columns.items()}
    for number, (row, place) in enumerate(zip(table.rows, table.places, strict=True), 1):
        cells = {part: row[at] for part, at in places.items()}
        try:
            if not prompts:
                examples.append(_plain(cells["text"], number))
                continue
            messages = row_messages(form.kind, cells)
            messages = with_system(messages, options.system)
            messages, cut = checked(messages, need_label=options.need_label)
            examples.append(as_example(messages, row_tools(cells), number))
        except Unusable as fault:
            names = [form.columns[c] for c in _COLUMNS.get(fault.kind, ()) if c in form.columns]
            code = _CODES.get(fault.kind, "unusable")
            kind = BadRows(fault.words, FIXES[fault.kind], code, next(iter(names), None))
            bad.setdefault(fault.kind, kind).places.append(place)
            continue
        unread.update(unread_fields(cells))
        if cut:
            trailing.append(place)
    faults = Faults()
    findings = list(settle(table, bad.values(), faults, drop=options.drop_missing))
    faults.raise_if_any()
    if not examples:
        raise UserError(
            f"{table.path}: no row is left: {'; '.join(fault.what for fault in bad.values())}",
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
    count = f"{len(examples):,} texts"
    if prompts:
        answers = sum(m.role == "assistant" and m.trained for e in examples for m in e.messages)
        count = f"{len(examples):,} conversations, {answers:,} answers to train on"
    notes = [*table.notes, *form.notes, f"{table.path}: read as {form.words}: {count}"]
    if unread:
        names = [f"{name!r} ({rows(n)})" for name, n in unread.most_common(_NAMED)]
        more = ", ..." if len(unread) > _NAMED else ""
        notes.append(f"{table.path}: fields of turns that are ignored: {', '.join(names)}{more}")
    return Loaded(
        tuple(examples),
        form.columns,
        tuple(notes),
        tuple(findings),
        table.path,
        form.task,
        form.words,
    )


def _plain(cell: Any, number: int) -> Example:
    text, fault = cell_text(cell)
    if fault:
        raise Unusable("content", f"a cell that {fault}")
    if text is None or not text.strip():
        raise Unusable("prompt", "no text")
    return Example(text, None, number)
