"""Normalisation of texts for equality, and short forms for messages."""

import unicodedata
from collections.abc import Sequence


def text_key(text: str) -> str:
    """Return a text without case, width variants and extra whitespace."""
    return " ".join(outer_key(text).split())


def outer_key(text: str) -> str:
    """Return the same, but with the whitespace between words unchanged."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


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
