"""A snapshot: one consistent state of a knowledge base, unaffected by writers."""

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tailorbird.errors import UserError, did_you_mean
from tailorbird.knowledge.filter import Condition, comparable, metadata_of, parse, row_of
from tailorbird.knowledge.ledger import Ledger, chunk_of, unpack
from tailorbird.knowledge.protocols import Index, Ranking, VectorIndex, WordIndex
from tailorbird.records import Chunk, Hit

# A filter that leaves at most this many chunks is passed to the store as rows.
_FEW = 5000
_NAMED = 40
_MOST_SEEN = 20_000
_COLUMNS = (
    'c.id, d.source, c.position, c.text, c.start, c."end", d.title, c.page, c.headings, c.tokens'
)
_LIVE = "FROM chunks c CROSS JOIN documents d ON d.version = c.version AND d.state = 'live'"


class Snapshot:
    """The live documents at one moment, created by `KnowledgeFolder.reading`.

    The index may contain rows that are not live in the ledger (pending or old versions); these are
    left out, and the search is repeated for more rows.
    """

    def __init__(
        self, ledger: Ledger, store: Index, load: Callable[[], Any], moment: Any = None
    ) -> None:
        self._ledger, self._store, self._load = ledger, store, load
        self._moment = moment
        # Vector and word search may run in two threads, but a connection serves one at a time.
        self._guard = threading.RLock()
        self._few: dict[Condition, np.ndarray | None] = {}
        # A cache, since both searches return many of the same rows.
        self._seen: dict[int, tuple[Chunk, str]] = {}
        self._rows: dict[tuple[str, int], int] = {}

    @property
    def embedder(self) -> Any:
        """The model that computed the vectors, loaded on first use."""
        return self._load()

    def nearest(self, vector: np.ndarray, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks nearest to a unit vector ``[d]``: score and dense are the cosine."""
        store = self._vectors()
        ranking = self._ranked(lambda n, among: store.nearest(vector, n, among), k, where)
        return [
            Hit(chunk, score, dense=score, metadata=metadata) for chunk, score, metadata in ranking
        ]

    def matching(self, question: str, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks that share words with the question: score and words are the BM25."""
        store = self._store
        if not isinstance(store, WordIndex):
            raise UserError(
                "the store of this knowledge base has no word search", "--set retrieve.mode=dense"
            )
        ranking = self._ranked(lambda n, among: store.matching(question, n, among), k, where)
        return [
            Hit(chunk, score, words=score, metadata=metadata) for chunk, score, metadata in ranking
        ]

    def chunks(self, source: str) -> list[Chunk]:
        """Return a document's chunks in order; empty for an unknown document."""
        read = self._ledger.link.execute(
            f"SELECT {_COLUMNS} FROM documents d JOIN chunks c ON c.version = d.version "
            "WHERE d.state = 'live' AND d.source = ? ORDER BY c.position",
            (source,),
        )
        return [chunk_of(row) for row in read]

    def neighbours(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """Return for each chunk up to `n` chunks before and after it, without itself."""
        link = self._ledger.link
        places = {chunk.position + step for chunk in chunks for step in range(-n, n + 1)}
        read = link.execute(
            f"SELECT {_COLUMNS} FROM documents d CROSS JOIN chunks c "
            f"ON c.version = d.version AND c.position {link.AMONG} "
            f"WHERE d.state = 'live' AND d.source {link.AMONG} ORDER BY c.position",
            (link.listing(sorted(places)), link.listing(list({c.source for c in chunks}))),
        )
        near: dict[str, list[Chunk]] = {}
        for row in read:
            other = chunk_of(row)
            near.setdefault(other.source, []).append(other)
        return [
            [
                other
                for other in near.get(chunk.source, ())
                if 0 < abs(other.position - chunk.position) <= n
            ]
            for chunk in chunks
        ]

    def text(self, source: str) -> str:
        """Return a document's text.

        Raises:
            UserError: There is no such document.
        """
        texts = self.texts_of([source])
        if source not in texts:
            raise UserError(
                f"{source} is not in the knowledge base", "tailor index --store KB --list"
            )
        return texts[source]

    def texts_of(self, sources: Iterable[str]) -> dict[str, str]:
        """Return the texts of the documents that exist, by source."""
        link = self._ledger.link
        read = link.execute(
            "SELECT d.source, t.body FROM documents d CROSS JOIN texts t ON t.version = d.version "
            f"WHERE d.state = 'live' AND d.source {link.AMONG}",
            (link.listing(list(sources)),),
        )
        return {source: unpack(body) for source, body in read}

    def sources(self) -> list[str]:
        """Return the sources of all documents, sorted."""
        read = self._ledger.link.execute(
            "SELECT source FROM documents WHERE state = 'live' ORDER BY source"
        )
        return [row[0] for row in read]

    def whole(self) -> bool:
        """Return whether the index is unchanged since before the ledger's snapshot.

        A document replaced since then has left the index, and its successor is not live in this
        snapshot, so a search would find neither.
        """
        return bool(self._store.moment == self._moment)

    @property
    def waits(self) -> bool:
        """Whether a search waits for another program or its threads, see `Index.waits`."""
        return self._store.waits

    def moment(self) -> tuple[int, int]:
        """Return numbers that change whenever the documents change."""
        newest, count = self._ledger.link.execute(
            "SELECT coalesce(max(version), 0), count(*) FROM documents WHERE state = 'live'"
        ).fetchone()
        return int(newest), int(count)

    def vectors(self, hits: Sequence[Hit]) -> np.ndarray:
        """Return the chunks' unit vectors ``[n, d]``; zeros for a chunk deleted since."""
        places = [(hit.chunk.source, hit.chunk.position) for hit in hits]
        with self._guard:
            if not all(place in self._rows for place in places):
                self._find_rows(places)
        numbers = [self._rows.get(place, -1) for place in places]
        return self._vectors().vectors(np.asarray(numbers, dtype=np.int64))

    def _find_rows(self, places: Sequence[tuple[str, int]]) -> None:
        link = self._ledger.link
        read = link.execute(
            f"SELECT d.source, c.position, c.row FROM documents d CROSS JOIN chunks c "
            f"ON c.version = d.version AND c.position {link.AMONG} "
            f"WHERE d.state = 'live' AND d.source {link.AMONG}",
            (
                link.listing(list({position for _, position in places})),
                link.listing(list({source for source, _ in places})),
            ),
        )
        self._rows |= {(source, position): row for source, position, row in read}

    def _vectors(self) -> VectorIndex:
        if not isinstance(self._store, VectorIndex):
            raise UserError(
                "the store of this knowledge base has no vector search", "--set retrieve.mode=words"
            )
        return self._store

    def _ranked(
        self, ask: Callable[[int, np.ndarray | None], Ranking], k: int, where: str | None
    ) -> list[tuple[Chunk, float, dict[str, Any]]]:
        condition = parse(where) if where is not None else None
        with self._guard:
            among = self._among(condition) if condition else None
        limit = k + 16
        while True:
            rows, scores = ask(limit, among)
            with self._guard:
                live = self._live(rows, None if among is not None else condition)
            hits = [
                (*live[row], score)
                for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
                if row in live
            ]
            if len(hits) >= k or len(rows) < limit:
                return [(chunk, score, metadata) for chunk, metadata, score in hits[:k]]
            limit *= 4

    def _live(
        self, rows: np.ndarray, condition: Condition | None
    ) -> dict[int, tuple[Chunk, dict[str, Any]]]:
        numbers = rows.tolist()
        if len(self._seen) > _MOST_SEEN:
            self._seen, self._rows = {}, {}
        new = [row for row in numbers if row not in self._seen]
        read = self._ledger.link.execute(
            f"SELECT c.row, d.metadata, {_COLUMNS} {_LIVE} WHERE c.row {self._ledger.link.AMONG}",
            (self._ledger.link.listing(new),),
        )
        for row, metadata, *columns in read:
            chunk = chunk_of(columns)
            self._seen[row] = chunk, metadata
            self._rows[chunk.source, chunk.position] = row
        live = {}
        for row in numbers:
            if row not in self._seen:
                continue
            chunk, metadata = self._seen[row]
            if condition and not condition.holds(
                row_of(metadata, chunk.source, chunk.title, chunk.page)
            ):
                continue
            # Hits of one document share cached metadata, but each gets a dictionary of its own.
            live[row] = chunk, dict(metadata_of(metadata))
        return live

    def _among(self, condition: Condition) -> np.ndarray | None:
        """Return the rows that satisfy a filter, None if they are many."""
        if condition not in self._few:
            read = self._ledger.link.execute(
                "SELECT c.row, d.metadata, d.source, d.title, c.page FROM documents d "
                "CROSS JOIN chunks c ON c.version = d.version WHERE d.state = 'live'"
            )
            fitting = (row for row, *columns in read if condition.holds(row_of(*columns)))
            rows = np.sort(np.fromiter(islice(fitting, _FEW + 1), dtype=np.int64))
            if not len(rows):
                self._check_names(condition)
            self._few[condition] = rows if len(rows) <= _FEW else None
        return self._few[condition]

    def _check_names(self, condition: Condition) -> None:
        """Raise for a key that no document has, unlike a filter that matches nothing."""
        read = self._ledger.link.execute("SELECT metadata FROM documents WHERE state = 'live'")
        keys = {"source", "title", "page"}.union(*(comparable(row[0]) for row in read))
        for name in condition.names:
            if name not in keys:
                names = sorted(keys)
                more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
                raise UserError(
                    f"--where: no document has {name[:200]!r}{did_you_mean(name, keys)}",
                    f"there are: {', '.join(names[:_NAMED])}{more}",
                )
