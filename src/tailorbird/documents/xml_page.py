"""Reader of XML documents: JATS, DocBook and FictionBook, translated to HTML elements."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailorbird.documents.decode_text import clean, decode
from tailorbird.documents.html_page import PageWriter
from tailorbird.documents.html_words import all_words
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.table_grid import whole_number
from tailorbird.documents.text_builder import TextBuilder, squeeze
from tailorbird.documents.web import read_html
from tailorbird.documents.zip_xml import attribute, local

_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_OWN_ENTITIES = ("amp", "lt", "gt", "quot", "apos")
_TEX_BODY = re.compile(r"^.*?\\begin\{document\}(.*?)\\end\{document\}.*$", re.S)
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The elements of a kind of XML.

    Attributes:
        tags: The HTML element for each; others are inline.
        sections: Elements whose title is a heading, one level below that of the section around.
        dropped: Elements to skip.
    """

    tags: dict[str, str]
    sections: frozenset[str]
    dropped: frozenset[str]


def _vocabulary_of(tags: str, sections: str, dropped: str) -> _Vocabulary:
    """Parse a vocabulary from ``tag: name name`` lines and names."""
    same = {name: name for name in _SAME.split()}
    pairs = (line.split(":") for line in tags.strip().splitlines())
    named = {name: tag.strip() for tag, names in pairs for name in names.split()}
    return _Vocabulary(same | named, frozenset(sections.split()), frozenset(dropped.split()))


_SAME = "table thead tbody tfoot tr td th sup sub math p a code"
JATS = _vocabulary_of(
    """
    p: attrib verse-line speaker
    div: body back abstract sec table-wrap fig disp-formula table-wrap-foot ack app fn fn-group
    div: boxed-text supplementary-material statement speech verse-group caption kwd-group glossary
    ul: list ref-list
    li: list-item ref
    dl: def-list
    dt: term
    dd: def
    blockquote: disp-quote
    pre: preformat code
    a: ext-link uri xref
    br: break
    """,
    "article sec abstract trans-abstract ack app ref-list glossary boxed-text fn-group bio "
    "sub-article response def-list",
    "journal-meta article-id article-categories contrib-group author-notes pub-date volume issue "
    "fpage lpage elocation-id history permissions self-uri related-article funding-group counts "
    "custom-meta-group aff object-id graphic media alt-text title-group",
)
DOCBOOK = _vocabulary_of(
    """
    p: para simpara refname refpurpose attribution
    div: formalpara figure informalfigure example informalexample note tip warning caution
    div: important sidebar qandaset qandaentry question answer caption mediaobject cmdsynopsis
    div: partintro abstract bibliomixed glossentry varlistentry
    ul: itemizedlist simplelist
    ol: orderedlist procedure substeps
    li: listitem member step
    dl: variablelist glosslist
    dt: term glossterm-entry
    dd: glossdef
    blockquote: blockquote epigraph
    pre: programlisting screen literallayout synopsis programlistingco
    table: table informaltable
    tr: row
    td: entry
    sup: superscript
    sub: subscript
    q: quote
    a: link ulink
    """,
    "set book part chapter appendix preface article section sect1 sect2 sect3 sect4 sect5 "
    "simplesect refentry refsection refsect1 refsect2 refsect3 glossary bibliography colophon "
    "dedication abstract sidebar",
    "indexterm remark info bookinfo articleinfo chapterinfo sectioninfo imageobject colspec toc "
    "index refmeta",
)
FICTIONBOOK = _vocabulary_of(
    """
    p: v text-author subtitle
    div: body section epigraph annotation poem stanza date
    blockquote: cite
    """,
    "body section poem",
    "description binary image empty-line",
)
_NUMBERED = {
    name: style
    for style, names in (
        ("1", "order arabic"),
        ("a", "alpha-lower loweralpha"),
        ("A", "alpha-upper upperalpha"),
        ("i", "roman-lower lowerroman"),
        ("I", "roman-upper upperroman"),
    )
    for name in names.split()
}
_WORDLESS = ("math", "graphic", "table", "tex-math", "alternatives")
_ADMONITIONS = ("note", "tip", "warning", "caution", "important")
_FIRST_NAMES = ("given-names", "first-name", "firstname", "middle-name")
_LAST_NAMES = ("surname", "last-name", "collab", "personname", "nickname")
_INFOS = ("info", "bookinfo", "articleinfo", "chapterinfo", "sectioninfo")


def read_xml(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read XML.

    JATS, DocBook and FictionBook like web pages; XHTML as a web page; other XML as written.
    """
    data = path.read_bytes()
    root = _root(data) if len(data) <= _MOST_BYTES else None
    if root is not None and local(root) == "html":
        yield from read_html(path, options, notes)
        return
    vocabulary = None if root is None else _vocabulary(root)
    if vocabulary is None:
        yield Parsed(clean(decode(data, notes)).strip("\n"))
        return
    title, metadata = _book(root, vocabulary)
    words, marks = _write(root, vocabulary, title, notes).result()
    if not words:
        raise Unreadable("no text in it")
    yield Parsed(words, marks, title, metadata)


def _root(data: bytes) -> Any | None:
    """Return the root element; None if the XML is not well-formed."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities="internal", no_network=True, load_dtd=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    for named in (False, True):
        try:
            return etree.fromstring(_characters(data) if named else data, parser)
        except (etree.XMLSyntaxError, ValueError):
            continue
    return None


def _characters(data: bytes) -> bytes:
    """Return XML with named characters of an external DTD resolved."""

    def character(match: re.Match[str]) -> str:
        name = match.group(1)
        return match.group() if name in _OWN_ENTITIES else html.unescape(match.group())

    return _ENTITY.sub(character, data.decode("utf-8", "surrogateescape")).encode(
        "utf-8", "surrogateescape"
    )


def _vocabulary(root: Any) -> _Vocabulary | None:
    name, children = local(root), {local(child) for child in root}
    if name == "FictionBook":
        return FICTIONBOOK
    if name == "article" and children & {"front", "body"}:
        return JATS
    if name in DOCBOOK.sections and (
        "docbook.org" in str(root.tag)
        or any(local(e) in ("para", "simpara", "programlisting") for e in root.iter())
    ):
        return DOCBOOK
    return None


def _book(root: Any, vocabulary: _Vocabulary) -> tuple[str, dict[str, Value]]:
    """Return title, author and language of a work."""
    if vocabulary is DOCBOOK:
        parts = [root, *(child for child in root if local(child) in _INFOS)]
        titles = [child for part in parts for child in part if local(child) == "title"]
        authors = [e for part in parts[1:] for e in part.iter() if local(e) == "author"]
    else:
        names = ("article-title", "book-title")
        titles = [e for e in root.iter() if local(e) in names]
        writers = ("author",) if vocabulary is FICTIONBOOK else ("contrib",)
        head = next((child for child in root if local(child) in ("front", "description")), root)
        authors = [e for e in head.iter() if local(e) in writers and _names_it(e)]
    metadata: dict[str, Value] = {}
    named = (" ".join(_person(author)) for author in authors)
    if people := ", ".join(dict.fromkeys(filter(None, named))):
        metadata["author"] = people
    language = attribute(root, "lang") or next(
        (squeeze(e.text or "") for e in root.iter() if local(e) == "lang"), ""
    )
    if language:
        metadata["language"] = language
    return (all_words(titles[0]) if titles else ""), metadata


def _names_it(writer: Any) -> bool:
    """Return whether a person wrote the work, not the file or the original of a translation."""
    return writer.get("contrib-type") in (None, "author") and not any(
        local(outer) in ("document-info", "src-title-info") for outer in writer.iterancestors()
    )


def _person(element: Any) -> list[str]:
    """Return the words of a name, given name first."""
    parts = [e for e in element.iter() if not len(e)]
    first = [all_words(e) for e in parts if local(e) in _FIRST_NAMES]
    return [*first, *(all_words(e) for e in parts if local(e) in _LAST_NAMES)]


def _write(root: Any, vocabulary: _Vocabulary, title: str, notes: Notes) -> TextBuilder:
    translation = _Translation(vocabulary)
    for element in list(root.iter("*")):
        translation.rename(element)
    for element in root.iter("*"):
        _part_words(element)
    builder = TextBuilder()
    builder.heading(title, 1)
    PageWriter(builder, notes, translation.left_out).write(root)
    return builder


class _Translation:
    """Renames the elements of a document to those of HTML."""

    def __init__(self, vocabulary: _Vocabulary) -> None:
        self.left_out: set[Any] = set()
        self._vocabulary = vocabulary
        self._names: dict[Any, str] = {}
        self._levels: dict[Any, int] = {}
        self._lines: set[Any] = set()  # inline although it contains paragraphs

    def rename(self, element: Any) -> None:
        """Rename one element, after its ancestors."""
        name, parent = local(element), element.getparent()
        outer = self._names.get(parent, "")
        self._names[element] = name
        self._levels[element] = self._levels.get(parent, 0) + (name in self._vocabulary.sections)
        element.attrib.pop("role", None)
        if name in self._vocabulary.dropped or parent in self.left_out:
            self.left_out.add(element)
        elif name == "math" or (outer and parent in self._lines and parent.tag != "span"):
            element.tag = name  # parts of a formula keep their names
            self._lines.add(element)
        elif parent in self._lines:
            element.tag = "span"
            self._lines.add(element)
        elif name == "title":
            self._title(element, outer)
        elif name == "label":
            self._label(element)
        else:
            element.tag = self._vocabulary.tags.get(name, "span")
            self._fit(element, name, outer)

    def _title(self, element: Any, outer: str) -> None:
        level = self._levels[element]
        if outer in self._vocabulary.sections and level > 1:
            element.tag = f"h{min(level, 6)}"
        elif level == 1 and outer in self._vocabulary.sections and outer != "body":
            self.left_out.add(element)  # the work's own title, written first
        else:
            element.tag = {"table": "caption", "body": "h1"}.get(outer, "p")

    def _label(self, element: Any) -> None:
        """Move a number to the front of its title or text."""
        after = element.getnext()
        while (
            after is not None
            and local(after) not in _WORDLESS
            and len(after)
            and not (after.text or "").strip()
        ):
            after = after[0]
        element.tag = "span"
        if after is not None and local(after) not in _WORDLESS:
            after.text = f"{all_words(element)} {after.text or ''}"
            self.left_out.add(element)

    def _fit(self, element: Any, name: str, outer: str) -> None:
        """Set the HTML attributes of an element: links, numbers, spans."""
        if element.tag == "a":
            _link(element)
        elif name in ("list", "orderedlist"):
            kind = element.get("list-type") or element.get("numeration") or ""
            element.tag = "ol" if kind in _NUMBERED else element.tag
            element.set("type", _NUMBERED.get(kind, "1"))
            element.set("start", element.get("startingnumber") or "1")
        elif name == "entry":
            self._spans(element)
        elif name == "listitem" and outer == "varlistentry":
            element.tag = "dd"
        elif name == "footnote":
            self._lines.add(element)
            element.text, element.tail = f" [{element.text or ''}", f"]{element.tail or ''}"
        elif name == "tex-math":
            if any(local(other) == "math" for other in element.getparent()):
                self.left_out.add(element)
            element.text = _TEX_BODY.sub(r"\1", element.text or "").strip()
        elif name in _ADMONITIONS and not any(local(child) == "title" for child in element):
            first = next(iter(element), element)
            first.text = f"{name.capitalize()}: {first.text or ''}"

    def _spans(self, entry: Any) -> None:
        """Set the spans of a DocBook table cell as in HTML."""
        entry.set("rowspan", str(whole_number(entry.get("morerows"), 0) + 1))
        group = next((e for e in entry.iterancestors() if self._names.get(e) == "tgroup"), ())
        columns = [spec.get("colname") for spec in group if local(spec) == "colspec"]
        first, last = entry.get("namest"), entry.get("nameend")
        if first in columns and last in columns:
            entry.set("colspan", str(max(1, columns.index(last) - columns.index(first) + 1)))


def _link(element: Any) -> None:
    """Set a link's target as in HTML, and the role of a note's mark."""
    target = attribute(element, "rid") or attribute(element, "linkend")
    address = attribute(element, "href") or attribute(element, "url") or ""
    element.set("href", f"#{target}" if target else address)
    if element.get("type") == "note":
        element.set("role", "doc-noteref")


def _part_words(parent: Any) -> None:
    """Separate the words of child elements that have no text between them."""
    if not (parent.text or "").strip() and not any((e.tail or "").strip() for e in parent):
        for element in parent:
            if element.tag == "span":
                element.tail = " "
