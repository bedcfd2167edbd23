"""Words of texts and questions as index terms, with one spelling for what reads alike.

Terms are those of LanceDB's English index, so every store finds the same chunks for the same
words; displayed and cited text stays as written. A term is a run of letters and digits
shorter than 40 bytes, in lower case, stemmed (Snowball's English), without stop words and accents.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain, pairwise
from threading import local
from typing import Any

import numpy as np

# Invisible: soft hyphens, zero-width and joining characters, directions, variation selectors, and
# the points of Hebrew and Arabic, which most texts leave out.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]"
)
# Unicode's own folding makes 106 of 10\u2076, 21/2 of 2\u00bd and LoRATM of LoRA\u2122.
_POWER = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215f\u2189]")
_RAISED = re.compile("[\u2122\u2120\u00aa\u00ba]")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
# Scripts without spaces between words: Chinese and Japanese, whose letters carry meaning alone, and
# Thai, Lao, Burmese and Khmer. Korean has spaces, but attaches endings to its words.
EACH = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
RUNS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u109d\u1780-\u17d3\u17d7\u17dc"
    "\u17dd"
)
_UNSPACED = re.compile(f"[{EACH}{RUNS}\u1100-\u11ff\uac00-\ud7a3]+")
# Marks of tone and silence, which the index would take for word boundaries.
_TONES = re.compile(
    "[\u0e47-\u0e4c\u0e4e\u0eba\u0ec8-\u0ecc\u0ece\u1037\u1039\u103a\u17c9-\u17d3\u17dd]"
)


def fold(text: str) -> str:
    r"""Return a text with one spelling for full-width forms, ligatures, parted accents and digits.

    >>> fold("\ufb01le \uff11\uff0e\uff15 co\u00adop 10\u2076 2\u00bd")
    'file 1.5 coop 10^6 2 1/2 '
    """
    if text.isascii():
        return text
    text = _POWER.sub(lambda m: "^" + unicodedata.normalize("NFKC", m.group()), text)
    text = _FRACTION.sub(lambda m: f" {unicodedata.normalize('NFKC', m.group())} ", text)
    text = _RAISED.sub(" ", _UNSEEN.sub("", text))
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/")
    return _OTHER_DIGIT.sub(lambda m: str(int(m.group())), text)


def words_to_index(text: str) -> str:
    """Return a text prepared for the word index: unspaced runs become letters and pairs."""
    return _parted(text, letters=True)


def words_to_find(question: str) -> str:
    """Return a question prepared for the word index: long unspaced runs become pairs alone."""
    return _parted(question, letters=False)


def is_unspaced(text: str) -> bool:
    """Return whether a text has words without spaces between them."""
    return _UNSPACED.search(text) is not None


def pieces(run: str, *, letters: bool = False) -> list[str]:
    """Return the bigrams of an unspaced run; a single letter stays itself."""
    bare = _TONES.sub("", run)
    pairs = [a + b for a, b in pairwise(bare)]
    return [*bare, *pairs] if letters or not pairs else pairs


def _parted(text: str, *, letters: bool) -> str:
    folded = fold(text)
    if folded.isascii():
        return folded
    return _UNSPACED.sub(lambda m: f" {' '.join(pieces(m.group(), letters=letters))} ", folded)


# Letters, digits, and the vowel signs of Indian scripts.
_RUN = re.compile("(?:[^\\W_]|[\u0900-\u0903\u093a-\u094d\u0955-\u0963\u0980-\u0dff])+")
# The same for ASCII text, in a fifth of the time.
_PLAIN_RUN = re.compile("[a-zA-Z0-9]+")
_LONGEST_BYTES = 40
# Stop words are compared after stemming, as in LanceDB: "before" is searched, since its stem is
# "befor".
_COMMON_STEMS = """
a about after again against ain all am an and are aren as at be been below between both but by
can couldn d did didn do doesn don down each few for from further had hadn has hasn have haven
he her here herself him himself his how i if in into is isn it itself just ll m ma me mightn
more most mustn my myself needn no nor not now o of off on or other our out over own re s same
shan she should shouldn so some such t than that the their them then there these they this those
through to too under until up ve was wasn we were weren what when where which while who whom
will with won wouldn y you your yourself
"""
_COMMON = frozenset(_COMMON_STEMS.split())
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i",
     "þ": "th"}
)  # fmt: skip


def terms_to_index(text: str) -> list[str]:
    """Return a text's terms in order, with repetitions."""
    return _terms(words_to_index(text))


def terms_to_find(question: str) -> list[str]:
    """Return a question's terms in order, with repetitions."""
    return _terms(words_to_find(question))


def _terms(text: str) -> list[str]:
    return [term for word in _runs(text) if (term := _term(word))]


def _runs(text: str) -> list[str]:
    return (_PLAIN_RUN if text.isascii() else _RUN).findall(text)


class _TermNumbers(dict[str, int]):
    """Maps a word to the number of its term in this process; -1: the word is not indexed."""

    def __init__(self) -> None:
        self.keys_by_number: list[int] = []
        self._numbers: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        number = -1
        if term := _term(word):
            number = self._numbers.setdefault(term, len(self.keys_by_number))
            if number == len(self.keys_by_number):
                self.keys_by_number.append(key_of(term))
        self[word] = number
        return number


_MOST_WORDS = 1 << 20
_NUMBERS = local()


def key_of(term: str) -> int:
    """Return a term's 64-bit hash; a million terms collide with a chance of 1 in 37 million."""
    digest = hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def keys_to_index(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the terms of texts as numbers, the count per text, and the `key_of` each number."""
    numbers = getattr(_NUMBERS, "words", None)
    if numbers is None or len(numbers) > _MOST_WORDS:
        numbers = _NUMBERS.words = _TermNumbers()
    words = [_runs(words_to_index(text)) for text in texts]
    flat = np.fromiter(map(numbers.__getitem__, chain.from_iterable(words)), dtype=np.int64)
    owners = np.repeat(np.arange(len(texts)), [len(each) for each in words])
    terms = flat >= 0
    counts = np.bincount(owners[terms], minlength=len(texts))
    return flat[terms], counts, np.array(numbers.keys_by_number, dtype=np.uint64)


class _Stemmer(local):
    """Snowball's stemmer, one per thread, since it stores the current word."""

    def __init__(self) -> None:
        import snowballstemmer

        self.stem: Any = snowballstemmer.stemmer("english").stemWord


@cache
def _stemmer() -> _Stemmer:
    return _Stemmer()


def stem(word: str) -> str:
    """Return the stem of a lower-case word (Snowball's English)."""
    return str(_stemmer().stem(word))


@lru_cache(maxsize=1 << 17)
def _term(word: str) -> str:
    """Return the index term of a word; empty if the word is not indexed."""
    if len(word.encode("utf-8", "replace")) >= _LONGEST_BYTES:
        return ""
    term = stem(word.lower())
    if term in _COMMON or term.isascii():
        return "" if term in _COMMON else term
    apart = unicodedata.normalize("NFD", term.translate(_LETTERS))
    # Only Latin accents are removed: other scripts' marks distinguish words.
    bare = re.sub("(?<=[A-Za-z])[\u0300-\u036f]+", "", apart)
    return unicodedata.normalize("NFC", bare)
