"""Measurable facts about a program that goes wrong, and the difficulty made from them."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What can be counted about one program and its outcome.

    Attributes:
        silent: No exception was raised.
        distance: Lines between the cause and the place where the trouble shows.
        lines: Lines of the program.
        names: Different names the program uses.
        named: The interpreter's message mentions a name or text that stands on the cause's line.
    """

    silent: bool
    distance: int
    lines: int
    names: int
    named: bool

    def difficulty(self) -> float:
        """Combine the facts into one number from 0 (easy) to 1 (hard).

        0.35 for silence, 0.15 where no message points at the cause's line, up to 0.20 for
        distance (full at 4 lines), up to 0.15 for length (full at 8 lines, none at 2) and up to
        0.15 for names (full at 8).
        """
        score = (
            0.35 * self.silent
            + 0.15 * (not self.named)
            + 0.20 * min(self.distance, 4) / 4
            + 0.15 * min(max(self.lines - 2, 0), 6) / 6
            + 0.15 * min(self.names, 8) / 8
        )
        return round(score, 3)


def names_in(program: str) -> set[str]:
    """Return every name the program uses: variables, functions, parameters, attributes."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def _mentions(message: str, line: str) -> bool:
    quoted = [part.strip("()") for part in message.split("'")[1::2]]
    called = message.split("()")[0].split(".")[-1] if "()" in message else ""
    return any(part and part in line for part in (*quoted, called))


def facts(program: str, cause_line: int, error_line: int, message: str) -> Facts:
    """Gather the facts about one program.

    Args:
        program: The buggy program.
        cause_line: The first line that the repair changes.
        error_line: The line that raised, or 0 where nothing was raised; then the trouble shows
            on the last line.
        message: The exception's message, empty where nothing was raised.

    Returns:
        The facts.
    """
    lines = program.splitlines()
    shown = error_line or len(lines)
    cause = min(cause_line, len(lines))
    return Facts(
        silent=error_line == 0,
        distance=abs(shown - cause),
        lines=len(lines),
        names=len(names_in(program)),
        named=_mentions(message, lines[cause - 1]),
    )
