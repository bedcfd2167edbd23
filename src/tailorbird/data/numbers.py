"""Numbers as people write them in tables: 3,5 and 1.200,50 and 1'200 and € 3.50 and 12 %."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_UNIT = r"[%\u2030$\u00a2-\u00a5\u20a0-\u20cf]|EUR|USD|GBP|CHF|JPY|Fr\.|kr"
CLASH = "holds numbers"
"""The beginning of the message on a column that cannot be read as numbers."""
_SPACES = " \u00a0\u2009\u202f"
_WRITTEN = re.compile(
    rf"(?P<sign>[-+\u2212]?) ?(?P<before>{_UNIT})?[{_SPACES}]?(?P<inner>[-+\u2212]?)"
    rf"(?P<digits>\d[\d.,'\u2019{_SPACES}]*|[.,]\d+)(?:[{_SPACES}]?(?P<after>{_UNIT}))?"
)
# Longer cells are words, or have more digits than a float.
_MOST_CHARACTERS = 60


def _shape(decimal: str, group: str) -> re.Pattern[str]:
    groups = rf"(?P<group>[{group}'\u2019{_SPACES}])\d{{3}}(?:(?P=group)\d{{3}})*"
    return re.compile(rf"(?:(?!0)\d{{1,3}}{groups}|\d*)(?:{decimal}\d+)?")


_SHAPES = {".": _shape(r"\.", ","), ",": _shape(",", r"\.")}
"""Patterns of a number's digits, by decimal mark."""


@dataclass(frozen=True, slots=True)
class Notation:
    """The notation of numbers in a column.

    Attributes:
        decimal: Their decimal mark; empty if both occur and each number shows its own.
        example: The first that Python does not parse as a number: with a decimal comma, a unit ...
        clash: Why the column cannot be read as numbers, in words; else empty.
    """

    decimal: str
    example: str = ""
    clash: str = ""


def notation(cells: Iterable[Any], decimal: str | None = None) -> Notation:
    """Return the notation of the cells that are numbers."""
    texts = [cell for cell in cells if isinstance(cell, str) and _readings(cell)]
    readings = [_readings(text) for text in texts]
    example = next((text for text in texts if _plain(text) is None), "")
    units = {unit for text in texts if (unit := _unit(text))}
    if len(units) > 1:
        clash = f"{CLASH} in several units ({', '.join(sorted(units))})"
        return Notation(decimal or ".", example, clash)
    if decimal in _SHAPES:
        return Notation(decimal, example)
    common = set(_SHAPES).intersection(*readings)
    if len(common) == 1:
        return Notation(common.pop(), example)
    unclear = [
        text
        for text, reading in zip(texts, readings, strict=True)
        if len(reading) > 1 and len(set(reading.values())) > 1
    ]
    signs = {sign for text in unclear for sign in ".," if sign in text}
    if common and len(signs) < 2:
        return Notation(".", example)  # 1,200 is a thousand, 1.200 as in Python
    doubt = f", and {unclear[0]!r} may be either" if unclear else ""
    clash = f"{CLASH} with a decimal comma and with a decimal point{doubt}"
    return Notation("", example, clash if unclear else "")


def number(cell: Any, decimal: str = ".") -> float | None:
    """Return a cell's number, or None; `decimal` is its column's decimal mark.

    >>> number("1.200,50", ","), number("1,200.50"), number("n/a")
    (1200.5, 1200.5, None)
    """
    if not isinstance(cell, str):
        return _plain(cell)
    readings = _readings(cell)
    if not decimal:
        return next(iter(readings.values())) if len(set(readings.values())) == 1 else None
    return readings.get(decimal)


def _readings(text: str) -> dict[str, float]:
    """Return the possible values of a text, by decimal mark."""
    bare = text.strip()
    if len(bare) > _MOST_CHARACTERS:
        return {}
    match = _WRITTEN.fullmatch(bare)
    if match is None or (match["before"] and match["after"]):
        plain = _plain(bare)
        return (
            {} if plain is None else {".": plain, ",": plain} if "." not in bare else {".": plain}
        )
    digits = match["digits"].rstrip(_SPACES)
    negative = any(match[part] in ("-", "\u2212") for part in ("sign", "inner"))
    readings = {}
    for mark, shape in _SHAPES.items():
        if shape.fullmatch(digits):
            whole, _, fraction = digits.partition(mark)
            size = float("".join(c for c in whole if c.isdigit()) + "." + fraction + "0")
            readings[mark] = -size if negative else size
    if not readings and (plain := _plain(bare)) is not None:
        readings["."] = plain
    return readings


def _unit(text: str) -> str:
    match = _WRITTEN.fullmatch(text.strip())
    return (match["before"] or match["after"] or "") if match else ""


def _plain(cell: Any) -> float | None:
    """Return a cell's value as Python parses it."""
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
