"""Whether a short answer is correct, by its words; closest to human verdicts without a judge model.

Token F1 and exact match penalise an answer for saying more than the reference, so they prefer tuned
models, which are terse. That the answer contains all of the reference's words agrees best with
people (Adlakha et al. 2023, arXiv 2307.16877; Kamalloo et al. 2023, arXiv 2305.06984). What that
alone would let through is rejected here: an answer that hedges, that names what was correct before,
or that says the opposite.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tailorbird.metrics.text import normalise

WINDOW = 30
"""The first words of an answer, which must contain the correct one."""
LONG = 10
"""Longer references are no short answers: `gold_recall` and `k_precision` score them."""
_HEDGES = 2

AnswerType = Literal["number", "date", "yes or no", "name", "words"]
Outcome = Literal["correct", "wrong", "abstained"]

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SAME = (
    {word: str(number) for number, word in enumerate(_UNITS)}
    | {month: month[:3] for month in _MONTHS}
    | {"sept": "sep", "cannot": "not", "cant": "not"}
)
_NEGATIONS = frozenset({"no", "not", "never", "none", "neither", "nor", "without", "nobody"})
_WHERE = frozenset({"in", "on", "at", "by"})
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
# Joined words: hyphens, and in code brackets, quotes and the dots of `text.encode`.
_JOINED = re.compile(
    r"(?<=[^\W\d_])[-/\u2010-\u2015](?=[^\W\d_])"
    r"|(?<=[^\W\d_]{2})\.(?=[^\W\d_]{2})|[()\[\]{}\"=`<>]"
)
_NOT = re.compile(r"n['\u2019]t\b", re.IGNORECASE)
_POSSESSIVE = re.compile(r"['\u2019]s\b", re.IGNORECASE)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_DECIMAL = re.compile(r"(\d+)\.0+")
_CLAUSE = re.compile(r"[.;:!?,](?=\s|$)|\n|\bbut\b")
_YEAR = re.compile(r"[12]\d{3}")
_UNKNOWN = re.compile(
    r"\W*(?:sorry\W+)?(?:the answer is\W+)?(?:i|we)\s+"
    r"(?:do not|don['\u2019]?t|can(?:no|['\u2019])?t)\s+(?:know|tell|answer|say)\b"
    r"|\W*(?:unknown|no answer|unanswerable|not (?:known|stated|given|mentioned))\W*$"
    r"|\W*(?:the|these) passages? do(?:es)?(?: not|n['\u2019]?t)\b",
    re.IGNORECASE,
)


def match_words(text: str) -> list[str]:
    """Return the words of a text for comparison, with case, accents, numbers and dates normalised.

    Example:
        >>> match_words("The 3rd of March, 1911") == match_words("3 of Mar 1911")
        True
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = _ISO_DATE.sub(
        lambda m: f"{m[3].lstrip('0')} {_MONTHS[(int(m[2]) - 1) % 12]} {m[1]}", plain
    )
    plain = _POSSESSIVE.sub("", _NOT.sub(" not", _JOINED.sub(" ", plain)))
    return [_alike(word) for word in normalise(plain).split()]


def _alike(word: str) -> str:
    number = _ORDINAL.fullmatch(word) or _DECIMAL.fullmatch(word)
    return number[1] if number else _SAME.get(word, word)


def answer_type(answer: str) -> AnswerType:
    """Return the kind of an answer, within which answers are interchangeable."""
    words = match_words(answer)
    if words and all(word in ("yes", "no", "true", "false") for word in words):
        return "yes or no"
    months = {month[:3] for month in _MONTHS}
    if words and all(word.isdigit() or word in months for word in words):
        dated = any(_YEAR.fullmatch(word) or word in months for word in words)
        return "date" if dated else "number"
    if any(word[0].isdigit() for word in words) and len(words) <= 3:
        return "number"
    return "name" if _is_name(answer) else "words"


def _is_name(answer: str) -> bool:
    words = [word for word in re.findall(r"[^\W\d_]+", answer) if len(word) > 3]
    return bool(words) and sum(word[0].isupper() for word in words) > len(words) / 2


def abstains(output: str) -> bool:
    """Return whether an answer abstains or is empty."""
    return not output.strip() or (_UNKNOWN.match(output) is not None and len(output) < 200)


@dataclass(frozen=True)
class Candidates:
    """The answers to all questions of a file, to detect hedging."""

    _by_word: dict[str, list[tuple[frozenset[str], AnswerType]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @classmethod
    def of(cls, answers: Iterable[str]) -> "Candidates":
        """Return some answers as candidates."""
        candidates = cls()
        word_sets = set()
        for answer in answers:
            words = frozenset(match_words(answer))
            if words and words not in word_sets:
                word_sets.add(words)
                candidates._by_word[min(words)].append((words, answer_type(answer)))
        return candidates

    def others(
        self, output_words: frozenset[str], kind: AnswerType, besides: frozenset[str]
    ) -> set[frozenset[str]]:
        """Return the candidates of a kind whose words are all in the output, except `besides`."""
        near = (entry for word in output_words for entry in self._by_word.get(word, ()))
        return {
            words
            for words, its in near
            if its == kind and words <= output_words and not words <= besides
        }


NO_CANDIDATES = Candidates()


def answer_match(
    output: str,
    answers: Sequence[str],
    question: str = "",
    stale: Sequence[str] = (),
    candidates: Candidates = NO_CANDIDATES,
) -> bool:
    """Return whether an answer is correct.

    All words of a correct answer must be among its first 30, without negation, and it must name
    neither what was correct before nor two or more others of the same kind; a second correct answer
    is no hedging. Prepositions of a reference ("in", "on") may be missing.

    Args:
        question: The question: candidates that it names itself are no hedging.
        stale: The correct answers before the documents changed.
        candidates: Answers to other questions.

    Example:
        >>> answer_match("He was born on 2 March 1911 in Bergen.", ["March 2nd, 1911"])
        True
        >>> answer_match("It is not Paris.", ["Paris"])
        False
    """
    named = {*match_words(question), *(word for gold in answers for word in match_words(gold))}
    besides = frozenset(named)
    return any(_matches(output, gold, question, besides, stale, candidates) for gold in answers)


def _matches(
    output: str,
    gold: str,
    question: str,
    besides: frozenset[str],
    stale: Sequence[str],
    candidates: Candidates,
) -> bool:
    expected, output_words = frozenset(match_words(gold)), match_words(output)
    expected = expected - _WHERE or expected
    if not expected:
        return normalise(output) == normalise(gold)
    if not expected <= frozenset(output_words[:WINDOW]):
        return False
    if not expected & _NEGATIONS and _denies(output, expected, question):
        return False
    whole = frozenset(output_words)
    old = (frozenset(match_words(answer)) for answer in stale)
    if any(words and words <= whole and not words <= expected for words in old):
        return False
    return len(candidates.others(whole, answer_type(gold), besides)) < _HEDGES


def _denies(output: str, expected: frozenset[str], question: str) -> bool:
    """Return whether a clause with most of the answer words has a negation that the question lacks.

    The whole output would be too wide: "Paris, not Lyon" does not negate Paris.
    """
    if _NEGATIONS & frozenset(match_words(question)):
        return False
    clauses = (frozenset(match_words(clause)) for clause in _CLAUSE.split(output))
    return any(
        len(words & expected) * 2 > len(expected) and words & _NEGATIONS for words in clauses
    )


def outcome(
    output: str,
    answers: Sequence[str],
    *,
    answerable: bool = True,
    question: str = "",
    stale: Sequence[str] = (),
    candidates: Candidates = NO_CANDIDATES,
) -> Outcome:
    """Return the outcome of an answer; for an unanswerable question, abstaining is correct."""
    if abstains(output):
        return "abstained" if answerable else "correct"
    if answerable and answer_match(output, answers, question, stale, candidates):
        return "correct"
    return "wrong"


def k_precision(output: str, passages: Sequence[str]) -> float:
    """Return the share of an answer's words that the passages contain (arXiv 2307.16877, 4.2)."""
    output_words = match_words(output)
    passage_words = frozenset(word for passage in passages for word in match_words(passage))
    return (
        sum(word in passage_words for word in output_words) / len(output_words)
        if output_words
        else 1.0
    )


def gold_recall(output: str, answers: Sequence[str]) -> float:
    """Return the largest share of a correct answer's words that an answer contains."""
    output_words = frozenset(match_words(output))
    shares = [
        sum(word in output_words for word in words) / len(words)
        for words in map(match_words, answers)
        if words
    ]
    return max(shares, default=0.0)
