"""Words with a label each: rows with a list of words and a list of labels."""

from collections.abc import Sequence
from typing import Any

from tailorbird.data.cells import cell_text
from tailorbird.data.columns import check_named
from tailorbird.data.examples import Wish
from tailorbird.data.formats import Form
from tailorbird.data.line_files import ENDINGS
from tailorbird.data.table import RowPlace, Table, place_list
from tailorbird.errors import Faults, UserError
from tailorbird.records import Example

_WORDS = ("tokens", "words")
_LABELS = ("labels", "ner_tags", "tags", "label", "pos_tags", "upos", "chunk_tags")
_LOOKED_AT = 20


def find_words(table: Table, wish: Wish) -> Form | None:
    """Return the columns of words and labels; None if the rows are something else.

    Raises:
        UserError: Words are asked for, and there are none.
    """
    if wish.spec is not None:
        if not wish.spec.per_word:
            return None
        check_named(table, wish.text, wish.label)
    other = {role: name for role, name in wish.like.items() if name in table.columns}
    text = wish.text or other.get("text") or table.named(*_WORDS)
    label = wish.label or other.get("label") or table.named(*_LABELS)
    lists = [_holds_lists(table, name) for name in (text, label)]
    if all(lists) or (lists[0] and not wish.need_label):
        assert text is not None
        guesses = [n for n, option in ((text, wish.text), (label, wish.label)) if n and not option]
        notes: tuple[str, ...] = ()
        if guesses and wish.spec is None:
            notes = (
                f"{table.path}: the task is tokens, as {text!r} holds words and {label!r} a label "
                "for each; say --text/--label/--task for others",
            )
        return _form(text, label if lists[1] else None, notes)
    if wish.spec is None:
        return None
    if not wish.need_label and text is not None:
        return _form(text, None)
    raise UserError(
        f"{table.path}: there is no column with lists of words and one with as many labels",
        f"give a CoNLL file ({', '.join(ENDINGS)}), or JSONL rows such as "
        '{"tokens": ["In", "Rome"], "labels": ["O", "B-LOC"]}; --text and --label name columns',
    )


def _form(text: str, label: str | None, notes: tuple[str, ...] = ()) -> Form:
    return Form("words", {"text": text} | ({"label": label} if label else {}), notes)


def _holds_lists(table: Table, name: str | None) -> bool:
    """Whether a column holds lists of words or labels, as far as its first rows tell."""
    if name not in table.columns:
        return False
    cells = [cell for cell in table.column(name)[:_LOOKED_AT] if cell is not None]
    lists = [cell for cell in cells if isinstance(cell, list | tuple)]
    first = next((cell[0] for cell in lists if cell), None)
    return len(lists) == len(cells) > 0 and isinstance(first, str | int)


def read_words(table: Table, text: str, label: str | None, faults: Faults) -> list[Example | None]:
    """Return an example per row, None where there are no words; faults are noted."""
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
        words = _texts(cell.split() if isinstance(cell, str) else cell)
        word_labels = () if tags is None else _texts(tags)
        if words is None or word_labels is None:
            position = _blank(cell) or _blank(tags)
            (blank if position else odd).append(f"{place} (word {position})" if position else place)
        elif label is not None and len(words) != len(word_labels):
            uneven.append(place)
        if words is None or word_labels is None:
            examples.append(Example("?"))  # reported as what it is, not again as missing
            continue
        if not words:
            examples.append(None)
            continue
        joined = " ".join(word_labels) if word_labels else None
        examples.append(Example(" ".join(words), joined, row, labels=word_labels, words=words))
    for places, what in (
        (uneven, "not as many labels as words"),
        (odd, "something else than text"),
    ):
        if places:
            faults.add(
                f"{table.path}: {what} in {place_list(table.unit, places)}",
                "give each word one label, as text or a number",
            )
    if blank:
        faults.add(
            f"{table.path}: a word or label of nothing but white space in "
            f"{place_list(table.unit, blank)}",
            "take the word out together with its label",
        )
    return examples


def _blank(cells: Any) -> int | None:
    """Return which word or label, counted from 1, is empty or white space."""
    texts = map(cell_text, cells if isinstance(cells, list | tuple) else ())
    return next(
        (n for n, (t, fault) in enumerate(texts, 1) if not fault and not (t or "").strip()), None
    )


def _texts(cells: Any) -> tuple[str, ...] | None:
    if cells is None:
        return ()
    if not isinstance(cells, list | tuple):
        return None
    texts = [cell_text(cell) for cell in cells]
    if any(fault or text is None or not text.strip() for text, fault in texts):
        return None
    return tuple(str(text).strip() for text, _ in texts)
