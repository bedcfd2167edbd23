"""Readers of Parquet and Arrow files, in batches."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailorbird.data.raw_rows import Row, Stream, duplicate_columns
from tailorbird.data.textfile import bomb, is_bomb
from tailorbird.errors import UserError

_BATCH = 1024


def read_parquet(path: Path) -> Stream:
    """Read a Parquet file.

    Raises:
        UserError: At once or during iteration: the file is damaged, not Parquet, or empty.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty", "write or copy it again")
    try:
        # One file, not a data set, which would derive columns from folder names.
        file = pyarrow.parquet.ParquetFile(path)
        # Dictionary columns stay encoded, so that repeated words share memory.
        words = [
            f.name for f in file.schema_arrow if f.type in (pyarrow.string(), pyarrow.binary())
        ]
        file = pyarrow.parquet.ParquetFile(path, read_dictionary=words)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damage(path, "Parquet", error) from None
    return _stream(path, "Parquet", file.schema_arrow, file.iter_batches(_BATCH))


def read_arrow(path: Path) -> Stream:
    """Read an Arrow file, as written by `save_to_disk` of Hugging Face's datasets.

    Raises:
        UserError: At once or during iteration: the file is damaged, not Arrow, or empty.
    """
    import pyarrow

    try:
        mapped = pyarrow.memory_map(str(path))
        try:
            opened: Any = pyarrow.ipc.open_stream(mapped)
            batches = iter(opened)
        except pyarrow.ArrowInvalid:
            opened = pyarrow.ipc.open_file(mapped)
            batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _damage(path, "Arrow", error) from None
    return _stream(path, "Arrow", opened.schema, batches)


def _stream(path: Path, kind: str, schema: Any, batches: Iterator[Any]) -> Stream:
    names = list(schema.names)
    if len(set(names)) < len(names):
        raise duplicate_columns(path, names)
    rows = _rows(path, kind, batches, [class_names(schema).get(name) for name in names])
    return Stream(path, rows, names, unit="row")


def _rows(
    path: Path, kind: str, batches: Iterator[Any], classes: list[list[str] | None]
) -> Iterator[tuple[int, Row]]:
    import pyarrow

    number = characters = 0
    packed = path.stat().st_size
    try:
        for batch in batches:
            batch.validate(full=True)  # offsets may be invalid
            columns = [
                _class_labels(_values(column), names)
                for column, names in zip(batch.columns, classes, strict=True)
            ]
            characters += sum(len(v) for values in columns for v in values if isinstance(v, str))
            if is_bomb(packed, max(characters, batch.nbytes)):
                raise bomb(path, characters)
            for row in zip(*columns, strict=True):
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise _damage(path, kind, error) from None
    if not number:
        raise UserError(f"{path}: the file has no rows", "give a file with rows")


def _values(column: Any) -> list[Any]:
    """Return a column's cells; equal dictionary values are one object."""
    import pyarrow

    if not isinstance(column, pyarrow.DictionaryArray):
        cells = list(column.to_pylist())
        return [_without_nulls(cell) for cell in cells] if column.type.num_fields else cells
    numbers = column.indices.to_pylist()
    used = sorted({number for number in numbers if number is not None})
    texts = column.dictionary.take(pyarrow.array(used, pyarrow.int64()))
    words = dict(zip(used, texts.to_pylist(), strict=True))
    return [words.get(number) for number in numbers]


def _without_nulls(value: Any) -> Any:
    """Return a cell without null members: a struct has the members of its siblings too."""
    if isinstance(value, dict):
        return {k: _without_nulls(inner) for k, inner in value.items() if inner is not None}
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], tuple):  # a map, where null is a value
        return {key: inner if inner is None else _without_nulls(inner) for key, inner in value}
    return [_without_nulls(inner) for inner in value]


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the class names that Hugging Face's datasets stored with integer columns."""
    info = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(info)["info"]["features"] if info else {}
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _class_labels(values: list[Any], names: list[str] | None) -> list[Any]:
    if names is None:
        return values
    # -1 marks a test part without labels.
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None for v in values]


def _damage(path: Path, kind: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"{path}: cannot be read as {kind}, it may be truncated or in another format: {reason}",
        "copy or write the file again; CSV, TSV and JSONL are read too",
    )
