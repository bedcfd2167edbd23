"""How the knowledge base's store grows: ingest, queries, memory and disk, from 1k to 1M chunks.

Chunks come with ready vectors: embedding is left out, of documents and of questions. Each size is
measured in two fresh processes, as `tailor index` and `tailor ask` are two: chunks per second from
the first write to the index tidied; then searches as `tailor ask` does them (both sides, fusion,
neighbours, passages' texts). The peak memory is that of the larger. Processor times tell what a
busy machine hides. Prints one JSON line; exits with 1 when 100,000 chunks miss a target.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import emit, fresh, parser, say
from made_chunks import Maker, Ready, ReadyVectors

SIZES = (1_000, 10_000, 100_000)
LARGE = 1_000_000
QUERIES = 300
TARGETS = {
    "ingest_chunks_per_second": 10_000, "query_p50_ms": 10, "query_p95_ms": 20,
    "first_query_ms": 1_000, "peak_memory_mb": 1_500,
}  # fmt: skip


def main() -> None:
    """Measure every size in a process of its own, draw, and hold to the targets."""
    asked = parser(__doc__)
    asked.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="in chunks")
    asked.add_argument("--million", action="store_true", help="1,000,000 chunks as well")
    asked.add_argument("--draw", type=Path, help="write the growth as an SVG here")
    asked.add_argument("--place", type=Path, help="where the stores are made; default: /tmp")
    asked.add_argument("--one", type=int, help="measure this size")
    asked.add_argument("--search", type=Path, help="search the store in this folder")
    given = asked.parse_args()
    if given.search:
        exact = Exact.kept(given.search / "exact.npz")
        found = search(given.search / "kb", ReadyVectors(), exact)
        print(json.dumps(found | {"memory_of_search_mb": round(peak_mb())}))
        return
    if given.one:
        print(json.dumps(measure(given.one, given.place)))
        return
    place = ["--place", str(given.place)] if given.place else []
    sizes = sorted({*given.sizes, *([LARGE] if given.million else [])})
    rows = []
    for size in sizes:
        say(f"{size:,} chunks ...")
        rows.append(fresh(__file__, "--one", str(size), *place))
        say(json.dumps(rows[-1]))
    missed = [name for row in rows if row["chunks"] == 100_000 for name in misses(row)]
    emit("store_speed", {"sizes": rows, "targets_at_100k": TARGETS, "missed": missed})
    if given.draw:
        from growth_chart import growth_chart

        given.draw.write_text(growth_chart(rows), encoding="utf-8")
    sys.exit(bool(missed))


def misses(row: dict[str, Any]) -> list[str]:
    """Return the names of the targets that a size misses."""
    least = {"ingest_chunks_per_second"}
    return [
        name
        for name, bar in TARGETS.items()
        if (row[name] < bar if name in least else row[name] > bar)
    ]


def measure(chunks: int, place: Path | None) -> dict[str, Any]:
    """Fill a store, search it, and return the figures."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        maker, ready = Maker(), ReadyVectors()
        before = peak_mb()
        exact = Exact(maker.questions(QUERIES, seed=11))
        seconds = fill(Path(folder) / "kb", maker, ready, chunks, exact)
        exact.keep(Path(folder) / "exact.npz")
        found = fresh(__file__, "--search", folder)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
        return {
            "chunks": chunks,
            "ingest_chunks_per_second": round(chunks / (seconds["write"] + seconds["optimize"])),
            **{f"{name}_seconds": round(value, 2) for name, value in seconds.items()},
            **found,
            "memory_before_mb": round(before),
            "memory_of_ingest_mb": round(peak_mb()),
            "peak_memory_mb": max(round(peak_mb()), found["memory_of_search_mb"]),
            "disk_mb": round(size / 2**20, 1),
        }


class Exact:
    """The ten chunks nearest to each question, compared while the chunks are made."""

    def __init__(self, questions: list[tuple[str, np.ndarray]]) -> None:
        self.questions = questions
        self._asked = np.stack([vector for _, vector in questions])
        self._names = np.empty((len(questions), 0), dtype=object)
        self._cosines = np.empty((len(questions), 0), dtype=np.float32)

    @classmethod
    def kept(cls, path: Path) -> "Exact":
        """Return what `keep` wrote."""
        with np.load(path) as arrays:
            questions = zip(arrays["questions"].tolist(), arrays["asked"], strict=True)
            exact = cls(list(questions))
            exact._names, exact._cosines = arrays["names"].astype(object), arrays["cosines"]
        return exact

    def keep(self, path: Path) -> None:
        """Write it to a file, for another process."""
        np.savez(
            path, questions=np.array([question for question, _ in self.questions]),
            asked=self._asked, names=self._names.astype(str), cosines=self._cosines,
        )  # fmt: skip

    def take(self, block: Ready) -> None:
        """Compare a block."""
        said = [text for prepared in block.prepared for text in prepared.texts]
        names = [chunk.id for prepared in block.prepared for chunk in prepared.chunks]
        found = self._asked @ np.stack([block.vectors[text] for text in said]).T
        cosines = np.concatenate([self._cosines, found], axis=1)
        ids = np.asarray(names, dtype=object)
        all_names = np.concatenate([self._names, np.tile(ids, (len(self._asked), 1))], axis=1)
        best = np.argsort(-cosines, axis=1)[:, :10]
        self._cosines = np.take_along_axis(cosines, best, axis=1)
        self._names = np.take_along_axis(all_names, best, axis=1)

    def recall(self, kb: Any) -> float:
        """Return the share of them among the first ten of a search by vectors."""
        with kb.reading() as view:
            return self.recall_of(lambda v: [hit.chunk.id for hit in view.nearest(v, 100)[:10]])

    def recall_of(self, nearest: Callable[[np.ndarray], list[str]]) -> float:
        """Return the share of them among the ten names that a search by vectors gives."""
        shares = [
            len(set(names) & set(nearest(vector))) / 10
            for names, (_, vector) in zip(self._names, self.questions, strict=True)
        ]
        return round(float(np.mean(shares)), 4)


def fill(
    folder: Path,
    maker: Maker,
    ready: ReadyVectors,
    chunks: int,
    exact: Exact | None = None,
    store: str | None = None,
) -> dict[str, float]:
    """Write the documents batch by batch, as `tailor index` does; return the seconds of each part.

    Making texts and vectors is left out. `store` is as ``knowledge.store``.
    """
    from tailorbird.config.knowledge import IndexConfig

    written = processor = 0.0
    with open_store(folder, ready, IndexConfig(embedder="ready"), store) as kb:
        for block in maker.blocks(chunks):
            before = time.process_time()
            written += write(kb, ready, block)
            processor += time.process_time() - before
            if exact is not None:
                exact.take(block)
        started, before = time.perf_counter(), time.process_time()
        kb.optimize(0)
        processor += time.process_time() - before
        tidied = time.perf_counter() - started
        return {"write": written, "optimize": tidied, "ingest_processor": processor}


def open_store(
    folder: Path, ready: ReadyVectors, config: Any = None, store: str | None = None
) -> Any:
    """Open a knowledge base whose embedder has the vectors ready."""
    from tailorbird.knowledge.base import KnowledgeFolder

    return KnowledgeFolder(folder, config, lambda _: ready, store=store)


def write(kb: Any, ready: ReadyVectors, block: Ready) -> float:
    """Write some documents; return the seconds."""
    from tailorbird.knowledge.write import Batch

    ready.known = block.vectors
    started = time.perf_counter()
    kb.write(Batch(prepared=block.prepared))
    return time.perf_counter() - started


def search(folder: Path, ready: ReadyVectors, exact: Exact) -> dict[str, float]:
    """Ask, and return the milliseconds: of the first question after opening, and of the others."""
    from tailorbird.config.knowledge import RetrieveConfig
    from tailorbird.rag.retrieve import Retriever

    ready.known = dict(exact.questions)
    with open_store(folder, ready) as kb:
        retriever = Retriever(kb, RetrieveConfig())
        seconds, before = [], time.process_time()
        for question, _ in exact.questions:
            started = time.perf_counter()
            assert retriever.search(question)
            seconds.append(1000 * (time.perf_counter() - started))
        processor = 1000 * (time.process_time() - before) / len(seconds)
        p50, p95 = np.percentile(seconds[20:], [50, 95])
        return {
            "first_query_ms": round(seconds[0], 1),
            "query_p50_ms": round(float(p50), 1),
            "query_p95_ms": round(float(p95), 1),
            "query_processor_ms": round(processor, 1),
            "recall_at_10": exact.recall(kb),
        }


def peak_mb() -> float:
    """Return the most memory that this process has had resident."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
