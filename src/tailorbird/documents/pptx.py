"""Reader of PPTX: slides in order, titles as headings, then words, tables, charts and notes."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tailorbird.documents.drawing import Drawings, paragraphs
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, note_once
from tailorbird.documents.table_grid import Cell, Header, whole_number, with_first_row
from tailorbird.documents.text_builder import TextBuilder, squeeze
from tailorbird.documents.zip_xml import (
    attribute,
    local,
    main_part,
    office_facts,
    open_zip,
    relation_id,
    relations,
    required_part,
    xml_part,
)

_NUMBERS = frozenset({"sldNum", "dt", "ftr", "hdr"})


def read_pptx(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a PPTX.

    Slides as pages, titles as headings, tables, charts with their numbers, SmartArt, the speaker's
    notes.
    """
    builder = TextBuilder()
    with open_zip(path) as archive:
        main = main_part(archive, "ppt/presentation.xml")
        root = required_part(archive, main, "a PPTX")
        targets = relations(archive, main)
        slides = list(root.iter("{*}sldId"))
        title = ""
        for number, slide in enumerate(slides, 1):
            # The slide's own `id` has no namespace.
            relation = targets.get(relation_id(slide))
            place = relation.place if relation else ""
            builder.leave()
            builder.page(number)
            try:
                name = _slide(builder, archive, place, notes)
            except Unreadable as error:
                notes.append(f"slide {number}: {error}")
                continue
            title = title or name
        own_title, metadata = office_facts(archive)
    if own_title.lower() in ("powerpoint presentation", "presentation"):  # default titles
        own_title = ""
    yield Parsed(*builder.result(), own_title or title, {"pages": len(slides), **metadata})


def _slide(builder: TextBuilder, archive: zipfile.ZipFile, place: str, notes: Notes) -> str:
    """Write a slide; return its title."""
    root = required_part(archive, place, "a whole PPTX")
    targets = relations(archive, place)
    shapes = list(_shapes(root))
    titles = [shape for shape in shapes if _placeholder(shape) in ("title", "ctrTitle")]
    title = squeeze(" ".join(" ".join(paragraphs(shape)) for shape in titles))
    builder.heading(title, 1)
    drawings = Drawings(builder, archive, targets, notes)
    for shape in shapes:
        if shape in titles or _placeholder(shape) in _NUMBERS:
            continue
        table = next(shape.iter("{*}tbl"), None)
        if table is not None:
            builder.table(_rows(table))
        elif local(shape) == "sp" or not drawings.write(shape):
            builder.block("\n".join(paragraphs(shape)))
    for target in targets.values():
        if target.kind == "notesSlide" and (root := xml_part(archive, target.place)) is not None:
            bodies = [e for e in _shapes(root) if _placeholder(e) == "body"]
            if lines := [line for body in bodies for line in paragraphs(body)]:
                builder.block("Notes: " + "\n".join(lines))
        elif target.kind == "comments":
            note_once(notes, "comments on slides are left out")
    return title


def _shapes(root: Any) -> Iterator[Any]:
    """Yield the shapes of a slide in order, those of a group together."""
    stack = [root]
    while stack:
        element = stack.pop()
        kind = local(element)
        if kind in ("sp", "graphicFrame", "cxnSp"):
            yield element
        elif kind != "Fallback":  # repeats a shape for old programs
            stack.extend(reversed(element))


def _placeholder(shape: Any) -> str:
    mark = next(shape.iter("{*}ph"), None)
    return "" if mark is None else attribute(mark, "type") or "content"


def _rows(table: Any) -> list[list[Cell]]:
    """Return a table's cells, without those that others cover."""
    look = table.find("{*}tblPr")
    labels: Header = "row" if look is not None and _is_on(look, "firstCol") else ""
    rows: list[list[Cell]] = []
    for row in table.iterchildren("{*}tr"):
        cells: list[Cell] = []
        for cell in row.iterchildren("{*}tc"):
            if not (_is_on(cell, "hMerge") or _is_on(cell, "vMerge")):
                text = " ".join(paragraphs(cell))
                high, wide = (whole_number(cell.get(name)) for name in ("rowSpan", "gridSpan"))
                cells.append(Cell(text, high, wide, "" if cells else labels, _is_bold(cell)))
        rows.append(cells)
    if look is None or look.get("firstRow") is None:
        return rows
    return with_first_row(rows, "column" if _is_on(look, "firstRow") else "data")


def _is_on(element: Any, name: str) -> bool:
    return element.get(name) in ("1", "true")


def _is_bold(cell: Any) -> bool:
    runs = list(cell.iter("{*}r"))
    return bool(runs) and all(any(local(e) == "rPr" and _is_on(e, "b") for e in r) for r in runs)
