"""Content words of a text, those that it negates, and what kind of answer a question asks for.

As in NegEx (Chapman et al. 2001, doi:10.1006/jbin.2001.1029), a negation covers the next few words
of its clause, or those before it at the clause's end, and some phrases negate nothing ("not only").
The negations are words that Universal Dependencies marks with Polarity=Neg and PronType=Neg (not,
no, never, nobody), and words such as without and hardly.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from tailorbird.knowledge import index_terms
from tailorbird.knowledge.index_terms import EACH, RUNS, fold, pieces

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


_DENIAL_WORDS = """
not no never none neither nor cannot without nothing nobody nowhere unable lack lacks lacked lacking
hardly barely scarcely rarely seldom cant dont doesnt didnt isnt arent wasnt werent wont wouldnt
nicht kein keine keinen keinem keiner keines nie niemals nichts niemand nirgends ohne weder kaum
ne pas jamais rien aucun aucune sans ni guère nul nulle
nunca jamás ningún ninguna ninguno nada nadie sin tampoco
non nessun nessuna nessuno niente nulla senza neanche nemmeno
não nenhum nenhuma ninguém sem nem
niet geen nooit niets zonder nergens
inte ej icke ingen inget inga aldrig ingenting utan ikke intet aldri uden uten
ei eivät emme ette älä ilman
nigdy nic nikt żaden żadna żadne bez ani
není nelze nikdy nikdo žádný žádná žádné nije nema nikad nikada ništa
не нет ни никогда ничего ничто никто без нельзя ні немає ніколи нічого ніхто няма никога нищо
değil yok hiç hiçbir asla
nincs soha nélkül nu nici niciun nicio niciodată fără nimic
δεν δε μην όχι χωρίς κανένας καμία κανένα τίποτα
لا ليس ليست لم لن بدون بلا غير دون نیست نیستند هیچ هرگز
לא אין בלי אינו אינה אינם ללא
नहीं न मत बिना
tidak bukan tanpa belum jangan không chưa chẳng đừng
不 没 沒 无 無 未 勿 莫 안 못
"""
_DENIALS = frozenset(fold(_DENIAL_WORDS).casefold().split())
# After another negation these affirm: not without, nicht ohne.
_WITHOUT_WORDS = """
without ohne sans sin senza sem zonder utan uden uten ilman bez без nélkül fără χωρίς
"""
_WITHOUT = frozenset(_WITHOUT_WORDS.split())
_DENY_NOTHING = re.compile(
    r"\b(?:not (?:only|just|merely|least)|whether or not|no (?:doubt|matter)|nicht (?:nur|zuletzt)"
    r"|non seulement|no s[oó]lo|non solo|não só|niet alleen|inte bara|ikke bare|nie tylko"
    r"|не только)\b"
    r"|\b(?:ne |n')\w+(?: \w+)? qu(?:e\b|')",  # French for only
    re.I,
)
# Negations inside a word, or in scripts without spaces.
_HIDDEN = re.compile(
    "\u307e\u305b\u3093(?:\u3067\u3057\u305f)?|\u306a\u304b\u3063\u305f|\u306a\u3044|\u306a\u304f"
    "|\u0e44\u0e21\u0e48|\u0e9a\u0ecd\u0ec8|\u1798\u17b7\u1793"
    "|[\uc54a\uc5c6][\uac00-\ud7a3]*|\uc544\ub2c8[\uac00-\ud7a3]*|\uc544\ub2d9[\uac00-\ud7a3]*"
)
_ELIDED_NOT = re.compile(r"\bn'(?=\w)", re.I)
# These prefixes negate the rest of their word: unlocked, nonlinear, inactive, nefunguje.
_UN = re.compile(
    r"(?:un|non|ne)(?=\w{4})|in(?=(?:valid|active|correct|complete|consistent|direct|secure"
    r"|sufficient|accurate|visible|accessible|compatible|eligible|capable|effective|dependent)\b)"
    r"|im(?=(?:possible|proper|mutable|perfect)\b)|ir(?=(?:regular|relevant|reversible)\b)"
    r"|il(?=(?:legal|legible)\b)|dis(?=(?:abled?|allow|agree|connect|continu|approv)\w*)"
)
_CLAUSES = re.compile(r"[.,;:!?()\n\u3001\u3002\u060c\u0964]")
_REACH = 3


def denied(text: str) -> set[str]:
    """Return the stems that a text negates.

    >>> sorted(denied("It does not open on Sundays, and the back door is unlocked."))
    ['lock', 'open', 'sunday']
    """
    plain = fold(text).replace("\u2019", "'")
    plain = _HIDDEN.sub(" not ", _ELIDED_NOT.sub("ne ", _DENY_NOTHING.sub(" ", plain)))
    return set().union(*(_denied_in(clause) for clause in _CLAUSES.split(plain)))


def _denied_in(clause: str) -> set[str]:
    left = 0
    waiting = False
    before: list[str] = []
    stems: set[str] = set()
    for word in tokens(clause):
        if word in _DENIALS or word.endswith("n't"):
            left = 0 if left and word in _WITHOUT else _REACH
            waiting = bool(left)
            continue
        if word in _STOP:
            continue
        own = content_stem(word)
        prefix = _UN.match(word)
        if prefix and left:
            left, waiting = 0, False  # double negation: not unlocked
        elif prefix:
            stems.add(stem(word[prefix.end() :]))
        elif left:
            stems.add(own)
            left, waiting = left - 1, False
        before.append(own)
    return stems | set(before[-_REACH:]) if waiting else stems
