"""Which words a text negates, in the most common languages of documents.

As in NegEx (Chapman et al. 2001, doi:10.1006/jbin.2001.1029), a negation covers the next few words
of its clause, or those before it at the clause's end, and some phrases negate nothing ("not only").
The negations are words that Universal Dependencies marks with Polarity=Neg and PronType=Neg (not,
no, never, nobody), and words such as without and hardly.
"""

import re

from tailorbird.knowledge.normalise import fold
from tailorbird.rag.content_words import content_stem, is_stop_word, stem, tokens

_WORDS = """
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
_DENIALS = frozenset(fold(_WORDS).casefold().split())
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
_ELIDED = re.compile(r"\bn'(?=\w)", re.I)
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
    plain = _HIDDEN.sub(" not ", _ELIDED.sub("ne ", _DENY_NOTHING.sub(" ", plain)))
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
        if is_stop_word(word):
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
