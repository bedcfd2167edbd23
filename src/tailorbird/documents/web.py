"""HTML and EPUB: what a reader of the page sees, its headings marked."""

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.decode import clean, decode
from tailorbird.documents.grid import Cell, Header, whole_number
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.zipped import attribute, local, member, needed, opened

_UNSEEN_NAMES = (
    "script style noscript template svg math head nav footer iframe object button select input "
    "textarea canvas audio video dialog"
)
_UNSEEN = frozenset(_UNSEEN_NAMES.split())
_BLOCK_NAMES = (
    "p div section article main header aside blockquote figure figcaption address dl dt dd ul ol "
    "li table thead tbody tfoot tr td th caption form fieldset details summary hr body html h1 h2 "
    "h3 h4 h5 h6 pre center"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.I)
_LONGEST_CELL = 500
_MARKUP = re.compile(r"</?[a-zA-Z!?]")


def read_html(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a web page, without its navigation, scripts and forms."""
    yield html(path.read_bytes(), notes)


def html(data: bytes | str, notes: Notes) -> Parsed:
    """Return a page's text.

    Raises:
        Unreadable: It is empty or binary.
    """
    text = data if isinstance(data, str) else _declared(data, notes)
    builder = TextBuilder()
    title, metadata = _into(builder, text)
    words, marks = builder.result()
    if not words and _MARKUP.search(text):
        raise Unreadable("no text in it: a page that is filled by its scripts, or only pictures")
    return Parsed(words, marks, title, metadata)


def _declared(data: bytes, notes: Notes) -> str:
    """Return a page's characters, by the encoding it names where its bytes are not UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        found = _DECLARED.search(data[:4096])
        name = found.group(1).decode("ascii").lower() if found else ""
        if name not in ("", "utf-8", "utf8"):
            try:
                return data.decode(name)
            except (LookupError, UnicodeError):
                notes.append(f"it says that it is {name}, which it is not")
    return decode(data, notes)


def _into(builder: TextBuilder, text: str) -> tuple[str, dict[str, Value]]:
    """Write a page; return its title and what it says of itself."""
    from lxml import etree
    from lxml import html as parser

    reader = parser.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = parser.document_fromstring(clean(text).encode("utf-8"), parser=reader)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise Unreadable(f"no page: {error}") from error
    titles = [squeeze(e.text_content()) for e in root.iter("title", "h1")]
    metadata: dict[str, Value] = {}
    if root.get("lang"):
        metadata["language"] = root.get("lang")
    for meta in root.iter("meta"):
        if meta.get("name", "").lower() in ("author", "description") and meta.get("content"):
            metadata[meta.get("name").lower()] = squeeze(meta.get("content"))
    _Page(builder).write(_main(root))
    return next((title for title in titles if title), ""), metadata


def _main(root: Any) -> Any:
    """Return the page's main part where it says which that is and most text is there."""
    found = [e for e in root.iter("main", "article") if e.tag == "main"] or list(
        root.iter("article")
    )
    if len(found) == 1 and 2 * len(found[0].text_content()) > len(squeeze(_seen(root))):
        return found[0]
    return root


def _seen(root: Any) -> str:
    from lxml import etree

    hidden = " or ".join(f"ancestor::{tag}" for tag in ("script", "style", "head", "noscript"))
    return " ".join(etree.XPath(f"//text()[not({hidden})]")(root))


class _Page:
    """Walks a page's elements; words gather until a block ends."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self.words: list[str] = []
        self.lists: list[int | None] = []
        self.bullet = ""

    def write(self, root: Any) -> None:
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            if not isinstance(element.tag, str):
                continue
            if event == "start":
                if self._start(element):
                    walk.skip_subtree()
            else:
                self._end(element)
                # What follows the main part is not of it.
                if element.tail and element is not root:
                    self.words.append(element.tail)
        self._flush()

    def _start(self, element: Any) -> bool:
        """Write what stands before an element's words; return whether to pass over the element."""
        tag = element.tag
        if tag in _UNSEEN or "hidden" in element.attrib or element.get("aria-hidden") == "true":
            return True
        if tag in _BLOCKS:
            self._flush()
        if tag == "pre":
            self.builder.verbatim(element.text_content())
            return True
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self.builder.heading(element.text_content(), int(tag[1]))
            return True
        if tag == "table" and (rows := _data_rows(element)) is not None:
            self.builder.table(rows)
            return True
        if tag in ("ul", "ol"):
            self.lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self.bullet = self._next_bullet()
        elif tag == "br":
            self.words.append("\0")
        if element.text:
            self.words.append(element.text)
        return False

    def _next_bullet(self) -> str:
        if self.lists and self.lists[-1] is not None:
            self.lists[-1] += 1
            return f"{self.lists[-1]}. "
        return "- "

    def _end(self, element: Any) -> None:
        if element.tag in _BLOCKS:
            self._flush()
        if element.tag in ("ul", "ol") and self.lists:
            self.lists.pop()
        elif element.tag == "li":
            self.bullet = ""

    def _flush(self) -> None:
        text = " ".join("".join(self.words).split()).replace("\0", "\n")
        self.words = []
        if not text.strip():
            return
        if self.lists:
            indent = "" if not self.bullet else "  " * (len(self.lists) - 1)
            self.builder.item(indent + self.bullet + text.strip())
            self.bullet = ""
        else:
            self.builder.block(text)


def _data_rows(table: Any) -> list[list[Cell]] | None:
    """Return a table's cells; None for a table that only lays out a page."""
    rows: list[list[Cell]] = []
    for row in table.iter("tr"):
        cells = [_cell(c) for c in row if c.tag in ("td", "th")]
        if any(len(cell.text) > _LONGEST_CELL for cell in cells):
            return None
        rows.append(cells)
    inner = next(table.iterdescendants("table", "ul", "ol", "pre", "h1", "h2", "h3"), None)
    if inner is not None or not any(len([c for c in row if c.text]) > 1 for row in rows):
        return None
    return rows


def _cell(cell: Any) -> Cell:
    scopes: dict[str, Header] = {"row": "row", "rowgroup": "row", "col": "column"}
    header = scopes.get(cell.get("scope", ""), "th") if cell.tag == "th" else ""
    rows, columns = (whole_number(cell.get(name)) for name in ("rowspan", "colspan"))
    return Cell(squeeze(cell.text_content()), rows, columns, header)


def read_epub(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a book in the order of its spine."""
    with opened(path) as archive:
        container = needed(archive, "META-INF/container.xml", "an EPUB")
        if member(archive, "META-INF/rights.xml") is not None:
            raise Unreadable("encrypted: it is protected against copying")
        files = [attribute(e, "full-path") for e in container.iter() if local(e) == "rootfile"]
        name = next((file for file in files if file), "")
        package = needed(archive, name, "an EPUB")
        base = posixpath.dirname(name)
        places = {e.get("id"): e for e in package.iter() if local(e) == "item"}
        builder = TextBuilder()
        for reference in package.iter():
            if local(reference) != "itemref":
                continue
            item = places.get(reference.get("idref"))
            if item is None or "html" not in (item.get("media-type") or "html"):
                continue
            place = posixpath.normpath(posixpath.join(base, unquote(item.get("href") or "")))
            _chapter(builder, member(archive, place), place, notes)
        title, metadata = _book(package)
    yield Parsed(*builder.result(), title, metadata)


def _chapter(builder: TextBuilder, data: bytes | None, place: str, notes: Notes) -> None:
    if data is None:
        notes.append(f"its chapter {place} is missing")
        return
    builder.leave()
    try:
        _into(builder, _declared(data, notes))
    except Unreadable as error:
        notes.append(f"its chapter {place}: {error}")


def _book(package: Any) -> tuple[str, dict[str, Value]]:
    """Return title, author and language of a book."""
    said: dict[str, list[str]] = {}
    for element in package.iter():
        if local(element) in ("title", "creator", "language") and element.text:
            said.setdefault(local(element), []).append(squeeze(element.text))
    metadata: dict[str, Value] = {}
    if said.get("creator"):
        metadata["author"] = ", ".join(said["creator"])
    if said.get("language"):
        metadata["language"] = said["language"][0]
    return (said.get("title") or [""])[0], metadata
