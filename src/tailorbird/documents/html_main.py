"""Finds the main part of a web page: roles, names and links identify the rest."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tailorbird.documents.html_words import is_block, is_heading, is_unseen, name_of, visible_text
from tailorbird.documents.read_result import Notes

_ROLES = frozenset(
    ("navigation", "search", "menu", "menubar", "banner", "contentinfo", "toolbar", "tablist")
)
_NOTICES = frozenset(("cookie", "cookies", "consent", "gdpr", "ccpa", "adsbygoogle", "advert"))
_COMMENTS = frozenset(("comments", "commentlist", "disqus", "respond"))
_AROUND_NAMES = """
    nav navbar navigation navbox breadcrumb breadcrumbs crumbs sidenav sphinxsidebar footer readmore
    recommended recommendations share sharing social socials newsletter subscribe subscription
    signup login advertisement advertising ads sponsor sponsored pagination pager skip skiplink jump
    tagcloud catlinks editsection printfooter noprint backlink
"""
_AROUND = frozenset(_AROUND_NAMES.split())
# Site builders also use these names inside the content; links distinguish the two.
_MAYBE_NAMES = """
    menu submenu sidebar masthead related trending popular promo promotion toolbar teaser teasers
    widget widgets popup modal overlay banner tags copyright
"""
_MAYBE = frozenset(_MAYBE_NAMES.split())
_NOTES = re.compile(r"footnote|endnote|reference|doc-endnotes", re.I)
_HOLDER_NAMES = (
    "div section article aside header footer ul ol dl table tbody tr td p form details span a"
)
_HOLDERS = frozenset(_HOLDER_NAMES.split())
_WRAPPER_NAMES = "body div section article main form table tbody tr td center span"
_WRAPPERS = frozenset(_WRAPPER_NAMES.split())
_LEAST_PROSE = 50  # letters of a prose paragraph: about eight words
_LEAST_REST = 20
_LEAST_TEXT = 200
_LARGEST_SHARE = 0.3
_FEW_LINKS = 0.2
_LEAST_MAIN, _LEAST_ARTICLE, _LEAST_OF_SEVERAL = 0.2, 0.5, 0.67
_LINK_LIST = (3, 0.6)  # number of links, and share of letters in them
_LINK_LIST_INSIDE = (8, 0.8)  # inside the marked main part
_NEARLY_ALL = 0.97
_EXCERPTS = 3
_LONGEST_NAMES = 500


@dataclass(slots=True)
class _Size:
    """The amount of text in an element.

    Attributes:
        linked: The letters inside links.
        anchors: Links to places on the same page.
        prose: Letters outside links in paragraphs of some length.
        titles: Elements that must not be dropped: the first heading, the main part.
    """

    letters: int = 0
    linked: int = 0
    links: int = 0
    anchors: int = 0
    prose: int = 0
    titles: int = 0
    headings: int = 0
    code: int = 0

    @property
    def plain(self) -> int:
        """Letters outside of links."""
        return self.letters - self.linked

    def add(self, other: "_Size") -> None:
        """Add another element's size."""
        self.letters += other.letters
        self.linked += other.linked
        self.links += other.links
        self.anchors += other.anchors
        self.prose += other.prose
        self.titles += other.titles
        self.headings += other.headings
        self.code += other.code


_Sizes = dict[Any, _Size]


def main_part(root: Any, notes: Notes) -> tuple[Any | None, Any, set[Any]]:
    """Return a page's heading if it stands apart, its main part, and elements to skip in that."""
    sizes = _sizes(root, set())
    marked = _marked_part(root, sizes)
    part = root if marked is None else marked
    left_out = set(_outermost(part, sizes, lambda e: _is_around(e, sizes[e], sizes[part])))
    sizes = _sizes(part, left_out)
    lists = set(_link_lists(part, sizes, inside=marked is not None))
    if sum(sizes[e].letters for e in lists) <= sizes[part].letters / 2:  # otherwise an index
        left_out |= lists
        left_out |= set(_bare_headings(lists, left_out))
        sizes = _sizes(part, left_out)
    part = _densest(part, sizes, left_out)
    heading = _heading(root, part, left_out)
    _tell(_rest(root, part, left_out), heading, left_out, notes)
    return heading, part, left_out


def _sizes(root: Any, left_out: set[Any]) -> _Sizes:
    """Return the size of each visible element."""
    from lxml import etree

    sizes: _Sizes = {}
    stack = [_Size()]
    run, linked_run, depth = 0, 0, 0
    passed = None
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        name = name_of(element)
        if event == "start" and (not name or element in left_out or is_unseen(element, name)):
            passed = element
            walk.skip_subtree()
            continue
        link = name == "a" and bool(element.get("href"))
        if element is not passed and is_block(element, name):
            stack[-1].prose += run if run >= _LEAST_PROSE and 2 * linked_run < run else 0
            run = linked_run = 0
        if event == "start":
            sizes[element] = _Size(
                links=int(link),
                anchors=int(link and element.get("href").startswith("#")),
                titles=int(name in ("h1", "main")),
                headings=int(is_heading(name) and name != "h1"),
                code=int(name == "pre"),
            )
            stack.append(sizes[element])
            depth += link
        elif element is not passed:
            size = stack.pop()
            stack[-1].add(size)
            depth -= link
        text = element.text if event == "start" else element.tail if element is not root else None
        count = _letters(text) if text else 0
        stack[-1].letters += count
        run += count
        if depth:
            stack[-1].linked += count
            linked_run += count
    return sizes


def _letters(text: str) -> int:
    """Return the number of letters in a text; a Chinese one counts as three."""
    words = text.split()
    count = sum(map(len, words)) + len(words)
    return count if text.isascii() else count + 2 * sum(char > "\u2e80" for char in text)


def _marked_part(root: Any, sizes: _Sizes) -> Any | None:
    """Return the part marked as main, if it contains enough of the text."""
    mains = [e for e in sizes if e.tag == "main" or e.get("role") == "main"]
    articles = [e for e in sizes if e.tag == "article" and not _within(e, "article")]
    for parts, share in ((mains, _LEAST_MAIN), (articles, _LEAST_ARTICLE)):
        largest = max(parts, key=lambda part: sizes[part].plain, default=None)
        least = share if len(parts) == 1 else _LEAST_OF_SEVERAL
        if largest is not None and sizes[largest].plain > least * sizes[root].plain:
            return largest
    return None


def _within(element: Any, *names: str) -> bool:
    return next(element.iterancestors(*names), None) is not None


def _outermost(part: Any, sizes: _Sizes, condition: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield the outermost elements below a part that satisfy a condition."""
    from lxml import etree

    walk = etree.iterwalk(part, events=("start",))
    for _, element in walk:
        if element is part:
            continue
        if element not in sizes:
            walk.skip_subtree()
        elif condition(element):
            yield element
            walk.skip_subtree()


def _is_around(element: Any, size: _Size, whole: _Size) -> bool:
    name = element.tag
    if not size.letters or size.titles:
        return False
    if name == "nav" or element.get("role") in _ROLES:
        return True
    names = _names(element)
    rest = whole.plain - size.plain
    if names & _NOTICES:
        return rest >= _LEAST_REST
    if names & _COMMENTS:
        return rest >= max(_LEAST_TEXT, whole.plain / 4)
    if size.plain > _LARGEST_SHARE * whole.plain or rest < _LEAST_TEXT:
        return False
    if name == "footer":
        inner = _within(element, "article", "main", "section", "blockquote")
        if not inner or size.prose < _LEAST_PROSE:
            return not _has_notes(element) and not _within(element, "blockquote")
    if name not in _HOLDERS or size.code:
        return False
    linked = size.linked > _FEW_LINKS * size.letters
    return bool(names & _AROUND and (linked or size.prose < _LEAST_TEXT)) or bool(
        names & _MAYBE and linked
    )


def _has_notes(element: Any) -> bool:
    return any(
        _NOTES.search(" ".join((e.get("class") or "", e.get("role") or "", e.get("id") or "")))
        for e in element.iter()
    )


def _names(element: Any) -> set[str]:
    """Return the words of an element's class and id."""
    names = f"{element.get('class') or ''} {element.get('id') or ''}"[:_LONGEST_NAMES]
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", names)}


def _link_lists(part: Any, sizes: _Sizes, inside: bool) -> Iterator[Any]:
    """Yield elements that contain little besides links."""
    least, share = _LINK_LIST_INSIDE if inside else _LINK_LIST

    def is_list(element: Any) -> bool:
        size = sizes[element]
        if element.tag not in _HOLDERS or size.prose or size.titles or size.code:
            return False
        contents = size.anchors == size.links >= _LINK_LIST[0]
        if inside and size.headings and not contents:
            return False
        return size.linked >= share * size.letters and (size.links >= least or contents)

    yield from _outermost(part, sizes, is_list)


def _bare_headings(lists: set[Any], left_out: set[Any]) -> Iterator[Any]:
    """Yield headings whose whole section is left out."""
    for element in lists:
        before, after = element.getprevious(), element.getnext()
        if before is None or name_of(before) not in ("h2", "h3", "h4", "h5", "h6"):
            continue
        alone = not (before.tail or "").strip() and not (element.tail or "").strip()
        if alone and (after is None or after in left_out or is_heading(name_of(after))):
            yield before


def _densest(part: Any, sizes: _Sizes, left_out: set[Any]) -> Any:
    """Return the innermost element with nearly all paragraphs."""
    whole = sizes[part]
    if whole.prose < 2 * _LEAST_TEXT:
        return part
    while True:
        inner = [e for e in part if e in sizes and e not in left_out and e.tag in _WRAPPERS]
        best = max(inner, key=lambda e: sizes[e].prose, default=None)
        if (
            best is None
            or sizes[best].prose < _NEARLY_ALL * whole.prose
            or sizes[best].headings < sizes[part].headings
            or sizes[best].plain < (1 - _LARGEST_SHARE) * whole.plain
        ):
            return part
        part = best


def _heading(root: Any, part: Any, left_out: set[Any]) -> Any | None:
    """Return the page's first heading if it is outside the main part."""
    for heading in root.iter("h1"):
        line = (heading, *heading.iterancestors())
        if part in line:
            return None
        if not any(e in left_out or is_unseen(e, name_of(e)) for e in line):
            return heading
    return None


def _rest(root: Any, part: Any, left_out: set[Any]) -> Iterator[Any]:
    """Yield the outermost excluded elements, in and around the main part."""
    yield from (e for e in left_out if not any(outer in left_out for outer in e.iterancestors()))
    while part is not root:
        yield from (e for e in part.getparent() if e is not part and e not in left_out)
        part = part.getparent()


def _tell(rest: Iterator[Any], heading: Any | None, left_out: set[Any], notes: Notes) -> None:
    """Note how much of the page is left out and how it begins."""
    outside = left_out if heading is None else left_out | {heading}
    texts = [
        visible_text(e, outside)
        for e in rest
        if name_of(e) and e is not heading and not is_unseen(e, name_of(e))
    ]
    if any(texts):
        count = sum(len(text.split()) for text in texts)
        longest = filter(None, sorted(texts, key=len, reverse=True)[:_EXCERPTS])
        excerpts = ", ".join(f'"{t[:40].strip()}{"..." * (len(t) > 40)}"' for t in longest)
        notes.append(f"left out around its main part: {count:,} words, such as {excerpts}")
