"""Detects running heads and page numbers of a PDF."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tailorbird.documents.pdf_layout import Line

# Running heads are at the same end of this many pages,
_FEW_PAGES = 3
_OFTEN = 0.5
_SURELY = 6
# among the outermost lines, within this fraction of the height, at more than the line distance.
_OUTERMOST = 3
_MARGIN = 0.2
_APART = 1.3
_LONGEST_HEAD = 120

_PAGE_WORD = (
    r"(?:page|pages|pg|p|seite|s|p[aá]gina|p[aá]g|pagina|bladzijde|side|sida|sivu|strona|str|"
    r"stránka|oldal|sayfa|trang|halaman|страница|стр|с|сторінка|σελίδα|صفحة|עמוד|หน้า|第)"
)
_NUMBER = r"(\d{1,4}|[ivxlc]{1,7})"
_OF = r"(?:\s*(?:/|of|von|de|sur|di|van|av|af|z|из|din|a)\s*\d{1,4})?"
_EDGE = r"[\s\-–—|·•.()\[\]<>]*"
_PAGE_NUMBER = re.compile(
    rf"{_EDGE}(?:{_PAGE_WORD}[.:]?\s*)?{_NUMBER}{_OF}\s*(?:页|頁|ページ|쪽)?{_EDGE}", re.I
)
# Beside a running title, the number stands apart or follows "page".
_TITLE_THEN_NUMBER = re.compile(
    rf"(.*?)(?:\t|\s[|·•–—-]\s|\s(?={_PAGE_WORD}[.:]?\s*\d)){_PAGE_NUMBER.pattern}", re.I
)
_NUMBER_THEN_TITLE = re.compile(rf"{_PAGE_NUMBER.pattern}(?:\t|\s[|·•–—]\s)(.*)", re.I)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}

_Key = tuple[str, int | None]
"""Words of a running head, and its number's offset from the page's place, or None."""


@dataclass(slots=True)
class PdfPage:
    """The content of a page.

    Attributes:
        crowded: Whether the places of its lines are unknown.
        added: Texts outside its lines: form fields, comments.
    """

    lines: list[Line]
    bottom: float
    top: float
    crowded: bool = False
    added: list[str] = field(default_factory=list)


class RunningHeads:
    """Headers, footers and page numbers of a document's pages.

    Attributes:
        lines: For each page, the ids of these lines.
        names: Their words, for a note.
    """

    def __init__(self, pages: Sequence[PdfPage]) -> None:
        self.pages = pages
        self.lines: list[set[int]] = [set() for _ in pages]
        self.names: list[str] = []
        self.pitch = line_pitch(pages)
        self.size = body_size(pages)
        if sum(bool(page.lines) for page in pages) >= _FEW_PAGES:
            for upper in (True, False):
                self._search(upper)

    def _search(self, upper: bool) -> None:
        ends = [self._outermost(page, upper) for page in self.pages]
        keys = [[_keys(line, number) for line in end] for number, end in enumerate(ends)]
        counts = Counter(key for page in keys for key in {k for line in page for k in line})
        first: set[_Key] = set()
        for number, (end, page_keys) in enumerate(zip(ends, keys, strict=True)):
            matches = [self._match(*pair, counts) for pair in zip(end, page_keys, strict=True)]
            depth = next((i for i, match in enumerate(matches) if match is None), len(matches))
            apart = depth > 0 and self._apart(number, end[:depth], upper)
            for line, match in zip(end[:depth], matches[:depth], strict=True):
                assert match is not None
                # A line right above others may be a table header, which is kept once.
                if apart or (match[1] is None and match in first):
                    self.lines[number].add(id(line))
                    self._tell(match)
                first.add(match)

    def _outermost(self, page: PdfPage, upper: bool) -> list[Line]:
        """Return the lines nearest to an edge of the page, the nearest first."""
        if page.crowded or not page.lines:
            return []
        turn = page.lines[0].turn
        lines = [line for line in page.lines if line.turn == turn]
        lines.sort(key=lambda line: line.base, reverse=upper)
        reach = _MARGIN * (page.top - page.bottom)
        near = [
            line
            for line in lines[: 2 * _OUTERMOST]
            if (page.top - line.base if upper else line.base - page.bottom) <= reach
        ]
        return near[:_OUTERMOST]

    def _match(self, line: Line, keys: list[_Key], counts: Counter[_Key]) -> _Key | None:
        """Return the key by which a line repeats, if it does."""
        for key in keys:
            often = counts[key] >= max(_FEW_PAGES, _OFTEN * len(self.pages))
            small = line.size <= 1.05 * self.size
            if often or (small and counts[key] >= _SURELY):
                return key
        return None

    def _apart(self, number: int, running: list[Line], upper: bool) -> bool:
        """Return whether the outermost lines stand apart from the others."""
        base, ids = running[-1].base, {id(line) for line in running}
        distances = [
            base - line.base if upper else line.base - base
            for line in self.pages[number].lines
            if id(line) not in ids and line.turn == running[0].turn
        ]
        return min((d for d in distances if d > 0), default=1e9) > _APART * self.pitch

    def _tell(self, key: _Key) -> None:
        name = repr(key[0]) if key[0] else "page numbers"
        if name not in self.names:
            self.names.append(name)


def _keys(line: Line, page: int) -> list[_Key]:
    """Return the keys that a line would share with other pages if it were a running head.

    Only a page number may differ: it is stored relative to the page's position in the file.
    """
    text = "\t".join(line.cells)
    keys: list[_Key] = []
    if len(text) > _LONGEST_HEAD:
        return keys
    if match := _PAGE_NUMBER.fullmatch(text):
        keys.append(("", _value(match[1]) - page))
    elif match := _TITLE_THEN_NUMBER.fullmatch(text):
        keys.append((match[1].strip(), _value(match[2]) - page))
    elif match := _NUMBER_THEN_TITLE.fullmatch(text):
        keys.append((match[2].strip(), _value(match[1]) - page))
    if any(map(str.isalpha, text)):
        keys.append((line.text, None))
    return keys


def _value(number: str) -> int:
    if number.isdecimal():
        return int(number)
    digits = [_ROMAN[char] for char in number.lower()]
    return sum(-d if d < after else d for d, after in zip(digits, [*digits[1:], 0], strict=True))


def line_pitch(pages: Sequence[PdfPage]) -> float:
    """Return the usual distance between lines."""
    distances = [
        above.base - line.base
        for page in pages
        for above, line in zip(page.lines, page.lines[1:], strict=False)
        if 0 < above.base - line.base < 4 * above.size
    ]
    return median(distances) if distances else 0.0


def body_size(pages: Sequence[PdfPage]) -> float:
    """Return the font size of most letters."""
    letters: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            letters[line.size] += len(line.text)
    return letters.most_common(1)[0][0] if letters else 0.0
