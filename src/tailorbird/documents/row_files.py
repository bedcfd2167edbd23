"""Readers of CSV, TSV, JSONL, JSON and Parquet: each row is a document."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tailorbird.data.delimited import (
    BrokenRecord,
    Record,
    delimiter_of,
    plain_quotes,
    plain_records,
    quoted_records,
    swallowed_lines,
)
from tailorbird.data.message_words import name_list, place_list
from tailorbird.data.raw_rows import RowPlace, duplicates, unique_names
from tailorbird.documents.decode_text import clean, decode
from tailorbird.documents.plain_text import plain_value
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.text_builder import TextBuilder, squeeze
from tailorbird.errors import UserError, did_you_mean
from tailorbird.records import Mark

# Unambiguous names of a text column; without one, a row's text is all its columns.
TEXT_NAMES = (
    *("text", "content", "contents", "body", "page_content", "passage", "paragraph"),
    *("document", "article", "abstract", "context"),
)
TITLE_NAMES = ("title", "headline", "heading", "subject", "name")
ID_NAMES = ("_id", "id", "doc_id", "docid", "document_id", "pid", "uuid", "key")
_HEAD, _LONGEST_CELL = 1 << 20, 1 << 30
_DEEPEST = 50

Row = Mapping[str, Any]


def read_delimited(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a file whose first line names the columns.

    Each row is a document; see "Rows". Broken rows keep their text.
    """
    text = decode(path.read_bytes(), notes)
    tabbed = path.suffix.lower() in (".tsv", ".tab")
    delimiter = "\t" if tabbed else delimiter_of(text[:_HEAD])
    if delimiter == "\t" and plain_quotes(lambda newline: io.StringIO(text, newline)):
        notes.append("quotation marks are read as plain characters")
        records = plain_records(io.StringIO(text, "\n"), delimiter)
    else:
        records = _mend_records(text, delimiter, notes)
    _, header = next(records, (1, []))
    names = [squeeze(n) or f"column {i}" for i, n in enumerate(header, 1)]
    if twice := duplicates(names):
        notes.append(f"the column name {name_list(twice)} occurs more than once: each is numbered")
        names = unique_names(names)
    rows = list(_fitting(records, names, delimiter, notes))
    if not rows:
        raise Unreadable("no rows below its first line, which names the columns")
    yield from _documents(rows, options, notes)


def _mend_records(text: str, delimiter: str, notes: Notes) -> Iterator[Record]:
    """Yield records; a line with broken quotation marks is taken literally."""
    lines = list(io.StringIO(text, newline=""))
    first = 0
    torn: list[int | RowPlace] = []
    swallowing: list[int | RowPlace] = []
    while first < len(lines):
        try:
            rest = (lines[number] for number in range(first, len(lines)))
            for line, fields in quoted_records(rest, delimiter, _LONGEST_CELL):
                if swallowed_lines(fields, delimiter):
                    swallowing.append(first + line)
                yield first + line, fields
            break
        except BrokenRecord as error:
            start = first + error.start - 1
            yield from ((start + 1, f) for _, f in plain_records([lines[start]], delimiter))
            torn.append(start + 1)
            first = start + 1
    if torn:
        notes.append(
            f"quotation marks that are not closed, or closed within a text, are read as plain "
            f"characters in {place_list('line', torn)}"
        )
    if swallowing:
        notes.append(
            "quoted texts of several lines that all read like rows: is a quotation mark missing in "
            f"{place_list('line', swallowing)}?"
        )


def _fitting(
    records: Iterable[Record], names: list[str], delimiter: str, notes: Notes
) -> Iterator[Row]:
    """Yield rows with as many cells as names; surplus cells join the last one."""
    wide: list[int | RowPlace] = []
    for line, cells in records:
        if not any(cells):
            continue
        if len(cells) > len(names) > 0:
            if any(cells[len(names) :]):
                wide.append(line)
            cells[len(names) - 1 :] = [delimiter.join(cells[len(names) - 1 :]).rstrip(delimiter)]
        yield dict(zip(names, cells, strict=False))
    if wide:
        notes.append(
            f"more cells than columns: the surplus is joined to "
            f"{names[-1]!r} in {place_list('line', wide)}"
        )


def read_jsonl(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read one object per line.

    Each line is a document; see "Rows". Lines that are not objects are left out, with a note.
    """
    rows: list[Row] = []
    bad: list[int | RowPlace] = []
    twice: list[str] = []
    # splitlines() also splits at U+2028, which JSON allows inside a string.
    for number, line in enumerate(decode(path.read_bytes(), notes).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = _parsed_json(line, twice)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad.append(number)
    if bad:
        where = f"{len(bad)} lines are not JSON objects and are left out: {place_list('line', bad)}"
        if not rows:
            raise Unreadable(f"damaged: {where}")
        notes.append(where)
    _tell_twice(twice, notes)
    yield from _documents(rows, options, notes)


def read_json(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read JSON.

    A list of objects: each is a document; else one document of `place: value` lines.
    """
    text = decode(path.read_bytes(), notes)
    twice: list[str] = []
    try:
        content = _parsed_json(text, twice)
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except ValueError as error:
        if _is_object(text.lstrip().partition("\n")[0]):  # JSONL in disguise
            yield from read_jsonl(path, options, notes)
            return
        raise Unreadable(f"damaged: {error}") from error
    _tell_twice(twice, notes)
    name = _first(content, TEXT_NAMES) if isinstance(content, dict) else None
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        yield from _documents(content, options, notes)
    elif name is not None and isinstance(content[name], str):
        for p in _documents([content], options, notes):
            yield Parsed(p.text, p.marks, p.title, p.metadata)
    else:
        yield _outline(content)


def read_columns(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read Parquet or Arrow.

    Each row is a document; see "Rows".
    """
    from tailorbird.data.parquet import read_arrow, read_parquet

    reader = read_parquet if path.suffix.lower() == ".parquet" else read_arrow
    try:
        stream = reader(path)
        rows: list[Row] = [
            {n: cell for n, cell in zip(stream.columns, cells, strict=True) if cell is not None}
            for _, cells in stream.rows
        ]
    except UserError as error:
        raise Unreadable(error.problem.removeprefix(f"{path}: ")) from error
    yield from _documents(rows, options, notes)


def _parsed_json(text: str, twice: list[str]) -> Any:
    """Parse JSON; duplicate names in an object are numbered and noted."""

    def differing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) == len(pairs):
            return values
        names = [name for name, _ in pairs]
        twice.extend(duplicates(names))
        return dict(zip(unique_names(names), (value for _, value in pairs), strict=True))

    return json.loads(text, parse_float=_decimal, object_pairs_hook=differing)


def _tell_twice(names: list[str], notes: Notes) -> None:
    if names:
        different = list(dict.fromkeys(names))
        notes.append(f"the name {name_list(different)} occurs twice in an object: each is numbered")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _first(row: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the column with the first of the names that exists."""
    folded = {name.strip().casefold(): name for name in row}
    return next((folded[name] for name in names if name in folded), None)


def _documents(rows: list[Row], options: ReadOptions, notes: Notes) -> Iterator[Parsed]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for option, name in (("text", options.text), ("title", options.title), ("id", options.id)):
        if name is not None and name not in columns:
            raise Unreadable(
                f"it has no column {name!r}{did_you_mean(name, columns)} as index.{option} says; "
                f"it has {name_list(columns)}"
            )
    text = options.text or _first(columns, TEXT_NAMES)
    free = [name for name in columns if name != text]
    title = options.title or _first(free, TITLE_NAMES)
    key = options.id or _first(free, ID_NAMES)
    names: set[str] = set()
    bare: list[int | RowPlace] = []
    empty: list[int | RowPlace] = []
    for number, row in enumerate(rows, 1):
        words = _cell(row.get(text)) if text else "\n".join(_pairs(row))
        if text and not words.strip():
            # A torn row's words may have slipped into its other columns.
            words = "\n".join(_pairs({n: v for n, v in row.items() if n != key}))
            (bare if words.strip() else empty).append(number)
        if not words.strip():
            continue
        name = squeeze(_cell(row.get(key))) if key else ""
        name = name or str(number)
        while name in names:
            name = f"{name}~{number}"
        names.add(name)
        metadata = {
            str(k): _typed_value(v)
            for k, v in row.items()
            if k not in (text, title) and k is not None
        }
        heading = squeeze(_cell(row.get(title))) if title else ""
        yield Parsed(words.strip("\n"), (Mark(0),), heading, metadata, name)
    if bare:
        notes.append(f"no text in {text!r}, the other columns are read: {place_list('row', bare)}")
    if empty:
        notes.append(f"no words, left out: {place_list('row', empty)}")


def _cell(value: Any) -> str:
    """Return a cell's text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return clean("\n".join(value))
    if isinstance(value, dict | list):
        return clean(json.dumps(value, ensure_ascii=False))
    return str(plain_value(value))


def _pairs(row: Row) -> Iterator[str]:
    for name, value in row.items():
        if words := squeeze(_cell(value)):
            yield f"{name}: {words}"


def _typed_value(value: Any) -> Value:
    """Return a cell's value for filters, with numbers parsed."""
    if not isinstance(value, str):
        return plain_value(value)
    text = clean(value).strip()
    digits = text.removeprefix("-")
    if (
        digits.isdigit()
        and digits.isascii()
        and len(digits) < 16
        and (digits[0] != "0" or len(digits) == 1)
    ):
        return int(text)
    if "." in text and digits.replace(".", "", 1).isdigit() and digits.isascii() and len(text) < 20:
        return _decimal(text)
    return text


def _decimal(text: str) -> float | str:
    """Return a decimal number, or its text if a float would change its digits."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def _outline(content: Any) -> Parsed:
    """Return any JSON as lines with the path of each value; upper levels are headings."""
    builder = TextBuilder()
    if isinstance(content, dict):
        plain = {k: v for k, v in content.items() if not isinstance(v, dict | list)}
        builder.block("\n".join(_flat(plain, "", 0)))
        for name, value in content.items():
            if isinstance(value, dict | list) and value:
                builder.heading(str(name), 1)
                builder.block("\n".join(_flat(value, "", 0)))
        title = content.get(_first(content, TITLE_NAMES) or "")
    else:
        builder.block("\n".join(_flat(content, "", 0)))
        title = None
    return Parsed(*builder.result(), title if isinstance(title, str) else "")


def _flat(value: Any, place: str, depth: int) -> Iterator[str]:
    """Yield ``a.b: value`` for every value below; list items are separated by an empty line."""
    if depth > _DEEPEST:
        raise Unreadable("nested too deeply")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{place}.{name}" if place else str(name), depth + 1)
    elif isinstance(value, list):
        simple = not any(isinstance(item, dict | list) for item in value)
        if simple and value:
            words = ", ".join(_cell(item) for item in value)
            yield f"{place}: {words}" if place else words
            return
        for number, item in enumerate(value, 1):
            yield from _flat(item, f"{place} {number}".strip(), depth + 1)
    elif words := squeeze(_cell(value)):
        yield f"{place}: {words}" if place else words
