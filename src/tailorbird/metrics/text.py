"""How like its reference an answer is: functions of two strings, from 0 to 1.

Written for any language: letters of every script count as letters, and each Chinese or Japanese
character as a word, since no spaces part them. On ASCII text they are exactly the published ones.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_IDEOGRAPHS = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(
    r"(?<![\w.)])"  # no minus of a subtraction or of a range
    r"(?P<minus>[-\u2212]?)(?:[$€£¥₹]\s?)?(?P<inner>-?)(?P<digits>\d[\d,]*(?:\.\d+)?|\.\d+)"
    r"|(?P<bare>\d[\d,]*(?:\.\d+)?)"
)
ANSWER_MARK = "####"


def normalise(text: str) -> str:
    """Return `text` in lower case without punctuation, articles and extra spaces (SQuAD)."""
    bare = text.lower()
    if bare.isascii():
        bare = bare.translate(_NO_PUNCTUATION)
    else:
        bare = "".join(c for c in bare if not _is_punctuation(c))
        bare = _IDEOGRAPHS.sub(r" \1 ", bare)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(output: str, reference: str) -> float:
    """Return 1 if both are the same after `normalise`, else 0."""
    return float(normalise(output) == normalise(reference))


def token_f1(output: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall of words (Rajpurkar et al. 2016, §6.1).

    As SQuAD's evaluation script v1.1, but for what has no words left after `normalise`: there it
    is 1 when both have none, as in v2.0, and 0 otherwise.
    """
    written, expected = normalise(output).split(), normalise(reference).split()
    if not written or not expected:
        return float(written == expected)
    return _f_measure((Counter(written) & Counter(expected)).total(), written, expected)


def rouge_l(output: str, reference: str) -> float:
    """Return the F-measure of the longest common subsequence of words (Lin 2004, §3.1).

    As google-research's ``rouge_score`` without stemming, but for two texts without words: these
    are alike, 1.
    """
    written, expected = _words(output), _words(reference)
    if not written or not expected:
        return float(written == expected)
    return _f_measure(common_subsequence(written, expected), written, expected)


def numeric_match(output: str, reference: str) -> float:
    """Return 1 if both give the same number, else 0; 0 when either gives none.

    The number is the one after the last ``####`` (Cobbe et al. 2021, GSM8K), else the last one.
    Thousands' commas, currency signs and a full stop after it do not matter, nor does 72 or 72.0.
    """
    written, expected = number_in(output), number_in(reference)
    return float(written is not None and written == expected)


METRICS: dict[str, Callable[[str, str], float]] = {
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "exact_match": exact_match,
    "numeric_match": numeric_match,
}
"""The metrics of an output and a reference, by the name of their score."""


def number_in(text: str) -> Decimal | None:
    """Return the number that an answer gives, see `numeric_match`."""
    _, mark, marked = text.rpartition(ANSWER_MARK)
    if mark and (first := _NUMBER.search(marked)):
        return _decimal(first)
    found = list(_NUMBER.finditer(text))
    return _decimal(found[-1]) if found else None


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Bit by bit in whole numbers of ``len(a)`` bits (Hyyrö 2004): a row of the table at a time.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & everything
    return len(a) - row.bit_count()


def _f_measure(common: int, written: Sequence[str], expected: Sequence[str]) -> float:
    return 2 * common / (len(written) + len(expected))


def _words(text: str) -> list[str]:
    bare = text.lower()
    if bare.isascii():
        return re.findall(r"[a-z0-9]+", bare)
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in bare)
    return _IDEOGRAPHS.sub(r" \1 ", kept).split()


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character)[0] == "P"


def _decimal(found: re.Match[str]) -> Decimal:
    digits = found["digits"] or found["bare"]
    size = Decimal(digits.replace(",", ""))
    return -size if found["minus"] or found["inner"] else size
