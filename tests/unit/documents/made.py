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
_PAGE = "<h1 id=a>Otters</h1><p>10<sup>6</sup> urchins.</p><table><tr><th rowspan=2>Place<th>Count"
_NOTEBOOK = {
    "nbformat": 4,
    "cells": [
        {"cell_type": "markdown", "source": ["# Otters\n"]},
        {
            "cell_type": "code",
            "source": "x",
            "outputs": [{"text": ["1\n"], "data": {"text/html": _PAGE}}],
        },
    ],
}
RICH_TEXTS = {
    "a.txt": f"{WORDS}\n\nAnd more.",
    "a.py": "def f():\n    return 1\n",
    "a.adoc": "= Otters\n:toc:\n\n== Food\n\n. one\n.. two\n\n|===\n|Place |Count\n\n2+|Alaska\n"
    "|===\n\ninclude::x.adoc[]\n\n----\ncode\n----\n",
    "a.org": "#+TITLE: Otters\n* Food :tag:\n:PROPERTIES:\n:a: b\n:END:\n1. one\n\n| a | b |\n"
    "|---+---|\n| 1 | 2 |\n#+BEGIN_SRC c\nx\n#+END_SRC\n",
    "a.tex": r"\documentclass{a}\newcommand{\x}[1]{#1}\begin{document}\section{Otters}\x{Eat}"
    r"\footnote{a} $10^6$ \begin{tabular}{ll}\multicolumn{2}{c}{a}\\b&c\end{tabular}\input{y}"
    r"\end{document}",
    "a.srt": "1\n00:00:01,000 --> 00:00:02,500\n<i>ANN: Otters</i>\n\n2\n00:00:03,0 --> 00:00:04,0"
    "\neat.\n",
    "a.vtt": "WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:02.500 line:0\n<v Ann>Otters\n",
    "a.xml": "<article xmlns:x='y'><front><article-title>Otters</article-title></front><body><sec>"
    "<title>Food</title><p>Eat <xref ref-type='bibr'>1</xref>.</p><table-wrap><table><tr>"
    "<td colspan='2'>a</td></tr><tr><td>b</td><td>c</td></tr></table></table-wrap></sec></body>"
    "</article>",
    "a.fb2": "<FictionBook><body><title><p>Otters</p></title><section><p>Eat.</p><poem><stanza>"
    "<v>a</v></stanza></poem></section></body><binary id='b'>AAAA</binary></FictionBook>",
    "a.rst": "Otters\n======\n\nFood\n----\n\n+---+---+\n| a | b |\n+---+---+\n",
    "a.html": f"<html lang=en><title>Otters</title>{_PAGE}<tr><td colspan=2>Alaska<ol start=3><li>a"
    "</ol></table><dl><dt>a<dd>b</dl><pre>x</pre><math><mi>x</mi></math><div hidden>z</div></html>",
    "a.md": f"---\ntags: [a, b]\n---\n# Otters\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[x]: /y\n"
    f"{_PAGE}\n```\nx\n",
    "a.ipynb": json.dumps(_NOTEBOOK),
    "a.csv": 'id,title,text,year\n7,Otters,"Eat,\nurchins",2021\n8,Kelp,Grows.,2022\n',
    "a.tsv": "name\tcount\nOtter\t3\nSeal\t4\n",
    "a.jsonl": '{"_id": "d1", "title": "Otters", "text": "Eat."}\n{"text": ["a", "b"], "n": 1.5}\n',
    "a.json": '{"title": "Sea", "animals": [{"name": "otter", "n": [1]}, {"deep": {"er": null}}]}',
    "a.rtf": r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0\fcharset204 A;}}\outlinelevel0 Otters\par\'e0"
    r"\u1040?{\footnote a}\trowd\cellx9\clmgf a\cell b\cell\row{\*\x y}\bin3 abc\par}",
    "a.eml": "From: =?utf-8?b?w4Q=?= <a@b>\nTo: b@c\nSubject: =?koi8-r?q?=EF?=\nDate: Mon, 16 Dec "
    "2024 10:30:00 +0000\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=X\n\n--X\n"
    "Content-Type: multipart/alternative; boundary=Y\n\n--Y\nContent-Type: text/plain; "
    "charset=utf-7\n\n \n--Y\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable"
    f"\n\n{_PAGE}=\n--Y--\n--X\nContent-Type: message/rfc822\n\nSubject: Fwd\n\nKelp.\n--X\n"
    "Content-Disposition: attachment; filename*=utf-8''%C3%84.pdf\n\nx\n--X--\n",
    "a.mbox": "From a Mon Dec 16 10:30:00 2024\nSubject: a\nMessage-ID: <1>\n\nOtters\n>From b\n\n"
    "From c Mon Dec 16 10:31:00 2024\nSubject: b\n\nKelp\n",
}
"""Texts of each kind with what is peculiar to it."""
SLIDES = (
    '<o:document-content xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:d="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:p="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0" '
    'xmlns:t="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><o:body><o:presentation>'
    '<d:page d:name="1"><d:frame p:class="title"><d:text-box>'
    "<t:p>Otters</t:p></d:text-box></d:frame>"
    "<d:frame><d:text-box><t:list><t:list-item>"
    "<t:p>Eat<t:s t:c='2'/>kelp</t:p></t:list-item></t:list>"
    "</d:text-box></d:frame><p:notes><d:frame><d:text-box><t:p>slowly</t:p></d:text-box></d:frame>"
    "</p:notes></d:page></o:presentation></o:body></o:document-content>"
)
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
