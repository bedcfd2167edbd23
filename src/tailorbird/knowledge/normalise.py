"""Normalisation of text for search and comparison: one spelling for what reads alike.

Displayed and cited text stays as written; only the searched words are folded.
"""

import re
import unicodedata
from itertools import pairwise

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
