"""From which size an approximate index pays, and how much it finds of what is nearest.

Unit vectors around topics, without words. At each size the exact search with all vectors in memory
is measured, then LanceDB's index as the store builds it (numbers of one byte), and one with product
quantisation (48 bytes a vector) as what was not chosen: milliseconds for 116 neighbours, the share
of the ten nearest among the first ten, and the seconds to build it. Prints one JSON line.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import emit, parser, say
from made_chunks import DIMENSION, TOPICS, Maker

QUERIES, FOUND, BLOCK = 100, 116, 20_000


def main() -> None:
    """Measure every size."""
    asked = parser(__doc__)
    asked.add_argument("--sizes", type=int, nargs="+", default=[100_000, 400_000])
    asked.add_argument("--place", type=Path, help="where the tables are made; default: /tmp")
    given = asked.parse_args()
    rows = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory(dir=given.place) as folder:
            rows.append(measure(Path(folder), size))
        say(str(rows[-1]))
    emit("approximate", {"sizes": rows})


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Fill a table and search it in each way."""
    from lancedb.index import IvfPq

    from tailorbird.knowledge import lance as room

    maker, rng = Maker(), np.random.default_rng(3)
    asked = np.stack([vector for _, vector in maker.questions(QUERIES, seed=5)])
    table = room.LanceStore(folder, "g1", DIMENSION, create=True)
    for start in range(0, size, BLOCK):
        vectors = maker.vectors(rng, rng.integers(TOPICS, size=BLOCK))
        table.add(np.arange(start, start + BLOCK), vectors, [""] * BLOCK)
    room._RESIDENT_BYTES = 1 << 62
    table.optimize()
    exact, result = search(table, asked)
    told: dict[str, Any] = {"chunks": size, "exact": result}
    room._RESIDENT_BYTES = 0
    for name in ("bytes", "products"):
        table = room.LanceStore(folder, "g1", DIMENSION)
        started = time.perf_counter()
        if name == "bytes":
            table.optimize()
        else:
            parts = room._partitions(size)
            config = IvfPq(distance_type="dot", num_partitions=parts, num_sub_vectors=48)
            table._table.create_index("vector", config=config, name=room._VECTOR_INDEX)
        built = round(time.perf_counter() - started, 1)
        found, result = search(table, asked)
        pairs = zip(exact, found, strict=True)
        recall = np.mean([len(set(one[:10]) & set(other[:10])) / 10 for one, other in pairs])
        told[name] = result | {"recall_at_10": round(float(recall), 4), "build_seconds": built}
    return told


def search(table: Any, asked: np.ndarray) -> tuple[list[list[int]], dict[str, float]]:
    """Return what is found, and the milliseconds."""
    table.nearest(asked[0], FOUND)  # the vectors, or the index, are read once
    found, seconds = [], []
    for vector in asked:
        started = time.perf_counter()
        found.append(table.nearest(vector, FOUND)[0].tolist())
        seconds.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.percentile(seconds, [50, 95])
    return found, {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


if __name__ == "__main__":
    main()
