"""A user-defined metric: a function in a Python file."""

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.errors import UserError, did_you_mean
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.text import METRICS

_OTHER_SCORES = (*METRICS, "choice_accuracy", "loss", "perplexity")
_CALLED = "called as FUNCTION(output, reference, prompt) and returning a number"


@dataclass(frozen=True)
class Custom:
    """A user's function and the name of its score."""

    name: str
    function: Callable[[str, str, str], Any]
    source: str

    def score(
        self,
        outputs: Sequence[str],
        references: Sequence[str],
        prompts: Sequence[str],
        rows: Sequence[int] | None = None,
    ) -> Floats:
        """Return the function's number for each example ``[n]``.

        Args:
            rows: Row numbers for messages; default: counted from 1.

        Raises:
            UserError: The function raised, or returned no finite number.
        """
        numbers = rows or range(1, len(outputs) + 1)
        rows_of = zip(outputs, references, prompts, numbers, strict=True)
        return np.asarray([self._one(*each) for each in rows_of], dtype=np.float64)

    def _one(self, output: str, reference: str, prompt: str, row: int) -> float:
        try:
            value = self.function(output, reference, prompt)
        except Exception as error:
            raise UserError(
                f"{self.source} failed on row {row}: {type(error).__name__}: {error}",
                f"the output there was {_short(output)}; let it return a number for any output",
            ) from error
        # numpy's and torch's scalars are numbers too, though not Python types.
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            value = value.item()
        if not isinstance(value, Real) or not math.isfinite(value):
            raise UserError(
                f"{self.source} returned {_short(repr(value))} on row {row}",
                f"it must return a finite number; the output there was {_short(output)}",
            )
        return float(value)


def is_custom(metric: str) -> bool:
    """Return whether ``evaluate.metric`` names a function in a file, not a built-in metric."""
    return ":" in metric or metric.endswith(".py")


def function_name(metric: str) -> str:
    """Return the function's name in ``FILE.py:FUNCTION``, the name of its score."""
    return metric.rpartition(":")[2]


def load_custom(metric: str) -> Custom:
    """Load the function of ``FILE.py:FUNCTION``, which runs its file.

    Raises:
        UserError: There is no such file or function, the file fails, or another score has the name.
    """
    place, colon, name = metric.rpartition(":")
    path = Path(place).expanduser()
    if not colon or not place.endswith(".py") or not name.isidentifier():
        raise UserError(f"evaluate.metric is {metric!r}", f"write FILE.py:FUNCTION, {_CALLED}")
    if name in _OTHER_SCORES:
        raise UserError(
            f"evaluate.metric names a function {name!r}, but there is already a score of that name",
            "rename the function",
        )
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(
            f"evaluate.metric names the file {place}, which does not exist"
            f"{did_you_mean(path.name, near)}",
            "give its path from the current folder, or an absolute one",
        )
    module = _run(path)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(
            f"{place} has no function {name!r}{did_you_mean(name, functions)}",
            f"it has {', '.join(sorted(functions)) or 'none'}; it is {_CALLED}",
        )
    return Custom(name, function, metric)


def _run(path: Path) -> Any:
    # A name that cannot be imported, so that it hides no other module.
    spec = importlib.util.spec_from_file_location(f"_metric_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # for its own imports of files beside it
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(
            f"{path}{where} cannot be run: {type(error).__name__}: {error}",
            "run it with Python yourself to see where it fails",
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _short(text: str, most: int = 80) -> str:
    return repr(text) if len(text) <= most else repr(text[:most]) + "…"
