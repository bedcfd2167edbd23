"""Similarity of an answer and its reference: functions of two strings, from 0 to 1.

They work in any language: letters of every script count as letters, and each Chinese or Japanese
character as a word, since no spaces separate them. On ASCII words they equal the published metrics;
where those merge two different answers (3,5 and 35, an empty answer and "A"), these do not.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

# An article precedes a word: the last word of "hepatitis A" and of "the answer is A" is none.
_ARTICLES = re.compile(r"\b(?:a|an|the)\b(?=\W+\w|\s+\S)")
_IDEOGRAPHS = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_THOUSANDS = re.compile(r"(?<![\d.,])(?!0)\d{1,3}(?:,\d{3}){1,40}(?![\d,])")
# Parts of a number: a minus and a point before its digits, and the sign between two digits.
_OF_NUMBERS = re.compile(
    r"(?<![\w.)])-(?=[$€£¥₹]?-?\.?\d)|(?<=[$€£¥₹])-(?=\.?\d)"
    r"|(?<![\w.])\.(?=\d)|(?<=\d)[^\w\s](?=\d)|(?<=\de)-(?=\d)"
)
_SIGNS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-") | {"\u066b": ".", "\u066c": ","}
)
_GROUPS = "'\u2019\u00a0\u2009\u202f"
_NUMBER = re.compile(
    r"(?<![\w.)])"  # not the minus of a subtraction or range
    r"(?P<minus>-?)(?:[$€£¥₹]\s?)?(?P<inner>-?)(?P<digits>DIGITS|\.\d+)"
    r"|(?P<bare>DIGITS)".replace(
        "DIGITS",
        r"(?:(?!0)\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?"
        r"|(?!0)\d{1,3}(?:\.\d{3}){1,40},\d+(?![\d,])"
        rf"|(?!0)\d{{1,3}}(?:[{_GROUPS}]\d{{3}}){{1,40}}(?!\d)(?:[.,]\d+)?"
        r"|(?<!\d,)\d+,\d+(?!\d|,\d)"  # a decimal comma, not a list 3,5,7
        r"|\d+(?:\.\d+)?)(?:e[-+]?\d{1,3}\b)?",
    ),
    re.IGNORECASE,
)
ANSWER_MARK = "####"


def normalise(text: str) -> str:
    """Return `text` in lower case without punctuation, articles and extra spaces (SQuAD).

    Signs inside a number stay (3,5 is not 35, -3 is not 3) except thousands' separators, and so
    does all of a text that consists of punctuation alone.
    """
    bare = _folded(text).lower()
    plain = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), bare)
    within = {match.start() for match in _OF_NUMBERS.finditer(plain)}
    plain = "".join(c for i, c in enumerate(plain) if i in within or not _is_punctuation(c))
    if not plain.isascii():
        plain = _IDEOGRAPHS.sub(r" \1 ", plain)
    return " ".join((_ARTICLES.sub(" ", plain) if plain.strip() else bare).split())


def exact_match(output: str, reference: str) -> float:
    """Return 1 if both are equal after `normalise`, else 0."""
    return float(normalise(output) == normalise(reference))


def token_f1(output: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall of words (Rajpurkar et al. 2016, §6.1).

    As SQuAD's evaluation script v1.1, after `normalise`. Two empty answers are equal, as in v2.0.
    """
    output_words, expected = normalise(output).split(), normalise(reference).split()
    if not output_words or not expected:
        return float(output_words == expected)
    return _f_measure((Counter(output_words) & Counter(expected)).total(), output_words, expected)


def rouge_l(output: str, reference: str) -> float:
    """Return the F-measure of the longest common subsequence of words (Lin 2004, §3.1).

    As google-research's ``rouge_score`` without stemming, except that two equal texts without words
    score 1.
    """
    output_words, expected = _words(output), _words(reference)
    if not output_words or not expected:
        return float(output.split() == reference.split())
    return _f_measure(common_subsequence(output_words, expected), output_words, expected)


def numeric_match(output: str, reference: str) -> float:
    """Return 1 if both have the same number, else 0; 0 if either has none.

    The number is the one after the last ``####`` (Cobbe et al. 2021, GSM8K), else the last one.
    Thousands' commas, currency signs and a full stop after it are ignored, and 72 equals 72.0. A
    comma before other than three digits is a decimal comma.
    """
    output_words, expected = number_in(output), number_in(reference)
    return float(output_words is not None and output_words == expected)


METRICS: dict[str, Callable[[str, str], float]] = {
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "exact_match": exact_match,
    "numeric_match": numeric_match,
}
"""The metrics of an output and a reference, by the name of their score."""


def number_in(text: str) -> Decimal | None:
    """Return the number in an answer, see `numeric_match`."""
    text = _folded(text)
    _, mark, marked = text.rpartition(ANSWER_MARK)
    if mark and (first := _NUMBER.search(marked)):
        return _decimal(first)
    numbers = list(_NUMBER.finditer(text))
    return _decimal(numbers[-1]) if numbers else None


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Bit-parallel, with integers of ``len(a)`` bits (Hyyrö 2004): one table row per step.
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


def _f_measure(common: int, output_words: Sequence[str], expected: Sequence[str]) -> float:
    return 2 * common / (len(output_words) + len(expected))


def _words(text: str) -> list[str]:
    bare = _folded(text).lower()
    if bare.isascii():
        return re.findall(r"[a-z0-9]+", bare)
    bare_letters = "".join(
        c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in bare
    )
    return _IDEOGRAPHS.sub(r" \1 ", bare_letters).split()


def _folded(text: str) -> str:
    """Return a text with digits, their signs and full-width characters in ASCII."""
    if text.isascii():
        return text
    return "".join(map(_plain, unicodedata.normalize("NFC", text))).translate(_SIGNS)


def _plain(character: str) -> str:
    if unicodedata.decomposition(character).startswith(("<wide>", "<narrow>")):
        character = unicodedata.normalize("NFKC", character)
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character)[0] == "P"


def _decimal(match: re.Match[str]) -> Decimal:
    digits = re.sub(f"[{_GROUPS}]", "", match["digits"] or match["bare"])
    if re.search(r"\.\d+,", digits) or not re.search(r"^(?!0)\d{1,3}(,\d{3})+(?!\d)", digits):
        digits = digits.replace(".", "" if "," in digits else ".").replace(",", ".")
    size = Decimal(digits.replace(",", ""))
    return -size if match["minus"] or match["inner"] else size
