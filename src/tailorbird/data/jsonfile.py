"""Readers of JSON Lines and of JSON files with one list of objects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailorbird.data.raw_rows import Row, Stream, duplicates, kind_of_value
from tailorbird.data.textfile import lines_of, open_text, read_text
from tailorbird.errors import Faults, UserError

_MOST_FAULTS = 5
_EXAMPLE_ROW = '{"text": "...", "label": "..."}'
_LINE_FIX = f"every row must be one object such as {_EXAMPLE_ROW}"


def read_jsonl(path: Path) -> Stream:
    """Read a file with one JSON object per line; blank lines are skipped.

    Raises:
        UserError: During iteration: lines are not JSON objects; the first few are named.
    """
    columns: dict[str, int] = {}
    names: list[str] = []
    warnings: list[str] = []
    return Stream(path, _lines(path, columns, names, warnings), names, warnings=warnings)


def _lines(
    path: Path, columns: dict[str, int], names: list[str], warnings: list[str]
) -> Iterator[tuple[int, Row]]:
    faults = Faults()
    bad = 0
    # Lines end with "\n" alone, since splitlines() would split at U+2028, which JSON allows.
    with open_text(path, "\n", warnings) as file:
        for number, line in enumerate(lines_of(path, file), 1):
            if not line.strip():
                continue
            try:
                row = _object(path, f"line {number}", _parse(line.rstrip("\n")))
            except UserError as error:
                faults.catch(error)
                bad += 1
            except (ValueError, RecursionError) as error:
                faults.add(f"{path}: line {number} is not valid JSON: {_reason(error)}", _LINE_FIX)
                bad += 1
            else:
                if not bad:
                    yield number, _cells(row, columns, names)
            if bad == _MOST_FAULTS:
                break
    faults.raise_if_any()
    _check_keys(path, names)


def read_json(path: Path) -> Stream:
    """Read a JSON file with a list of objects, or an object of them by id, all at once.

    Raises:
        UserError: During iteration: the file is not JSON, or not a list of objects.
    """
    columns: dict[str, int] = {}
    names: list[str] = []
    warnings: list[str] = []
    rows = _listed_objects(path, columns, names, warnings)
    return Stream(path, rows, names, unit="row", warnings=warnings)


def _listed_objects(
    path: Path, columns: dict[str, int], names: list[str], warnings: list[str]
) -> Iterator[tuple[int, Row]]:
    text = read_text(path, warnings)
    try:
        content = _parse(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid JSON: {_reason(error)}", _whole_fix(path, text)
        ) from None
    if isinstance(content, dict) and len(content) > 1:
        values = list(content.values())
        # One object per id: the keys are row ids.
        if all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
            content = values
    if not isinstance(content, list):
        what = "one object" if isinstance(content, dict) else kind_of_value(content)
        raise UserError(
            f"{path}: the file holds {what}, not a list of objects",
            f"write a list of rows, [{_EXAMPLE_ROW}, ...], or one row per line in a .jsonl file",
        )
    if not content:
        raise UserError(f"{path}: the list is empty", f"add rows such as {_EXAMPLE_ROW}")
    for number, row in enumerate(content, 1):
        yield number, _cells(_object(path, f"row {number}", row), columns, names)
    _check_keys(path, names)


def _cells(row: dict[str, Any], columns: dict[str, int], names: list[str]) -> Row:
    """Return a row's cells in the order in which columns first appeared."""
    for name in row:
        if name not in columns:
            columns[name] = len(names)
            names.append(name)
    return tuple(map(row.get, names))


def _check_keys(path: Path, names: list[str]) -> None:
    if not names:
        raise UserError(f"{path}: the objects have no keys", f"write rows such as {_EXAMPLE_ROW}")


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = duplicates([name for name, _ in pairs])[0]
        raise ValueError(f"the key {twice!r} occurs more than once in an object")
    return members


def _object(path: Path, where: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise UserError(
        f"{path}: {where} holds {kind_of_value(value)}, not an object with columns", _LINE_FIX
    )


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"{error.msg} ({line}character {error.colno})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


def _whole_fix(path: Path, text: str) -> str:
    """Return the fix; a file with one object per line only needs another name."""
    try:
        first = json.loads(text.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        first = None
    if isinstance(first, dict):
        return f"it has one object per line: rename it {path.stem}.jsonl"
    return f"write a list of rows: [{_EXAMPLE_ROW}, ...]"
