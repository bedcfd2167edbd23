"""Lines of pages to one text: without running heads, with headings and whole paragraphs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from tailorbird.documents.build import TextBuilder
from tailorbird.documents.layout import Line, hyphen_joint, join_lines
from tailorbird.documents.parsed import Notes
from tailorbird.records import Mark

Bookmarks = dict[int, list[tuple[int, str]]]
"""Level and words of the bookmarks that lead to a page, counted from 0."""

# Running heads stand at the same end of this many pages,
_FEW_PAGES = 3
_OFTEN = 0.5
_SURELY = 6
# among the outermost lines, within this part of its height, apart by more than the lines' distance.
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
# Beside a running title the number stands apart, or is called a page.
_TITLE_THEN_NUMBER = re.compile(
    rf"(.*?)(?:\t|\s[|·•–—-]\s|\s(?={_PAGE_WORD}[.:]?\s*\d)){_PAGE_NUMBER.pattern}", re.I
)
_NUMBER_THEN_TITLE = re.compile(rf"{_PAGE_NUMBER.pattern}(?:\t|\s[|·•–—]\s)(.*)", re.I)
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_LEADERS = re.compile(r" ?(?:[.·…] ?){5,}")  # of a table of contents
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}

_LONGEST_HEADING = 200
_HEADING_LINES = 3
_WAITING = 50
_LARGER = 1.12
_SENTENCE_ENDS = (".", "!", "?", ":", "。", "！", "？", "؟")
_NO_HEADING_ENDS = (".", ",", ";", "-", "。", "、", "،")


_Key = tuple[str, int | None]
"""Words of a running head, and how far its number is from the page's place; None without."""


@dataclass(slots=True)
class Page:
    """What was read from a page.

    Attributes:
        lines: In reading order.
        bottom: Height of its lower edge.
        top: Height of its upper edge.
        crowded: Whether the places of its lines are unknown.
        added: Texts that do not stand in its lines: form fields, comments.
    """

    lines: list[Line]
    bottom: float
    top: float
    crowded: bool = False
    added: list[str] = field(default_factory=list)


def write_pages(
    pages: list[Page], bookmarks: Bookmarks, notes: Notes
) -> tuple[str, tuple[Mark, ...]]:
    """Return the text of all pages and where pages and headings begin in it."""
    heads = RunningHeads(pages)
    for page, running in zip(pages, heads.lines, strict=True):
        page.lines = [line for line in page.lines if id(line) not in running]
    if heads.names:
        notes.append(f"left out as repeated on many pages: {', '.join(heads.names[:10])}")
    return _Writer(pages, bookmarks).text()


class RunningHeads:
    """Headers, footers and page numbers of a document's pages.

    Attributes:
        lines: For each page the ids of its lines that are such.
        names: What to tell about them.
    """

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = pages
        self.lines: list[set[int]] = [set() for _ in pages]
        self.names: list[str] = []
        self.pitch = _pitch(pages)
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
                # A line right above others may be the head of a table: it is kept once.
                if apart or (match[1] is None and match in first):
                    self.lines[number].add(id(line))
                    self._tell(match)
                first.add(match)

    def _outermost(self, page: Page, upper: bool) -> list[Line]:
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

    def _match(
        self,
        line: Line,
        keys: list[_Key],
        counts: Counter[_Key],
    ) -> _Key | None:
        """Return as what a line is repeated, if it is."""
        for key in keys:
            often = counts[key] >= max(_FEW_PAGES, _OFTEN * len(self.pages))
            small = line.size <= 1.05 * self.size
            if often or (small and counts[key] >= _SURELY):
                return key
        return None

    def _apart(self, number: int, running: list[Line], upper: bool) -> bool:
        """Whether the outermost lines stand apart from those that follow."""
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
    """Return what would be the same on other pages, were this a running head.

    A number may only differ where it is the page's: it is taken from the page's place in the file.
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


def _pitch(pages: Sequence[Page]) -> float:
    """Return the usual distance of a line from the one above it."""
    distances = [
        above.base - line.base
        for page in pages
        for above, line in zip(page.lines, page.lines[1:], strict=False)
        if 0 < above.base - line.base < 4 * above.size
    ]
    return median(distances) if distances else 0.0


def body_size(pages: Sequence[Page]) -> float:
    """Return the size of the font that most letters have."""
    letters: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            letters[line.size] += len(line.text)
    return letters.most_common(1)[0][0] if letters else 0.0


class _Writer:
    """Writes the lines of pages into one text."""

    def __init__(self, pages: Sequence[Page], bookmarks: Bookmarks) -> None:
        self.pages = pages
        self.builder = TextBuilder()
        self.pitch, self.size = _pitch(pages), body_size(pages)
        bold = sum(len(line.text) for page in pages for line in page.lines if line.bold)
        self.bold_body = 2 * bold > sum(len(line.text) for page in pages for line in page.lines)
        self.headings = [self._headings(page, bookmarks.get(i, [])) for i, page in enumerate(pages)]
        self.levels = self._levels()

    def text(self) -> tuple[str, tuple[Mark, ...]]:
        """Return the text and its marks."""
        for number, page in enumerate(self.pages):
            self.builder.page(number + 1)
            self._write(number, page.lines)
            for text in page.added:
                self.builder.block(text)
        return self.builder.result()

    def _write(self, number: int, lines: list[Line]) -> None:
        headings, at, paragraph = self.headings[number], 0, list[Line]()
        width = median([len(line.text) for line in lines] or [0])
        while at < len(lines):
            line = lines[at]
            if paragraph and (at in headings or self._parts(paragraph[-1], line, width)):
                self._block(paragraph)
                paragraph = []
            if at in headings:
                heading = headings[at]
                level = heading.level or self.levels[heading.style]
                words = " ".join(x.text for x in lines[at : at + heading.lines])
                self.builder.heading(heading.name or words, level, shown=words)
                at += heading.lines
                continue
            paragraph.append(line)
            at += 1
        if paragraph:
            self._complete(paragraph[-1], number + 1)
            self._block(paragraph)

    def _block(self, lines: list[Line]) -> None:
        texts = [_LEADERS.sub(" ... ", line.text) for line in lines]
        self.builder.block(join_lines(texts, self._known))

    def _complete(self, last: Line, following: int) -> None:
        """Take the rest of a word that was parted at the end of a page from the next one."""
        if following >= len(self.pages) or not self.pages[following].lines:
            return
        after = self.pages[following].lines[0]
        joint = hyphen_joint(last.text, after.text, self._known)
        if joint is not None:
            word, _, rest = after.text.partition(" ")
            last.cells = (*last.cells[:-1], last.cells[-1][:-1] + joint + word)
            after.cells = (rest,)

    def _parts(self, before: Line, line: Line, width: float) -> bool:
        """Whether a paragraph ends between two lines."""
        ended = before.text.endswith(_SENTENCE_ENDS)
        if ended and len(before.text) < 0.8 * width:
            return True
        if max(before.size, line.size) > _LARGER * min(before.size, line.size):
            return True
        distance = before.base - line.base
        usual = self.pitch * line.size / self.size
        if not 0 < distance <= 1.35 * max(usual, line.size):
            goes_on = line.text[:1].islower() and not ended
            return distance > 0 or not goes_on
        return ended and 0.8 * line.size < line.left - before.left < 6 * line.size

    def _known(self, word: str) -> bool:
        return word in self._words

    @cached_property
    def _words(self) -> set[str]:
        texts = (line.text.casefold() for page in self.pages for line in page.lines)
        return {word for text in texts for word in _WORD.findall(text)}

    def _headings(self, page: Page, bookmarks: list[tuple[int, str]]) -> dict[int, "_Heading"]:
        """Return the headings of a page by the place of their first line."""
        headings: dict[int, _Heading] = {}
        waiting, at = [(level, name) for level, name in bookmarks if _folded(name)], 0
        while at < len(page.lines):
            heading = _named(page.lines, at, waiting)
            if heading is None and not page.crowded:
                heading = self._styled(page.lines, at, at - 1 in headings)
            if heading is None:
                at += 1
                continue
            headings[at] = heading
            at += heading.lines
        return headings

    def _styled(self, lines: list[Line], at: int, after_heading: bool) -> "_Heading | None":
        """Return a heading that its font makes one."""
        first = lines[at]
        large = first.size >= _LARGER * self.size
        if not large and not self._stands_out(lines, at, after_heading):
            return None
        end = at + 1
        while end < len(lines) and _same_block(lines[end - 1], lines[end]):
            end += 1
            if end - at > _HEADING_LINES:
                return None
        words = " ".join(line.text for line in lines[at:end])
        if len(words) > _LONGEST_HEADING or words.endswith(_NO_HEADING_ENDS):
            return None
        if sum(map(str.isalpha, words)) < 2 or _LEADERS.search(words):
            return None
        if first.turn != lines[0].turn or any(len(x.cells) > 2 for x in lines[at:end]):
            return None
        return _Heading(end - at, _style(first))

    def _stands_out(self, lines: list[Line], at: int, after_heading: bool) -> bool:
        """Whether a line is bold and by itself, where the text is not bold."""
        line = lines[at]
        if not line.bold or self.bold_body or line.size < 0.95 * self.size:
            return False
        distance = lines[at - 1].base - line.base if at else 1e9
        return (
            after_heading
            or not 0 < distance < 1.15 * self.pitch
            or lines[at - 1].text.endswith(_SENTENCE_ENDS)
        )

    def _levels(self) -> dict[tuple[float, bool], int]:
        """Return the level of each style: that of its bookmarks, else by size."""
        headings = [heading for page in self.headings for heading in page.values()]
        styles = sorted({heading.style for heading in headings}, reverse=True)
        levels = {style: min(rank, 6) for rank, style in enumerate(styles, 1)}
        named: dict[tuple[float, bool], Counter[int]] = {}
        for heading in headings:
            if heading.level:
                named.setdefault(heading.style, Counter())[heading.level] += 1
        return levels | {style: count.most_common(1)[0][0] for style, count in named.items()}


@dataclass(frozen=True, slots=True)
class _Heading:
    lines: int
    style: tuple[float, bool]
    level: int = 0
    name: str = ""


def _style(line: Line) -> tuple[float, bool]:
    return round(2 * line.size) / 2, line.bold


def _same_block(above: Line, line: Line) -> bool:
    """Whether a line goes on with what is above it in the same font."""
    return _style(above) == _style(line) and 0 < above.base - line.base < 1.8 * line.size


def _named(lines: list[Line], at: int, waiting: list[tuple[int, str]]) -> _Heading | None:
    """Return the heading that a bookmark leads to; those before it in the list are passed."""
    words = ""
    for count, line in enumerate(lines[at : at + _HEADING_LINES], 1):
        words += _folded(line.text)
        for place, (level, name) in enumerate(waiting[:_WAITING]):
            if _folded(name) == words:
                del waiting[: place + 1]
                return _Heading(count, _style(lines[at]), level, name)
    return None


def _folded(text: str) -> str:
    """Return the letters alone: numbering and spacing differ between bookmark and page."""
    return re.sub(r"[\W\d_]+", "", text[: 2 * _LONGEST_HEADING]).casefold()
