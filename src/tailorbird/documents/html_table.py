"""Tables of web pages: detects data tables and returns their cells for the grid."""

from collections.abc import Container
from itertools import groupby
from typing import Any

from tailorbird.documents.html_words import is_heading, is_unseen, name_of, visible_text
from tailorbird.documents.table_grid import Cell, Header, whole_number

_LONGEST_CELL = 500


class HtmlTable:
    """One table without the tables inside its cells.

    Attributes:
        rows: Its rows, those of the footer last.
        around: Words outside any cell.
    """

    def __init__(self, table: Any, left_out: Container[Any]) -> None:
        self.rows: list[list[Cell]] = []
        self.caption = ""
        self.around: list[str] = []
        self._left_out = left_out
        self._cells: list[Any] = []
        self._layout = table.get("role") in ("presentation", "none")
        self._marked = False
        groups = [list(group) for _, group in groupby(self._collect(table), lambda row: row[0])]
        groups.sort(key=lambda rows: {"thead": 0, "tfoot": 2}.get(_group(rows[0][0]), 1))
        for rows in groups:
            for i, (group, cells) in enumerate(rows):
                self.rows.append([self._cell(cell, group, len(rows) - i) for cell in cells])

    @property
    def holds_data(self) -> bool:
        """Whether it contains data, rather than only laying out a page."""
        full = sum(len([cell for cell in row if cell.text]) > 1 for row in self.rows)
        if self._layout or not full:
            return False
        if self._marked:
            return True
        inner = {name_of(e) for cell in self._cells for e in cell.iterdescendants()}
        return (
            "table" not in inner
            and not any(map(is_heading, inner))
            and not any(len(cell.text) > _LONGEST_CELL for row in self.rows for cell in row)
            and (full > 1 or not inner & {"ul", "ol", "pre"})
        )

    def _collect(self, table: Any) -> list[tuple[Any, list[Any]]]:
        """Return the table's own rows, each with the element that groups it."""
        from lxml import etree

        rows: list[tuple[Any, list[Any]]] = []
        in_row = False
        walk = etree.iterwalk(table, events=("start", "end"))
        for event, element in walk:
            name = name_of(element)
            if event == "end":
                in_row = in_row and name != "tr"
                if element is not table:
                    self._stray(element.tail)
            elif element is table:
                self._stray(element.text)
            elif not name or is_unseen(element, name) or element in self._left_out:
                walk.skip_subtree()
            elif name == "caption":
                self.caption = visible_text(element, self._left_out)
                walk.skip_subtree()
            elif name in ("td", "th"):
                beside = element.getprevious()
                if not rows or not (in_row or (beside is not None and name_of(beside) == name)):
                    rows.append((element.getparent(), []))
                rows[-1][1].append(element)
                walk.skip_subtree()
            elif name == "tr":
                in_row = True
                rows.append((element.getparent(), []))
            else:
                self._stray(element.text)
        return rows

    def _stray(self, text: str | None) -> None:
        if text and text.strip():
            self.around.append(text)

    def _cell(self, element: Any, group: Any, rows_left: int) -> Cell:
        self._cells.append(element)
        text = visible_text(element, self._left_out)
        header = _header(element, _group(group))
        self._marked = self._marked or bool(header and text)
        return Cell(
            text,
            rows=min(rows_left, _span(element, "rowspan") or rows_left),
            columns=_span(element, "colspan"),
            header=header,
            strong=_is_strong(element, text),
        )


def _group(element: Any) -> str:
    return name_of(element) if element.get("role") != "rowgroup" else "tbody"


def _header(element: Any, group: str) -> Header:
    """Return the cell's header role by the markup."""
    scope, role = (element.get("scope") or "").lower(), element.get("role")
    if scope in ("row", "rowgroup") or role == "rowheader":
        return "row"
    if scope in ("col", "colgroup") or role == "columnheader" or group == "thead":
        return "column"
    return "th" if name_of(element) == "th" else ""


def _span(element: Any, name: str) -> int:
    return whole_number(element.get(name) or element.get(f"aria-{name}"))


def _is_strong(element: Any, text: str) -> bool:
    bold = element.find("b") if element.find("b") is not None else element.find("strong")
    return bold is not None and bool(text) and visible_text(bold) == text
