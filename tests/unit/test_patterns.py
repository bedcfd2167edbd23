"""No regular expression of ours takes more than linear time on text that someone else wrote.

Each pattern is taken apart; what it repeats is repeated thousands of times, with and without what
would let it match, and each method that our code calls on it has a fifth of a second of processor
time: a linear pattern takes a few hundredths of it, a quadratic one more than all.
"""

import ast
import importlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from re import (
    _constants as op,  # type: ignore[attr-defined]
    _parser as parser,  # type: ignore[attr-defined]
)
from typing import Any

import pytest

import tailorbird

ROOT = Path(tailorbird.__file__).parent
METHODS = {"search", "match", "fullmatch", "finditer", "findall", "sub", "subn", "split"}
LENGTH, SECONDS = 16_000, 0.2
# Lines that their module gives no pattern when they are longer.
BOUNDED = {"tailorbird.documents.pdf_running_heads": "_LONGEST_HEAD"}
CHARACTERS = "a 1.-_\n\"'`[(<*#|:,/@A\u3002\u0e01"

Pattern = re.Pattern[str]
Tree = list[tuple[Any, Any]]


def modules() -> list[tuple[str, ast.Module]]:
    read = []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if re.search(r"^import re$", source, re.M):
            name = ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts))
            read.append((name.removesuffix(".__init__"), ast.parse(source)))
    return read


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield ``name.method(...)`` calls by their name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and node.func.attr in METHODS:
                yield owner.id, node


def patterns() -> Iterator[tuple[str, Pattern, set[str]]]:
    """Yield where a pattern stands, itself, and the methods that are called on it."""
    for name, tree in modules():
        used: dict[str, set[str]] = {}
        for owner, call in calls(tree):
            used.setdefault(owner, set()).add(call.func.attr)  # type: ignore[attr-defined]
            written = call.args[0] if owner == "re" and call.args else None
            if isinstance(written, ast.Constant) and isinstance(written.value, str):
                method = call.func.attr  # type: ignore[attr-defined]
                yield f"{name}:{call.lineno}", re.compile(written.value), {method}
        for variable, value in vars(importlib.import_module(name)).items():
            for found in inside(value):
                yield f"{name}.{variable}", found, used.get(variable, {"search"})


def inside(value: Any) -> Iterator[Pattern]:
    """Yield the patterns in a value: itself, or those of a table of them."""
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif type(value) in (list, tuple, dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from inside(item)


def sample(tree: Tree, pick: int = 0) -> str:
    """Return a short text that a piece of a pattern matches, as nearly as is needed."""
    text = ""
    for kind, value in tree:
        if kind is op.LITERAL:
            text += chr(value)
        elif kind in (op.ANY, op.NOT_LITERAL):
            text += "b" if value == ord("a") else "a"
        elif kind is op.IN:
            fitting = [c for c in CHARACTERS if fits(value, c)] or literals(value)
            text += fitting[pick % len(fitting)] if fitting else ""
        elif kind is op.BRANCH:
            text += sample(value[1][pick % len(value[1])], pick)
        elif kind is op.SUBPATTERN:
            text += sample(value[3], pick)
        elif kind is op.ATOMIC_GROUP:
            text += sample(value, pick)
        elif kind in REPEATS:
            text += sample(value[2], pick) * max(value[0], 1 - pick % 2)
    return text


def fits(items: Tree, character: str) -> bool:
    """Say whether a class like ``[^\\s,]`` takes a character."""
    shown = re.escape(character)
    for kind, value in items:
        if kind is op.CATEGORY:
            name = str(value).removeprefix("CATEGORY_").split("_")
            letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name[-1]]
            hit = re.match("\\" + (letter.upper() if name[0] == "NOT" else letter), character)
        elif kind is op.RANGE:
            hit = value[0] <= ord(character) <= value[1] or None
        else:
            hit = kind is op.LITERAL and re.match(shown, chr(value)) or None
        if hit:
            return items[0][0] is not op.NEGATE
    return items[0][0] is op.NEGATE


def literals(items: Tree) -> list[str]:
    found = [value if kind is op.LITERAL else value[0] for kind, value in items
             if kind in (op.LITERAL, op.RANGE)]  # fmt: skip
    return [chr(value) for value in found]


REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def repeated(tree: Tree, before: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield each piece that may be repeated without end, and what leads to it."""
    for place, (kind, value) in enumerate(tree):
        lead = before + sample(tree[:place])
        inner: list[Tree] = []
        if kind in REPEATS:
            inner = [value[2]]
            if value[1] is op.MAXREPEAT or value[1] > 20:
                yield lead, value[2]
        elif kind is op.BRANCH:
            inner = value[1]
        elif kind in (op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT):
            inner = [value[-1]]
        elif kind is op.ATOMIC_GROUP:
            inner = [value]
        for piece in inner:
            yield from repeated(piece, lead)


def hostile(pattern: Pattern, length: int = LENGTH) -> set[str]:
    """Return long texts that hold what the pattern repeats, and the pattern itself, many times."""
    tree = list(parser.parse(pattern.pattern, pattern.flags))
    texts = set()
    for lead, piece in repeated(tree):
        for pump in {sample(piece, pick) for pick in range(6)} - {""}:
            body = pump * (length // len(pump))
            texts |= {head + body + tail for head in ("", lead) for tail in ("", "!\0")}
    for whole in {sample(tree, pick) for pick in range(3)} - {""}:
        texts |= {part * (length // len(part)) for part in (whole, whole[:-1], whole[1:]) if part}
    return texts


class TooSlow(Exception):
    """The time was over."""


def too_slow(*_: object) -> None:
    raise TooSlow


def use(pattern: Pattern, method: str, text: str) -> None:
    if method in ("match", "fullmatch"):
        getattr(pattern, method)(text)
    else:
        for _ in pattern.finditer(text):
            pass


def slow_text(pattern: Pattern, methods: set[str], length: int = LENGTH) -> str | None:
    """Return a text that takes one of the methods too long, if there is one."""
    before = signal.signal(signal.SIGVTALRM, too_slow)
    try:
        for text in sorted(hostile(pattern, length)):
            for method in {m if m in ("match", "fullmatch") else "finditer" for m in methods}:
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                use(pattern, method, text)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except TooSlow:
        return text
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return None


@pytest.mark.parametrize(
    "written",
    [r"(?:a|a)+b", r"^(?:\s*x?\s*)+$", r"(\w+,?)+;", r"\s+$", r"\d+z", r"a.*b.*c"],
)
def test_slow_patterns_are_told(written: str) -> None:
    assert slow_text(re.compile(written), {"search"}) is not None


def test_fast_patterns_are_not_told() -> None:
    for written in (r"\w+", r"<[^<>]*>", r"(?<!\s)\s+$", r"^(?:a|bc)*+d", r"(?<!\d)\d+z"):
        assert slow_text(re.compile(written), METHODS) is None


def longest(where: str) -> int:
    module = where.rpartition(".")[0]
    constant = BOUNDED.get(module)
    return int(getattr(importlib.import_module(module), constant)) if constant else LENGTH


def test_every_pattern_takes_linear_time() -> None:
    slow = {
        where: text[:40]
        for where, pattern, methods in patterns()
        if (text := slow_text(pattern, methods, longest(where))) is not None
    }
    assert slow == {}
