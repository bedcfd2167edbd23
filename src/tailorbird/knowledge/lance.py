"""The LanceDB store of vectors and words; the only module that imports LanceDB.

Measured at 100,000 rows of 384 dimensions (LanceDB 0.40): its flat scan reads every vector from
disk for every query and takes 5 to 10 times as long as one matrix product in memory. So each
searching process holds the vectors in memory (150 MB) and searches exactly. Past `_RESIDENT_BYTES`
LanceDB's approximate index takes over, which at 400,000 rows answers in a sixth of the time.
"""

import os
import shutil
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.errors import UserError
from tailorbird.knowledge.index_terms import is_unspaced, words_to_find, words_to_index
from tailorbird.knowledge.memory_index import Resident, best
from tailorbird.knowledge.protocols import Ranking
from tailorbird.knowledge.sqlite_ledger import INDEX, FolderBackend, disk_explained

_RESIDENT_BYTES = 256 << 20
# Other processes may still read a replaced version; queries take far less time than this.
_KEEP_VERSIONS = timedelta(minutes=2)
_FRAGMENTS = 50
_REFINE = 2
_VECTOR_INDEX = "vector_idx"
# Earlier versions stored unprocessed text in a column of another name.
_WORDS, _OLD_WORDS = "words", "text"


class LanceBackend(FolderBackend):
    """LanceDB tables in the folder, one per generation: the store of earlier versions."""

    name = "lancedb"

    def open(self, number: int, dimension: int, create: bool = False) -> "LanceStore":
        """See `Backend.open`."""
        return LanceStore(self.folder / INDEX, f"g{number}", dimension, create)

    def remove(self, number: int) -> None:
        """See `Backend.remove`."""
        shutil.rmtree(self.folder / INDEX / f"g{number}.lance", ignore_errors=True)


class LanceStore:
    """A LanceDB table.

    Args:
        folder: LanceDB's folder.
        name: The table's name.
        dimension: Dimension of the vectors.
        create: Create the table if it is missing.

    Raises:
        UserError: The table is missing or damaged.
    """

    waits = True

    def __init__(self, folder: Path, name: str, dimension: int, create: bool = False) -> None:
        self.folder, self.name, self.dimension = folder, name, dimension
        self._table = _open(folder, name, dimension, create)
        self._resident: Resident | None = None
        self._version = -1  # of `_resident`
        self._deletions = 0
        self._lock = threading.Lock()

    def add(self, rows: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> None:
        """Add rows and count them; see `Index.add`.

        Raises:
            UserError: The disk is full.
        """
        if not len(rows):
            return
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        columns = {
            "row": pa.array(np.asarray(rows, dtype=np.int64)),
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.dimension),
            self._words: pa.array([_encodable(words_to_index(t)) for t in texts], pa.string()),
        }
        with disk_explained(self.folder):
            before = self._table.count_rows()
            self._table.add(pa.table(columns))
            arrived = self._table.count_rows() - before
        assert arrived == len(rows), f"{arrived} of {len(rows)} rows arrived in the index"

    def delete(self, rows: np.ndarray) -> None:
        """See `Index.delete`."""
        self._deletions += 1
        for start in range(0, len(rows), 5000):
            with disk_explained(self.folder):
                self._table.delete(_in(rows[start : start + 5000]))

    @property
    def moment(self) -> tuple[int, int]:
        """See `Index.moment`."""
        return int(self._table.version), self._deletions

    def rows(self) -> np.ndarray:
        """See `Index.rows`."""
        read = self._table.search().select(["row"]).to_arrow()["row"].to_numpy()
        return np.sort(read.astype(np.int64))

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `VectorIndex.nearest`; exact below `_RESIDENT_BYTES` and for few `among`."""
        if among is not None and not len(among):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if (resident := self._loaded()) is not None:
            return resident.nearest(vector, k, among)
        search = self._table.search(vector, vector_column_name="vector").distance_type("dot")
        probes = max(8, _partitions(self._table.count_rows()) // 20)
        search = search.nprobes(probes).refine_factor(_REFINE)
        if among is not None:
            # For few rows: the index on `row` selects them, and their scan is exact.
            search = search.bypass_vector_index().where(_in(among), prefilter=True)
        table = search.select(["row", "_distance"]).limit(k).to_arrow()
        return best(table["row"].to_numpy(), 1.0 - table["_distance"].to_numpy(), k)

    def matching(self, question: str, k: int, among: np.ndarray | None = None) -> Ranking:
        """See `WordIndex.matching`.

        `among` filters the ranking of all rows: LanceDB would compute word statistics over those
        rows only, and the same text would score differently with and without a filter.
        """
        from lancedb.query import MatchQuery

        # LanceDB's type hints require every default to be passed.
        ask: Any = MatchQuery
        column = self._words
        if column == _OLD_WORDS and is_unspaced(question):
            _warn_of_old_words(self.folder.parent)
        query, limit = ask(_encodable(words_to_find(question)), column), k
        while True:
            search = self._table.search(query, query_type="fts").select(["row", "_score"])
            read = search.limit(limit).to_arrow()
            rows, scores = read["row"].to_numpy(), read["_score"].to_numpy()
            inside = np.ones(len(rows), bool) if among is None else np.isin(rows, among)
            if among is None or inside.sum() >= k or len(rows) < limit:
                return best(rows[inside], scores[inside], k)
            limit *= 8

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `VectorIndex.vectors`."""
        resident = self._loaded()
        if resident is None:
            unique = np.unique(rows)
            parts = [self._read(_in(unique[at : at + 5000])) for at in range(0, len(unique), 5000)]
            none = np.empty(0, np.int64), np.empty((0, self.dimension), np.float32)
            read, vectors = (np.concatenate(each) for each in zip(none, *parts, strict=True))
            resident = Resident(read, vectors)
        return resident.vectors(rows)

    def due(self, rows: int) -> bool:
        """See `Index.due`."""
        words = self._table.index_stats(f"{self._words}_idx")
        if words is None or words.num_unindexed_rows > rows:
            return True
        return bool(self._table.stats()["fragment_stats"]["num_small_fragments"] > _FRAGMENTS)

    def optimize(self) -> None:
        """See `Index.optimize`."""
        with disk_explained(self.folder):
            _ensure_indexes(self._table)
            self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)
            large = self._large(self._table.count_rows())
            if large and self._table.index_stats(_VECTOR_INDEX) is None:
                self._build_vector_index()

    @property
    def _words(self) -> str:
        # Looked up each time: another process may have rebuilt the index.
        return _words_column(self._table)

    def _build_vector_index(self) -> None:
        from lancedb.index import IvfSq

        # Scalar quantisation (one byte), not product quantisation: at 400,000 rows of 384
        # dimensions the top ten were all found, where products of 8 dimensions each lost 18 of 100.
        settings = IvfSq(
            distance_type="dot",
            num_partitions=_partitions(self._table.count_rows()),
            max_iterations=20,
            sample_rate=64,
        )
        self._table.create_index("vector", config=settings, name=_VECTOR_INDEX)

    def _loaded(self) -> Resident | None:
        """Return the table's current vectors in memory; None if they are too many."""
        with self._lock:
            version = int(self._table.version)
            if self._version != version:
                count = int(self._table.count_rows())
                large = self._large(count)
                self._resident = None if large else Resident(*self._read(None, count))
                self._version = version
            return self._resident

    def _large(self, rows: int) -> bool:
        return rows * self.dimension * 4 > _RESIDENT_BYTES

    def _read(self, where: str | None, expected: int = 0) -> Ranking:
        """Return rows and vectors ``[n, d]``, read in blocks so that memory holds one copy."""
        search = self._table.search().select(["row", "vector"])
        if where:
            search = search.where(where)
        rows = np.empty(expected, dtype=np.int64)
        vectors = np.empty((expected, self.dimension), dtype=np.float32)
        count = 0
        for batch in search.to_batches(8192):
            end = count + batch.num_rows
            if end > len(rows):
                rows = np.concatenate([rows[:count], np.empty(end - count, np.int64)])
                vectors = np.concatenate(
                    [vectors[:count], np.empty((end - count, self.dimension), np.float32)]
                )
            rows[count:end] = batch["row"].to_numpy()
            block = batch["vector"].flatten().to_numpy()
            vectors[count:end] = block.reshape(-1, self.dimension)
            count = end
        return rows[:count], vectors[:count]


def _partitions(rows: int) -> int:
    return max(1, int(rows**0.5))


def _in(rows: np.ndarray) -> str:
    return f"row IN ({','.join(map(str, np.asarray(rows, dtype=np.int64).tolist()))})"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _open(folder: Path, name: str, dimension: int, create: bool) -> Any:
    # LanceDB warns on stderr about a column that every search of ours names, and about empty
    # partitions.
    for variable in ("LANCE_LOG", "LANCEDB_LOG"):
        os.environ.setdefault(variable, "error")
    import lancedb
    import pyarrow as pa

    there = (folder / f"{name}.lance").is_dir()
    try:
        base = lancedb.connect(folder, read_consistency_interval=timedelta(0))
        if there or not create:
            return base.open_table(name)
        schema = pa.schema(
            [("row", pa.int64()), ("vector", pa.list_(pa.float32(), dimension)),
             (_WORDS, pa.string())]
        )  # fmt: skip
        table = base.create_table(name, schema=schema)
        _ensure_indexes(table)
        return table
    except (ValueError, OSError, RuntimeError) as error:
        raise UserError(
            f"the index in {folder} is {'damaged' if there else 'missing'}"
            + (f": {error}" if there else ""),
            f"tailor index --store {folder.parent} --repair",
        ) from error


def _words_column(table: Any) -> str:
    return _WORDS if _WORDS in table.schema.names else _OLD_WORDS


@cache
def _warn_of_old_words(folder: Path) -> None:
    log.warn(
        f"{folder} was indexed by an earlier version, which cannot search words in Chinese, "
        "Japanese, Korean, Thai, Lao, Khmer or Burmese; rebuild its index: tailor index --store "
        f"{folder} --repair"
    )


def _ensure_indexes(table: Any) -> None:
    from lancedb.index import FTS, BTree

    indexes = {index.name for index in table.list_indices()}
    words = _words_column(table)
    if f"{words}_idx" not in indexes:
        table.create_index(words, config=FTS(with_position=False), name=f"{words}_idx")
    if "row_idx" not in indexes:
        table.create_index("row", config=BTree(), name="row_idx")
