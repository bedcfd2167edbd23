"""How soon a knowledge base of 100,000 chunks shows what was added, changed and deleted.

Each time is from the call that writes a document of five chunks until another opening of the
knowledge base, as another process has it, has searched and seen it: both sides find the new text;
after a change both find the new and neither the old; after a deletion neither finds it. The call's
own tidying of the index is part of it. Embedding is left out. Prints one JSON line; exits with 1
when the 95th percentile of one of the three is above 300 ms.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import emit, parser, say
from made_chunks import Maker, Ready, ReadyVectors
from store_speed import fill, open_store, write

MOST_MS = 300
FIRST = 10_000_000  # numbers of documents that the store was not filled with


def main() -> None:
    """Fill a store, change it, and time what readers see."""
    asked = parser(__doc__)
    asked.add_argument("--chunks", type=int, default=100_000)
    asked.add_argument("--rounds", type=int, default=120, help="documents added, changed, deleted")
    asked.add_argument("--place", type=Path, help="where the store is made; default: /tmp")
    given = asked.parse_args()
    maker, ready = Maker(), ReadyVectors()
    with tempfile.TemporaryDirectory(dir=given.place) as folder:
        say(f"filling {given.chunks:,} chunks ...")
        fill(Path(folder) / "kb", maker, ready, given.chunks)
        times = changes(Path(folder) / "kb", maker, ready, given.rounds)
    result: dict[str, Any] = {"chunks": given.chunks, "rounds": given.rounds}
    for name, seconds in times.items():
        p50, p95 = np.percentile(seconds, [50, 95])
        result[name] = {
            "p50_ms": round(1000 * p50, 1), "p95_ms": round(1000 * p95, 1),
            "most_ms": round(1000 * max(seconds), 1),
        }  # fmt: skip
    missed = [name for name in times if result[name]["p95_ms"] > MOST_MS]
    emit("freshness", result | {"to_reach_p95_ms": MOST_MS, "missed": missed})
    sys.exit(bool(missed))


def changes(folder: Path, maker: Maker, ready: ReadyVectors, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each addition, change and deletion."""
    from tailorbird.flows.index import remove

    times: dict[str, list[float]] = {"added": [], "changed": [], "deleted": []}
    with open_store(folder, ready) as kb, open_store(folder, ready) as reader:
        sees(reader, maker.documents([0]))  # the vectors are read into memory once
        for number in range(FIRST, FIRST + rounds):
            old, new = maker.documents([number]), maker.documents([number], version=1)
            started = time.perf_counter()
            write(kb, ready, old)
            kb.optimize()
            assert sees(reader, old) == (True, True)
            times["added"].append(time.perf_counter() - started)
            started = time.perf_counter()
            write(kb, ready, new)
            kb.optimize()
            assert sees(reader, new) == (True, True)
            assert sees(reader, old) == (False, False)
            times["changed"].append(time.perf_counter() - started)
            if number % 2:  # the others stay, so that the store grows
                continue
            started = time.perf_counter()
            remove(kb, [new.prepared[0].document.source])
            assert sees(reader, new) == (False, False)
            times["deleted"].append(time.perf_counter() - started)
    return times


def sees(reader: Any, made: Ready) -> tuple[bool, bool]:
    """Say whether vectors and words find a document's second chunk."""
    prepared = made.prepared[0]
    name, text = prepared.chunks[1].id, prepared.texts[1]
    with reader.reading() as view:
        near = view.nearest(made.vectors[text], 3)
        matched = view.matching(" ".join(text.split()[2:22]), 10)
    return tuple(name in {hit.chunk.id for hit in hits} for hits in (near, matched))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
