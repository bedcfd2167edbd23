"""Rows of texts, or of pairs of texts, with labels or numbers, to examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tailorbird.data.cells import column_texts, missing_label
from tailorbird.data.columns import LABEL_NAMES, Chosen, by_name, check_named, choose_columns
from tailorbird.data.formats import Wish
from tailorbird.data.table import Table, name_list, place_list
from tailorbird.data.targets import Reading, infer, read_cells
from tailorbird.data.words import WordColumns, find_words, read_words
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example, Finding, has_head


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read, beside the columns.

    Attributes:
        need_label: Whether a row without label is a fault.
        drop_missing: Leave out rows that lack something.
        like: Another file's columns, preferred to a guess where this file has them.
    """

    need_label: bool
    drop_missing: bool
    like: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The examples of a table, and how they were read; see `read.Loaded`."""

    examples: tuple[Example, ...]
    columns: dict[str, str]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    reading: Reading
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns to read: one or two texts, and no, one or several labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, str]:
        named = dict(zip(("text", "pair"), self.texts, strict=False))
        return named | ({"label": ",".join(self.labels)} if self.labels else {})


def names_in(table: Table, option: str | None) -> tuple[str, ...]:
    """Return the columns that ``A`` or ``A,B`` names; one whose own name has a comma is one."""
    if option is None:
        return ()
    if option in table.columns or "," not in option:
        return (option,)
    return tuple(part.strip() for part in option.split(",") if part.strip())


def is_labelled(table: Table, wish: Wish) -> bool:
    """Say whether the user asked for labels or numbers, by the task or by several columns."""
    if wish.task != "auto":
        return has_head(wish.task)
    if find_words(table, wish, need_label=True, like={}) is not None:
        return True
    return len(names_in(table, wish.text)) > 1 or len(names_in(table, wish.label)) > 1


def read_labelled(table: Table, wish: Wish, needs: Asked) -> Labelled:
    """Return texts with their labels or numbers.

    Raises:
        UserError: The columns or the cells have faults; all of them are told.
    """
    word_columns = find_words(table, wish, need_label=needs.need_label, like=needs.like)
    if word_columns is not None:
        return _words(table, word_columns, needs)
    columns = _columns(table, wish, needs)
    faults = Faults()
    texts = [_texts(table, name, faults, joined=len(columns.texts) > 1) for name in columns.texts]
    reading = Reading(wish.task if has_head(wish.task) else "classification", "label")
    targets: list[Example | None] = [Example("")] * len(table.rows)
    if columns.labels:
        cells = {name: table.column(name) for name in columns.labels}
        reading = infer(cells, wish.task, wish.separator)
        targets = _targets(table, columns, reading, faults)
    bad = _lacking(columns, texts, targets, need_label=needs.need_label)
    findings = _refuse_or_drop(table, columns, bad, faults, drop_missing=needs.drop_missing)
    faults.raise_if_any()
    dropped = {i for rows in bad.values() for i in rows}
    examples = tuple(
        _example([column[i] or "" for column in texts], targets[i], i + 1)
        for i in range(len(table.rows))
        if i not in dropped
    )
    if not examples:
        raise UserError(
            f"{table.path}: no row is left: each lacks its {' or its '.join(bad)}",
            "check that --text and --label name the right columns",
        )
    notes = [*table.notes, *columns.notes]
    if reading.note:
        notes.append(f"{table.path}: the task is {reading.note}; say --task for another")
    return Labelled(
        examples, columns.as_dict(), tuple(notes), findings, reading, _target_names(columns)
    )


def _words(table: Table, word_columns: WordColumns, needs: Asked) -> Labelled:
    faults = Faults()
    rows = read_words(table, word_columns, faults)
    columns = _Columns(
        (word_columns.text,),
        (word_columns.label,) if word_columns.label else (),
        word_columns.notes,
    )
    bad = {"text": [i for i, example in enumerate(rows) if example is None]}
    findings = _refuse_or_drop(table, columns, bad, faults, drop_missing=needs.drop_missing)
    faults.raise_if_any()
    examples = tuple(example for example in rows if example is not None)
    if not examples:
        raise UserError(f"{table.path}: no row has words", "check --text and --label")
    notes = (*table.notes, *word_columns.notes)
    return Labelled(examples, columns.as_dict(), notes, findings, Reading("tokens", "words"))


def _columns(table: Table, wish: Wish, needs: Asked) -> _Columns:
    texts, labels = names_in(table, wish.text), names_in(table, wish.label)
    other = _kept(table, needs.like)
    texts = texts or other.texts
    labels = labels or other.labels
    if len(texts) <= 1 and len(labels) <= 1:
        single = [names[0] if names else None for names in (texts, labels)]
        guess: Chosen = choose_columns(
            table, single[0], single[1], need_label=needs.need_label, like=needs.like
        )
        return _Columns((guess.text,), (guess.label,) if guess.label else (), guess.notes)
    if not labels and needs.like.get("label") in table.columns:
        labels = (needs.like["label"],)
    _check(table, texts, labels)
    free = [name for name in table.columns if name not in texts + labels]
    if not texts:
        guess = choose_columns(table.only(free), None, None, need_label=False)
        texts = (guess.text,)
    if not labels and needs.need_label:
        label = by_name(free, LABEL_NAMES)
        if label is None:
            raise UserError(
                f"{table.path}: which column is the label? The columns are: {name_list(free)}",
                "say --label NAME",
            )
        labels = (label,)
    return _Columns(texts, labels)


def _kept(table: Table, like: Mapping[str, str]) -> _Columns:
    """Return what this file has of another's columns, where those were several."""
    texts = tuple(like[role] for role in ("text", "pair") if role in like)
    labels = names_in(table, like.get("label"))
    return _Columns(
        texts if len(texts) > 1 and set(texts) <= set(table.columns) else (),
        labels if len(labels) > 1 and set(labels) <= set(table.columns) else (),
    )


def _check(table: Table, texts: Sequence[str], labels: Sequence[str]) -> None:
    faults = Faults()
    for text, label in [(name, None) for name in texts] + [(None, name) for name in labels]:
        try:
            check_named(table, text, label)
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    if len(texts) > 2:
        faults.add(
            f"--text names {len(texts)} columns: {', '.join(texts)}",
            "name one, or two that are read as a pair",
        )
    twice = sorted({n for n in (*texts, *labels) if (*texts, *labels).count(n) > 1})
    if twice:
        faults.add(f"the column {twice[0]!r} is named twice", "name each column once")
    faults.raise_if_any()


def _texts(table: Table, name: str, faults: Faults, *, joined: bool) -> list[str | None]:
    """Return a column of texts; of pairs, lists of paragraphs are one text."""
    if not joined:
        return column_texts(table, name, faults)
    cells = [_paragraphs(cell) for cell in table.column(name)]
    return column_texts(replace(table, columns=(name,), rows=tuple(cells)), name, faults)


def _paragraphs(cell: Any) -> tuple[Any]:
    if isinstance(cell, list | tuple) and all(isinstance(part, str) for part in cell):
        return ("\n".join(cell),)
    return (cell,)


def _targets(
    table: Table, columns: _Columns, reading: Reading, faults: Faults
) -> list[Example | None]:
    if reading.way != "label":
        names = _target_names(columns)
        renamed = tuple(names[columns.labels.index(c)] if c in columns.labels else c
                        for c in table.columns)  # fmt: skip
        return read_cells(replace(table, columns=renamed), names, reading, faults)
    cells = column_texts(table, columns.labels[0], faults)
    return [None if c is None or missing_label(c) else Example("", c.strip()) for c in cells]


def _target_names(columns: _Columns) -> tuple[str, ...]:
    """Return what the targets are called: a lone column without a name is the value."""
    if len(columns.labels) == 1 and columns.labels[0].isdigit():
        return ("value",)
    return columns.labels


def _lacking(
    columns: _Columns,
    texts: Sequence[Sequence[str | None]],
    targets: Sequence[Example | None],
    *,
    need_label: bool,
) -> dict[str, list[int]]:
    bad = {
        role: [i for i, value in enumerate(column) if value is None or not value.strip()]
        for role, column in zip(("text", "pair"), texts, strict=False)
    }
    if need_label:
        bad["label"] = [i for i, target in enumerate(targets) if target is None]
    return bad


def _example(texts: Sequence[str], target: Example | None, row: int) -> Example:
    pair = tuple(texts) if len(texts) > 1 else ()
    text = "\n".join(texts)
    if target is None:
        return Example(text, None, row, pair=pair)
    return replace(target, text=text, row=row, pair=pair)


def _refuse_or_drop(
    table: Table,
    named: _Columns,
    bad: Mapping[str, list[int]],
    faults: Faults,
    *,
    drop_missing: bool,
) -> tuple[Finding, ...]:
    """Note rows without text or label as faults, or return them as findings if they are dropped."""
    findings = []
    columns = named.as_dict()
    for role, rows in bad.items():
        if not rows:
            continue
        where = place_list(table.unit, [table.places[i] for i in rows])
        count = f"{len(rows):,} of {len(table.rows):,} rows"
        what = "text" if role == "pair" else role
        if not drop_missing:
            faults.add(
                f"{table.path}: column {columns[role]!r}: no {what} (empty, null or NaN) "
                f"in {count}: {where}",
                f"fill in the {what}s, or drop these rows with --drop-missing",
            )
            continue
        message = f"{table.path}: {count} have no {what} and were dropped ({where})."
        samples = tuple(f"{table.unit} {table.places[i]}" for i in rows[:5])
        findings.append(Finding(f"missing_{what}", "warning", message, len(rows), samples))
    return tuple(findings)
