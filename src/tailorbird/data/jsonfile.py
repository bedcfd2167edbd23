"""JSON Lines, and JSON files that hold one list of objects, to a `Table`."""

import json
from pathlib import Path
from typing import Any

from tailorbird.data.table import Table
from tailorbird.data.textfile import read_text
from tailorbird.errors import Faults, UserError

_MOST_FAULTS = 5
_EXAMPLE_ROW = '{"text": "...", "label": "..."}'


class _DuplicateKey(ValueError):
    """An object names a key twice; one of the values would be lost."""


def read_jsonl(path: Path) -> Table:
    """Read a file with one JSON object per line; blank lines are skipped.

    Raises:
        UserError: Lines are not JSON objects; the first few are named.
    """
    faults = Faults()
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    bad = 0
    # Not splitlines(): it also splits at U+2028, which JSON allows inside a string.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(_object(path, f"line {number}", _parse(line)))
            places.append(number)
        except UserError as error:
            faults.catch(error)
            bad += 1
        except (ValueError, RecursionError) as error:
            faults.add(f"{path}: line {number} is not valid JSON: {_reason(error)}", _line_fix())
            bad += 1
        if bad == _MOST_FAULTS:
            break
    faults.raise_if_any()
    return _table(path, rows, places, "line")


def read_json(path: Path) -> Table:
    """Read a JSON file that holds a list of objects, or an object of them by id.

    Raises:
        UserError: The file is not JSON, or not a list of objects.
    """
    text = read_text(path)
    try:
        content = _parse(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid JSON: {_reason(error)}", _whole_fix(path, text)
        ) from None
    if isinstance(content, dict) and len(content) > 1:
        values = list(content.values())
        # One object per id: the keys name the rows.
        if all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
            content = values
    if not isinstance(content, list):
        raise UserError(
            f"{path}: the file holds {_kind(content)}, not a list of objects",
            f"write a list of rows, [{_EXAMPLE_ROW}, ...], or one row per line in a .jsonl file",
        )
    if not content:
        raise UserError(f"{path}: the list is empty", f"add rows such as {_EXAMPLE_ROW}")
    rows = [_object(path, f"row {number}", row) for number, row in enumerate(content, 1)]
    return _table(path, rows, list(range(1, len(rows) + 1)), "row")


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DuplicateKey(f"the key {twice!r} occurs more than once in an object")
    return made


def _object(path: Path, where: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise UserError(
        f"{path}: {where} holds {_kind(value)}, not an object with columns", _line_fix()
    )


def _table(path: Path, rows: list[dict[str, Any]], places: list[int], unit: str) -> Table:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        raise UserError(f"{path}: the objects have no keys", f"write rows such as {_EXAMPLE_ROW}")
    return Table(
        path=path,
        columns=columns,
        rows=tuple(tuple(row.get(name) for name in columns) for row in rows),
        places=tuple(places),
        unit="line" if unit == "line" else "row",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"{error.msg} ({line}character {error.colno})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


def _kind(value: Any) -> str:
    kinds = {dict: "one object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "a value")


def _line_fix() -> str:
    return f"every row must be one object such as {_EXAMPLE_ROW}"


def _whole_fix(path: Path, text: str) -> str:
    """Return the fix; a file of one object per line only has the wrong name."""
    try:
        first = json.loads(text.lstrip().split("\n", 1)[0])
    except ValueError:
        first = None
    if isinstance(first, dict):
        return f"it has one object per line: rename it {path.stem}.jsonl"
    return f"write a list of rows: [{_EXAMPLE_ROW}, ...]"
