"""A knowledge base's store beside LanceDB alone, txtai and Qdrant's local mode, in one run.

The same chunks with ready vectors, and the same questions: embedding is left out. tailorbird
answers as `tailor ask` does: words and vectors, fused, with the passages' texts, from an index that
survives a kill. LanceDB: its hybrid search (flat vectors, its index of words). txtai: its hybrid
search, with the texts kept. Qdrant's local mode has vectors alone. Each in a process of its own;
one that is not installed is left out. Prints one JSON line: chunks a second, milliseconds of a
question, and the share of the ten nearest among its first ten by vectors, where it has these alone.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from harness import emit, fresh, parser, say
from made_chunks import DIMENSION, Maker, Ready, ReadyVectors
from store_speed import QUERIES, Exact, fill, peak_mb, search

Ask = Callable[[str, np.ndarray], Any]


def main() -> None:
    """Measure each in a process of its own."""
    options = parser(__doc__)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--only", help=f"some of {', '.join(STORES)}; a comma between")
    options.add_argument("--one", help="measure this store in this process")
    choice = options.parse_args()
    if choice.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(STORES[choice.one](Path(folder), choice.chunks)))
        return
    rows = {}
    for name in choice.only.split(",") if choice.only else STORES:
        if find_spec(_PACKAGES.get(name, "tailorbird")) is None:
            say(f"{name} is not installed")
            continue
        rows[name] = fresh(__file__, "--one", name, "--chunks", str(choice.chunks))
        say(f"{name}: {json.dumps(rows[name])}")
    emit("store_peers", {"chunks": choice.chunks, "stores": rows})


def tailorbird(folder: Path, chunks: int) -> dict[str, Any]:
    """Fill and ask a knowledge base."""
    maker, ready = Maker(), ReadyVectors()
    exact = Exact(maker.questions(QUERIES, seed=11))
    seconds = fill(folder / "kb", maker, ready, chunks, exact)
    rate = round(chunks / (seconds["write"] + seconds["optimize"]))
    return _row(rate, search(folder / "kb", ready, exact))


def _row(rate: int, figures: dict[str, Any]) -> dict[str, Any]:
    names = ("first_query_ms", "query_p50_ms", "query_p95_ms", "recall_at_10")
    return {
        "ingest_chunks_per_second": rate, **{name: figures.get(name) for name in names},
        "peak_memory_mb": round(peak_mb()),
    }  # fmt: skip


def _measured(
    chunks: int,
    add: Callable[[list[str], list[str], np.ndarray], None],
    finish: Callable[[], Any],
    ask: Ask,
    nearest: Callable[[np.ndarray], list[str]] | None = None,
) -> dict[str, Any]:
    maker, seconds = Maker(), 0.0
    exact = Exact(maker.questions(QUERIES, seed=11))
    for names, texts, vectors, block in _blocks(maker, chunks):
        began = time.perf_counter()
        add(names, texts, vectors)
        seconds += time.perf_counter() - began
        exact.take(block)
    began = time.perf_counter()
    finish()
    seconds += time.perf_counter() - began
    waits = []
    for question, vector in exact.questions:
        began = time.perf_counter()
        assert ask(question, vector)
        waits.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(waits[20:], [50, 95])
    figures = {
        "first_query_ms": round(waits[0], 1),
        "query_p50_ms": round(float(p50), 1),
        "query_p95_ms": round(float(p95), 1),
    }
    if nearest is not None:
        figures["recall_at_10"] = exact.recall_of(nearest)
    return _row(round(chunks / seconds), figures)


def _blocks(maker: Maker, chunks: int) -> Iterator[tuple[list[str], list[str], np.ndarray, Ready]]:
    for block in maker.blocks(chunks):
        texts = [text for one in block.prepared for text in one.texts]
        names = [chunk.id for one in block.prepared for chunk in one.chunks]
        yield names, texts, np.stack([block.vectors[text] for text in texts]), block


def lancedb_alone(folder: Path, chunks: int) -> dict[str, Any]:
    """LanceDB's hybrid search."""
    os.environ["LANCE_LOG"] = os.environ["LANCEDB_LOG"] = "error"  # read when it is imported
    import lancedb
    import pyarrow as pa
    from lancedb.index import FTS

    base = lancedb.connect(folder)
    table: Any = None

    def add(names: list[str], texts: list[str], vectors: np.ndarray) -> None:
        nonlocal table
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION)
        rows = pa.table({"name": names, "text": texts, "vector": flat})
        if table is None:
            table = base.create_table("chunks", rows)
        else:
            table.add(rows)

    def finish() -> None:
        table.create_index("text", config=FTS(with_position=False))
        table.optimize()

    def ask(question: str, vector: np.ndarray) -> Any:
        search = table.search(query_type="hybrid").vector(vector).text(question)
        return search.limit(10).to_list()

    def nearest(vector: np.ndarray) -> list[str]:
        rows = table.search(vector, vector_column_name="vector").distance_type("dot").limit(10)
        return [row["name"] for row in rows.select(["name"]).to_list()]

    return _measured(chunks, add, finish, ask, nearest)


def txtai(folder: Path, chunks: int) -> dict[str, Any]:
    """The hybrid search of txtai; its index is made of all at once."""
    from txtai import Embeddings

    known: dict[str, np.ndarray] = {}
    base = Embeddings(
        method="external", content=True, hybrid=True,
        transform=lambda texts: np.stack([known[text] for text in texts]),
    )  # fmt: skip
    rows: list[tuple[str, str, None]] = []

    def add(names: list[str], texts: list[str], vectors: np.ndarray) -> None:
        known.update(zip(texts, vectors, strict=True))
        rows.extend((name, text, None) for name, text in zip(names, texts, strict=True))

    def finish() -> None:
        base.index(rows)
        base.save(str(folder / "txtai"))

    def ask(question: str, vector: np.ndarray) -> Any:
        known[question] = vector
        return base.search(question, 10)

    return _measured(chunks, add, finish, ask)


def qdrant_local(folder: Path, chunks: int) -> dict[str, Any]:
    """Qdrant's local mode: vectors alone."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder / "qdrant"))
    kind = models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
    client.create_collection("chunks", vectors_config=kind)
    count = 0

    def add(names: list[str], texts: list[str], vectors: np.ndarray) -> None:
        nonlocal count
        batch = models.Batch(
            ids=list(range(count, count + len(names))),
            vectors=vectors.tolist(),
            payloads=[{"name": n, "text": t} for n, t in zip(names, texts, strict=True)],
        )
        client.upsert("chunks", batch)
        count += len(names)

    def ask(question: str, vector: np.ndarray) -> Any:
        return client.query_points("chunks", query=vector.tolist(), limit=10).points

    def nearest(vector: np.ndarray) -> list[str]:
        return [point.payload["name"] for point in ask("", vector)]

    return _measured(chunks, add, lambda: None, ask, nearest)


STORES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "tailorbird": tailorbird, "lancedb": lancedb_alone, "txtai": txtai, "qdrant": qdrant_local,
}  # fmt: skip
_PACKAGES = {"lancedb": "lancedb", "txtai": "txtai", "qdrant": "qdrant_client"}


if __name__ == "__main__":
    main()
