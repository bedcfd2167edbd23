"""Run many short programs in one interpreter and say what became of each.

Reads a JSON list of programs on standard input, writes a JSON list of outcomes on standard
output. `build.py` starts it in a process of its own, so that a program that goes wrong in an
unforeseen way cannot touch the builder.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import warnings
from types import FrameType
from typing import Any

RECURSION_LIMIT = 150
MAX_LINES = 20_000
PROGRAM = "<program>"


class TooLongError(BaseException):
    """A program ran more lines than any program here should."""


class _Budget:
    """Count executed lines, and stop a program that does not end by itself."""

    def __init__(self) -> None:
        self.left = MAX_LINES

    def __call__(self, frame: FrameType, event: str, arg: object) -> _Budget:
        self.left -= 1
        if self.left < 0:
            raise TooLongError
        return self


def steady(message: str) -> str:
    """Drop the parts of a message that differ from one Python version to the next."""
    message = re.sub(r"[.,]? ?\(?Did you (mean|forget).*", "", message, flags=re.DOTALL)
    message = re.sub(r"(maximum recursion depth exceeded).*", r"\1", message)
    return message.strip()


def _last_line(error: BaseException) -> int:
    """Return the line of the program in which the error came up."""
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == PROGRAM:
            line = step.tb_lineno
        step = step.tb_next
    return line


def run(program: str) -> dict[str, Any]:
    """Run one program and return its printed text, its error, and the error's line."""
    printed = io.StringIO()
    outcome: dict[str, Any] = {"error": None, "message": "", "line": 0}
    code = compile(program, PROGRAM, "exec")
    limit = sys.getrecursionlimit()
    try:
        with contextlib.redirect_stdout(printed):
            sys.setrecursionlimit(RECURSION_LIMIT)
            sys.settrace(_Budget())
            exec(code, {"__name__": "__main__"})  # noqa: S102 - the point of this worker
    except (Exception, TooLongError) as error:
        outcome["line"] = _last_line(error)
        outcome["error"] = type(error).__name__
        outcome["message"] = steady(str(error))
    finally:
        sys.settrace(None)
        sys.setrecursionlimit(limit)
    outcome["printed"] = " ".join(printed.getvalue().split())
    return outcome


def main() -> None:
    """Answer a list of programs with a list of outcomes."""
    warnings.simplefilter("ignore")
    json.dump([run(program) for program in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
