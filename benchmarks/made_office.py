"""Writes the made-up documents as office files and PDFs."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from made_documents import Cell, Section, Story, Table
from made_pdf import A4, Text, write_pdf

_NAMES = "urn:oasis:names:tc:opendocument:xmlns"
_OPEN = (
    f'xmlns:office="{_NAMES}:office:1.0" xmlns:text="{_NAMES}:text:1.0" '
    f'xmlns:table="{_NAMES}:table:1.0" xmlns:style="{_NAMES}:style:1.0" office:version="1.3"'
)
_NUMBERED = (
    '<office:automatic-styles><text:list-style style:name="L1"><text:list-level-style-number '
    'text:level="1" style:num-suffix="." style:num-format="1"/></text:list-style>'
    "</office:automatic-styles>"
)


def write_docx(path: Path, made: Story) -> None:
    """Write a Word document; its one list is numbered through."""
    from docx import Document

    document: Any = Document()
    document.add_heading(made.title, 0)
    for section in made.sections:
        document.add_heading(section.heading, section.level)
        for text in section.paragraphs:
            document.add_paragraph(text)
        for item in section.items:
            document.add_paragraph(item, style="List Number")
        _docx_table(document, section.table)
        document.add_paragraph(section.note)
    document.save(str(path))


def _docx_table(document: Any, table: Table) -> None:
    grid = table.grid()
    written = document.add_table(rows=len(grid), cols=len(grid[0]))
    for r, c, cell in table.places():
        place = written.cell(r, c)
        if cell.rows > 1 or cell.columns > 1:
            place = place.merge(written.cell(r + cell.rows - 1, c + cell.columns - 1))
        place.text = cell.text
    for row in written.rows[: table.heads]:
        row._tr.get_or_add_trPr().append(_word_element("w:tblHeader"))


def _word_element(name: str) -> Any:
    from docx.oxml import OxmlElement

    return OxmlElement(name)


def write_pptx(path: Path, made: Story) -> list[str]:
    """Write slides with lists, tables, notes and a chart; return the chart's words."""
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    show: Any = Presentation()
    opening = show.slides.add_slide(show.slide_layouts[0])
    opening.shapes.title.text = made.title
    for section in made.sections:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = section.heading
        slide.placeholders[1].text = "\n".join([*section.paragraphs, *section.items])
        slide.notes_slide.notes_text_frame.text = section.note
        _pptx_table(show, section.table)
    data, words = CategoryChartData(), [made.extra.word() for _ in range(4)]
    numbers = [made.extra.number() for _ in range(3)]
    data.categories = words[1:]
    data.add_series(words[0], map(int, numbers))
    slide = show.slides.add_slide(show.slide_layouts[6])
    place = (Inches(1), Inches(1), Inches(6), Inches(4))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data)
    show.save(str(path))
    return words + numbers


def _pptx_table(show: Any, table: Table) -> None:
    from pptx.util import Inches

    grid = table.grid()
    slide = show.slides.add_slide(show.slide_layouts[6])
    place = (Inches(1), Inches(1), Inches(8), Inches(3))
    written = slide.shapes.add_table(len(grid), len(grid[0]), *place).table
    for r, c, cell in table.places():
        first = written.cell(r, c)
        first.text = cell.text
        if cell.rows > 1 or cell.columns > 1:
            first.merge(written.cell(r + cell.rows - 1, c + cell.columns - 1))


def write_xlsx(path: Path, made: Story) -> None:
    """Write a workbook with a sheet per section."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for section in made.sections:
        sheet: Any = book.create_sheet(section.heading)
        for r, c, cell in section.table.places():
            value = int(cell.text) if cell.text.isdecimal() else cell.text
            sheet.cell(r + 1, c + 1, value)
            if cell.rows > 1 or cell.columns > 1:
                sheet.merge_cells(
                    start_row=r + 1,
                    start_column=c + 1,
                    end_row=r + cell.rows,
                    end_column=c + cell.columns,
                )
    book.save(path)


def write_odt(path: Path, made: Story) -> None:
    """Write an OpenDocument text with numbered lists, notes and tables."""
    parts = [_heading(1, made.title)]
    for section in made.sections:
        parts.append(_heading(section.level + 1, section.heading))
        first, *others = section.paragraphs
        note = (
            '<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation>'
            f"<text:note-body><text:p>{section.note}</text:p></text:note-body></text:note>"
        )
        parts.append(f"<text:p>{first}{note}</text:p>")
        parts += [f"<text:p>{escape(text)}</text:p>" for text in others]
        items = "".join(
            f"<text:list-item><text:p>{item}</text:p></text:list-item>" for item in section.items
        )
        parts.append(f'<text:list text:style-name="L1">{items}</text:list>')
        parts.append(_open_table(section.table, "T"))
    body = f"<office:text>{''.join(parts)}</office:text>"
    _open_file(path, "text", _NUMBERED, body)


def write_ods(path: Path, made: Story) -> None:
    """Write an OpenDocument workbook with a sheet per section."""
    sheets = "".join(_open_table(part.table, part.heading) for part in made.sections)
    _open_file(path, "spreadsheet", "", f"<office:spreadsheet>{sheets}</office:spreadsheet>")


def _heading(level: int, text: str) -> str:
    return f'<text:h text:outline-level="{level}">{text}</text:h>'


def _open_table(table: Table, name: str) -> str:
    grid, rows = table.grid(), []
    begins = {(r, c) for r, c, _ in table.places()}
    for r, row in enumerate(grid):
        cells = [
            _open_cell(cell) if (r, c) in begins else "<table:covered-table-cell/>"
            for c, cell in enumerate(row)
        ]
        rows.append(f"<table:table-row>{''.join(cells)}</table:table-row>")
    heads = f"<table:table-header-rows>{''.join(rows[: table.heads])}</table:table-header-rows>"
    return (
        f'<table:table table:name="{name}"><table:table-column '
        f'table:number-columns-repeated="{len(grid[0])}"/>{heads}{"".join(rows[table.heads :])}'
        "</table:table>"
    )


def _open_cell(cell: Cell) -> str:
    spans = f' table:number-rows-spanned="{cell.rows}"' * (cell.rows > 1)
    spans += f' table:number-columns-spanned="{cell.columns}"' * (cell.columns > 1)
    if cell.text.isdecimal():
        spans += f' office:value-type="float" office:value="{cell.text}"'
    else:
        spans += ' office:value-type="string"'
    return f"<table:table-cell{spans}><text:p>{cell.text}</text:p></table:table-cell>"


def _open_file(path: Path, kind: str, styles: str, body: str) -> None:
    media = f"application/vnd.oasis.opendocument.{kind}"
    manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", media, zipfile.ZIP_STORED)
        archive.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{manifest}"><manifest:file-entry '
            f'manifest:full-path="/" manifest:media-type="{media}"/><manifest:file-entry '
            'manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>',
        )
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_OPEN}>{styles}'
            f"<office:body>{body}</office:body></office:document-content>",
        )


def write_paper(path: Path, made: Story, *, turned: bool = False) -> None:
    """Write a PDF: a page per section, running heads, two columns, parted words, a table."""
    head, foot = made.extra.words(3), made.extra.word()
    pages = []
    for number, section in enumerate(made.sections, 1):
        lines = [Text(60, 560, head, 9), Text(60, 30, f"{foot} | {number}", 9)]
        lines += _paper_page(section, made.title if number == 1 else "")
        # Lines are placed for a page that lies on its side.
        up = 0 if turned else A4[1] - A4[0]
        pages.append([line._replace(y=line.y + up * (line.y > 40)) for line in lines])
    write_pdf(path, pages, rotate=90 if turned else 0)


def _paper_page(section: Section, title: str) -> Iterator[Text]:
    y = 530.0
    if title:
        yield Text(60, y, title, 22, 2)
        y -= 34
    yield Text(60, y, section.heading, 15, 2)
    y -= 24
    columns = [_wrapped(text, 36) for text in section.paragraphs]
    for row in range(max(map(len, columns))):
        for x, column in zip((60, 300), columns, strict=True):
            if row < len(column):
                yield Text(x, y, column[row])
        y -= 14
    y -= 12
    for number, item in enumerate(section.items, 1):
        yield Text(60, y, f"{number}. {item}")
        y -= 14
    y -= 12
    for row in section.table.rows:
        for x, cell in zip((60, 180, 300, 420), row, strict=False):
            yield Text(x, y, cell.text)
        y -= 14
    yield Text(60, y - 14, section.note, 8)


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines of about the same width; a word that goes over it is parted."""
    lines, line = [], ""
    for word in text.split():
        room = width - len(line) - 1
        if len(word) <= room:
            line += f" {word}" if line else word
        elif room > 4 and len(word) - room >= 3:
            cut = room - 1
            lines.append(f"{line} {word[:cut]}-")
            line = word[cut:]
        else:
            lines.append(line)
            line = word
    return [*lines, line]
