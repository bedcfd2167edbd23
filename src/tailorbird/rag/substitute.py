"""Answers exchanged in documents for others of their kind: knowledge that changed, made by rule.

Entity substitution as of Longpre et al. 2021 (arXiv 2109.05052): a model that answers as before
knows the old text by heart, one that gives the new answer has read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.answer_match import answer_type, match_words
from tailorbird.records import Question

_MOST_PLACES = 30
_SHORTEST = 3
_NEAREST = 3
_KINDS = ("name", "date", "number")


@dataclass(frozen=True, slots=True)
class Substitution:
    """One answer exchanged throughout one document.

    Attributes:
        id: The question's.
        source: The document.
        old: All ways in which the answer was written.
        new: What stands there now.
        places: How often it stood there.
    """

    id: str
    source: str
    old: tuple[str, ...]
    new: str
    places: int


def choose_substitutions(
    questions: Sequence[Question],
    sources: Mapping[str, str],
    texts: Mapping[str, str],
    pool: Sequence[Question],
    most: int,
    seed: int = 1,
) -> list[Substitution]:
    """Return which answers to exchange for which, in a seeded order.

    Only names, dates and numbers whose words the question does not say itself; the new answer is of
    the same kind and about as long, of one of the questions most like this one (so that a coach
    becomes a coach, not a club), and stands nowhere in the document. Two exchanges in one document
    never touch the same words.

    Args:
        questions: Those that may be changed.
        sources: By id the document that holds the answer.
        texts: By document its text.
        pool: Questions whose answers new ones are chosen from.
        most: How many exchanges.
        seed: Of the order and the choice.
    """
    rng = np.random.default_rng(seed)
    others = [_Other.of(question) for question in pool if question.answers]
    taken: dict[str, set[str]] = {}
    chosen: list[Substitution] = []
    for place in rng.permutation(len(questions)):
        question = questions[int(place)]
        source = sources.get(question.id, "")
        if len(chosen) == most:
            break
        text = texts.get(source, "")
        words = {word for answer in question.answers for word in match_words(answer)}
        if not _fits(question, text, words) or words & taken.get(source, set()):
            continue
        avoid = words | set(match_words(question.text)) | taken.get(source, set())
        new = _new_answer(question, others, text, avoid, rng)
        if new is None:
            continue
        places = sum(len(pattern.findall(text)) for pattern in _patterns(question.answers))
        taken.setdefault(source, set()).update(words, match_words(new))
        chosen.append(Substitution(question.id, source, question.answers, new, places))
    return chosen


def substituted(text: str, changes: Sequence[Substitution]) -> str:
    """Return a document's text after its exchanges.

    Example:
        >>> change = Substitution("1", "a.md", ("Oslo", "the city of Oslo"), "Lima", 2)
        >>> substituted("Oslo grew. In the city  of Oslo, Oslofjord.", [change])
        'Lima grew. In Lima, Oslofjord.'
    """
    for change in changes:
        for pattern in _patterns(change.old):
            text = pattern.sub(change.new.replace("\\", r"\\"), text)
    return text


def _patterns(answers: Sequence[str]) -> list[re.Pattern[str]]:
    """Return what finds an answer as whole words, however it is spaced; longer ways first."""
    return [
        re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, answer.split())) + r"(?!\w)")
        for answer in sorted(answers, key=len, reverse=True)
        if answer.split()
    ]


def _fits(question: Question, text: str, words: set[str]) -> bool:
    if not question.answerable or not question.answers or not text:
        return False
    if any(answer_type(answer) not in _KINDS for answer in question.answers):
        return False
    if min(len(answer) for answer in question.answers) < _SHORTEST:
        return False
    if words & set(match_words(question.text)):
        return False
    places = sum(len(pattern.findall(text)) for pattern in _patterns(question.answers))
    return 0 < places <= _MOST_PLACES


@dataclass(frozen=True, slots=True)
class _Other:
    """An answer that may stand in for another, and the words of its question."""

    answer: str
    kind: str
    words: frozenset[str]
    asked: frozenset[str]

    @classmethod
    def of(cls, question: Question) -> "_Other":
        answer = question.answers[0]
        words, asked = frozenset(match_words(answer)), frozenset(match_words(question.text))
        return cls(answer, answer_type(answer), words, asked)


def _new_answer(
    question: Question,
    others: Sequence[_Other],
    text: str,
    avoid: set[str],
    rng: np.random.Generator,
) -> str | None:
    """Return the answer to one of the questions most like this one; None where none fits."""
    own, lower = _Other.of(question), text.lower()
    fitting = [
        other
        for other in others
        if other.kind == own.kind
        and abs(len(other.answer.split()) - len(own.answer.split())) <= 1
        and not avoid & other.words
        and other.answer.lower() not in lower
    ]
    if not fitting:
        return None
    fitting.sort(key=lambda o: (-len(o.asked & own.asked) / len(o.asked | own.asked), o.answer))
    return fitting[int(rng.integers(min(_NEAREST, len(fitting))))].answer
