"""Styles and lists of DOCX: heading levels, item numbers, bold words."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from tailorbird.documents.list_numbers import ListCounter, ListLevel
from tailorbird.documents.table_grid import Cell, Header, whole_number, with_first_row
from tailorbird.documents.zip_xml import attribute, child, local

_HEADING = re.compile(r"heading (\d)$", re.I)
TITLE = 0
_BODY_OUTLINE = 9
_DEEPEST_LEVEL = 8
_DEEPEST_STYLE = 20
_T = TypeVar("_T")
_WRAPPERS = frozenset({"sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"})
_FIRST_ROW_BIT = 0x20
_FIRST_COLUMN_BIT = 0x80


def value(element: Any, name: str) -> str:
    """Return the value of a property, or an empty text."""
    inner = child(element, name)
    return "" if inner is None else attribute(inner, "val") or ""


def is_on(element: Any, name: str) -> bool:
    """Return whether a boolean property is set and not switched off."""
    inner = child(element, name)
    return inner is not None and attribute(inner, "val") not in ("0", "false", "off")


def outline_level(properties: Any) -> int | None:
    """Return the heading level of a paragraph's outline level."""
    text = value(properties, "outlineLvl")
    level = whole_number(text, _BODY_OUTLINE)
    return level + 1 if level < _BODY_OUTLINE else None


class Styles:
    """The styles of a document, with inheritance resolved.

    Attributes:
        levels: Level of the headings, `TITLE` for the title's.
        numbers: List and depth of the items.
        tables: The table parts with a format of their own: ``firstRow``, ``firstCol`` ...
    """

    def __init__(self, root: Any | None) -> None:
        styles = [] if root is None else list(root.iter("{*}style"))
        named = {attribute(style, "styleId") or "": style for style in styles}
        self._based = {name: value(style, "basedOn") for name, style in named.items()}
        levels, numbers, bold = {}, {}, {}
        for name, style in named.items():
            properties = child(style, "pPr")
            if (level := _heading_level(style)) is not None:
                levels[name] = level
            if (numbering := child(properties, "numPr")) is not None:
                numbers[name] = value(numbering, "numId"), value(numbering, "ilvl")
            if child(child(style, "rPr"), "b") is not None:
                bold[name] = is_on(child(style, "rPr"), "b")
        parts = {
            name: {attribute(e, "type") for e in style if local(e) == "tblStylePr"}
            for name, style in named.items()
        }
        self.levels = self._inherit(levels)
        self.numbers = self._inherit(numbers)
        self.bold = self._inherit(bold)
        self.tables = self._inherit({name: kinds for name, kinds in parts.items() if kinds})

    def _inherit(self, own: Mapping[str, _T]) -> dict[str, _T]:
        values = dict(own)
        for name in self._based:
            parent, steps = name, 0
            while parent not in own and parent in self._based and steps < _DEEPEST_STYLE:
                parent, steps = self._based[parent], steps + 1
            if parent in own:
                values.setdefault(name, own[parent])
        return values


def _heading_level(style: Any) -> int | None:
    """Return a style's level by its name, which Word keeps in English, or by its outline."""
    name = value(style, "name")
    if match := _HEADING.match(name):
        return int(match.group(1))
    return TITLE if name.lower() == "title" else outline_level(child(style, "pPr"))


class Lists:
    """Numbers the items of a document's lists, passed in order."""

    def __init__(self, root: Any | None, styles: Styles) -> None:
        self.styles = styles
        self._levels: dict[str, dict[int, ListLevel]] = {}
        self._depths: dict[str, dict[str, int]] = {}
        self._linked: dict[str, str] = {}
        self._nums: dict[str, Any] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._counters: dict[str, ListCounter | None] = {}
        for element in root if root is not None else ():
            name = attribute(element, "abstractNumId") or ""
            if local(element) == "abstractNum":
                levels = element.findall("{*}lvl")
                self._levels[name] = {_depth(e): _level(e) for e in levels}
                self._depths[name] = {value(e, "pStyle"): _depth(e) for e in levels}
                if link := value(element, "numStyleLink"):
                    self._linked[name] = link
            elif local(element) == "num":
                self._nums[attribute(element, "numId") or ""] = element

    def label(self, style: str, numbering: Any | None) -> tuple[str, int] | None:
        """Count a paragraph; return its label and depth, None if it is no list item."""
        number, depth = self.styles.numbers.get(style, ("", ""))
        own_number, own_depth = value(numbering, "numId"), value(numbering, "ilvl")
        number, depth = own_number or number, own_depth or depth
        if number not in self._nums:  # 0 means none, whatever its style
            return None
        counter = self._counter(number)
        if counter is None:
            return None
        linked = self._depths.get(self._abstract(number), {}).get(style, 0)
        level = min(whole_number(depth, linked), _DEEPEST_LEVEL)
        return counter.label(level), level

    def _abstract(self, number: str) -> str:
        """Return the abstract list of a number, resolved through the style that it names."""
        name = value(self._nums.get(number), "abstractNumId")
        if name in self._linked:
            style = self.styles.numbers.get(self._linked[name], ("", ""))[0]
            name = value(self._nums.get(style), "abstractNumId")
        return name

    def _counter(self, number: str) -> ListCounter | None:
        if number in self._counters:
            return self._counters[number]
        name = self._abstract(number)
        self._counters[number] = counter = None
        if name in self._levels:
            levels = dict(self._levels[name])
            counter = ListCounter(levels, self._counts.setdefault(name, {}))
            for override in self._nums[number].iterchildren("{*}lvlOverride"):
                depth = _depth(override)
                if (own := child(override, "lvl")) is not None:
                    levels[depth] = _level(own)
                if start := value(override, "startOverride"):
                    levels[depth] = replace(
                        levels.get(depth, ListLevel()), start=whole_number(start)
                    )
                    counter.counts.pop(depth, None)
            self._counters[number] = counter
        return counter


def _depth(level: Any) -> int:
    return min(whole_number(attribute(level, "ilvl"), 0), _DEEPEST_LEVEL)


def _level(element: Any) -> ListLevel:
    restart = child(element, "lvlRestart")
    return ListLevel(
        value(element, "numFmt") or "decimal",
        value(element, "lvlText"),
        whole_number(value(element, "start"), 0),
        None if restart is None else whole_number(attribute(restart, "val"), 0),
        is_on(element, "isLgl"),
    )


def table_rows(table: Any, styles: Styles, words: Callable[[Any], str]) -> list[list[Cell]]:
    """Return a table's cells, without those that others cover."""
    rows: list[list[Cell]] = []
    open_cells: dict[int, tuple[int, int]] = {}
    for row in _within(table, "tr"):
        properties = child(row, "trPr")
        if child(properties, "del") is not None:
            continue
        header: Header = "column" if is_on(properties, "tblHeader") else ""
        column = whole_number(value(properties, "gridBefore"), 0)
        cells = [Cell("", columns=column)] if column else []
        above, open_cells = open_cells, {}
        for element in _within(row, "tc"):
            look = child(element, "tcPr")
            wide = whole_number(value(look, "gridSpan"))
            merge = child(look, "vMerge")
            if merge is not None and attribute(merge, "val") != "restart" and column in above:
                open_cells[column] = r, c = above[column]
                rows[r][c] = replace(rows[r][c], rows=rows[r][c].rows + 1)
            else:
                if merge is not None:
                    open_cells[column] = len(rows), len(cells)
                text = words(element)
                cells.append(Cell(text, 1, wide, header, bool(text) and _is_bold(element, styles)))
            column += wide
        rows.append(cells)
    return _with_look(rows, child(table, "tblPr"), styles)


def _within(parent: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a table or the cells of a row, also inside content controls."""
    for element in parent:
        if local(element) == name:
            yield element
        elif local(element) in _WRAPPERS:
            yield from _within(element, name)


def _with_look(rows: list[list[Cell]], properties: Any, styles: Styles) -> list[list[Cell]]:
    """Return rows with the first row and column marked as headers if the table's look says so.

    Word sets the flags of first row and column on every table, so they count only if the table's
    style formats them.
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
    """Return whether a part of a table is flagged; None if the program wrote no flags."""
    if look is None:
        return None
    if (flag := attribute(look, name)) is not None:
        return flag in ("1", "true", "on")
    try:
        return bool(int(attribute(look, "val") or "0", 16) & bit) or None
    except ValueError:
        return None


def _is_bold(cell: Any, styles: Styles) -> bool:
    """Return whether all words of a cell are bold, directly or by their paragraph's style."""
    for paragraph in cell.iter("{*}p"):
        bold = styles.bold.get(value(child(paragraph, "pPr"), "pStyle"), False)
        for run in (e for e in paragraph.iter() if local(e) == "r" and child(e, "t") is not None):
            properties = child(run, "rPr")
            if not (bold if child(properties, "b") is None else is_on(properties, "b")):
                return False
    return True
