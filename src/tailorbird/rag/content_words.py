"""Content words of a text, and whether a question asks for code or a figure."""

import re
from collections.abc import Iterable
from functools import lru_cache

from tailorbird.knowledge import index_terms
from tailorbird.knowledge.normalise import EACH, RUNS, fold, pieces

# Question words are stop words too: they name the kind of answer, not the subject.
_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below
between both but by can can't cannot could did didn't do does doesn't doing don't down during each
few for from further get gets go got had has have having he her here hers him his how i if i'd
i'll i'm i've in into is isn't it it's its itself just let like made make makes many may me might
more most much must my myself no nor not now of off on once one ones only or other our out over
own please same she should so some such tell than that that's the their them then there these they
thing things this those through to too under until up us use used using very want was way we were
what what's when where which while who whom whose why will with won't would you your yours
"""
_STOP = frozenset((*_STOP_WORDS.split(), "yes", "sure", "ok", "okay", "certainly"))
# Words with inner apostrophes and the vowel signs of Indian scripts; digits with their points and
# commas; each Chinese or Japanese letter by itself; runs of Thai, Lao, Burmese and Khmer.
_SIGNS = "\u0300-\u036f\u0483-\u0487\u0900-\u0963\u0971-\u0dff"
_LETTERS = rf"(?:[^\W\d_{EACH}{RUNS}]|[{_SIGNS}])+"
_TOKEN = re.compile(
    rf"(?P<run>[{RUNS}]+)|(?P<word>[{EACH}]|\d+(?:[.,]\d+)*|{_LETTERS}(?:'{_LETTERS})*)"
)
_ELIDED = re.compile(r"^(?:[cdjlmnst]|qu|lorsqu|puisqu|dell|nell|sull|all|un)'(?=\w)")
# Word boundaries in code names: MergeAdapter, merge_adapter and merge adapter share their words.
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of a lower-case word (Snowball's English; other scripts are unchanged)."""
    return index_terms.stem(word) if word.isascii() else word


def tokens(text: str) -> list[str]:
    """Return all words and numbers, folded to lower case, with code names split."""
    apart = _HUMP.sub(" ", fold(text)).replace("\u2019", "'")
    parts: list[str] = []
    for match in _TOKEN.finditer(apart):
        parts += pieces(match["run"]) if match["run"] else [match["word"].casefold()]
    return parts


def content_words(text: str) -> list[str]:
    """Return the stems of the content words in order, without numbers."""
    return [
        content_stem(word) for word in tokens(text) if word not in _STOP and not word[0].isdigit()
    ]


def content_stem(word: str) -> str:
    """Return the stem of a token without its clitics: Anna's, l'eau."""
    return stem(_ELIDED.sub("", word.removesuffix("'s"))) if "'" in word else stem(word)


def is_stop_word(word: str) -> bool:
    """Return whether a token is a stop word."""
    return word in _STOP


def share_held(part: Iterable[str], whole: set[str]) -> float:
    """Return the share of the distinct words in `part` that `whole` contains; 0 for none."""
    words = set(part)
    return len(words & whole) / len(words) if words else 0.0


_CODE_MARKS = re.compile(r"`|\w\(|\w_\w|\w\.\w+\(|[=\[\]{}<>]|(?<!\w)--?\w|\w::\w")
_HOW = re.compile(
    r"\bhow (?:do|can|could|should|to|must|might)\b"
    r"|\bwhat (?:should|can|could|must|do) (?:i|we|you)\b"
    r"|\b(?:code|command|snippet|syntax|example|function|method|way to)\b"
    r"|^\W*(?:wie|comment|c[o\u00f3]mo|come|hoe|hur|hvordan|jak|nas\u0131l|\u043a\u0430\u043a)\b",
    re.I,
)
_FIGURE = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|high|large|big|fast|deep|often|heavy|wide|hot|cold"
    r"|warm)\b|\b(?:what|which)(?: \w+)? (?:percent\w*|number|amount|share|proportion|fraction"
    r"|price|cost|height|weight|length|speed|temperature|population)\b"
    r"|\bwhen (?:did|do|does|is|are|was|were|will|must)\b|^\W*when\b"
    r"|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b",
    re.I,
)


def names_code(question: str) -> bool:
    """Return whether a question contains code: a call, a name with an underscore, an option."""
    return _CODE_MARKS.search(question) is not None


def asks_for_code(question: str) -> bool:
    """Return whether code may answer a question: it contains code or asks how to do something."""
    return names_code(question) or _HOW.search(question) is not None


def asks_for_figure(question: str) -> bool:
    """Return whether the answer to a question is a number or a date."""
    return _FIGURE.search(question) is not None


def meaning(text: str) -> set[str]:
    """Return a text's numbers and the stems of its content words."""
    return {*content_words(text), *(word for word in tokens(text) if word[0].isdigit())}
