"""Reads files into one table, by their endings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from tailorbird import log
from tailorbird.data.delimited import read_delimited
from tailorbird.data.jsonfile import read_json, read_jsonl
from tailorbird.data.line_files import ENDINGS, read_conll, read_prose
from tailorbird.data.message_words import brief
from tailorbird.data.parquet import read_arrow, read_parquet
from tailorbird.data.raw_rows import MAX_COLUMNS, MAX_NAME_CHARACTERS, Row, RowPlace, Stream, Table
from tailorbird.data.reservoir import Reservoir
from tailorbird.data.sources import Source, files_of, kind_in
from tailorbird.data.textfile import PACKED
from tailorbird.errors import Faults, UserError, check_utf8

READERS: dict[str, Callable[[Path], Stream]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    **dict.fromkeys(ENDINGS, read_conll),
    ".txt": read_prose,
    ".md": read_prose,
}
"""The reader of a file, by the ending of its name."""

_WHOLE = (".parquet", ".arrow")

Numbered = tuple[int, int, Row]
"""Index of the file, place in it, and the cells."""


def read_table(source: Path | str | Source, named: Sequence[str] = ()) -> Table:
    """Read the rows of a file, or of several as one, regardless of the columns' roles.

    Args:
        named: The user's columns; numbers count the columns of files without a header.

    Raises:
        UserError: The file does not exist, has an unknown kind, or is damaged.
    """
    origin = Source.of(source)
    files = files_of(origin.name)
    reservoir: Reservoir[Numbered] = Reservoir(origin.name, origin.most, origin.seed)
    streams: list[Stream] = []
    faults = Faults()
    for number, file in enumerate(files):
        try:
            with _readable(file, reservoir.clear):
                stream = _open(file, named)
                streams.append(stream)
                for place, row in stream.rows:
                    size = sum(len(c) for c in row if isinstance(c, str))
                    reservoir.add((number, place, row), size)
                for warning in stream.warnings:
                    log.warn(warning)
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    rows = reservoir.rows()
    notes = []
    if reservoir.count > len(rows):
        notes.append(
            f"{origin.name}: {len(rows):,} of {reservoir.count:,} rows are used, drawn at random "
            f"(data.max_examples, seed {origin.seed})"
        )
    return _join(origin.name, streams, rows, notes)


def read_blocks(source: Path | str, named: Sequence[str], size: int) -> Iterator[Table]:
    """Yield the rows of a file, or of several one after the other, `size` at a time.

    A block has the columns that occurred before its end.

    Args:
        size: The most rows of a block; the last block of a file has fewer, the first of an empty
            file none.

    Raises:
        UserError: See `read_table`; for the first file that cannot be read.
    """
    for file in files_of(str(source)):
        with _readable(file):
            stream = _open(file, named)
            rows = ((0, place, row) for place, row in stream.rows)
            yield _join(str(file), [stream], list(islice(rows, size)), [])
            while block := list(islice(rows, size)):
                yield _join(str(file), [stream], block, [])


@contextmanager
def _readable(file: Path, clear: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn a lack of memory or permission into an error about the file."""
    try:
        yield
    except MemoryError:
        clear()
        raise UserError(
            f"{file}: reading it takes more memory than is available",
            "keep fewer rows, a random sample drawn while reading: --set data.max_examples=10000",
        ) from None
    except PermissionError:
        raise UserError(f"{file}: no permission to read it", f"chmod u+r {file}") from None


def _open(file: Path, named: Sequence[str]) -> Stream:
    kind = kind_in(file)
    if kind in _WHOLE and file.suffix.lower() in PACKED:
        raise UserError(f"{file}: {kind} files cannot be read compressed", "decompress it first")
    reader = READERS[kind]
    return read_delimited(file, named) if reader is read_delimited else reader(file)


def _join(name: str, streams: Sequence[Stream], rows: list[Numbered], notes: list[str]) -> Table:
    """Return one table with the columns of all files, in order of appearance."""
    first = streams[0]
    columns = tuple(dict.fromkeys(column for s in streams for column in s.columns))
    if len(columns) > MAX_COLUMNS:
        raise UserError(
            f"{name}: it has {len(columns):,} columns, more than {MAX_COLUMNS:,}",
            "give a table of texts; in JSON, put varying data into values, not keys",
        )
    check_utf8(columns, f"{name}: a column's name")
    for column in columns:
        if len(column) > MAX_NAME_CHARACTERS:
            raise UserError(
                f"{name}: a column's name has {len(column):,} characters: {brief(column)!r}",
                "put a line of short names above the rows",
            )
    for stream in streams:
        there = set(stream.columns)
        lacking = [repr(column) for column in columns if column not in there]
        if lacking:
            named = _some(lacking)
            notes.append(f"{stream.path} has no column {named}, which other files have")
    notes = [note for stream in streams for note in stream.notes] + notes
    several = len(streams) > 1
    if several:
        log.say(
            f"{name}: {len(streams):,} files read as one; rows are numbered in this order: "
            + _some([s.path.name for s in streams])
        )
    numbers = [{name: i for i, name in enumerate(s.columns)} for s in streams]
    places = [[number.get(name, -1) for name in columns] for number in numbers]
    names = [stream.path.name for stream in streams]
    if len(set(names)) < len(names):
        names = [str(stream.path) for stream in streams]
    units = {stream.unit for stream in streams}
    return Table(
        Path(name) if several else first.path,
        columns,
        tuple(
            # None for missing columns: of other files, or that appeared later.
            row
            if not several and len(row) == len(columns)
            else tuple(row[at] if 0 <= at < len(row) else None for at in places[number])
            for number, _, row in rows
        ),
        tuple(RowPlace(at, names[number]) if several else at for number, at, _ in rows),
        first.unit if len(units) == 1 else "row",
        all(stream.headed for stream in streams),
        tuple(notes),
    )


def _some(names: list[str]) -> str:
    first = ", ".join(names[:4])
    return first if len(names) <= 4 else f"{first} ... {names[-1]}"
