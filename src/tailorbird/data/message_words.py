"""Names, places and counts in the words of a message."""

from collections.abc import Sequence

_NAMED = 20
_BRIEF = 80


def shorten(text: str, width: int = 80) -> str:
    """Return a text in one line, cut to a width."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def rows(count: int, kind: str = "") -> str:
    """Return ``"1 row"`` or ``"2,000 training rows"``."""
    return f"{count:,} {kind}{' ' if kind else ''}{'row' if count == 1 else 'rows'}"


def listing(names: Sequence[object], most: int = 5) -> str:
    """Return ``"4, 9 and 12 more"``: the first names for a message, and how many follow."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def place_list(unit: str, numbers: Sequence[object]) -> str:
    """Return ``"line 4"`` or ``"lines 4, 9 and 12 more"``."""
    return f"{unit}{'s' if len(numbers) > 1 else ''} {listing(numbers)}"


def name_list(names: Sequence[str]) -> str:
    """Return names for a message, shortened to a readable length."""
    return listing([repr(brief(name)) for name in names], _NAMED)


def brief(text: str) -> str:
    """Return a name or a cell for a message, shortened if long."""
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."
