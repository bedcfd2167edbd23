"""Parquet files to a `Table`."""

from pathlib import Path

from tailorbird.data.table import Table, duplicate_columns
from tailorbird.errors import UserError


def read_parquet(path: Path) -> Table:
    """Read a Parquet file.

    Raises:
        UserError: The file is damaged, no Parquet, or empty.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty", "write or copy it again")
    try:
        # One file, not a data set: no columns guessed from the names of its folders.
        content = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as Parquet, it may be cut off or of another format: {reason}",
            "copy or write the file again; CSV, TSV and JSONL are read too",
        ) from None
    names = list(content.column_names)
    if len(set(names)) < len(names):
        raise duplicate_columns(path, names)
    if not content.num_rows or not names:
        raise UserError(f"{path}: the file has no rows", "give a file with rows")
    values = [column.to_pylist() for column in content.columns]
    return Table(
        path=path,
        columns=tuple(names),
        rows=tuple(zip(*values, strict=True)),
        places=tuple(range(1, content.num_rows + 1)),
        unit="row",
    )
