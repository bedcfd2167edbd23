"""Files of every kind, written by libraries other than those that read them."""

import importlib.util
import io
import json
import zipfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

WORDS = "The retriever finds passages about otters and kelp."


def docx(path: Path) -> None:
    from docx import Document

    made: Any = Document()
    made.core_properties.author = "Ada"
    made.add_heading("Otters", 0)
    made.add_heading("Food", 1)
    made.add_paragraph(WORDS)
    made.add_paragraph("first item", style="List Bullet")
    made.add_paragraph("second item", style="List Bullet")
    made.add_heading("Where", 2)
    table = made.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("Place", "Count", "Alaska", "90"), strict=True):
        cell.text = text
    made.save(str(path))


def pptx(path: Path) -> None:
    from pptx import Presentation

    made: Any = Presentation()
    for title, body in (("Otters", WORDS), ("Kelp", "Forests under water")):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    made.slides[1].notes_slide.notes_text_frame.text = "say this slowly"
    made.save(str(path))


def xlsx(path: Path) -> None:
    import datetime

    from openpyxl import Workbook

    made = Workbook()
    sheet: Any = made.active
    sheet.title = "Animals"
    for row in (("Name", "Weight", "Seen"), ("Otter", 27.0, datetime.datetime(2024, 5, 1))):
        sheet.append(row)
    sheet.append(("Seal", 85.5, None))
    made.create_sheet("Notes").append((WORDS,))
    made.save(path)


def _zip(path: Path, parts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def odt(path: Path) -> None:
    ns = "urn:oasis:names:tc:opendocument:xmlns"
    _zip(
        path,
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"""<office:document-content xmlns:office="{ns}:office:1.0"
 xmlns:text="{ns}:text:1.0" xmlns:table="{ns}:table:1.0"><office:body><office:text>
<text:h text:outline-level="1">Otters</text:h><text:p>{WORDS[:20]}<text:s/>{WORDS[20:]}</text:p>
<text:list><text:list-item><text:p>first item</text:p></text:list-item></text:list>
</office:text></office:body></office:document-content>""",
        },
    )


def epub(path: Path) -> None:
    _zip(
        path,
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="a/b.opf"/>'
            "</rootfiles></container>",
            "a/b.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            "<dc:title>Sea book</dc:title><dc:creator>Ada</dc:creator></metadata><manifest>"
            '<item id="y" href="two.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="x" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="x"/><itemref idref="y"/></spine></package>',
            "a/one.xhtml": f"<html><body><h1>Otters</h1><p>{WORDS}</p></body></html>",
            "a/two.xhtml": "<html><body><h1>Kelp</h1><p>Grows fast.</p></body></html>",
        },
    )


def pdf(path: Path, pages: tuple[str, ...] = (WORDS, "Second page on kelp.")) -> None:
    """Write a PDF of pages with a line each, or none."""
    text = pdf_writer().Text
    pdf_writer().write_pdf(path, [[text(72, 720, words)] if words else "" for words in pages])


@lru_cache
def pdf_writer() -> ModuleType:
    """Return the benchmarks' own writer of PDFs."""
    file = Path(__file__).parents[3] / "benchmarks" / "made_pdf.py"
    spec = importlib.util.spec_from_file_location("made_pdf", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encrypted_pdf(path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    pdf(path)
    writer = PdfWriter(PdfReader(io.BytesIO(path.read_bytes())))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(path)


def plain(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


TEXTS = {
    "a.txt": f"{WORDS}\n\nAnd more.",
    "a.md": f"---\ntags: [sea, fur]\nyear: 2021\n---\n# Otters\n\n<!-- no -->{WORDS}\n\n"
    "## Food\n\n```\n# no heading\n```\n",
    "a.rst": f"Otters\n======\n\n{WORDS}\n\nFood\n----\n\nUrchins.\n",
    "a.html": "<html lang=en><head><title>Otters</title></head><body><nav>menu</nav>"
    "<h1>Otters</h1>"
    f"<p>{WORDS}</p><ul><li>one<li>two</ul><table><tr><th>Place<th>Count<tr><td>Alaska<td>90"
    "</table><script>no()</script></body></html>",
    "a.csv": f"id,title,text,year\n7,Otters,{WORDS},2021\n8,Kelp,Grows fast.,2022\n",
    "a.tsv": f"name\tcount\nOtter\t3\nSeal\t4\nnote\t{WORDS}\n",
    "a.jsonl": json.dumps({"_id": "d1", "title": "Otters", "text": WORDS}) + "\n",
    "a.json": json.dumps({"title": "Sea", "animals": [{"name": "otter", "about": WORDS}]}),
    "a.eml": f"From: Ada <ada@sea.org>\nTo: bo@sea.org\nSubject: Otters\n"
    f"Date: Mon, 16 Dec 2024 10:30:00 +0000\n\n{WORDS}\n",
    "a.rtf": rf"{{\rtf1\ansi {WORDS}\par More.}}",
    "a.py": f'"""{WORDS}"""\n\ndef f():\n    return 1\n',
    "a.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "source": ["# Otters\n", WORDS]},
                {"cell_type": "code", "source": ["x = 1"]},
            ]
        }
    ),
}
MAKERS = {
    "a.docx": docx,
    "a.pptx": pptx,
    "a.xlsx": xlsx,
    "a.odt": odt,
    "a.epub": epub,
    "a.pdf": pdf,
}


def all_kinds(folder: Path) -> list[Path]:
    """Write one file of each kind; all of them hold `WORDS`."""
    for name, text in TEXTS.items():
        plain(folder / name, text)
    for name, make in MAKERS.items():
        make(folder / name)
    return sorted(folder / name for name in (*TEXTS, *MAKERS))
