"""Files and functions stay small enough to be read."""

import ast
from collections.abc import Iterator
from typing import Any

FILE_LINES = 400
VERB_LINES = 120
FUNCTION_LINES = 70
PARAMETERS = 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: Any) -> Iterator[Function]:
    """Yield every function and method of a file, inner ones too."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            yield node


def length(function: Function, source: Any) -> int:
    """Count a function's lines; of a command's verb the body, since its options are its help."""
    start = function.body[0].lineno if source.room == "cli" else function.lineno
    return (function.end_lineno or start) - start + 1


def parameters(function: Function) -> int:
    """Count the parameters that a caller thinks of: not ``self``, ``*args`` or ``**kwargs``."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_files_fit_their_room(sources: list[Any]) -> None:
    limits = [(s, VERB_LINES if s.room == "cli" else FILE_LINES) for s in sources]
    assert [f"{s.place}: {s.lines} lines, at most {n}" for s, n in limits if s.lines > n] == []


def test_functions_fit_a_screen(sources: list[Any]) -> None:
    wrong = [
        f"{source.place}:{function.lineno} {function.name}: {length(function, source)} lines"
        for source in sources
        for function in functions(source)
        if length(function, source) > FUNCTION_LINES
    ]
    assert wrong == []


def test_functions_take_few_parameters(sources: list[Any]) -> None:
    wrong = [
        f"{source.place}:{function.lineno} {function.name}: {parameters(function)} parameters"
        for source in sources
        if source.room != "cli"
        for function in functions(source)
        if parameters(function) > PARAMETERS
    ]
    assert wrong == []
