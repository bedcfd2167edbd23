"""The group and time columns of rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from tailorbird.data.near_duplicates import NEAR, clusters
from tailorbird.data.raw_rows import RowPlace, Table, cell_text, place_list
from tailorbird.data.sources import Source
from tailorbird.errors import Faults, did_you_mean
from tailorbird.records import Example

_DATES = "write dates as 2024-05-31 or 2024-05-31T14:30, or as numbers (years, Unix seconds)"


def with_extras(examples: tuple[Example, ...], table: Table, source: Source) -> tuple[Example, ...]:
    """Return the examples with group and time, if the source names such columns.

    Raises:
        UserError: There is no such column, or it has unusable cells.
    """
    faults = Faults()
    if source.group == NEAR and NEAR not in table.columns:
        # A row similar to no other is a group of its own.
        names = clusters([e.text for e in examples])
        examples = tuple(
            replace(e, group=name or f"row {e.row}")
            for e, name in zip(examples, names, strict=True)
        )
        source = replace(source, group=None)
    groups = _column(examples, table, ("--group", source.group), _group, faults)
    times = _column(examples, table, ("--time", source.time), _time, faults)
    faults.raise_if_any()
    if groups is not None:
        examples = tuple(replace(e, group=g) for e, g in zip(examples, groups, strict=True))
    if times is not None:
        examples = tuple(replace(e, time=t) for e, t in zip(examples, times, strict=True))
    return examples


def _column(
    examples: Sequence[Example],
    table: Table,
    option: tuple[str, str | None],
    read: Callable[[Any], Any],
    faults: Faults,
) -> list[Any] | None:
    flag, name = option
    if name is None:
        return None
    if name not in table.columns:
        columns = ", ".join(map(repr, table.columns))
        faults.add(
            f"{table.path}: there is no column {name!r}{did_you_mean(name, table.columns)}",
            f"{flag} takes one of: {columns}",
        )
        return None
    index = table.columns.index(name)
    values: list[Any] = []
    bad: list[int | RowPlace] = []
    for example in examples:
        value = read(table.rows[example.row - 1][index])
        if value is None:
            bad.append(table.places[example.row - 1])
        values.append(value)
    if bad:
        what = "group" if flag == "--group" else "date or number"
        faults.add(
            f"{table.path}: column {name!r}: no {what} in {len(bad):,} of {len(examples):,} rows: "
            f"{place_list(table.unit, bad)}",
            "fill them in (each row may be a group of its own), or remove these rows"
            if flag == "--group"
            else _DATES,
        )
    elif flag == "--time" and len({_is_number(row[index]) for row in table.rows}) > 1:
        faults.add(f"{table.path}: column {name!r} holds both dates and numbers", _DATES)
    return values


def _is_number(cell: Any) -> bool:
    try:
        float(cell_text(cell)[0] or "")
    except ValueError:
        return False
    return True


def _group(cell: Any) -> str | None:
    text, fault = cell_text(cell)
    return None if fault or text is None or not text.strip() else text.strip()


def _time(cell: Any) -> float | None:
    """Return seconds since 1970, or a number unchanged: only the order matters.

    Years and compact dates (20240531) are numbers that sort correctly.
    """
    if isinstance(cell, datetime):
        return _seconds(cell)
    if isinstance(cell, date):
        return _seconds(datetime(cell.year, cell.month, cell.day))
    text, fault = cell_text(cell)
    if fault or text is None:
        return None
    try:
        number = float(text)
        return number if math.isfinite(number) else None
    except ValueError:
        pass
    try:
        return _seconds(datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _seconds(moment: datetime) -> float:
    # A time without a zone is UTC, on every machine.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp()
