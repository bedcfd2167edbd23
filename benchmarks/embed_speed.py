"""Embedding SciFact's documents, against sentence-transformers' defaults in the same run.

Title and text of each document, builtin:minilm. Both sides get the same longest text, and the same
threads (OMP_NUM_THREADS). sentence-transformers is left at its defaults: fp32, batches of 32.
Times are medians of interleaved rounds after a warm-up. Prints one JSON line: documents per second
of both, how many times as fast tailorbird is, and the least cosine between their vectors. Exits
with 1 when that is below 0.999.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, middle, parser, say


def main() -> None:
    """Time both, in turns."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "scifact")
    asked.add_argument("--documents", type=int, default=512, help="0: all of them")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--max-length", type=int, default=256)
    asked.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    given = asked.parse_args()
    with data_file(given.data, "corpus.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = [f"{row['title']}\n{row['text']}" for row in rows[: given.documents or None]]
    ours, theirs, words = _sides(given)
    seconds: dict[str, list[float]] = {"tailorbird": [], "sentence_transformers": []}
    vectors: dict[str, Any] = {}
    for round_ in range(given.rounds + 1):
        for name, embed in (("tailorbird", ours), ("sentence_transformers", theirs)):
            # The warm-up sees a part: it is for the libraries' kernels, not for the figures.
            part = texts if round_ else texts[:32]
            began = time.perf_counter()
            vectors[name] = embed(part)
            if round_:
                seconds[name].append(time.perf_counter() - began)
                say(f"round {round_}: {name} {seconds[name][-1]:.1f} s")
    pair = zip(seconds["tailorbird"], seconds["sentence_transformers"], strict=True)
    least = float((vectors["tailorbird"] * vectors["sentence_transformers"]).sum(axis=1).min())
    emit(
        "embed_speed",
        {
            "documents": len(texts),
            "max_length": given.max_length,
            "device": words,
            "documents_per_second": {
                name: middle([len(texts) / each for each in times])
                for name, times in seconds.items()
            },
            "times_as_fast": middle([theirs_ / ours_ for ours_, theirs_ in pair]),
            "least_cosine": round(least, 6),
        },
    )
    sys.exit(least < 0.999)


def _sides(given: Any) -> tuple[Any, Any, str]:
    from sentence_transformers import SentenceTransformer

    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.builtin import resolve
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    device = choose("auto", given.precision)
    ours = Embedder(ModelConfig(name="builtin:minilm"), device)
    theirs = SentenceTransformer(resolve("builtin:minilm"), local_files_only=True)
    ours.max_length = theirs.max_seq_length = given.max_length
    return (
        lambda texts: ours.embed_documents(texts).vectors,
        lambda texts: theirs.encode(texts, normalize_embeddings=True),
        device.words,
    )


if __name__ == "__main__":
    main()
