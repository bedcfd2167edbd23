"""Validated reading of a run's files, which others may have made or changed."""

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from pickle import PickleError
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tailorbird.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from pydantic import TypeAdapter

Kind = TypeVar("Kind")

# The errors of parsers and constructors on unexpected values.
_STUMBLES = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, EOFError,
    RuntimeError, MemoryError, ArithmeticError, AssertionError, zipfile.BadZipFile, PickleError,
)  # fmt: skip


def damaged(path: Path, why: object) -> UserError:
    """Return the error for an invalid file."""
    words = str(why) or type(why).__name__
    return UserError(
        f"{path} is damaged: {words.splitlines()[0][:300]}", "restore it, or repeat the run"
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors while reading `path` into messages.

    Raises:
        UserError: The file is invalid.
    """
    try:
        yield
    except UserError:
        raise
    except _STUMBLES as error:
        raise damaged(path, _fault_of(error)) from error


def _fault_of(error: Exception) -> object:
    """Return the first error of a parser or pydantic, in a line."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return error if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: It does not exist.
        UserError: It is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    with reading(path):
        return _value(_text(path))


def _text(path: Path) -> str:
    if not path.is_file():
        raise damaged(path, "it is not a file")  # a pipe would block
    return path.read_text(encoding="utf-8")


def _value(text: str) -> Any:
    value = json.loads(text)
    if "\\ud" in text.lower():  # half a surrogate pair, which cannot be written again
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read_as(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file with a dataclass or another type that pydantic knows.

    Raises:
        FileNotFoundError: It does not exist.
        UserError: It is damaged, or has other contents.
    """
    return checked(path, read_json(path), kind)


def checked(path: Path, value: Any, kind: type[Kind]) -> Kind:
    """Validate `value`, from the file `path`, as `kind`.

    Raises:
        UserError: It is something else.
    """
    with reading(path):
        value = _adapter(cast(Any, kind)).validate_python(value)
    return cast(Kind, value)


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def read_rows(path: Path, kind: type[Kind]) -> list[Kind]:
    """Read a JSONL file; a last line cut off by a kill is ignored.

    Raises:
        UserError: It is damaged, or a line has other contents.
    """
    if not path.exists():
        return []
    with reading(path):
        # splitlines() also splits at U+2028 and U+0085, which a text may contain.
        lines = [line for line in _text(path).split("\n") if line]
    rows: list[Kind] = []
    for number, line in enumerate(lines, 1):
        try:
            with reading(path):
                plain = _value(line)
        except UserError:
            if number == len(lines):
                break
            raise damaged(path, f"line {number} is not valid JSON") from None
        try:
            rows.append(checked(path, plain, kind))
        except UserError as error:
            raise damaged(path, f"line {number}: {error.problem.partition(': ')[2]}") from None
    return rows


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Read a ``.npz`` file, or a ``.npy`` file as the array ``""``; pickles are refused.

    Raises:
        UserError: It is missing or damaged, or would not fit into memory.
    """
    import numpy as np
    import psutil

    with reading(path):
        if not path.is_file():
            raise damaged(path, "it is not a file" if path.exists() else "it is missing")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                size = sum(part.file_size for part in parts.infolist())
            if size > psutil.virtual_memory().available:
                raise damaged(path, f"it unpacks to {size / 1e9:,.0f} GB")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return dict(loaded)


def check_shape(path: Path, array: "np.ndarray", shape: tuple[int, ...]) -> None:
    """Check that an array of `path` has this shape and finite numbers.

    Raises:
        UserError: It does not.
    """
    import numpy as np

    if array.shape != shape or array.dtype.kind != "f":
        shape_words = f"{array.dtype} {list(array.shape)}"
        raise damaged(path, f"it holds {shape_words} instead of numbers of shape {list(shape)}")
    if not np.isfinite(array).all():
        raise damaged(path, "it holds values that are not finite numbers")


def inner(path: Path, folder: Path, name: str) -> Path:
    """Return the path of the arm `name`, as read from the file `path`, within `folder`.

    Raises:
        UserError: It leads out of the folder, or does not exist.
    """
    parts = PurePath(name).parts
    if not parts or PurePath(name).is_absolute() or ".." in parts or "\0" in name:
        raise damaged(path, f"it names {name!r}, which is outside the run")
    if not os.path.isdir(folder / name):  # accepts names of any length, unlike Path's
        raise damaged(path, f"it names {name!r}, which does not exist")
    return folder / name


# Text that spreadsheets execute, also after line ends and tabs that they strip, and full-width.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_HARMLESS = re.compile(r"[-+]?(\d[\d.,]*|[.,]\d+)(e[-+]?\d{1,3})?\s?%?|[-+]+", re.IGNORECASE)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, raw: bool = False) -> str:
    """Return a table as CSV, with an apostrophe before text that a spreadsheet would execute.

    Args:
        raw: For programs: every cell unchanged.

    Example:
        >>> print(csv_text(["n", "text"], [[-3.5, "=1+1"], ["-3.5", "plain"]]), end="")
        n,text
        -3.5,'=1+1
        -3.5,plain
    """
    return csv_lines((columns, *rows), raw=raw)


def csv_lines(rows: Iterable[Sequence[Any]], *, raw: bool = False) -> str:
    """Return rows of a table as `csv_text` does, without the header."""
    buffer = io.StringIO()
    # With this line end, a carriage return in a cell is quoted too; otherwise it would end the row.
    writer = csv.writer(_LineEnds(buffer), lineterminator="\r\n")
    for row in rows:
        writer.writerow(row if raw else [_inert(cell) for cell in row])
    return buffer.getvalue()


class _LineEnds:
    """Receives the csv module's rows, and writes them with the usual line ends."""

    def __init__(self, buffer: io.StringIO) -> None:
        self.buffer = buffer

    def write(self, row: str) -> int:
        return self.buffer.write(row.removesuffix("\r\n") + "\n")


def _inert(cell: Any) -> Any:
    """Return a cell that a spreadsheet reads as text or a number."""
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _HARMLESS.fullmatch(cell):
        return cell
    return f"'{cell}"
