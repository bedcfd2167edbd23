"""The elements of marked-up pages: which are seen, which stand apart, and their words on a line."""

import re
from collections.abc import Container
from typing import Any

from tailorbird.documents.formula import all_words, formula, lowered_words, raised_words
from tailorbird.documents.text_builder import squeeze

_UNSEEN_NAMES = (
    "script style noscript template svg head iframe object button select input textarea canvas "
    "audio video dialog rp datalist"
)
_UNSEEN = frozenset(_UNSEEN_NAMES.split())
_BLOCKS_NAMES = (
    "p div section article main header footer nav aside blockquote figure figcaption address dl "
    "dt dd ul ol menu dir li table thead tbody tfoot tr td th caption form fieldset legend "
    "details summary hr body html h1 h2 h3 h4 h5 h6 hgroup pre listing xmp center search"
)
_BLOCKS = frozenset(_BLOCKS_NAMES.split())
_ROLES = {
    "table": "table",
    "grid": "table",
    "treegrid": "table",
    "rowgroup": "tbody",
    "row": "tr",
    "cell": "td",
    "gridcell": "td",
    "columnheader": "th",
    "rowheader": "th",
}
_HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.I)
_SHOWN_AS_BLOCK = re.compile(r"display\s*:\s*(?:block|flex|grid|table|list-item)\b", re.I)
BREAK, _ITEM = "\0", "\1"
_BETWEEN_ITEMS = re.compile(rf"(?:(?<![\s{BREAK}])[\s{BREAK}]+)?{_ITEM}[\s{BREAK}]*")


def name_of(element: Any) -> str:
    """Return an element's tag, or that of what its role says it is; empty for comments."""
    tag = element.tag
    if not isinstance(tag, str):
        return ""
    role = element.get("role")
    if role == "heading":
        level = element.get("aria-level") or ""
        return tag if tag in ("h1", "h2", "h3", "h4", "h5", "h6") else f"h{level[:1] or 2}"
    return _ROLES.get(role, tag) if role else tag


def is_heading(name: str) -> bool:
    """Whether this is the name of a heading."""
    return len(name) == 2 and name[0] == "h" and name[1] in "123456"


def is_block(element: Any, name: str) -> bool:
    """Whether what the element holds stands apart from what is around it."""
    return (
        name in _BLOCKS
        or "-" in name  # an element of the page's own making
        or ("style" in element.attrib and bool(_SHOWN_AS_BLOCK.search(element.get("style"))))
    )


def is_unseen(element: Any, name: str) -> bool:
    """Whether an element is invisible or a control."""
    if name in _UNSEEN:
        # What opens a part of the page is that part's heading.
        return not (name == "button" and "aria-expanded" in element.attrib) and not (
            name == "dialog" and "open" in element.attrib
        )
    attributes = element.attrib
    if attributes.get("hidden", "until-found") != "until-found":
        return True
    if attributes.get("aria-hidden") == "true" or _HIDDEN.search(attributes.get("style", "")):
        return element.find(".//math") is None  # formulas hide where a picture of them is shown
    if name == "a" and (attributes.get("href") or "").startswith("#"):
        return all_words(element) in ("¶", "#", "§", "🔗")
    return name in ("td", "span", "div") and "lineno" in attributes.get("class", "")


def visible_text(root: Any, left_out: Container[Any] = (), lines: bool = False) -> str:
    """Return an element's words on one line, or with its line ends kept."""
    from lxml import etree

    parts: list[str] = []
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        name = name_of(element)
        block = bool(name) and element is not root and is_block(element, name)
        if block:
            parts.append(BREAK)
        if event == "end":
            if element is not root:
                parts.append(tail(element))
        elif element is not root and (not name or is_unseen(element, name) or element in left_out):
            walk.skip_subtree()
        elif (piece := inline(element, name, parts[-1][-1:] if parts else "")) is not None:
            parts.append(piece)
            walk.skip_subtree()
        else:
            if name == "li" and element.getprevious() is not None:
                parts.append(_ITEM)
            parts.append(element.text or "")
    text = "".join(parts)
    if lines:
        return re.sub(rf"\n?{BREAK}+(?:\n{BREAK}*)?", "\n", text.replace(_ITEM, ""))
    return squeeze(_BETWEEN_ITEMS.sub(_comma, text).replace(BREAK, " "))


def _comma(match: re.Match[str]) -> str:
    before = match.string[: match.start()][-1:]
    return " " if not before or before in ".,;:!?" else ", "


def inline(element: Any, name: str, before: str) -> str | None:
    """Return what is written for an element within a line; None if its own words are."""
    if name == "br":
        return BREAK
    if name == "sup":
        return raised_words(element, before)
    if name == "sub":
        return lowered_words(element, before)
    if name == "math":
        return formula(element)
    if name == "rt":
        return f"({all_words(element)})"
    if name == "q":
        return f"“{all_words(element)}”"
    if name == "a" and "noteref" in (element.get("epub:type") or element.get("role") or ""):
        return f"[{all_words(element).strip('[]')}]"
    return None


def tail(element: Any) -> str:
    """Return what follows an element; links without a space between them stand apart."""
    text: str = element.tail or ""
    after = element.getnext()
    if not text and after is not None and element.tag == after.tag and element.tag == "a":
        return " "
    return text
