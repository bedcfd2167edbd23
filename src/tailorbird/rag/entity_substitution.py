"""Replaces answers in documents by others of the same kind, to simulate changed knowledge.

Entity substitution after Longpre et al. 2021 (arXiv 2109.05052): a model that keeps its old answer
has memorised it; one that gives the new answer has read the document.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.answer_match import answer_type, match_words
from tailorbird.records import Question

_MOST_PLACES = 12
_SHORTEST = 3
_NEAREST = 3
_LIKE = 3
Embed = Callable[[Sequence[str]], np.ndarray]
"""Embeds texts as vectors ``[texts, dimension]``."""
# The nouns by which a question names its answer, and which of them are exchangeable. If none
# follows "what" or "which" soon, the kind of a name is unknown.
_ASKS: dict[str, tuple[str, ...]] = {
    "person": ("person", "president", "king", "queen", "coach", "director", "author", "player",
               "actor", "actress", "singer", "governor", "manager", "chairman", "leader"),
    "country": ("country", "nation"),
    "place": ("city", "town", "village", "place", "location", "capital"),
    "region": ("region", "state", "province", "county", "territory"),
    "team": ("team", "club"),
    "school": ("school", "university", "college", "institution"),
    "company": ("company", "employer", "corporation", "manufacturer"),
    "label": ("label",),
    "party": ("party",),
    "league": ("league", "conference", "division"),
    "station": ("station", "network", "channel"),
    "stadium": ("stadium", "venue", "arena"),
    "branch": ("branch",),
}  # fmt: skip
_KIND_OF = {word: kind for kind, words in _ASKS.items() for word in words}
_NAMED = frozenset(_ASKS)
_WHAT = re.compile(r"\b(?:what|which)\b((?:\W+[\w'-]+){1,4})", re.IGNORECASE)
_WHO = re.compile(r"\bwho(?:m|se)?\b", re.IGNORECASE)
# The subject of these verbs may be a company.
_BUSINESS = re.compile(r"\b(?:own|operat|publish|produc|manufactur|employ|built|made|sponsor|work)",
                       re.IGNORECASE)  # fmt: skip
_PERSON = re.compile(
    r"[^\W\d_a-z][\w'\u2019-]*\s+(?:[A-Z]\s?\.\s+)?(?:(?:van|von|de|la|bin|al)\s+){0,2}"
    r"[^\W\d_a-z][\w'\u2019-]+"
)
_ORGANISATION_WORDS = """
university college school institute academy company club team city united army navy museum
theatre records county state states kingdom empire republic union league party railway house
church library group center centre works inc bank office television arena park field street
garden awards world championship the of and for
"""
_ORGANISATION = frozenset(_ORGANISATION_WORDS.split())
# Adjectives such as Israeli or Danish are no countries.
_DEMONYM = re.compile(r"\w+(?:ian|ish|ese|eli|ani|aqi)", re.IGNORECASE)
_DIGITS = re.compile(r"\d")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b")
_CAPITAL_BEFORE = re.compile(r"(?:^|\W)[A-Z][\w'\u2019-]*(?: of| de| the)? $")
_CAPITAL_AFTER = re.compile(r"[ -][A-Z]|(?: of| and) [A-Z]")


@dataclass(frozen=True, slots=True)
class Substitution:
    """One answer replaced throughout one document.

    Attributes:
        old: All spellings of the old answer.
    """

    id: str
    source: str
    old: tuple[str, ...]
    new: str
    places: int


def answer_kind(question: str, answer: str) -> str | None:
    """Return the kind of an answer, by its question; None if unknown.

    Figures and dates are of one kind if they share a format; names if the questions ask for the
    same: who, which team, which city. Places asked for by "where" have too many forms to replace.

    Example:
        >>> answer_kind("Which club did she join?", "Alta United")
        'team'
        >>> answer_kind("When did it open?", "3 May 1911") == answer_kind("When?", "4 June 1788")
        True
    """
    kind = answer_type(answer)
    if kind in ("date", "number"):
        shape = _DIGITS.sub("0", answer.lower())
        if "0" in shape:
            return _MONTH.sub("month", shape)
        return "a figure" if kind == "number" and len(answer.split()) == 1 else None
    if kind != "name":
        return None
    person = _PERSON.fullmatch(answer) and not _ORGANISATION & set(answer.lower().split())
    words = re.findall(r"[\w-]+", " ".join(m[1] for m in _WHAT.finditer(question)).lower())
    asks = next((_KIND_OF[word] for word in words if word in _KIND_OF), None)
    # In "the player who joined which club", "who" is no question word, unless it comes first.
    if _WHO.search(question) and (asks is None or _WHO.match(question.lstrip())):
        return "person" if person and not _BUSINESS.search(question) else None
    unlike = {"person": not person, "country": _DEMONYM.fullmatch(answer) is not None}
    return None if asks is None or unlike.get(asks) else asks


def choose_substitutions(
    questions: Sequence[Question],
    sources: Mapping[str, str],
    texts: Mapping[str, str],
    pool: Sequence[Question],
    most: int,
    seed: int = 1,
    embed: Embed | None = None,
) -> list[Substitution]:
    """Return the replacements of answers, in a seeded order.

    Candidates are names, dates and numbers that are a question's only answer, and whose words occur
    neither in the question nor in the document's name. The new answer has the same kind and about
    the same length, and does not occur in the document. It belongs to one of the most similar
    questions (so a coach replaces a coach); a figure or date is one of the nearest in value, since
    no reader believes a song of 1279. Occurrences inside longer names stay, and two replacements in
    one document never touch the same words. With vectors, a name takes part only if its kind is
    also that of the names nearest in meaning: a club that answered "who" is then no person.

    Args:
        sources: Maps a question id to the document with the answer.
        texts: Maps a document to its text.
        pool: Questions whose answers can be the new ones.
        embed: Embeds names.
    """
    rng = np.random.default_rng(seed)
    pool_answers = [_Other.of(question) for question in pool if question.answers]
    kinds: dict[frozenset[str], set[str | None]] = {}
    for other in pool_answers:
        kinds.setdefault(other.words, set()).add(other.kind)
    # An answer that questions name by different kinds has no certain kind.
    others = [other for other in pool_answers if other.kind and len(kinds[other.words]) == 1]
    if embed is not None:
        others = _of_like_meaning(others, embed)
    sure = {other.answer for other in others}
    words_in_use: dict[str, set[str]] = {}
    substitutions: list[Substitution] = []
    for place in rng.permutation(len(questions)):
        question = questions[int(place)]
        source = sources.get(question.id, "")
        if len(substitutions) == most:
            break
        text = texts.get(source, "")
        words = {word for answer in question.answers for word in match_words(answer)}
        if not _fits(question, source, text, words) or words & words_in_use.get(source, set()):
            continue
        if embed is not None and question.answers[0] not in sure:
            continue
        avoid = words | set(match_words(question.text)) | words_in_use.get(source, set())
        new = _new_answer(question, others, text, avoid, rng)
        if new is None:
            continue
        places = sum(len(pattern.findall(text)) for pattern in _patterns(question.answers))
        words_in_use.setdefault(source, set()).update(words, match_words(new))
        substitutions.append(Substitution(question.id, source, question.answers, new, places))
    return substitutions


def substituted(text: str, changes: Sequence[Substitution]) -> str:
    """Return a document's text after its replacements.

    Example:
        >>> change = Substitution("1", "a.md", ("Oslo", "the city of Oslo"), "Lima", 2)
        >>> substituted("Oslo grew. In the city  of Oslo, Oslofjord.", [change])
        'Lima grew. In Lima, Oslofjord.'
    """
    for change in changes:
        for pattern in _patterns(change.old):
            text = pattern.sub(change.new.replace("\\", r"\\"), text)
        text = _surnames(text, change)
    return text


def _surnames(text: str, change: Substitution) -> str:
    """Return the text with a person's surname alone replaced too."""
    if not (_PERSON.fullmatch(change.old[0]) and _PERSON.fullmatch(change.new)):
        return text
    old, new = change.old[0].split()[-1], change.new.split()[-1]
    # After another first name, it is another person's surname.
    alone = re.compile(rf"([A-Z][\w'.-]+ )?(?<![\w-]){re.escape(old)}(?![\w-]| [A-Z])")
    return alone.sub(lambda match: match[0] if match[1] else new, text)


def _patterns(answers: Sequence[str]) -> list[re.Pattern[str]]:
    """Return patterns for an answer as whole words with any spacing; longer spellings first."""
    return [
        re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, answer.split())) + r"(?!\w)")
        for answer in sorted(answers, key=len, reverse=True)
        if answer.split()
    ]


def _fits(question: Question, source: str, text: str, words: set[str]) -> bool:
    answers = question.answers
    if not question.answerable or not answers or not text:
        return False
    if not _one_answer(answers) or min(len(answer) for answer in answers) < _SHORTEST:
        return False
    if words & {*match_words(question.text), *match_words(re.sub(r"[_/#.]", " ", source))}:
        return False
    places = [match for pattern in _patterns(answers) for match in pattern.finditer(text)]
    kind = answer_type(answers[0])
    if kind == "number" and len(places) > 1:
        # The same figure elsewhere in the document counts something else.
        return False
    if kind == "name" and any(_in_longer_name(text, m) for m in places):
        return False
    return 0 < len(places) <= _MOST_PLACES


def _one_answer(answers: Sequence[str]) -> bool:
    """Return whether the answers are spellings of one answer."""
    words = [set(match_words(answer)) for answer in answers]
    return all(one <= other or other <= one for one in words for other in words)


def _in_longer_name(text: str, match: re.Match[str]) -> bool:
    """Return whether the words around an answer make it part of another name."""
    person = _PERSON.fullmatch(match[0]) is not None
    before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() :][:8]
    # A title before a person's name is not part of the name.
    return bool((not person and _CAPITAL_BEFORE.search(before)) or _CAPITAL_AFTER.match(after))


@dataclass(frozen=True, slots=True)
class _Other:
    """A candidate for the new answer, with the words of its question.

    Attributes:
        value: The largest number in a figure or date, its year if it has one; 0 for names.
    """

    answer: str
    kind: str | None
    words: frozenset[str]
    asks: frozenset[str]
    value: float

    @classmethod
    def of(cls, question: Question) -> "_Other":
        answer = question.answers[0]
        words, asks = frozenset(match_words(answer)), frozenset(match_words(question.text))
        numbers = _NUMBER.findall(answer.replace(",", "")) or filter(str.isdecimal, words)
        value = max(map(float, numbers), default=0.0)
        return cls(answer, answer_kind(question.text, answer), words, asks, value)


def _of_like_meaning(others: Sequence[_Other], embed: Embed) -> list[_Other]:
    """Return dates and figures, and the names whose kind is confirmed by their nearest names.

    Nearness to a kind is the mean cosine to its three nearest other names, so that a kind with many
    names has no advantage.
    """
    named = {o.answer: str(o.kind) for o in others if o.kind in _NAMED}
    if not named:
        return list(others)
    names, kinds = list(named), np.array(list(named.values()))
    vectors = embed(names).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    labels = sorted({*kinds})
    near = np.full((len(names), len(labels)), -1.0)
    for column, label in enumerate(labels):
        nearest = -np.sort(-cosines[:, kinds == label], axis=1)[:, :_LIKE]
        counted = np.isfinite(nearest)
        total = np.where(counted, nearest, 0.0).sum(axis=1)
        near[:, column] = np.where(counted.any(1), total / counted.sum(1).clip(1), -1.0)
    agrees = dict(zip(names, np.array(labels)[near.argmax(axis=1)] == kinds, strict=True))
    return [other for other in others if agrees.get(other.answer, True)]


def _new_answer(
    question: Question,
    others: Sequence[_Other],
    text: str,
    avoid: set[str],
    rng: np.random.Generator,
) -> str | None:
    """Return the answer of one of the nearest questions; None if none fits."""
    own, lower = _Other.of(question), text.lower()
    if own.kind is None:
        return None
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
    fitting.sort(
        key=lambda o: (
            abs(o.value - own.value),
            -len(o.asks & own.asks) / len(o.asks | own.asks),
            o.answer,
        )
    )
    answer = fitting[int(rng.integers(min(_NEAREST, len(fitting))))].answer
    return re.sub(r"(?<!\s)\s+(?=[.,])", "", answer).rstrip(".,")
