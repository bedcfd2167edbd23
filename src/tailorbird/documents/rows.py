"""CSV, TSV, JSONL and JSON: each row is a document, its text in one column or in all of them."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.decode import clean, decode
from tailorbird.documents.markup import plain_value
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.errors import did_you_mean
from tailorbird.records import Mark

# Names that leave no doubt; with others a row's text is all of its columns.
TEXT_NAMES = (
    *("text", "content", "contents", "body", "page_content", "passage", "paragraph"),
    *("document", "article", "abstract", "context"),
)
TITLE_NAMES = ("title", "headline", "heading", "subject", "name")
ID_NAMES = ("_id", "id", "doc_id", "docid", "document_id", "pid", "uuid", "key")
_LARGEST_CELL = 1 << 30
_MOST_BAD_LINES = 5
_DEEPEST = 50

Row = Mapping[str, Any]


def read_delimited(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a file whose first line names the columns."""
    text = _characters(path, notes)
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else _delimiter(text)
    csv.field_size_limit(_LARGEST_CELL)
    plain = delimiter == "\t" and _unbalanced(text)
    if plain:
        notes.append("quotation marks are read as plain characters")
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
    )
    try:
        names = [squeeze(name) for name in next(reader, [])]
        names = [name or f"column {i}" for i, name in enumerate(names, 1)]
        rows: list[Row] = [dict(zip(names, cells, strict=False)) for cells in reader if any(cells)]
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error}") from error
    if not rows:
        raise Unreadable("no rows below its first line, which names the columns")
    yield from _documents(rows, options)


def _characters(path: Path, notes: Notes) -> str:
    # Line ends within quoted cells are cleaned with the cell.
    return decode(path.read_bytes(), notes)


def _delimiter(text: str) -> str:
    head = text.lstrip().partition("\n")[0]
    return max((",", ";", "\t", "|"), key=lambda mark: (head.count(mark), mark == ","))


def _unbalanced(text: str) -> bool:
    """Whether quotes in a TSV can only be plain characters: lines hold an odd number of them."""
    return any(line.count('"') % 2 for line in text.split("\n"))


def read_jsonl(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read one object per line; lines that are none are left out and told."""
    rows: list[Row] = []
    bad: list[int] = []
    # Not splitlines(): it also splits at U+2028, which JSON allows inside a string.
    for number, line in enumerate(_characters(path, notes).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=_decimal)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad.append(number)
    if bad:
        shown = ", ".join(map(str, bad[:_MOST_BAD_LINES]))
        said = f"{len(bad)} lines are no JSON objects and are left out: {shown}"
        if not rows:
            raise Unreadable(f"damaged: {said}")
        notes.append(said + (", ..." if len(bad) > _MOST_BAD_LINES else ""))
    yield from _documents(rows, options)


def read_json(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a list of objects as rows, anything else as one document of ``name: value`` lines."""
    text = _characters(path, notes)
    try:
        said = json.loads(text, parse_float=_decimal)
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except ValueError as error:
        if _is_object(text.lstrip().partition("\n")[0]):  # JSONL under another name
            yield from read_jsonl(path, options, notes)
            return
        raise Unreadable(f"damaged: {error}") from error
    if isinstance(said, list) and said and all(isinstance(item, dict) for item in said):
        yield from _documents(said, options)
    elif isinstance(said, dict) and isinstance(_text_of(said), str):
        yield from (
            Parsed(p.text, p.marks, p.title, p.metadata) for p in _documents([said], options)
        )
    else:
        yield _outlined(said)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _text_of(row: Row) -> Any:
    name = _first(row, TEXT_NAMES)
    return None if name is None else row[name]


def _first(row: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the column with the first of the names that there is."""
    folded = {name.strip().casefold(): name for name in row}
    return next((folded[name] for name in names if name in folded), None)


def _documents(rows: list[Row], options: ReadOptions) -> Iterator[Parsed]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for option, name in (("text", options.text), ("title", options.title), ("id", options.id)):
        if name is not None and name not in columns:
            raise Unreadable(
                f"it has no column {name!r}{did_you_mean(name, columns)} as index.{option} says; "
                f"it has {', '.join(map(repr, columns[:12]))}"
            )
    text = options.text or _first(columns, TEXT_NAMES)
    free = [name for name in columns if name != text]
    title = options.title or _first(free, TITLE_NAMES)
    key = options.id or _first(free, ID_NAMES)
    taken: set[str] = set()
    for number, row in enumerate(rows, 1):
        words = _cell(row.get(text)) if text else "\n".join(_pairs(row))
        if not words.strip():
            continue
        name = squeeze(_cell(row.get(key))) if key else ""
        name = name or str(number)
        while name in taken:
            name = f"{name}~{number}"
        taken.add(name)
        metadata = {
            str(k): _typed(v) for k, v in row.items() if k not in (text, title) and k is not None
        }
        heading = squeeze(_cell(row.get(title))) if title else ""
        yield Parsed(words.strip("\n"), (Mark(0),), heading, metadata, name)


def _cell(value: Any) -> str:
    """Return a cell's words."""
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


def _typed(value: Any) -> Value:
    """Return a cell for filters: what is written as a number is one."""
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
    """Return a decimal number; its digits where a float would change them."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def _outlined(said: Any) -> Parsed:
    """Return any JSON as lines that say where each value stands; upper levels are headings."""
    builder = TextBuilder()
    if isinstance(said, dict):
        plain = {k: v for k, v in said.items() if not isinstance(v, dict | list)}
        builder.block("\n".join(_flat(plain, "", 0)))
        for name, value in said.items():
            if isinstance(value, dict | list) and value:
                builder.heading(str(name), 1)
                builder.block("\n".join(_flat(value, "", 0)))
        title = said.get(_first(said, TITLE_NAMES) or "")
    else:
        builder.block("\n".join(_flat(said, "", 0)))
        title = None
    return Parsed(*builder.result(), title if isinstance(title, str) else "")


def _flat(value: Any, place: str, depth: int) -> Iterator[str]:
    """Yield ``a.b: value`` for every value below; the items of a list are parted by a line."""
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
