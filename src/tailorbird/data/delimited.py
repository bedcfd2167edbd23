"""CSV and TSV files to a `Table`, with the line of every fault."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tailorbird.data.columns import LABEL_NAMES, TEXT_NAMES
from tailorbird.data.table import MAX_CELL_CHARACTERS, Table, duplicate_columns, listed
from tailorbird.data.textfile import read_text
from tailorbird.errors import Faults, UserError

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}

Record = tuple[int, list[str]]
"""The line a record starts in, and its fields."""


def read_delimited(path: Path, named: Sequence[str] = ()) -> Table:
    """Read a CSV or TSV file whose first line names the columns.

    Args:
        path: The file.
        named: The columns the user named. If they are numbers, and no name in the first line, they
            count from 1, and the first line is data unless it reads like a header.

    Raises:
        UserError: The file cannot be read as a table; every faulty line is named.
    """
    text = read_text(path)
    notes = []
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _sniff(text)
    if delimiter != "," and path.suffix.lower() != ".tsv":
        notes.append(f"{path}: fields are separated by {_NAMES[delimiter]}")
    records = None
    if delimiter == "\t":
        records = _unquoted(text)
        if records:
            notes.append(f"{path}: quotation marks are read as plain characters")
    records = records or _parse(path, text, delimiter, quoted=True)
    if records and named and all(map(str.isdigit, named)) and not set(named) & set(records[0][1]):
        return _numbered(path, records, [int(name) for name in named], notes)
    return _table(path, records, delimiter, tuple(notes))


def _numbered(path: Path, records: list[Record], named: list[int], notes: list[str]) -> Table:
    """Return a table whose columns are called 1, 2, 3 ...; rows may be wider than those named."""
    width = max(len(fields) for _, fields in records)
    first = [cell.strip() for cell in records[0][1]]
    headed = any(cell.casefold() in (*TEXT_NAMES, *LABEL_NAMES) for cell in first)
    body = [r for r in records[1 if headed else 0 :] if len(r[1]) > 1 or r[1][0].strip()]
    faults = Faults()
    if max(named) > width or min(named) < 1:
        wrong = max(named) if max(named) > width else min(named)
        faults.add(
            f"{path}: there is no column number {wrong}: the rows have {width} fields",
            "columns are counted from 1",
        )
    short = [r for r in body if len(r[1]) < max(named) <= width]
    if short:
        faults.add(
            f"{path}: fewer than {max(named)} fields in {listed('line', [r[0] for r in short])}",
            "add the missing fields",
        )
    faults.raise_if_any()
    told = "left out as a header" if headed else "read as data"
    notes = [*notes, f"{path}: columns are counted from 1, and the first line is {told}"]
    return Table(
        path=path,
        columns=tuple(str(i + 1) for i in range(width)),
        rows=tuple((*fields, *[None] * (width - len(fields))) for _, fields in body),
        places=tuple(line for line, _ in body),
        notes=tuple(notes),
    )


def _sniff(text: str) -> str:
    """Return the delimiter: a comma unless the header has none and another one splits the lines."""
    header, _, rest = text.lstrip().partition("\n")
    if "," not in header:
        for delimiter in (";", "\t"):
            if delimiter in header and delimiter in rest.lstrip().partition("\n")[0]:
                return delimiter
    return ","


def _unquoted(text: str) -> list[Record] | None:
    """Return a TSV's records if its quotes can only be plain characters, else None.

    Many TSV files are written without quoting, and then a text that merely starts with a
    quotation mark would swallow the rows after it.
    """
    if '"' not in text:
        return None
    plain = [
        (number, line.split("\t"))
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1)
        if line.strip()
    ]
    try:
        quoted = _parse(Path(), text, "\t", quoted=True)
    except UserError:
        return plain
    even = len({len(fields) for _, fields in plain}) == 1
    return plain if even and len(plain) > len(quoted) else None


def _parse(path: Path, text: str, delimiter: str, *, quoted: bool) -> list[Record]:
    """Split text into records; the csv module's faults get the line the record started in."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    records: list[Record] = []
    before = csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return records
            except csv.Error as error:
                raise _broken(path, line, reader.line_num, str(error)) from None
            if fields:
                records.append((line, fields))
    finally:
        csv.field_size_limit(before)


def _broken(path: Path, start: int, end: int, reason: str) -> UserError:
    """Return the fault behind one of the csv module's terse messages."""
    if "field limit" in reason:
        return UserError(
            f"{path}: line {start} holds a cell of more than {MAX_CELL_CHARACTERS:,} characters",
            "cut the text into shorter ones, or look for a quotation mark that is never closed",
        )
    if "unexpected end" in reason:
        return UserError(
            f"{path}: a quotation mark opened in line {start} is never closed; "
            f"it swallows everything to the end of the file (line {end})",
            'close it, or write a quotation mark inside a cell doubled: "5"" screen"',
        )
    where = f"line {start}" if start == end else f"lines {start} to {end}"
    return UserError(
        f"{path}: {where}: text stands after a closing quotation mark ({reason})",
        "put the whole cell in quotation marks and double those inside it: "
        '"""Yes,"" she said",label',
    )


def _table(path: Path, records: list[Record], delimiter: str, notes: tuple[str, ...]) -> Table:
    header = _header(path, records[0][1] if records else [])
    width = len(header)
    # A line of blanks is a blank line, except where one column is all there is.
    body = [r for r in records[1:] if width == 1 or len(r[1]) > 1 or r[1][0].strip()]
    faults = Faults()
    _check_width(path, body, width, delimiter, faults)
    faults.raise_if_any()
    if not body:
        raise UserError(
            f"{path}: there is a header ({', '.join(header)}) but no row under it",
            "give a file with rows; if the first line is data, put a header line above it",
        )
    return Table(
        path=path,
        columns=tuple(header),
        rows=tuple(tuple(fields) for _, fields in body),
        places=tuple(line for line, _ in body),
        headed=True,
        notes=notes,
    )


def _header(path: Path, fields: list[str]) -> list[str]:
    names = [field.strip() or f"column_{i}" for i, field in enumerate(fields, 1)]
    if len(set(names)) < len(names):
        raise duplicate_columns(path, names)
    return names


def _check_width(
    path: Path, body: list[Record], width: int, delimiter: str, faults: Faults
) -> None:
    """Note the rows with too many and with too few fields."""
    name = _NAMES[delimiter]
    for word, bad, fix in (
        (
            "more",
            [r for r in body if len(r[1]) > width],
            f"put texts that contain {name} in quotation marks",
        ),
        (
            "fewer",
            [r for r in body if len(r[1]) < width],
            "add the missing fields, or look for a line break inside a text that is not in "
            "quotation marks",
        ),
    ):
        if bad:
            line, fields = bad[0]
            rest = [r[0] for r in bad[1:]]
            also = f"; {word} also in {listed('line', rest)}" if rest else ""
            plural = "field" if len(fields) == 1 else "fields"
            faults.add(
                f"{path}: line {line} has {len(fields)} {plural}, {word} than the {width} "
                f"of the header{also}",
                fix,
            )
