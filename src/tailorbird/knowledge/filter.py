"""Metadata of documents, and filters on it such as ``year >= 2020 and team = 'billing'``.

Metadata is stored as JSON in the ledger; filters are evaluated per document. Comparisons are exact:
integers of any length, decimals by their digits (0.1 is 0.1), texts by their characters.
"""

import json
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from tailorbird.errors import UserError, check_utf8

Value = str | Decimal | bool | None
Row = Mapping[str, Any]
"""A document's metadata with its ``source`` and ``title``, and the ``page`` of one chunk."""

Holds = Callable[[Row], bool]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<quoted>`(?:[^`]|``)+`)
    | (?P<name>[^\W\d][\w.-]*)
    | (?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,)
    )""",
    re.X,
)
_WORDS = {"and", "or", "not", "in", "like", "contains", "is", "null", "true", "false"}
_BUILT_IN = {"source", "title", "page"}
_DEPTH = 50
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter on documents.

    Attributes:
        holds: Returns whether a row satisfies it; a missing value satisfies no comparison.
        names: The metadata keys that it uses.
    """

    holds: Holds
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "name" and self.text.lower() in words


@lru_cache(maxsize=64)
def parse(text: str) -> Condition:
    """Parse a filter expression.

    Columns are metadata keys (in backticks if they contain spaces), ``source``, ``title`` and
    ``page``. Operators are ``= != < <= > >=``, ``in (...)``, ``like 'a%'``, ``contains 'words'``
    and ``is null``, each with ``not``; ``and``, ``or``, ``not`` and parentheses. Texts are quoted;
    dates are texts such as ``'2024-05-01'``. ``like`` and ``contains`` ignore case.

    Raises:
        UserError: The expression is invalid; the message names the position.
    """
    check_utf8(text, "--where")
    return _Parser(text).all()


def canonical(text: str) -> str:
    """Return a text with composed letters: both encodings of é become one."""
    return unicodedata.normalize("NFC", text)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at, self.depth = text, _split(text), 0, 0
        self.names: list[str] = []

    def all(self) -> Condition:
        holds = self._either()
        if self._now().kind != "end":
            raise self._fault("expected and, or, or the end")
        return Condition(holds, tuple(dict.fromkeys(self.names)))

    def _either(self) -> Holds:
        parts = [self._both()]
        while self._take_word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _both(self) -> Holds:
        parts = [self._one()]
        while self._take_word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self) -> Holds:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self._fault("too many nested parentheses")
        if self._take_word("not"):
            # A missing value equals nothing, so `not team = 'a'` includes it.
            holds = _negated(self._one())
        elif self._take_sign("("):
            holds = self._either()
            if not self._take_sign(")"):
                raise self._fault("expected )")
        else:
            holds = self._comparison()
        self.depth -= 1
        return holds

    def _comparison(self) -> Holds:
        token = self._now()
        if token.kind not in ("name", "quoted") or token.is_word(*_WORDS):
            raise self._fault("expected a column name")
        self.at += 1
        name = self._column(token)
        if self._take_word("is"):
            negated = self._take_word("not")
            if not self._take_word("null"):
                raise self._fault("expected null")
            return lambda row: (row.get(name) is None) != negated
        negated = self._take_word("not")
        if self._now().is_word("in", "like", "contains"):
            holds = self._word_operator(name)
            return _negated(holds) if negated else holds
        if negated or self._now().text not in _OPERATORS:
            raise self._fault("expected =, !=, <, <=, >, >=, in, like, contains or is null")
        compare = _OPERATORS[self._now().text]
        self.at += 1
        value = self._comparable()
        read = _reader(value)

        def compared(row: Row) -> bool:
            stored = read(row.get(name))
            return stored is not None and compare(stored, value)

        return compared

    def _word_operator(self, name: str) -> Holds:
        word = self._now().text.lower()
        self.at += 1
        if word == "in":
            return self._in(name)
        value = self._value()
        if not isinstance(value, str):
            raise self._fault(f"expected a text in quotes after {word}", back=1)
        part = _folded(value)
        fits = _like(part) if word == "like" else lambda text: part in text

        def fitting(row: Row) -> bool:
            text = _text(row.get(name))
            return text is not None and fits(_folded(text))

        return fitting

    def _in(self, name: str) -> Holds:
        if not self._take_sign("("):
            raise self._fault("expected ( after in")
        values = [self._comparable()]
        while self._take_sign(","):
            values.append(self._comparable())
        if not self._take_sign(")"):
            raise self._fault("expected , or )")
        # One set per kind: thousands of values need one look-up each.
        sets: dict[Callable[[Any], Any], set[str | Decimal | bool]] = {}
        for value in values:
            sets.setdefault(_reader(value), set()).add(value)

        def among(row: Row) -> bool:
            stored = row.get(name)
            return any(read(stored) in choices for read, choices in sets.items())

        return among

    def _column(self, token: _Token) -> str:
        quoted = token.kind == "quoted"
        name = canonical(token.text[1:-1].replace("``", "`") if quoted else token.text)
        if name not in _BUILT_IN:
            self.names.append(name)
        return name

    def _comparable(self) -> str | Decimal | bool:
        value = self._value()
        if value is None:
            raise self._fault("write `is null` or `is not null`", back=1)
        return value

    def _value(self) -> Value:
        token = self._now()
        self.at += 1
        if token.kind == "text":
            quote = token.text[0]
            return canonical(token.text[1:-1].replace(quote * 2, quote))
        if token.kind == "number":
            number = _number(token.text)
            if number is None:
                raise self._fault("this number is too large", back=1)
            return Decimal(number)
        if token.is_word("true", "false"):
            return token.text.lower() == "true"
        if token.is_word("null"):
            return None
        self.at -= 1
        raise self._fault("expected a number or a text in quotes")

    def _now(self) -> _Token:
        return self.tokens[self.at]

    def _take_word(self, word: str) -> bool:
        is_next = self._now().is_word(word)
        self.at += is_next
        return is_next

    def _take_sign(self, sign: str) -> bool:
        is_next = self._now().kind == "sign" and self._now().text == sign
        self.at += is_next
        return is_next

    def _fault(self, words: str, back: int = 0) -> UserError:
        token = self.tokens[self.at - back]
        return _fault(self.text, token.place, f"{words}, found {token.text[:40] or 'the end'}")


def _negated(holds: Holds) -> Holds:
    return lambda row: not holds(row)


def _reader(value: str | Decimal | bool) -> Callable[[Any], Any]:
    """Return a converter from stored values to the kind of `value`: a CSV's 2024 is a text."""
    if isinstance(value, bool):
        return _truth
    return _text if isinstance(value, str) else _number


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    return canonical(str(value))


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, int):
        return value
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return None if number.is_nan() else number


def _truth(value: Any) -> bool | int | Decimal | None:
    word = value.strip().lower() if isinstance(value, str) else ""
    return word == "true" if word in ("true", "false") else _number(value)


def _folded(text: str) -> str:
    return canonical(text.casefold())


def _like(pattern: str) -> Callable[[str], bool]:
    """Return a matcher for SQL's ``%`` and ``_``, which matches each part at its first position.

    One regular expression of all parts would take seconds to compile for a long pattern.
    """
    parts = [re.compile(re.escape(p).replace("_", "."), re.S) for p in pattern.split("%")]
    first, last, length = parts[0], parts[-1], len(pattern.rpartition("%")[2])
    middle = [part for part in parts[1:-1] if part.pattern]

    def fits(text: str) -> bool:
        if len(parts) == 1:
            return first.fullmatch(text) is not None
        match, end = first.match(text), len(text) - length
        for part in middle:
            match = match and part.search(text, match.end(), max(end, 0))
        return match is not None and match.end() <= end and last.match(text, end) is not None

    return fits


def _split(text: str) -> list[_Token]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            place = end - len(text[at:end].lstrip())
            unclosed = text[place] in "'\"`"
            raise _fault(text, place, "this quote is not closed" if unclosed else "unreadable")
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    if not tokens:
        raise UserError("--where is empty", "write a condition such as: year >= 2020")
    return [*tokens, _Token("end", "", len(text))]


def _fault(text: str, place: int, words: str) -> UserError:
    begin = max(0, place - _SHOWN)
    excerpt = " ".join(text[begin : place + _SHOWN].splitlines())
    return UserError(
        f"--where, character {place + 1}: {words}\n    {excerpt}\n    {' ' * (place - begin)}^",
        "write conditions such as: year >= 2020 and team = 'billing'",
    )


# Python refuses to write longer numbers in decimal.
_LONGEST_BITS = 14_000


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata as JSON; values without a JSON form (NaN, infinities) become texts."""
    plain = {name: _expressible(value) for name, value in metadata.items()}
    return json.dumps(plain, ensure_ascii=False)


# Cached, since neighbouring chunks and documents often share their metadata.
@lru_cache(maxsize=256)
def metadata_of(text: str) -> Mapping[str, Any]:
    """Parse the output of `metadata_text`."""
    read: dict[str, Any] = _PLAIN.decode(text)
    return read


@lru_cache(maxsize=256)
def comparable(text: str) -> Mapping[str, Any]:
    """Return metadata for filters: exact decimals, composed names."""
    return {canonical(name): value for name, value in _EXACT.decode(text).items()}


def row_of(metadata: str, source: str, title: str, page: int | None) -> dict[str, Any]:
    """Return the row that filters are evaluated on."""
    return {**comparable(metadata), "source": source, "title": title, "page": page}


def _expressible(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_BITS:
        return hex(value)
    return value


def _constant(name: str) -> str:
    """Return NaN or an infinity as text; earlier versions wrote such invalid JSON."""
    return str(float(name))


_PLAIN = json.JSONDecoder(parse_constant=_constant)
_EXACT = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant)
