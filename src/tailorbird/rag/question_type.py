"""What a question asks for: code, a figure, a name; and which words carry its meaning."""

import re
from typing import Literal

from tailorbird.rag.content_words import content_words, tokens

Fact = Literal["number", "date", "name", "phrase"]

_CODE_MARKS = re.compile(r"`|\w\(|\w_\w|\w\.\w+\(|[=\[\]{}<>]|(?<!\w)--?\w|\w::\w")
_HOW = re.compile(
    r"\bhow (?:do|can|could|should|to|must|might)\b"
    r"|\bwhat (?:should|can|could|must|do) (?:i|we|you)\b"
    r"|\b(?:code|command|snippet|syntax|example|function|method|way to)\b"
    r"|^\W*(?:wie|comment|c[o\u00f3]mo|come|hoe|hur|hvordan|jak|nas\u0131l|\u043a\u0430\u043a)\b",
    re.I,
)
_FACTS: tuple[tuple[str, Fact], ...] = (
    (r"\bhow (?:many|much|old|long|far|tall|high|large|big|fast|deep|often|heavy|wide|hot|cold"
     r"|warm)\b|\b(?:what|which)(?: \w+)? (?:percent\w*|number|amount|share|proportion|fraction"
     r"|price|cost|height|weight|length|speed|temperature|population)\b", "number"),
    (r"\bwhen (?:did|do|does|is|are|was|were|will|must)\b|^\W*when\b"
     r"|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b", "date"),
    (r"\bwho\b|\bwhom\b|\bwhose\b|\bwhere\b|\b(?:what|which) (?:\w+ ){0,2}?(?:city|country|state"
     r"|person|team|company|player|name|king|queen|university|school|river|group|man|woman"
     r"|organization|coach|author|president|nation|region|place)\b", "name"),
)  # fmt: skip


def names_code(question: str) -> bool:
    """Say whether a question has code in it: a call, a name with an underscore, an option."""
    return _CODE_MARKS.search(question) is not None


def asks_for_code(question: str) -> bool:
    """Say whether code may answer a question: one that has code in it or asks how to do a thing."""
    return names_code(question) or _HOW.search(question) is not None


def fact_kind(question: str) -> Fact:
    """Return what kind of thing answers a question of fact in a few words."""
    return next((kind for rule, kind in _FACTS if re.search(rule, question, re.I)), "phrase")


def asks_for_figure(question: str) -> bool:
    """Say whether a number or a date answers the question."""
    return fact_kind(question) in ("number", "date")


def meaning(text: str) -> set[str]:
    """Return the stems of a text's words that mean something, and its numbers."""
    return {*content_words(text), *(word for word in tokens(text) if word[0].isdigit())}
