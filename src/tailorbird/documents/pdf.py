"""PDF: the text layer page by page, without what repeats on every page; the door to PDFium."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value

_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00ad": "", "\u00a0": " "}
)
# PDFium writes U+FFFE where a line ends in a hyphen that only parts a word.
_PARTED = re.compile("[\ufffe\x02]\\s*|(?<=[a-z])-\n(?=[a-z])")
_FEW_PAGES = 4
_DEEPEST_OUTLINE = 3


def read_pdf(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read the text layer; pages of mere pictures are told."""
    import pypdfium2

    with path.open("rb") as file:
        if b"%PDF-" not in file.read(4096):
            raise Unreadable("not a PDF, whatever its name says")
    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise Unreadable("encrypted: it needs a password") from error
        raise Unreadable(f"damaged or cut off: {error}") from error
    try:
        pages = [_page_text(pdf, number) for number in range(len(pdf))]
        outline = _outline(pdf)
        said = pdf.get_metadata_dict(skip_empty=True)
    finally:
        pdf.close()
    empty = [number for number, page in enumerate(pages, 1) if not page.strip()]
    if len(empty) == len(pages):
        them = f"its {len(pages)} pages are pictures"
        them = "its only page is a picture" if len(pages) == 1 else them
        raise Unreadable(f"no text layer: {them}; run OCR first, such as ocrmypdf")
    if empty:
        notes.append(f"no text layer on pages {', '.join(map(str, empty[:10]))}")
    text, marks = _written(_without_repeats(pages), outline)
    metadata: dict[str, Value] = {"pages": len(pages)}
    if said.get("Author"):
        metadata["author"] = squeeze(said["Author"])
    title = squeeze(said.get("Title", ""))
    # What programs write there when nobody named the document.
    if re.search(r"\.(docx?|tex|dvi|indd|pptx?)$|^untitled|^microsoft word", title, re.I):
        title = ""
    yield Parsed(text, marks, title, metadata)


def _page_text(pdf: Any, number: int) -> str:
    """Return a page's words; a page that PDFium cannot open has none."""
    import pypdfium2

    try:
        page = pdf[number]
        found = page.get_textpage()
        text = str(found.get_text_bounded())
        found.close()
        page.close()
    except pypdfium2.PdfiumError:
        return ""
    return _PARTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n").translate(_LIGATURES))


def _outline(pdf: Any) -> dict[int, list[tuple[int, str]]]:
    """Return level and words of the bookmarks of each page."""
    import pypdfium2

    found: dict[int, list[tuple[int, str]]] = {}
    try:
        for mark in pdf.get_toc(max_depth=_DEEPEST_OUTLINE):
            target = mark.get_dest()
            page = None if target is None else target.get_index()
            words = squeeze(mark.get_title() or "")
            if page is not None and words:
                found.setdefault(page, []).append((mark.level + 1, words))
    except pypdfium2.PdfiumError:
        return found
    return found


def _without_repeats(pages: list[str]) -> list[list[str]]:
    """Return each page's lines without headers, footers and page numbers."""
    lines = [[line.strip() for line in page.split("\n")] for page in pages]
    lines = [_trimmed(page) for page in lines]
    if len(pages) < _FEW_PAGES:
        return lines
    for end in (0, -1):
        for _ in range(2):
            seen = Counter(re.sub(r"\d+", "#", page[end]) for page in lines if page)
            often = {line for line, count in seen.items() if 2 * count > len(pages)}
            lines = [
                _trimmed(page[1:] if end == 0 else page[:-1])
                if page and re.sub(r"\d+", "#", page[end]) in often
                else page
                for page in lines
            ]
    return lines


def _trimmed(lines: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(lines) if line), len(lines))
    last = next((i for i in range(len(lines), first, -1) if lines[i - 1]), first)
    return lines[first:last]


def _written(
    pages: list[list[str]], outline: dict[int, list[tuple[int, str]]]
) -> tuple[str, tuple[Any, ...]]:
    """Join pages; a bookmark's words on its page begin a section there."""
    builder = TextBuilder()
    for number, lines in enumerate(pages, 1):
        builder.page(number)
        waiting = list(outline.get(number - 1, ()))
        width = median([len(line) for line in lines if line] or [0])
        paragraph: list[str] = []
        for line in lines:
            found = next((m for m in waiting if _folded(m[1]) == _folded(line)), None)
            if found is not None or not line:
                builder.block("\n".join(paragraph))
                paragraph = []
            if found is not None:
                waiting = waiting[waiting.index(found) + 1 :]
                builder.heading(found[1], found[0], shown=line)
                continue
            paragraph.append(line)
            # A short line that ends a sentence ends its paragraph.
            if line.endswith((".", "!", "?", ":")) and len(line) < 0.8 * width:
                builder.block("\n".join(paragraph))
                paragraph = []
        builder.block("\n".join(paragraph))
    return builder.result()


def _folded(text: str) -> str:
    """Return the letters alone: numbering and spacing differ between bookmark and page."""
    return re.sub(r"[\W\d_]+", "", text).casefold()
