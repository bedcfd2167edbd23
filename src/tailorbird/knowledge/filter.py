"""Conditions on metadata: ``year >= 2020 and team = 'billing'`` into SQL with bound values."""

import json
import re
from dataclasses import dataclass

from tailorbird.errors import UserError

Value = str | float | int | bool | None

# Everything a person writes becomes a bound value or one of the pieces of SQL in this file.
_COLUMNS = {"source": "d.source", "title": "d.title", "page": "c.page"}
_OPERATORS = {
    "=": "=",
    "==": "=",
    "!=": "<>",
    "<>": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<quoted>`[^`]+`)
    | (?P<name>[^\W\d][\w.-]*)
    | (?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,)
    )""",
    re.X,
)
_WORDS = {"and", "or", "not", "in", "like", "contains", "is", "null", "true", "false"}
_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL, on ``documents d`` joined with ``chunks c``.

    Attributes:
        sql: With ``?`` for every value.
        values: The values.
        names: Metadata keys that it asks for.
    """

    sql: str
    values: tuple[Value, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "name" and self.text.lower() in words


def parse(text: str) -> Condition:
    """Return a condition as SQL.

    Columns are metadata keys (in backticks when they hold spaces), ``source``, ``title`` and
    ``page``. There are ``= != < <= > >=``, ``in (...)``, ``like 'a%'``, ``contains 'words'``,
    ``is null``, each with ``not``; ``and``, ``or``, ``not`` and parentheses. Texts stand in
    quotes, dates are texts such as ``'2024-05-01'``. ``like`` and ``contains`` ignore case.

    Raises:
        UserError: It is no condition; the place of the fault is named.
    """
    return _Parser(text).all()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at, self.depth = text, _split(text), 0, 0
        self.values: list[Value] = []
        self.names: list[str] = []

    def all(self) -> Condition:
        sql = self._either()
        if self._now().kind != "end":
            raise self._fault("expected and, or, or the end")
        return Condition(sql, tuple(self.values), tuple(dict.fromkeys(self.names)))

    def _either(self) -> str:
        parts = [self._both()]
        while self._take_word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _both(self) -> str:
        parts = [self._one()]
        while self._take_word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _one(self) -> str:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self._fault("too many parentheses within each other")
        if self._take_word("not"):
            # What has no value is not equal to anything: `not team = 'a'` takes it in.
            sql = f"NOT coalesce({self._one()}, 0)"
        elif self._take_sign("("):
            sql = f"({self._either()})"
            if not self._take_sign(")"):
                raise self._fault("expected )")
        else:
            sql = self._comparison()
        self.depth -= 1
        return sql

    def _comparison(self) -> str:
        name = self._now()
        if name.kind not in ("name", "quoted") or name.is_word(*_WORDS):
            raise self._fault("expected a column name")
        self.at += 1
        if self._take_word("is"):
            negated = self._take_word("not")
            if not self._take_word("null"):
                raise self._fault("expected null")
            return f"{self._column(name)} IS {'NOT ' if negated else ''}NULL"
        negated = self._take_word("not")
        if self._now().is_word("in", "like", "contains"):
            sql = self._word_operator(name)
            return f"NOT coalesce({sql}, 0)" if negated else sql
        if negated or self._now().text not in _OPERATORS:
            raise self._fault("expected =, !=, <, <=, >, >=, in, like, contains or is null")
        sign = _OPERATORS[self._now().text]
        self.at += 1
        return self._compared(name, sign)

    def _word_operator(self, name: _Token) -> str:
        operator = self._now().text.lower()
        self.at += 1
        if operator == "in":
            if not self._take_sign("("):
                raise self._fault("expected ( after in")
            parts = [self._compared(name, "=")]
            while self._take_sign(","):
                parts.append(self._compared(name, "="))
            if not self._take_sign(")"):
                raise self._fault("expected , or )")
            return f"({' OR '.join(parts)})"
        column = f"folded({self._column(name)})"
        value = self._value()
        if not isinstance(value, str):
            raise self._fault(f"expected a text in quotes after {operator}", back=1)
        self.values.append(value.casefold())
        return f"{column} LIKE ?" if operator == "like" else f"instr({column}, ?) > 0"

    def _compared(self, name: _Token, sign: str) -> str:
        column = self._column(name)
        value = self._value()
        if value is None:
            raise self._fault("write `is null` or `is not null`", back=1)
        self.values.append(value)
        # By the kind of what is asked: a CSV's 2024 may be kept as a text.
        kind = f"CAST({column} AS TEXT)" if isinstance(value, str) else f"number({column})"
        return f"{kind} {sign} ?"

    def _column(self, token: _Token) -> str:
        name = token.text[1:-1] if token.kind == "quoted" else token.text
        if name in _COLUMNS:
            return _COLUMNS[name]
        self.names.append(name)
        self.values.append("$." + json.dumps(name, ensure_ascii=False))
        return "json_extract(d.metadata, ?)"

    def _value(self) -> Value:
        token = self._now()
        self.at += 1
        if token.kind == "text":
            quote = token.text[0]
            return token.text[1:-1].replace(quote * 2, quote)
        if token.kind == "number":
            return float(token.text)
        if token.is_word("true", "false"):
            return token.text.lower() == "true"
        if token.is_word("null"):
            return None
        self.at -= 1
        raise self._fault("expected a number or a text in quotes")

    def _now(self) -> _Token:
        return self.tokens[self.at]

    def _take_word(self, word: str) -> bool:
        found = self._now().is_word(word)
        self.at += found
        return found

    def _take_sign(self, sign: str) -> bool:
        found = self._now().kind == "sign" and self._now().text == sign
        self.at += found
        return found

    def _fault(self, words: str, back: int = 0) -> UserError:
        token = self.tokens[self.at - back]
        return _fault(self.text, token.place, f"{words}, found {token.text or 'the end'}")


def _split(text: str) -> list[_Token]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            place = at + len(text[at:]) - len(text[at:].lstrip())
            unclosed = text[place] in "'\"`"
            raise _fault(text, place, "this quote is not closed" if unclosed else "unreadable")
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    if not tokens:
        raise UserError("--where is empty", "write a condition such as: year >= 2020")
    return [*tokens, _Token("end", "", len(text))]


def _fault(text: str, place: int, words: str) -> UserError:
    return UserError(
        f"--where, character {place + 1}: {words}\n    {text}\n    {' ' * place}^",
        "write conditions such as: year >= 2020 and team = 'billing'",
    )
