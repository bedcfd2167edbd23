"""Styles, list numbers and table cells of OpenDocument files (ODT, ODP, ODS)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tailorbird.documents.list_numbers import ListCounter, ListLevel
from tailorbird.documents.table_grid import Cell, Header, whole_number
from tailorbird.documents.zip_xml import attribute, local

_FORMS = {
    "1": "decimal",
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
}
_DEEPEST_STYLE = 20
_DEEPEST_LEVEL = 9
_MOST_REPEATS = 1000
_HEADING_CELL = "Table_20_Heading"  # the usual style of header cells


class OdfStyles:
    """The styles of a document, its own and its template's."""

    def __init__(self, *roots: Any | None) -> None:
        self.lists: dict[str, dict[int, ListLevel]] = {}
        self.outline: dict[int, ListLevel] = {}
        self.hidden: set[str] = set()
        self._parents: dict[str, str] = {}
        self._bold: dict[str, bool] = {}
        self._high: dict[str, bool] = {}
        for element in (e for root in roots if root is not None for e in root.iter()):
            name = attribute(element, "name") or ""
            if local(element) == "style":
                self._parents[name] = attribute(element, "parent-style-name") or ""
                self._read_properties(name, element)
            elif local(element) == "list-style":
                self.lists[name] = _levels(element)
            elif local(element) == "outline-style":
                self.outline = _levels(element)

    def _read_properties(self, name: str, style: Any) -> None:
        for properties in style:
            if weight := attribute(properties, "font-weight"):
                self._bold[name] = weight in ("bold", "600", "700", "800", "900")
            if place := (attribute(properties, "text-position") or "").split():
                self._high[name] = place[0] == "super" or place[0].rstrip("%").isdigit()
                self._high[name] &= place[0] != "0%"
            if (
                local(properties) == "table-properties"
                and attribute(properties, "display") == "false"
            ):
                self.hidden.add(name)

    def is_bold(self, name: str) -> bool:
        """Return whether a style is bold or that of a header cell."""
        return _HEADING_CELL in (chain := self._chain(name)) or _first(chain, self._bold)

    def is_high(self, name: str) -> bool:
        """Return whether a style is superscript."""
        return _first(self._chain(name), self._high)

    def _chain(self, name: str) -> list[str]:
        chain = [name]
        while self._parents.get(chain[-1]) and len(chain) < _DEEPEST_STYLE:
            chain.append(self._parents[chain[-1]])
        return chain


def _first(chain: list[str], values: dict[str, bool]) -> bool:
    return next((values[name] for name in chain if name in values), False)


def _levels(style: Any) -> dict[int, ListLevel]:
    """Return the numbering of a list's levels, counted from 0."""
    levels = {}
    for element in style:
        depth = whole_number(attribute(element, "level"), 1) - 1
        if not 0 <= depth <= _DEEPEST_LEVEL:
            continue
        form = _FORMS.get(attribute(element, "num-format") or "", "bullet")
        first = max(depth + 1 - whole_number(attribute(element, "display-levels")), 0)
        numbers = ".".join(f"%{n + 1}" for n in range(first, depth + 1))
        before, after = (attribute(element, f"num-{side}") or "" for side in ("prefix", "suffix"))
        start = whole_number(attribute(element, "start-value"))
        levels[depth] = ListLevel(form, before + numbers + after, start)
    return levels


class OdfLists:
    """Numbers the items of lists, which may continue another list."""

    def __init__(self, styles: OdfStyles) -> None:
        self.styles = styles
        self.outline = ListCounter(styles.outline)
        self._by_id: dict[str, ListCounter] = {}
        self._by_style: dict[str, ListCounter] = {}

    def begin(self, element: Any, outer: ListCounter | None, depth: int) -> ListCounter:
        """Return the counter of a list: that of the enclosing list, if any."""
        style = attribute(element, "style-name") or ""
        levels = self.styles.lists.get(style, {})
        if outer is not None:
            outer.levels.update({n: level for n, level in levels.items() if n >= depth})
            return outer
        counter = self._by_id.get(attribute(element, "continue-list") or "")
        if counter is None and attribute(element, "continue-numbering") == "true":
            counter = self._by_style.get(style)
        counter = counter or ListCounter(dict(levels))
        self._by_style[style] = counter
        if name := attribute(element, "id"):
            self._by_id[name] = counter
        return counter


@dataclass(frozen=True, slots=True)
class OdfTable:
    """Reads the cells of tables."""

    styles: OdfStyles
    words: Callable[[Any], str]

    def rows(self, table: Any) -> list[list[Cell]]:
        """Return a table's cells, without those that others cover."""
        labels = sum(
            whole_number(attribute(column, "number-columns-repeated"))
            for group in table
            if local(group) == "table-header-columns"
            for column in group
        )
        rows: list[list[Cell]] = []
        for row, header in table_rows(table):
            cells: list[Cell] = []
            column = 0
            for element in row.iterchildren("{*}table-cell"):
                cell = self._cell(element, header or ("row" if column < labels else ""))
                repeats = _repeats(element, "columns") if cell.text else 1
                cells += [cell] * repeats
                column += cell.columns * repeats
            rows += [cells] * (_repeats(row, "rows") if any(c.text for c in cells) else 1)
        return rows

    def _cell(self, element: Any, header: Header) -> Cell:
        text = self.words(element)
        high, wide = (
            whole_number(attribute(element, f"number-{what}-spanned"))
            for what in ("rows", "columns")
        )
        return Cell(text, high, wide, header, bool(text) and self.is_bold(element))

    def is_bold(self, cell: Any) -> bool:
        """Whether all words of a cell are bold."""
        if self.styles.is_bold(attribute(cell, "style-name") or ""):
            return True
        for paragraph in (e for e in cell.iter() if local(e) in ("p", "h")):
            pieces = [paragraph, *paragraph.iterchildren("{*}span")]
            loose = [paragraph.text, *(e.tail for e in paragraph)]
            whole = self.styles.is_bold(attribute(paragraph, "style-name") or "")
            spans = all(self.styles.is_bold(attribute(e, "style-name") or "") for e in pieces[1:])
            if not whole and (not pieces[1:] or not spans or any(filter(None, loose))):
                return False
        return True


def _repeats(element: Any, what: str) -> int:
    return min(whole_number(attribute(element, f"number-{what}-repeated")), _MOST_REPEATS)


def table_rows(table: Any) -> Iterator[tuple[Any, Header]]:
    """Yield a table's own rows, and whether each is a header."""
    for element in table:
        kind = local(element)
        if kind == "table-row":
            yield element, "column" if local(table) == "table-header-rows" else ""
        elif kind in ("table-header-rows", "table-rows", "table-row-group"):
            for row, header in table_rows(element):
                yield row, "column" if kind == "table-header-rows" else header
