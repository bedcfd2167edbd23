"""Readers of HTML and EPUB: the visible text with marked headings."""

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tailorbird.documents.decode_text import clean, decode
from tailorbird.documents.html_main import main_part
from tailorbird.documents.html_page import PageWriter
from tailorbird.documents.html_words import is_unseen, name_of, visible_text
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.text_builder import TextBuilder, squeeze
from tailorbird.documents.zip_xml import attribute, local, member, open_zip, required_part

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.I)
_WORDS = ".//text()[not(parent::script or parent::style or parent::noscript or parent::template)]"
_MOST_HIDDEN = 50
_MARKUP = re.compile(r"</?[a-zA-Z!?]")


def read_html(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a web page.

    The visible main part: lists with their numbers, terms with their descriptions, 10⁶ as `10^6`,
    formulas as TeX or on one line; see "Web pages".
    """
    text = _decode_page(path.read_bytes(), notes)
    root = _tree(text, notes)
    heading, part, left_out = main_part(root, notes)
    builder = TextBuilder()
    if heading is not None:
        builder.heading(visible_text(heading), 1)
    PageWriter(builder, notes, left_out).write(part)
    yield _result(builder, root, text)


def html(text: str, notes: Notes) -> Parsed:
    """Return all text of a page from a message, which has no navigation.

    Raises:
        Unreadable: It has no text.
    """
    root = _tree(text, notes)
    builder = TextBuilder()
    PageWriter(builder, notes).write(root)
    return _result(builder, root, text)


def _result(builder: TextBuilder, root: Any, text: str) -> Parsed:
    words, marks = builder.result()
    if not words and _MARKUP.search(text):
        raise Unreadable("it has no text: the page is filled by scripts or shows only pictures")
    return Parsed(words, marks, _title(root), _facts(root))


def _decode_page(data: bytes, notes: Notes) -> str:
    """Decode a page as UTF-8, or else by its declared encoding."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        match = _DECLARED.search(data[:4096])
        name = match.group(1).decode("ascii").lower() if match else ""
        if name not in ("", "utf-8", "utf8"):
            try:
                return data.decode(name)
            except (LookupError, UnicodeError):
                notes.append(f"it declares the encoding {name}, which does not fit its bytes")
    return decode(data, notes)


def _tree(text: str, notes: Notes) -> Any:
    """Return a page's root element."""
    from lxml import etree, html as parser

    reader = parser.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        root = parser.document_fromstring(clean(text).encode("utf-8"), parser=reader)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise Unreadable(f"not an HTML page: {error}") from error
    if any("Excessive depth" in error.message for error in reader.error_log):
        notes.append("left out: elements nested more than 2,000 deep")
    _uncover(root)
    return root


def _uncover(root: Any) -> None:
    """Unhide the elements with most of a page's text: behind a dialog, or until a script runs."""
    hidden = root.xpath("//*[@hidden or @aria-hidden='true' or @style]")
    covering = [e for e in hidden if is_unseen(e, name_of(e))][:_MOST_HIDDEN]
    whole = _letters(root) if covering else 0
    for element in covering:
        if 2 * _letters(element) > whole:
            for name in ("hidden", "aria-hidden", "style"):
                element.attrib.pop(name, None)


def _letters(element: Any) -> int:
    return sum(map(len, element.xpath(_WORDS)))


def _title(root: Any) -> str:
    """Return the page's title, not that of a drawing in it, or else its first heading."""
    titles = [e for e in root.iter("title") if next(e.iterancestors("svg", "symbol"), None) is None]
    words = (visible_text(e) for e in (*titles, *root.iter("h1")))
    return next(filter(None, words), "")


def _facts(root: Any) -> dict[str, Value]:
    """Return a page's metadata."""
    metadata: dict[str, Value] = {}
    if root.get("lang"):
        metadata["language"] = root.get("lang")
    for meta in root.iter("meta"):
        name = (meta.get("name") or "").lower()
        if name in ("author", "description") and meta.get("content"):
            metadata[name] = squeeze(meta.get("content"))
    return metadata


def read_epub(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an EPUB.

    Chapters in the order of the book (its spine), each like a web page, without menus.
    """
    with open_zip(path) as archive:
        container = required_part(archive, "META-INF/container.xml", "an EPUB")
        if member(archive, "META-INF/rights.xml") is not None:
            raise Unreadable("encrypted: it is protected against copying (DRM)")
        files = [attribute(e, "full-path") for e in container.iter() if local(e) == "rootfile"]
        name = next((file for file in files if file), "")
        package = required_part(archive, name, "an EPUB")
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
        root = _tree(_decode_page(data, notes), notes)
    except Unreadable as error:
        notes.append(f"its chapter {place}: {error}")
    else:
        PageWriter(builder, notes, set(root.iter("nav"))).write(root)


def _book(package: Any) -> tuple[str, dict[str, Value]]:
    """Return title, author and language of a book."""
    facts: dict[str, list[str]] = {}
    for element in package.iter():
        if local(element) in ("title", "creator", "language") and element.text:
            facts.setdefault(local(element), []).append(squeeze(element.text))
    metadata: dict[str, Value] = {}
    if facts.get("creator"):
        metadata["author"] = ", ".join(facts["creator"])
    if facts.get("language"):
        metadata["language"] = facts["language"][0]
    return (facts.get("title") or [""])[0], metadata
