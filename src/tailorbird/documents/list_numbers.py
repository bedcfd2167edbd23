"""Numbers of lists and headings, counted as in word processors."""

import re
from dataclasses import dataclass, field

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"),
    (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MOST_ROMAN = 4000
_LONGEST_LETTERS = 20


def number_label(number: int, form: str) -> str:
    """Return a number in the form that Word calls ``decimal``, ``lowerLetter`` ...

    >>> [number_label(n, "lowerLetter") for n in (1, 26, 27)], number_label(14, "upperRoman")
    (['a', 'z', 'aa'], 'XIV')
    """
    if number < 1 or form not in ("lowerLetter", "upperLetter", "lowerRoman", "upperRoman"):
        return f"{number:02}" if form == "decimalZero" else str(number)
    if form.endswith("Letter"):  # after z comes aa, then bb
        text = chr(ord("a") + (number - 1) % 26) * min(1 + (number - 1) // 26, _LONGEST_LETTERS)
    else:
        text, rest = "", min(number, _MOST_ROMAN)
        for value, letters in _ROMAN:
            text, rest = text + letters * (rest // value), rest % value
    return text.upper() if form.startswith("upper") else text


@dataclass(slots=True)
class ListLevel:
    """The numbering of a list level.

    Attributes:
        form: ``decimal``, ``bullet``, ``none`` ...
        text: The label, with ``%1`` for the number of the first level, and so on.
        restart: The level whose items restart it, counted from 1; 0 for never, None
            for any above.
        legal: Whether all numbers in its label are shown as decimals.
    """

    form: str = "decimal"
    text: str = ""
    start: int = 1
    restart: int | None = None
    legal: bool = False


@dataclass(slots=True)
class ListCounter:
    """Numbers the items of one list, in order."""

    levels: dict[int, ListLevel]
    counts: dict[int, int] = field(default_factory=dict)

    def restart(self, depth: int, start: int) -> None:
        """Restart a level at a number."""
        self.counts[depth] = start - 1

    def label(self, depth: int) -> str:
        """Count an item and return its label; a bullet is a hyphen."""
        level = self.levels.get(depth, ListLevel("bullet"))
        for deeper, other in self.levels.items():
            limit = deeper if other.restart is None else other.restart
            if deeper > depth and depth < limit:
                self.counts.pop(deeper, None)
        self.counts[depth] = self.counts.get(depth, level.start - 1) + 1
        if level.form in ("bullet", "none") or not level.text:
            return "-"
        return re.sub(
            r"%([1-9])", lambda match: self._number(int(match[1]) - 1, level.legal), level.text
        )

    def _number(self, depth: int, legal: bool) -> str:
        level = self.levels.get(depth, ListLevel())
        return number_label(self.counts.get(depth, level.start), "decimal" if legal else level.form)
