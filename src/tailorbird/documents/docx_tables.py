"""Tables of a DOCX: which cells cover others, and which rows and columns are headers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tailorbird.documents.docx_styles import Styles, is_on, value
from tailorbird.documents.grid import Cell, Header, whole_number, with_first_row
from tailorbird.documents.zip_xml import attribute, child, local

_WRAPPERS = frozenset({"sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"})
_FIRST_ROW_BIT = 0x20
_FIRST_COLUMN_BIT = 0x80


def table_caption(table: Any) -> str:
    """Return the title that a table's properties give it."""
    return value(child(table, "tblPr"), "tblCaption")


def table_rows(table: Any, styles: Styles, words: Callable[[Any], str]) -> list[list[Cell]]:
    """Return a table's cells; those that others cover are left out.

    Args:
        table: The ``tbl`` element.
        styles: The document's.
        words: Gives the text of a cell.
    """
    rows: list[list[Cell]] = []
    begun: dict[int, tuple[int, int]] = {}  # where the cell stands that goes on below, by column
    for row in _within(table, "tr"):
        properties = child(row, "trPr")
        if child(properties, "del") is not None:
            continue
        header: Header = "column" if is_on(properties, "tblHeader") else ""
        column = whole_number(value(properties, "gridBefore"), 0)
        cells = [Cell("", columns=column)] if column else []
        above, begun = begun, {}
        for element in _within(row, "tc"):
            look = child(element, "tcPr")
            wide = whole_number(value(look, "gridSpan"))
            merge = child(look, "vMerge")
            if merge is not None and attribute(merge, "val") != "restart" and column in above:
                begun[column] = r, c = above[column]
                rows[r][c] = replace(rows[r][c], rows=rows[r][c].rows + 1)
            else:
                if merge is not None:
                    begun[column] = len(rows), len(cells)
                text = words(element)
                cells.append(Cell(text, 1, wide, header, bool(text) and _is_bold(element, styles)))
            column += wide
        rows.append(cells)
    return _with_look(rows, child(table, "tblPr"), styles)


def _within(parent: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a table or cells of a row, those in content controls too."""
    for element in parent:
        if local(element) == name:
            yield element
        elif local(element) in _WRAPPERS:
            yield from _within(element, name)


def _with_look(rows: list[list[Cell]], properties: Any, styles: Styles) -> list[list[Cell]]:
    """Return rows whose first row and column are marked as the table's look says.

    Word ticks the first row and column of every table; that counts for something where the
    table's style shows it.
    """
    look = child(properties, "tblLook")
    parts = styles.tables.get(value(properties, "tblStyle"), set())
    first_row = _is_ticked(look, "firstRow", _FIRST_ROW_BIT)
    if _is_ticked(look, "firstColumn", _FIRST_COLUMN_BIT) and (
        "firstCol" in parts or first_row is False
    ):
        rows = [
            [
                replace(cell, header=cell.header or "row") if i == 0 else cell
                for i, cell in enumerate(row)
            ]
            for row in rows
        ]
    if first_row is None:
        return rows
    return with_first_row(
        rows, ("column" if "firstRow" in parts else "maybe") if first_row else "data"
    )


def _is_ticked(look: Any, name: str, bit: int) -> bool | None:
    """Whether a part of a table is ticked; None where a program that knows no ticks wrote it."""
    if look is None:
        return None
    if (flag := attribute(look, name)) is not None:
        return flag in ("1", "true", "on")
    try:
        return bool(int(attribute(look, "val") or "0", 16) & bit) or None
    except ValueError:
        return None


def _is_bold(cell: Any, styles: Styles) -> bool:
    """Whether all words of a cell are bold, by themselves or their paragraph's style."""
    for paragraph in cell.iter("{*}p"):
        bold = styles.bold.get(value(child(paragraph, "pPr"), "pStyle"), False)
        for run in (e for e in paragraph.iter() if local(e) == "r" and child(e, "t") is not None):
            properties = child(run, "rPr")
            if not (bold if child(properties, "b") is None else is_on(properties, "b")):
                return False
    return True
