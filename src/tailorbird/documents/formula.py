"""Raised and lowered words and formulas, written on the line: 10^6 is not 106."""

import re
from typing import Any

from tailorbird.documents.text_builder import squeeze, superscript

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


def all_words(element: Any) -> str:
    """Return the words in an element, whatever holds them."""
    return squeeze("".join(element.itertext()))


def raised_words(element: Any, before: str) -> str:
    """Return how a ``sup`` is written after a character."""
    text = all_words(element)
    if _is_note(element, text):
        return note_mark(text)
    if not before.strip() and re.match(r"[^\W\d]{3}", element.tail or ""):
        return f"{text} "  # the number of a note, before its words
    return superscript(before, text)


def note_mark(text: str) -> str:
    """Return the mark of a footnote: no part of the word or number that it stands at."""
    return text if text[:1] in ("[", "(") else f"[{text}]"


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
    """Return how a ``sub`` is written after a character: H2O, but 10_2."""
    text = all_words(element)
    digits = (element.tail or "")[:1].isdigit()
    if not text or not before.strip() or not (before.isdigit() or digits):
        return text
    return f"_{_group(text)}{' ' * digits}"


def _group(text: str) -> str:
    return text if re.fullmatch(r"[-+−]?\w+|[^\w\s]+", text) else f"({text})"


def formula(element: Any) -> str:
    """Return a MathML formula on one line: its TeX where the page has it."""
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
