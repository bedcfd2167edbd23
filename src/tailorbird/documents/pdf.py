"""Reader of PDF: the text layer in reading order, form fields, comments; alone imports PDFium."""

import contextlib
import ctypes
import itertools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tailorbird.data.message_words import listing
from tailorbird.documents.pdf_layout import Line, Word, read_lines
from tailorbird.documents.pdf_running_heads import PdfPage
from tailorbird.documents.pdf_text import Bookmarks, write_pages
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.text_builder import squeeze, tidy

_LETTERS = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00a0": " ", "\x02": "-"}
    | dict.fromkeys("\x00\ufffe\uffff")
)
# PDFium writes U+0002 for a hyphen at a line's end, directly followed by the next line.
_WORD = re.compile("[^\\s\x01-\x1f\x7f]+\x02?|\x02")
_PARTED = re.compile("[\ufffe\x02](?=\\S)")
_MIXED = re.compile(r"\w\W?\d")
_ARABIC = re.compile("[\u0590-\u08ff]{2}")
_LAM_ALEF = re.compile("\u0644[\u0622\u0623\u0625\u0627]")
_RAISED = frozenset("0123456789+-\u2212\x02")
_BOLD = re.compile(r"bold|black|heavy|demi|medi\b|cmbx|cmssbx|\bbx", re.I)
# Default titles that programs write.
_NO_TITLE = re.compile(
    r"\.(docx?|tex|dvi|indd|pptx?|xlsx?|odt|rtf|pdf|qxd|pmd|html?)$|^untitled|^microsoft word|"
    r"^(document|presentation|powerpoint presentation|slide|book|layout|title|unknown)[ _-]*\d*$",
    re.I,
)
_DEEPEST_OUTLINE = 4
_MOST_BOOKMARKS = 20_000
_MOST_ANNOTATIONS = 10_000
# Beyond this, words are read without their places, which would take too long.
_MOST_CHARACTERS = 100_000
_MOST_IN_ALL = 6_000_000


def read_pdf(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a PDF; omissions are noted.

    The text layer, page by page, in reading order (columns, turned pages, right-to-left script),
    words without end-of-line hyphens, raised numbers as `10^6`; headings by bookmarks and by font;
    tables of several columns as `column: value`; form fields and comments at the end of their page.
    """
    import pypdfium2

    with path.open("rb") as file:
        if b"%PDF-" not in file.read(4096):
            raise Unreadable("not a PDF, despite its name")
    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise Unreadable("encrypted: save a copy without its password") from error
        raise Unreadable(f"damaged or cut off: {error}") from error
    try:
        text, marks, count = _read_pages(pdf, notes)
        facts = pdf.get_metadata_dict(skip_empty=True)
    finally:
        pdf.close()
    metadata: dict[str, Value] = {"pages": count}
    if facts.get("Author"):
        metadata["author"] = squeeze(facts["Author"])
    yield Parsed(text, marks, _title(facts.get("Title", "")), metadata)


def _title(title: str) -> str:
    """Return the file's title, unless it is a program's default."""
    title = squeeze(title)
    return "" if _NO_TITLE.search(title) or not any(map(str.isalpha, title)) else title


def _read_pages(pdf: Any, notes: Notes) -> tuple[str, tuple[Any, ...], int]:
    """Return the text of all pages, its marks, and the number of pages."""
    import pypdfium2

    form = None
    if pdf.get_formtype():
        with contextlib.suppress(pypdfium2.PdfiumError):
            pdf.init_forms()
            form = pdf.formenv
    pages: list[PdfPage] = []
    count = 0
    for number in range(len(pdf)):
        pages.append(_read_page(pdf, number, form, _MOST_IN_ALL - count))
        count += sum(len(line.text) for line in pages[-1].lines)
    empty = [number for number, page in enumerate(pages, 1) if not page.lines and not page.added]
    if len(empty) == len(pages):
        subject = f"its {len(pages)} pages are pictures"
        subject = "its only page is a picture" if len(pages) == 1 else subject
        raise Unreadable(f"no text layer: {subject}; run OCR first, such as ocrmypdf")
    if empty:
        notes.append(f"no text layer on pages {listing(empty, 10)}")
    crowded = [number for number, page in enumerate(pages, 1) if page.crowded]
    if crowded:
        notes.append(
            "too many characters to detect columns and headings on pages " + listing(crowded, 10)
        )
    if pdf.get_formtype() in (2, 3):
        notes.append("an XFA form: content that only its program generates is left out")
    added = sum(len(page.added) for page in pages)
    if added:
        notes.append(f"{added} form fields, text boxes and comments stand at the end of their page")
    attachments = pdf.count_attachments()
    if attachments:
        names = [pdf.get_attachment(i).get_name() for i in range(min(attachments, 10))]
        notes.append(f"attachments are not read: {', '.join(map(squeeze, names))}")
    text, marks = write_pages(pages, _bookmarks(pdf, notes), notes)
    return text, marks, len(pages)


def _read_page(pdf: Any, number: int, form: Any, most: int) -> PdfPage:
    """Return a page's lines, without their places beyond `most` characters.

    A page that PDFium cannot open has none.
    """
    import pypdfium2

    with contextlib.suppress(pypdfium2.PdfiumError):
        page = pdf[number]
        letters = page.get_textpage()
        try:
            if letters.count_chars() > min(most, _MOST_CHARACTERS):
                return _unplaced_page(letters.get_text_range(), page.get_height())
            lines = read_lines(_words(letters))
            for line in lines:
                line.bold = _bold(letters.raw, line.first) and _bold(letters.raw, line.last)
            bottom, top = _extent(page.get_bbox(), lines[0].turn if lines else 0)
            return PdfPage(lines, bottom, top, added=_annotations(page, form))
        finally:
            letters.close()
            page.close()
    return PdfPage([], 0, 0)


def _unplaced_page(text: str, height: float) -> PdfPage:
    texts = [line.strip() for line in _PARTED.sub("-\n", text).translate(_LETTERS).splitlines()]
    step = height / (len(texts) + 1)
    lines = [
        Line((text,), ((0, 1),), 0, 1, height - step * place, step)
        for place, text in enumerate(texts, 1)
        if text
    ]
    return PdfPage(lines, 0, height, crowded=True)


def _words(letters: Any) -> list[Word]:
    """Return a page's words with their places, in file order."""
    measure = _Measure(letters.raw)
    text = _characters(letters)
    words: list[Word] = []
    end = 0
    for match in _WORD.finditer(text):
        first, last = match.span()
        word = measure.word(first, last - 1)
        word.text = _word_text(match[0], first, measure).translate(_LETTERS)
        word.joined = not text[end:first].strip("\r\n")
        end = last
        if word.text:
            words.append(word)
    return words


def _characters(letters: Any) -> str:
    """Return one character for each that PDFium counts on a page."""
    from pypdfium2 import raw

    count = letters.count_chars()
    buffer = (ctypes.c_ushort * (count + 1))()
    if raw.FPDFText_GetText(letters.raw, 0, count, buffer) == count + 1:
        text = bytes(buffer).decode("utf-16-le", "surrogatepass")
        if len(text) == count + 1:
            return text[:-1].replace("\ufffe", "\x02")
    # PDFium's text omits some characters, and has two units for others.
    return "".join(chr(raw.FPDFText_GetUnicode(letters.raw, i)) for i in range(count))


class _Measure:
    """Measures the places of a page's letters with PDFium."""

    def __init__(self, letters: Any) -> None:
        from pypdfium2 import raw

        self.raw, self.letters = raw, letters
        self.box, self.matrix = raw.FS_RECTF(), raw.FS_MATRIX()
        self.x, self.y = ctypes.c_double(), ctypes.c_double()

    def word(self, first: int, last: int) -> Word:
        """Return the place of the word between two letters, without its text."""
        turn, size = self.turn_and_size(first)
        left, right = self.reach(first, turn)
        if last != first:
            other = self.reach(last, turn)
            left, right = min(left, other[0]), max(right, other[1])
        base = self.base(first, turn)
        if not (math.isfinite(left + right) and math.isfinite(base)):
            left = right = base = 0.0
        return Word("", left, right, base, size, first, turn)

    def turn_and_size(self, letter: int) -> tuple[int, float]:
        """Return a letter's rotation in quarter turns, and its height."""
        size: float = self.raw.FPDFText_GetFontSize(self.letters, letter)
        m = self.matrix
        if not self.raw.FPDFText_GetMatrix(self.letters, letter, m):
            return 0, size
        a, b = m.a, m.b
        size = min(max(size * math.hypot(m.c, m.d), 0.1), 1e5)
        if a > 0 and abs(b) < 0.15 * a:
            return 0, size
        quarters = math.atan2(b, a) / (math.pi / 2)
        turn = round(quarters)
        return (turn % 4 if abs(quarters - turn) < 0.1 else -1), size

    def reach(self, letter: int, turn: int) -> tuple[float, float]:
        """Return a letter's start and end along its line."""
        box = self.box
        self.raw.FPDFText_GetLooseCharBox(self.letters, letter, box)
        if turn in (0, -1):
            return box.left, box.right
        one = _rotate(box.left, box.bottom, turn)[0]
        other = _rotate(box.right, box.top, turn)[0]
        return min(one, other), max(one, other)

    def base(self, letter: int, turn: int) -> float:
        """Return the height of a letter's baseline."""
        self.raw.FPDFText_GetCharOrigin(self.letters, letter, self.x, self.y)
        return _rotate(self.x.value, self.y.value, turn)[1]


def _rotate(x: float, y: float, turn: int) -> tuple[float, float]:
    """Return a point of a page rotated so that its lines run to the right."""
    return ((x, y), (y, -x), (-x, -y), (-y, x), (x, y))[turn]


def _extent(box: tuple[float, float, float, float], turn: int) -> tuple[float, float]:
    left, bottom, right, top = box
    ends = _rotate(left, bottom, turn)[1], _rotate(right, top, turn)[1]
    return min(ends), max(ends)


def _word_text(text: str, first: int, measure: _Measure) -> str:
    """Return a word's text, with superscripts marked and Arabic ligatures in logical order."""
    if _ARABIC.search(text):
        return _ligatures_in_order(text, first, measure)
    if not _MIXED.search(text):
        return text
    places = [measure.turn_and_size(first + i) for i in range(len(text))]
    sizes = [size for _, size in places]
    most = max(sizes)
    small = [c in _RAISED and size < 0.85 * most for c, size in zip(text, sizes, strict=True)]
    if not any(small) or small[0]:
        return text
    bases = [measure.base(first + i, places[0][0]) for i in range(len(text))]
    level = bases[sizes.index(most)]
    raised = [s and b > level + 0.15 * most for s, b in zip(small, bases, strict=True)]
    signs = ("^" if high and not raised[i - 1] else "" for i, high in enumerate(raised))
    return "".join(sign + char for sign, char in zip(signs, text, strict=True))


def _ligatures_in_order(text: str, first: int, measure: _Measure) -> str:
    """Return Arabic text with the letters of each glyph reversed.

    PDFium reverses right-to-left text letter by letter, also inside a ligature.
    """
    begins = [measure.reach(first + i, 0) for i in range(len(text))]
    glyphs: list[str] = []
    for i, char in enumerate(text):
        if i and begins[i] == begins[i - 1] and _ARABIC.match(text[i - 1] + char):
            glyphs[-1] += char
        else:
            glyphs.append(char)
    # Lam and alef are in order if the file encodes the ligature itself.
    return "".join(glyph if _LAM_ALEF.match(glyph) else glyph[::-1] for glyph in glyphs)


def _bold(letters: Any, letter: int) -> bool:
    from pypdfium2 import raw

    name = ctypes.create_string_buffer(128)
    raw.FPDFText_GetFontInfo(letters, letter, name, 128, None)
    return bool(_BOLD.search(name.value.decode("utf-8", "replace")))


def _annotations(page: Any, form: Any) -> list[str]:
    """Return the text of a page's form fields, text boxes and comments."""
    from pypdfium2 import raw

    texts: list[str] = []
    for number in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        note = raw.FPDFPage_GetAnnot(page, number)
        if not note:
            continue
        kind = raw.FPDFAnnot_GetSubtype(note)
        if kind == raw.FPDF_ANNOT_WIDGET and form:
            texts.append(_field(form, note))
        elif kind not in (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP):
            texts.append(_wide(raw.FPDFAnnot_GetStringValue, note, b"Contents"))
        raw.FPDFPage_CloseAnnot(note)
    return [text for text in texts if text]


def _field(form: Any, note: Any) -> str:
    """Return a form field as `name: value`; empty for an empty field or a button."""
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetFormFieldType(form, note)
    name = _wide(raw.FPDFAnnot_GetFormFieldAlternateName, form, note)
    name = name or _wide(raw.FPDFAnnot_GetFormFieldName, form, note)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        if not raw.FPDFAnnot_IsChecked(form, note):
            return ""
        value = _wide(raw.FPDFAnnot_GetFormFieldExportValue, form, note)
    elif kind == raw.FPDF_FORMFIELD_PUSHBUTTON:
        return ""
    else:
        value = _wide(raw.FPDFAnnot_GetFormFieldValue, form, note)
    return f"{name}: {value}" if name and value else value


def _wide(function: Callable[..., int], *arguments: Any) -> str:
    """Return the UTF-16 text that a PDFium function writes."""
    size = min(function(*arguments, None, 0), _MOST_CHARACTERS)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * ((size + 1) // 2))()
    function(*arguments, buffer, size)
    return tidy(bytes(buffer).decode("utf-16-le", "replace").rstrip("\0"))


def _bookmarks(pdf: Any, notes: Notes) -> Bookmarks:
    """Return level and words of the bookmarks of each page."""
    import pypdfium2

    bookmarks: Bookmarks = {}
    marks = pdf.get_toc(max_depth=_DEEPEST_OUTLINE)
    with contextlib.suppress(pypdfium2.PdfiumError):
        for mark in itertools.islice(marks, _MOST_BOOKMARKS):
            target = mark.get_dest()
            page = None if target is None else target.get_index()
            words = squeeze(mark.get_title() or "")
            if page is not None and words:
                bookmarks.setdefault(page, []).append((mark.level + 1, words))
        if next(marks, None) is not None:
            notes.append(f"bookmarks after the first {_MOST_BOOKMARKS:,} are left out")
    return bookmarks
