"""Errors that reach the user."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

_HALF = re.compile("[\ud800-\udfff]")
"""Surrogates: Python's form of bytes that are not UTF-8, and halves of characters."""
_SHOWN = 80


class UserError(ValueError):
    """A user error, with its fix; the command ends with exit code 2.

    Whatever reads data, settings, models or folders may raise it; only functions for Python users,
    or whose error is caught, document it.

    Args:
        problem: What is wrong, naming the thing (file, column, key, value).
    """

    exit_code = 2

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n  fix: {fix}" if fix else problem)


class Faults:
    """Collects faults, so that the user sees all of them at once."""

    def __init__(self) -> None:
        self._faults: list[UserError] = []

    def add(self, problem: str, fix: str = "") -> None:
        """Add a fault."""
        self._faults.append(UserError(problem, fix))

    def catch(self, error: UserError) -> None:
        """Add the faults of a raised error."""
        self._faults.append(error)

    def raise_if_any(self) -> None:
        """Raise one `UserError` with every fault so far, if there is one."""
        if len(self._faults) == 1:
            raise self._faults[0]
        if self._faults:
            lines = "\n".join(f"- {fault}" for fault in self._faults)
            raise UserError(f"{len(self._faults)} problems:\n{lines}")


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name, or an empty text."""
    names = list(candidates)
    same = [other for other in names if other.lower() == name.lower()]
    near = same or get_close_matches(name, names, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_utf8(value: object, name: str) -> None:
    """Check that text has a UTF-8 form, alone or within lists and objects.

    Models, files and databases need UTF-8, so user input is checked on entry.

    Raises:
        UserError: Some of it has none.
    """
    if isinstance(value, str) and _HALF.search(value):
        excerpt = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
        raise UserError(
            f"{name} is {excerpt!r}, which contains bytes that are not UTF-8",
            "write it in UTF-8, or rename the file or folder",
        )
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_utf8(key, f"a name in {name}")
            check_utf8(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            check_utf8(inner, name)


class Interrupted(Exception):  # noqa: N818 - not a fault: the user asked for it
    """Ctrl-C was pressed and the run was left resumable.

    Attributes:
        folder: The folder of the resumable run; None if unknown yet.
    """

    exit_code = 130
    folder: Path | None = None


class TrainingDiverged(UserError):
    """The loss became NaN or infinite."""


class NoSpace(UserError):
    """The disk is full."""


class OutOfMemory(UserError):
    """Not even one example fits the memory."""


class ProcessLost(UserError):
    """One of several cooperating processes has ended; saved files are complete."""

    exit_code = 1


class DoesNotFit(UserError):
    """Training would need more memory than available; it was not started."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether GPU or main memory ran out, whichever library reports it."""
    if isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    phrases = (
        "out of memory",
        "not enough memory",
        "can't allocate memory",
        "cannot allocate memory",
    )
    return isinstance(error, RuntimeError) and any(phrase in words for phrase in phrases)


class Hopeless(Exception):  # noqa: N818 - not a fault: others are clearly better
    """A trial of a search was pruned."""


class OverBudget(Exception):  # noqa: N818 - not a fault: a limit the user set
    """The work does not fit the user's time budget."""
