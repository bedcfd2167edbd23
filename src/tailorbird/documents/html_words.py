"""Elements of marked-up pages: which are visible, which are blocks, and their words on a line."""

import re
from collections.abc import Container
from typing import Any

from tailorbird.documents.text_builder import squeeze, superscript

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
    **dict.fromkeys(("table", "grid", "treegrid"), "table"),
    **dict.fromkeys(("cell", "gridcell"), "td"),
    **dict.fromkeys(("columnheader", "rowheader"), "th"),
    "rowgroup": "tbody",
    "row": "tr",
}
_HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.I)
_SHOWN_AS_BLOCK = re.compile(r"display\s*:\s*(?:block|flex|grid|table|list-item)\b", re.I)
BREAK, _ITEM = "\0", "\1"
_BETWEEN_ITEMS = re.compile(rf"(?:(?<![\s{BREAK}])[\s{BREAK}]+)?{_ITEM}[\s{BREAK}]*")
_MARK = re.compile(r"\[?(?:\d{1,3}|[*†‡§¶#]{1,3}|[a-z]|[ivx]{1,4}|note \d{1,3})\]?", re.I)
_NOTE_CLASS = re.compile(r"\b(?:footnote|noteref|reference|fn-?ref|endnote|citation)", re.I)
_DEEPEST = 60
_FORMULA_PARTS = {
    "msup": "{0}^{1}",
    "msub": "{0}_{1}",
    "msubsup": "{0}_{1}^{2}",
    "mfrac": "{0}/{1}",
    "mroot": "root({0}, {1})",
    "munder": "{0}_{1}",
    "mover": "{0}^{1}",
    "munderover": "{0}_{1}^{2}",
}


def name_of(element: Any) -> str:
    """Return an element's tag, or the tag that its role stands for; empty for comments."""
    tag = element.tag
    if not isinstance(tag, str):
        return ""
    role = element.get("role")
    if role == "heading":
        level = element.get("aria-level") or ""
        return tag if tag in ("h1", "h2", "h3", "h4", "h5", "h6") else f"h{level[:1] or 2}"
    return _ROLES.get(role, tag) if role else tag


def is_heading(name: str) -> bool:
    """Return whether this is the name of a heading."""
    return len(name) == 2 and name[0] == "h" and name[1] in "123456"


def is_block(element: Any, name: str) -> bool:
    """Return whether an element's content stands apart from the text around it."""
    return (
        name in _BLOCKS
        or "-" in name  # a custom element
        or ("style" in element.attrib and bool(_SHOWN_AS_BLOCK.search(element.get("style"))))
    )


def is_unseen(element: Any, name: str) -> bool:
    """Return whether an element is invisible or a control."""
    if name in _UNSEEN:
        # A button that opens a section is that section's heading.
        return not (name == "button" and "aria-expanded" in element.attrib) and not (
            name == "dialog" and "open" in element.attrib
        )
    attributes = element.attrib
    if attributes.get("hidden", "until-found") != "until-found":
        return True
    if attributes.get("aria-hidden") == "true" or _HIDDEN.search(attributes.get("style", "")):
        return element.find(".//math") is None  # a hidden formula may be shown as a picture
    if name == "a" and (attributes.get("href") or "").startswith("#"):
        return all_words(element) in ("¶", "#", "§", "🔗")
    return name in ("td", "span", "div") and "lineno" in attributes.get("class", "")


def visible_text(root: Any, left_out: Container[Any] = (), lines: bool = False) -> str:
    """Return an element's words on one line, or with its line ends."""
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
    """Return the text of an inline element; None if it is that of its own words."""
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
    """Return the text after an element, with a space between adjacent links."""
    text: str = element.tail or ""
    after = element.getnext()
    if not text and after is not None and element.tag == after.tag and element.tag == "a":
        return " "
    return text


def all_words(element: Any) -> str:
    """Return all words in an element."""
    return squeeze("".join(element.itertext()))


def raised_words(element: Any, before: str) -> str:
    """Return the text of a ``sup`` after a character."""
    text = all_words(element)
    if _is_note(element, text):
        return text if text[:1] in ("[", "(") else f"[{text}]"  # apart from the word before it
    if not before.strip() and re.match(r"[^\W\d]{3}", element.tail or ""):
        return f"{text} "  # a note's number before its text
    return superscript(before, text)


def _is_note(element: Any, text: str) -> bool:
    if not _MARK.fullmatch(text):
        return False
    near = [element, element.getparent(), *element.iter("a")]
    return any(
        (e.tag == "a" and "#" in (e.get("href") or ""))
        or _NOTE_CLASS.search(" ".join(map(str, (e.get("class"), e.get("role"), e.get("id")))))
        for e in near
        if e is not None and e.tag in ("a", "sup", "span")
    )


def lowered_words(element: Any, before: str) -> str:
    """Return the text of a ``sub`` after a character: H2O, but 10_2."""
    text = all_words(element)
    digits = (element.tail or "")[:1].isdigit()
    if not text or not before.strip() or not (before.isdigit() or digits):
        return text
    return f"_{_group(text)}{' ' * digits}"


def _group(text: str) -> str:
    return text if re.fullmatch(r"[-+−]?\w+|[^\w\s]+", text) else f"({text})"


def formula(element: Any) -> str:
    """Return a MathML formula on one line, as TeX if the page has it."""
    tex = element.get("alttext") or next(
        (
            annotation.text or ""
            for annotation in element.iter("annotation")
            if "tex" in (annotation.get("encoding") or "").lower()
        ),
        "",
    )
    if tex.strip():
        return squeeze(re.sub(r"^\s*\{\\(?:display|text)style\s(.*)\}\s*$", r"\1", tex, flags=re.S))
    return squeeze(_linear(element, 0))


def _linear(element: Any, depth: int) -> str:
    if element.tag == "annotation" or not isinstance(element.tag, str):
        return ""
    if depth > _DEEPEST:
        return " ".join(element.itertext())
    parts = [_linear(child, depth + 1) for child in element]
    if element.tag == "msqrt":
        return f"sqrt({''.join(parts)})"
    pattern = _FORMULA_PARTS.get(element.tag)
    if pattern and len(parts) == pattern.count("{"):
        return pattern.format(*(part if len(part) == 1 else _group(part) for part in parts))
    if element.tag == "mtr":
        return ", ".join(parts) + "; "
    space = " " if element.tag == "mo" and (element.text or "").strip() in "=<>≤≥≈+−±→" else ""
    return f"{space}{(element.text or '').strip()}{''.join(parts)}{space}"
