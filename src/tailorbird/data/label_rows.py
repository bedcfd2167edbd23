"""Examples from rows of texts, pairs of texts or words, with labels or numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailorbird.data.columns import LABEL_NAMES, TextColumns, by_name, check_named, choose_columns
from tailorbird.data.examples import BadRows, ExampleOptions, Loaded, settle
from tailorbird.data.line_files import ENDINGS
from tailorbird.data.message_words import name_list, place_list
from tailorbird.data.raw_rows import RowPlace, Table, cell_text, column_texts, missing_label
from tailorbird.data.row_formats import Form
from tailorbird.data.targets import Reading, infer, read_cells
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example, has_head

_WORDS = ("tokens", "words")
_LABELS = ("labels", "ner_tags", "tags", "label", "pos_tags", "upos", "chunk_tags")
_LOOKED_AT = 20


def names_in(table: Table, option: str | None) -> tuple[str, ...]:
    """Return the columns of ``A`` or ``A,B``; a column name may itself contain a comma."""
    if option is None:
        return ()
    if option in table.columns or "," not in option:
        return (option,)
    return tuple(part.strip() for part in option.split(",") if part.strip())


def is_labelled(table: Table, options: ExampleOptions) -> bool:
    """Return whether the user requested labels or numbers, by task or by several columns."""
    if options.spec is not None:
        return options.spec.head
    if find_words(table, replace(options, need_label=True, like={})) is not None:
        return True
    return len(names_in(table, options.text)) > 1 or len(names_in(table, options.label)) > 1


def read_labels(table: Table, options: ExampleOptions) -> Loaded:
    """Return texts with their labels or numbers.

    Raises:
        UserError: The columns or the cells are faulty; all faults are named.
    """
    form = find_words(table, options)
    if form is not None:
        return _words(table, form, options)
    columns = _columns(table, options)
    faults = Faults()
    pair = len(columns.texts) > 1
    texts = [_texts(table, name, faults, paragraphs=pair) for name in columns.texts]
    reading = Reading(options.task if has_head(options.task) else "classification", "label")
    targets: list[Example | None] = [Example("")] * len(table.rows)
    if columns.labels:
        cells = {name: table.column(name) for name in columns.labels}
        reading = infer(cells, options.spec, options.separator)
        targets = _targets(table, columns, reading, faults)
    bad = {
        role: [i for i, value in enumerate(column) if value is None or not value.strip()]
        for role, column in zip(("text", "pair"), texts, strict=False)
    }
    if options.need_label:
        bad["label"] = [i for i, target in enumerate(targets) if target is None]
    by_role = columns.as_dict()
    findings = settle(table, _bad_rows(table, by_role, bad), faults, drop=options.drop_missing)
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
        notes.append(f"{table.path}: the task is {reading.note}; set --task for another")
    return Loaded(
        examples,
        by_role,
        tuple(notes),
        findings,
        table.path,
        reading.task,
        targets=_target_names(columns) if reading.way in ("number", "indicators") else (),
        separator=reading.separator or None,
    )


def _words(table: Table, form: Form, options: ExampleOptions) -> Loaded:
    faults = Faults()
    rows = read_words(table, form.columns["text"], form.columns.get("label"), faults)
    bad = {"text": [i for i, example in enumerate(rows) if example is None]}
    bad_rows = _bad_rows(table, form.columns, bad)
    findings = settle(table, bad_rows, faults, drop=options.drop_missing)
    faults.raise_if_any()
    examples = tuple(example for example in rows if example is not None)
    if not examples:
        raise UserError(f"{table.path}: no row contains any words", "check --text and --label")
    notes = (*table.notes, *form.notes)
    return Loaded(examples, form.columns, notes, findings, table.path, form.task)


def _columns(table: Table, options: ExampleOptions) -> TextColumns:
    texts, labels = names_in(table, options.text), names_in(table, options.label)
    other = [
        tuple(options.like[role] for role in ("text", "pair") if role in options.like),
        names_in(table, options.like.get("label")),
    ]
    # The columns of another file that this file has, if there are several.
    several = [c if len(c) > 1 and set(c) <= set(table.columns) else () for c in other]
    texts, labels = texts or several[0], labels or several[1]
    if len(texts) <= 1 and len(labels) <= 1:
        text, label = (names[0] if names else None for names in (texts, labels))
        return choose_columns(table, text, label, need_label=options.need_label, like=options.like)
    if not labels and options.like.get("label") in table.columns:
        labels = (options.like["label"],)
    _check(table, texts, labels)
    free = [name for name in table.columns if name not in texts + labels]
    texts = texts or choose_columns(table.only(free), None, None, need_label=False).texts
    if not labels and options.need_label:
        label = by_name(free, LABEL_NAMES)
        if label is None:
            raise UserError(
                f"{table.path}: which column is the label? The columns are: {name_list(free)}",
                "set --label NAME",
            )
        labels = (label,)
    return TextColumns(texts, labels)


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
            "name one, or two to read as a pair",
        )
    twice = sorted({n for n in (*texts, *labels) if (*texts, *labels).count(n) > 1})
    if twice:
        faults.add(f"the column {twice[0]!r} is named twice", "name each column once")
    faults.raise_if_any()


def _texts(table: Table, name: str, faults: Faults, *, paragraphs: bool) -> list[str | None]:
    """Return a column of texts; in pairs, a list of paragraphs is one text."""
    if paragraphs:
        lists = (list, tuple)
        cells = (
            "\n".join(cell)
            if isinstance(cell, lists) and all(isinstance(part, str) for part in cell)
            else cell
            for cell in table.column(name)
        )
        table = replace(table, columns=(name,), rows=tuple((cell,) for cell in cells))
    return column_texts(table, name, faults)


def _targets(
    table: Table, columns: TextColumns, reading: Reading, faults: Faults
) -> list[Example | None]:
    if reading.way != "label":
        names = _target_names(columns)
        of_column = dict(zip(columns.labels, names, strict=True))
        renamed = tuple(of_column.get(column, column) for column in table.columns)
        return read_cells(replace(table, columns=renamed), names, reading, faults)
    cells = column_texts(table, columns.labels[0], faults)
    return [None if c is None or missing_label(c) else Example("", c.strip()) for c in cells]


def _target_names(columns: TextColumns) -> tuple[str, ...]:
    """Return the names of the targets; a single unnamed column is the value."""
    if len(columns.labels) == 1 and columns.labels[0].isdigit():
        return ("value",)
    return columns.labels


def _example(texts: Sequence[str], target: Example | None, row: int) -> Example:
    pair = tuple(texts) if len(texts) > 1 else ()
    return replace(target or Example("", None), text="\n".join(texts), row=row, pair=pair)


def _bad_rows(
    table: Table, columns: Mapping[str, str], bad: Mapping[str, list[int]]
) -> Iterator[BadRows]:
    """Yield rows without a text or a label."""
    for role, rows in bad.items():
        what = "text" if role == "pair" else role
        if rows:
            yield BadRows(
                f"no {what} (empty, null or NaN)",
                f"fill in the {what}s, or drop these rows with --drop-missing",
                f"missing_{what}",
                columns[role],
                [table.places[i] for i in rows],
            )


def find_words(table: Table, options: ExampleOptions) -> Form | None:
    """Return the columns of words and labels; None if the rows have another form.

    Raises:
        UserError: Words are requested, and there are none.
    """
    if options.spec is not None:
        if not options.spec.per_word:
            return None
        check_named(table, options.text, options.label)
    other = {role: name for role, name in options.like.items() if name in table.columns}
    text = options.text or other.get("text") or table.named(*_WORDS)
    label = options.label or other.get("label") or table.named(*_LABELS)
    lists = [_holds_lists(table, name) for name in (text, label)]
    if all(lists) or (lists[0] and not options.need_label):
        assert text is not None
        named = ((text, options.text), (label, options.label))
        guesses = [name for name, option in named if name and not option]
        notes: tuple[str, ...] = ()
        if guesses and options.spec is None:
            notes = (
                f"{table.path}: the task is tokens, as {text!r} holds words and {label!r} a label "
                "for each; set --text/--label/--task for others",
            )
        return _form(text, label if lists[1] else None, notes)
    if options.spec is None:
        return None
    if not options.need_label and text is not None:
        return _form(text, None)
    raise UserError(
        f"{table.path}: there are no two columns with lists of words and as many labels",
        f"give a CoNLL file ({', '.join(ENDINGS)}), or JSONL rows such as "
        '{"tokens": ["In", "Rome"], "labels": ["O", "B-LOC"]}; --text and --label name columns',
    )


def _form(text: str, label: str | None, notes: tuple[str, ...] = ()) -> Form:
    return Form("words", {"text": text} | ({"label": label} if label else {}), notes)


def _holds_lists(table: Table, name: str | None) -> bool:
    """Return whether a column's first rows are lists of words or labels."""
    if name not in table.columns:
        return False
    cells = [cell for cell in table.column(name)[:_LOOKED_AT] if cell is not None]
    lists = [cell for cell in cells if isinstance(cell, list | tuple)]
    first = next((cell[0] for cell in lists if cell), None)
    return len(lists) == len(cells) > 0 and isinstance(first, str | int)


def read_words(table: Table, text: str, label: str | None, faults: Faults) -> list[Example | None]:
    """Return an example per row, None without words; faults are noted."""
    labels: Sequence[Any] = [None] * len(table.rows)
    if label is not None:
        labels = table.column(label)
    examples: list[Example | None] = []
    uneven: list[int | RowPlace] = []
    odd: list[int | str | RowPlace] = []
    blank: list[int | str | RowPlace] = []
    for row, (cell, tags, place) in enumerate(
        zip(table.column(text), labels, table.places, strict=True), 1
    ):
        words = _word_texts(cell.split() if isinstance(cell, str) else cell)
        word_labels = () if tags is None else _word_texts(tags)
        if words is None or word_labels is None:
            position = _blank(cell) or _blank(tags)
            (blank if position else odd).append(f"{place} (word {position})" if position else place)
        elif label is not None and len(words) != len(word_labels):
            uneven.append(place)
        if words is None or word_labels is None:
            examples.append(Example("?"))  # already reported, so not also as missing
            continue
        if not words:
            examples.append(None)
            continue
        joined = " ".join(word_labels) if word_labels else None
        examples.append(Example(" ".join(words), joined, row, labels=word_labels, words=words))
    for places, what in (
        (uneven, "not as many labels as words"),
        (odd, "a value that is not text"),
    ):
        if places:
            faults.add(
                f"{table.path}: {what} in {place_list(table.unit, places)}",
                "give each word one label, as text or a number",
            )
    if blank:
        faults.add(
            f"{table.path}: a word or label that is only white space in "
            f"{place_list(table.unit, blank)}",
            "remove the word and its label",
        )
    return examples


def _blank(cells: Any) -> int | None:
    """Return the position, from 1, of an empty word or label."""
    texts = map(cell_text, cells if isinstance(cells, list | tuple) else ())
    return next(
        (n for n, (t, fault) in enumerate(texts, 1) if not fault and not (t or "").strip()), None
    )


def _word_texts(cells: Any) -> tuple[str, ...] | None:
    if cells is None:
        return ()
    if not isinstance(cells, list | tuple):
        return None
    texts = [cell_text(cell) for cell in cells]
    if any(fault or text is None or not text.strip() for text, fault in texts):
        return None
    return tuple(str(text).strip() for text, _ in texts)
