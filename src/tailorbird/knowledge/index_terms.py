"""Tokenisation for our own word index, with the same terms as LanceDB's English index.

Every store thus finds the same chunks for the same words. A term is a run of letters and digits
shorter than 40 bytes, in lower case, stemmed (Snowball's English), without stop words and accents.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from threading import local
from typing import Any

import numpy as np

from tailorbird.knowledge.normalise import words_to_find, words_to_index

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
