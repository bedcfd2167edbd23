"""Writes small PDFs by hand: lines with their place, size and font; for benchmarks and tests."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

A4 = (595, 842)


class Text(NamedTuple):
    """A line of a page.

    Attributes:
        x: Where it begins, in points from the left.
        y: Height that it stands on, from the bottom.
        words: What it says, in Latin-1; codes of `letters` in the third font.
        size: Of the font.
        font: 1 is Helvetica, 2 its bold face, 3 the one that `letters` tells.
    """

    x: float
    y: float
    words: str
    size: float = 11
    font: int = 1


def write_pdf(
    path: Path,
    pages: Iterable[Sequence[Text] | str],
    *,
    rotate: int = 0,
    info: str = "",
    catalog: str = "",
    page_entries: str = "",
    objects: Sequence[str] = (),
    letters: dict[str, str] | None = None,
) -> None:
    """Write a PDF.

    Args:
        path: Where to.
        pages: Lines of each, or its content stream.
        rotate: By how many degrees a viewer turns each page; lines are upright then, at 0 and 90.
        info: Entries of the information dictionary, such as `/Title (...)`.
        catalog: Entries of the catalog, such as `/Outlines 7 0 R`.
        page_entries: Entries of each page's dictionary.
        objects: Further objects; the first is number 8.
        letters: What the codes of the third font mean.
    """
    turned = rotate == 90
    streams = [page if isinstance(page, str) else _stream(page, turned) for page in pages]
    first = 8 + len(objects)
    kids = [first + 2 * number for number in range(len(streams))]
    body = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{k} 0 R' for k in kids)}] /Count {len(kids)} >>",
        _font("Helvetica", "/Encoding /WinAnsiEncoding"),
        _font("Helvetica-Bold", "/Encoding /WinAnsiEncoding"),
        _font("Helvetica", "/ToUnicode 6 0 R" if letters else "/Encoding /WinAnsiEncoding"),
        _body(_unicode_map(letters or {})),
        f"<< {info} >>",
        *objects,
    ]
    for kid, stream in zip(kids, streams, strict=True):
        body.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {A4[0]} {A4[1]}] /Rotate {rotate} "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R >> >> "
            f"/Contents {kid + 1} 0 R {page_entries} >>"
        )
        body.append(_body(stream))
    path.write_bytes(_file(body))


def _stream(lines: Sequence[Text], turned: bool) -> str:
    shown = "\n".join(
        f"/F{line.font} {line.size} Tf "
        + (f"0 1 -1 0 {A4[0] - line.y} {line.x}" if turned else f"1 0 0 1 {line.x} {line.y}")
        + f" Tm ({_escaped(line.words)}) Tj"
        for line in lines
    )
    return f"BT\n{shown}\nET"


def _escaped(words: str) -> str:
    return words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _font(name: str, entries: str) -> str:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} {entries} >>"


def _unicode_map(letters: dict[str, str]) -> str:
    rows = "\n".join(
        f"<{ord(code):02X}> <{text.encode('utf-16-be').hex()}>" for code, text in letters.items()
    )
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /Letters def\n"
        "1 begincodespacerange <00> <FF> endcodespacerange\n"
        f"{len(letters)} beginbfchar\n{rows}\nendbfchar endcmap end end"
    )


def _body(stream: str) -> str:
    return f"<< /Length {len(stream.encode('cp1252'))} >>\nstream\n{stream}\nendstream"


def _file(objects: Sequence[str]) -> bytes:
    parts, places, length = [b"%PDF-1.4\n"], [], 9
    for number, body in enumerate(objects, 1):
        places.append(length)
        parts.append(f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252"))
        length += len(parts[-1])
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    parts.append(
        f"xref\n0 {size}\n0000000000 65535 f \n{rows}"
        f"trailer << /Size {size} /Root 1 0 R /Info 7 0 R >>\nstartxref\n{length}\n%%EOF".encode()
    )
    return b"".join(parts)
