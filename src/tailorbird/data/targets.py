"""Parses label cells: the task that they imply, and their labels or numbers."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tailorbird.data.message_words import place_list
from tailorbird.data.numbers import CLASH, Notation, notation, number
from tailorbird.data.raw_rows import RowPlace, Table, cell_text, missing_label
from tailorbird.errors import Faults, UserError
from tailorbird.records import TASKS, Example, TaskName, TaskSpec

_SEPARATORS = ("|", ";", ",")
# The least share of labels in joined cells that also occur in another cell, since a comma may be
# part of a label's own name.
_RECURRING = {"|": 0.5, ";": 0.5, ",": 0.8}
_IDS = re.compile(r"\d+([\s,;|]+\d+)*")
_OUTER_COMMA = re.compile(r"(?<!\d),|,(?!\d)")
_ONE_NOTATION = (
    "write all numbers alike (3.5), or set the decimal mark: --set data.separator=, or ."
)
# More different numbers than this are measurements, not classes.
_MOST_GRADES = 10

Way = Literal["label", "list", "joined", "indicators", "number", "words"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How label cells are parsed.

    Attributes:
        way: One label; a list; labels joined by `separator`; a 0/1 column per label; numbers.
        separator: The separator of labels, a space for any whitespace; for numbers the decimal
            mark, if known.
        note: What was inferred, in words; empty if nothing was.
    """

    task: TaskName
    way: Way
    separator: str = ""
    note: str = ""


def infer(
    columns: Mapping[str, Sequence[Any]], spec: TaskSpec | None, separator: str | None = None
) -> Reading:
    """Return how the label columns are parsed.

    Args:
        separator: The separator of labels in a cell, or the decimal mark of numbers, if the user or
            the training rows define it.

    Raises:
        UserError: The cells may be numbers with a decimal comma as well as lists of labels.
    """
    cells = [c for column in columns.values() for c in column if not _missing(c)]
    several_labels = spec is not None and spec.several_labels
    if spec is not None and spec.one_label:
        return Reading(spec.name, "label")
    if spec is not None and spec.numbers:
        mark = _mark(columns.values(), separator)
        return Reading(spec.name, "number", mark, _read_as(cells, mark))

    def labels(way: Way, separator: str = "", why: str = "") -> Reading:
        note = f"multilabel, as {why}" if spec is None and why else ""
        return Reading(spec.name if spec else "multilabel", way, separator, note)

    if len(columns) > 1:
        if several_labels or all(number(c) in (0.0, 1.0) for c in cells):
            return labels("indicators", why="the label columns hold 0 and 1")
        note = f"regression with {len(columns)} targets, as there are several label columns"
        return Reading("regression", "number", _mark(columns.values(), None), note)
    # A few lists among plain labels are faults of those rows.
    if 2 * sum(_as_list(c) is not None for c in cells) >= max(1, len(cells)):
        return labels("list", why="the label column holds lists")
    if separator is not None:
        return labels("joined", separator, f"data.separator is {separator!r}")
    joint = _separator(cells, lists=several_labels)
    if several_labels or joint is not None:
        words = {" ": "a space", ",": "a comma"}.get(joint or "", joint)
        return labels("joined", joint or ",", f"labels are joined by {words}")
    return _measures(cells)


def _mark(columns: Iterable[Sequence[Any]], decimal: str | None) -> str:
    """Return the decimal mark that is known or evident from the columns, else an empty text."""
    if decimal in (".", ","):
        return decimal
    marks = {style.decimal for column in columns if (style := notation(column)).example}
    return marks.pop() if len(marks) == 1 else ""


def _measures(cells: Sequence[Any]) -> Reading:
    """Return the reading of measurements, or of one label each."""
    style = notation(cells)
    numbers = [number(c, style.decimal) for c in cells]
    different = {n for n in numbers if n is not None}
    if None in numbers or style.clash:
        return Reading("classification", "label")
    if style.example and len(different) <= _MOST_GRADES:
        note = f"classification, as {style.example!r} is one of only {len(different)} numbers"
        return Reading("classification", "label", note=note)
    fractions = any(n % 1 for n in different)
    if not style.example and (len(different) <= _MOST_GRADES or not fractions):
        return Reading("classification", "label")
    if not style.example:
        return Reading("regression", "number", note="regression, as the labels are fractions")
    return Reading("regression", "number", style.decimal, _read_as(cells, style.decimal))


def _read_as(cells: Sequence[Any], mark: str) -> str:
    """Describe how a number that Python would not parse is read, or return an empty text."""
    example = notation(cells).example
    value = number(example, mark)
    if value is None:
        return ""
    return f"regression: {example!r} is read as {value:g} (else --set data.separator=, or .)"


def read_cells(
    table: Table, columns: Sequence[str], reading: Reading, faults: Faults
) -> list[Example | None]:
    """Return a row's target as an example without text, None for an empty cell."""
    cells = [table.column(name) for name in columns]
    reader = _TargetCells(table, reading, faults, defaultdict(list))
    if reading.way == "indicators":
        rows = [reader.indicators(columns, row) for row in zip(*cells, strict=True)]
    elif reading.way == "number":
        reader.notations = [notation(column, reading.separator or None) for column in cells]
        rows = [reader.numbers(columns, row) for row in zip(*cells, strict=True)]
    else:
        rows = [reader.labels(cell) for cell in cells[0]]
    reader.tell(columns)
    return rows


@dataclass
class _TargetCells:
    table: Table
    reading: Reading
    faults: Faults
    bad: dict[str, list[int | RowPlace]]
    notations: Sequence[Notation] = ()
    row: int = 0

    def numbers(self, names: Sequence[str], row: Sequence[Any]) -> Example | None:
        self.row += 1
        if any(_missing(cell) for cell in row):
            return None
        values = [
            number(cell, style.decimal) for cell, style in zip(row, self.notations, strict=True)
        ]
        clash = next((style.clash for style in self.notations if style.clash), "")
        if clash or None in values:
            self._note(clash or "holds a value that is not a number")
        numbers = tuple(0.0 if value is None else value for value in values)
        return Example("", values_text(names, numbers), values=numbers)

    def indicators(self, names: Sequence[str], row: Sequence[Any]) -> Example | None:
        self.row += 1
        if any(_missing(cell) for cell in row):
            return None
        values = [number(cell) for cell in row]
        if not {0.0, 1.0}.issuperset(v for v in values if v is not None) or None in values:
            self._note("holds something other than 0 and 1")
        labels = tuple(name for name, value in zip(names, values, strict=True) if value == 1)
        return Example("", labels_text(labels), labels=labels)

    def labels(self, cell: Any) -> Example | None:
        self.row += 1
        parts = _as_list(cell)
        if parts is None:
            if _missing(cell):
                return None
            text, fault = cell_text(cell)
            if fault:
                self._note(fault)
            parts = _cut(text or "", self.reading.separator)
        texts = [cell_text(part) for part in parts]
        if any(fault or missing_label(text) for text, fault in texts):
            self._note("holds a list with something other than labels")
        labels = tuple(dict.fromkeys(str(text).strip() for text, _ in texts))
        return Example("", labels_text(labels), labels=labels)

    def _note(self, fault: str) -> None:
        self.bad[fault].append(self.table.places[self.row - 1])

    def tell(self, columns: Sequence[str]) -> None:
        for fault, places in self.bad.items():
            where = place_list(self.table.unit, places)
            names = ", ".join(map(repr, columns))
            plural = "s" if len(columns) > 1 else ""
            self.faults.add(
                f"{self.table.path}: column{plural} {names}: {fault} in {where}",
                _ONE_NOTATION
                if fault.startswith(CLASH)
                else "correct these rows, or set another --task"
                if self.reading.way in ("number", "indicators")
                else 'write labels such as a,b or ["a", "b"]',
            )


def _cut(text: str, separator: str) -> list[str]:
    if separator == " ":
        return text.split()
    # A comma inside a number does not separate labels: "3,5 mm" and "2,5 mm, 3,5 mm".
    whole = separator == "," and not _IDS.fullmatch(text)
    if whole and (", " in text or not _OUTER_COMMA.search(text)):
        parts = _OUTER_COMMA.split(text)
    else:
        parts = text.split(separator) if separator else [text]
    return [part.strip() for part in parts if part.strip()]


def _as_list(cell: Any) -> list[Any] | None:
    """Return a list, also one written in JSON or Python syntax, or None."""
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str) or not cell.strip().startswith("["):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            content = parse(cell.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return list(content) if isinstance(content, list) else None
    return None


def _separator(cells: Sequence[Any], *, lists: bool) -> str | None:
    """Return the separator of labels in these cells, if it is certain or they are known lists."""
    texts = [text.strip() for c in cells if (text := cell_text(c)[0])]
    style = notation(texts)
    numbers = not lists and all(number(text, style.decimal) is not None for text in texts)
    if texts and all(_IDS.fullmatch(text) for text in texts):
        joined = [text for text in texts if not text.isdigit()]
        if numbers and not _are_ids(texts, joined):
            return None
        for separator in (*_SEPARATORS, " "):
            if joined and all(len(_cut(text, separator)) > 1 for text in joined):
                return separator
    if not numbers:
        for separator in _SEPARATORS:
            if _joins(texts, separator):
                return separator
    return None


def _are_ids(texts: Sequence[str], joined: Sequence[str]) -> bool:
    """Return whether joined integers that also read as numbers (3,5) are lists of ids.

    A list has no id twice, is usually sorted, and other rows have an id alone.
    """
    lists = [re.split(r"\D+", text) for text in joined]
    alone = {text for text in texts if text.isdigit()}
    ends = {parts[-1] for parts in lists}
    recurring = all(part in alone for parts in lists for part in parts) and len(ends) > 1
    if not recurring or any(len(set(parts)) < len(parts) for parts in lists):
        return False
    if all(sorted(parts, key=int) == parts for parts in lists):
        return True
    raise UserError(
        f"labels such as {joined[0]!r} may be numbers or lists of labels",
        "choose one: --task regression, --task multilabel, or --task classification (one label)",
    )


def _joins(texts: Sequence[str], separator: str) -> bool:
    """Return whether the separator joins labels that also occur alone or in other combinations."""
    whole: dict[str, set[str]] = defaultdict(set)
    joined: set[str] = set()
    for text in set(texts):
        # A number says nothing about a comma.
        parts = [text] if notation([text]).example else _cut(text, separator)
        for part in parts:
            whole[part].add(text)
        if len(parts) > 1:
            joined.update(parts)
    if not joined or any(len(part.split()) > 6 for part in joined):
        return False
    recurring = sum(len(whole[part]) > 1 for part in joined)
    return recurring >= _RECURRING[separator] * len(joined)


def _missing(cell: Any) -> bool:
    if isinstance(cell, list | tuple | dict):
        return False
    return cell is None or cell != cell or (isinstance(cell, str) and missing_label(cell))


def labels_text(labels: Sequence[str]) -> str:
    """Format a set of labels."""
    return ", ".join(labels) or "(none)"


def values_text(names: Sequence[str], values: Sequence[float], digits: int = 6) -> str:
    """Format numbers, with their names if there are several."""
    texts = [f"{value:.{digits}g}" for value in values]
    if len(texts) == 1:
        return texts[0]
    return ", ".join(f"{name} {value}" for name, value in zip(names, texts, strict=True))


def classes_of(example: Example, task: TaskName) -> tuple[str, ...]:
    """Return the distinct labels of an example: one, several or none."""
    return (str(example.label),) if TASKS[task].one_label else tuple(dict.fromkeys(example.labels))


def in_order(labels: set[str]) -> tuple[str, ...]:
    """Return labels sorted; integers by value."""
    whole = all(label.isdecimal() for label in labels)
    return tuple(sorted(labels, key=lambda x: (int(x), x)) if whole else sorted(labels))
