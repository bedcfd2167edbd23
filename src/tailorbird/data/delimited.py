"""CSV and TSV parsing, with the line of every fault; also used for documents."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tailorbird.data.columns import LABEL_NAMES, TEXT_NAMES
from tailorbird.data.message_words import name_list, place_list
from tailorbird.data.raw_rows import MAX_CELL_CHARACTERS, Row, RowPlace, Stream, duplicate_columns
from tailorbird.data.textfile import kind_of, lines_of, open_text
from tailorbird.errors import Faults, UserError

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_HEAD = 1 << 20

Record = tuple[int, list[str]]
"""The line a record starts in, and its fields."""


class BrokenRecord(ValueError):
    """A record with impossible quotation marks.

    Attributes:
        start: The line it starts in.
        end: The line in which the fault was detected.
    """

    def __init__(self, start: int, end: int, reason: str) -> None:
        super().__init__(reason)
        self.start, self.end = start, end


def read_delimited(path: Path, named: Sequence[str] = ()) -> Stream:
    """Read a CSV or TSV file whose first line names the columns.

    Args:
        named: The user's columns. If they are numbers, and no names in the first line, they count
            from 1, and the first line is data unless it looks like a header.

    Raises:
        UserError: At once or during iteration: the file is no table; every faulty line is named.
    """
    notes: list[str] = []
    warnings: list[str] = []
    tabbed = kind_of(path) == ".tsv"
    delimiter = "\t"
    if not tabbed:
        with open_text(path) as file:
            delimiter = delimiter_of(file.read(_HEAD))
    if delimiter != "," and not tabbed:
        notes.append(f"{path}: fields are separated by {_NAMES[delimiter]}")
    plain = delimiter == "\t" and plain_quotes(lambda newline: _lines(path, newline))
    if plain:
        notes.append(f"{path}: quotation marks are read as plain characters")
        records = plain_records(_lines(path, "\n", warnings))
    else:
        records = _parse(path, delimiter, warnings)
    line, first = next(records, (1, []))
    if first and named and all(map(str.isdigit, named)) and not set(named) & set(first):
        stream = _by_number(path, (line, first), records, [int(name) for name in named], notes)
    else:
        header = [field.strip() or f"column_{i}" for i, field in enumerate(first, 1)]
        if len(set(header)) < len(header):
            raise duplicate_columns(path, header)
        rows = _body(path, records, header, delimiter, warnings)
        stream = Stream(path, rows, header, headed=True, notes=notes)
    stream.warnings = warnings
    return stream


def _lines(path: Path, newline: str, warnings: list[str] | None = None) -> Iterator[str]:
    with open_text(path, newline, warnings) as file:
        yield from lines_of(path, file)


def _by_number(
    path: Path, first: Record, records: Iterator[Record], named: list[int], notes: list[str]
) -> Stream:
    """Return rows with columns named 1, 2, 3 ...; rows may have more columns."""
    headed = any(cell.strip().casefold() in (*TEXT_NAMES, *LABEL_NAMES) for cell in first[1])
    what = "left out as a header" if headed else "read as data"
    notes.append(f"{path}: columns are counted from 1, and the first line is {what}")
    columns: list[str] = []
    every = records if headed else chain([first], records)
    return Stream(path, _wide(path, every, named, columns), columns, notes=notes)


def _wide(
    path: Path, records: Iterator[Record], named: list[int], columns: list[str]
) -> Iterator[tuple[int, Row]]:
    short = []
    for line, fields in records:
        if len(fields) == 1 and not fields[0].strip():
            continue
        columns += [str(number) for number in range(len(columns) + 1, len(fields) + 1)]
        if len(fields) < max(named):
            short.append(line)
        yield line, tuple(fields)
    faults = Faults()
    width = len(columns)
    if max(named) > width or min(named) < 1:
        wrong = max(named) if max(named) > width else min(named)
        faults.add(
            f"{path}: there is no column number {wrong}: the rows have {width} fields",
            "columns are counted from 1",
        )
    elif short:
        faults.add(
            f"{path}: fewer than {max(named)} fields in {place_list('line', short)}",
            "add the missing fields",
        )
    faults.raise_if_any()


def delimiter_of(head: str) -> str:
    """Return the delimiter of a text's first lines: a comma unless another is more frequent."""
    lines = [line for line in islice(head.lstrip("\n\r ").split("\n"), 2) if line.strip()]
    for delimiter in (";", "\t", "|"):
        splits = lines and all(delimiter in line for line in lines)
        if splits and lines[0].count(delimiter) > lines[0].count(","):
            return delimiter
    return ","


def plain_quotes(lines: Callable[[str], Iterable[str]]) -> bool:
    """Return whether a TSV's quotation marks can only be plain characters.

    Many TSV files are written without quoting, where a text that merely starts with a quotation
    mark would swallow the rows after it.

    Args:
        lines: Returns the file's lines, for `open`'s ``newline`` argument.
    """
    widths, plain, quotes = set(), 0, False
    for line in lines("\n"):
        quotes = quotes or '"' in line
        if line.strip():
            widths.add(line.count("\t"))
            plain += 1
    if not quotes:
        return False
    try:
        quoted = sum(1 for _ in quoted_records(lines(""), "\t"))
    except BrokenRecord:
        return True
    return len(widths) == 1 and plain > quoted


def plain_records(lines: Iterable[str], delimiter: str = "\t") -> Iterator[Record]:
    """Split each line at its delimiters; quotation marks are plain characters."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line.removesuffix("\n").removesuffix("\r").split(delimiter)


def quoted_records(
    lines: Iterable[str], delimiter: str, longest: int = MAX_CELL_CHARACTERS
) -> Iterator[Record]:
    """Split lines into records by RFC 4180.

    Raises:
        BrokenRecord: A record is invalid; errors of the csv module get the record's first line.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = _next(reader, longest)
        except csv.Error as error:
            raise BrokenRecord(line, reader.line_num, str(error)) from None
        if fields is None:
            return
        if fields:
            yield line, fields


def swallowed_lines(fields: Sequence[str], delimiter: str) -> int:
    """Return how many lines inside a quoted cell look like rows; 0 unless all do."""
    for cell in fields:
        if "\n" in cell:
            inner = [line for line in cell.split("\n")[1:-1] if line.strip()]
            if len(inner) > 1 and all(line.count(delimiter) == len(fields) - 1 for line in inner):
                return len(inner)
    return 0


def _parse(path: Path, delimiter: str, warnings: list[str]) -> Iterator[Record]:
    try:
        yield from quoted_records(_lines(path, "", warnings), delimiter)
    except BrokenRecord as error:
        raise _broken(path, error.start, error.end, str(error)) from None


def _next(reader: Any, longest: int) -> list[str] | None:
    """Return the next record, with the csv module's global limit set and restored."""
    before = csv.field_size_limit(longest)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


def _broken(path: Path, start: int, end: int, reason: str) -> UserError:
    """Return the error for one of the csv module's terse messages."""
    if "field limit" in reason:
        return UserError(
            f"{path}: line {start} holds a cell of more than {MAX_CELL_CHARACTERS:,} characters",
            "cut the text into shorter ones, or look for a quotation mark that is never closed",
        )
    if "unexpected end" in reason:
        return UserError(
            f"{path}: a quotation mark opened in line {start} is never closed; everything up to "
            f"the end of the file (line {end}) is read as one cell",
            'close it, or write a quotation mark inside a cell doubled: "5"" screen"',
        )
    where = f"line {start}" if start == end else f"lines {start} to {end}"
    return UserError(
        f"{path}: {where}: text follows a closing quotation mark ({reason})",
        "put the whole cell in quotation marks and double those inside it: "
        '"""Yes,"" she said",label',
    )


def _body(
    path: Path, records: Iterator[Record], header: list[str], delimiter: str, warnings: list[str]
) -> Iterator[tuple[int, Row]]:
    width = len(header)
    suspects: list[int | RowPlace] = []
    more: list[Record] = []
    fewer: list[Record] = []
    there = False
    for line, fields in records:
        # A line of spaces is blank, unless there is only one column.
        if width > 1 and len(fields) == 1 and not fields[0].strip():
            continue
        there = True
        if len(fields) == width:
            if width > 1 and swallowed_lines(fields, delimiter):
                suspects.append(line)
            yield line, tuple(fields)
        else:
            bad = more if len(fields) > width else fewer
            # Only the first is reported with its fields.
            bad.append((line, fields if not bad else []))
    if suspects:
        warnings.append(
            f"{path}: quoted texts span several lines that all look like rows, in "
            f"{place_list('line', suspects)}: is a quotation mark missing?"
        )
    faults = Faults()
    _check_width(path, (more, fewer), width, delimiter, faults)
    faults.raise_if_any()
    if not there:
        raise UserError(
            f"{path}: the file has a header ({name_list(header)}) but no rows",
            "give a file with rows; if the first line is data, put a header line above it",
        )


def _check_width(
    path: Path, wrong: tuple[list[Record], list[Record]], width: int, delimiter: str, faults: Faults
) -> None:
    """Note rows with too many and with too few fields."""
    fixes = (
        f"put texts that contain {_NAMES[delimiter]} in quotation marks",
        "add the missing fields, or look for a line break inside a text that is not in "
        "quotation marks",
    )
    for word, bad, fix in zip(("more", "fewer"), wrong, fixes, strict=True):
        if bad:
            line, fields = bad[0]
            rest = [r[0] for r in bad[1:]]
            also = f"; {word} also in {place_list('line', rest)}" if rest else ""
            plural = "field" if len(fields) == 1 else "fields"
            faults.add(
                f"{path}: line {line} has {len(fields)} {plural}, {word} than the {width} "
                f"of the header{also}",
                fix,
            )
