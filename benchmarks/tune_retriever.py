"""SciFact: the embedder tuned on train queries; nDCG@10 on the test queries, fused and alone.

    python benchmarks/tune_retriever.py --seeds 1,2,3

Everything is learnt and chosen on the 809 train queries and the documents: pairs, hard negatives,
stopping, averaging, the weight of the fusion. The 300 test queries are asked once, of the old and
the tuned embedder. The gate's decision is printed with them. Words are matched by BM25 with stems
(k1 = 1.2, b = 0.75), computed here, so that the figures do not hang on a store. About 25 minutes a
seed on 2 idle cores. `--documents 500` is a smoke run: fewer documents, easier, no figure to cite.
"""

import csv
import json
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, data_file, emit, parser, say

_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)


def main() -> None:
    """Tune with each seed and ask the test queries."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "scifact")
    asked.add_argument("--seeds", default="1")
    asked.add_argument("--documents", type=int, help="keep the judged ones and so many others")
    asked.add_argument("--set", action="append", default=[], dest="settings", help="as for tailor")
    given = asked.parse_args()
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        data_file(given.data, name)
    from tailorbird.config import load_config
    from tailorbird.config.schema import ModelConfig
    from tailorbird.flows.tune_embedder import RetrieverData
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    corpus = read_corpus(given.data, given.documents)
    device = choose()
    old = Embedder(ModelConfig(name="builtin:minilm"), device)
    began = time.perf_counter()
    vectors = old.embed_documents(corpus.texts, "documents").vectors
    say(f"{len(corpus.texts):,} documents embedded in {time.perf_counter() - began:.0f} s")
    grounds = RetrieverData(corpus, vectors, bm25(corpus.texts), "builtin:minilm")
    runs = []
    for seed in given.seeds.split(","):
        config = load_config(None, [*given.settings, f"retriever.seed={seed}"], {})
        runs.append(run(grounds, old, given.data, config) | {"seed": int(seed)})
        say(json.dumps(runs[-1]))
    means = {
        name: round(float(np.mean([one[name] for one in runs])), 4)
        for name in ("dense_before", "dense_after", "hybrid_before", "hybrid_after")
    }
    documents = len(corpus.texts)
    emit("tune_retriever", {"goal": 0.76, "documents": documents, "mean": means, "runs": runs})


def run(grounds: Any, old: Any, data: Path, config: Any) -> dict[str, Any]:
    """Tune once; return nDCG@10 on test before and after, and what the gate said."""
    from tailorbird.config.schema import ModelConfig
    from tailorbird.flows.tune_embedder import tune_embedder
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder
    from tailorbird.rag.publish_gate import both_sides
    from tailorbird.rag.query_pairs import check_sources, read_queries
    from tailorbird.runs.folder import RunFolder

    train = read_queries(data / "queries.jsonl", data / "qrels" / "train.tsv")
    test = read_queries(data / "queries.jsonl", data / "qrels" / "test.tsv")
    test = check_sources(test, grounds.corpus.sources)
    texts = list(test.texts.values())
    words = [grounds.words(text, 100) for text in texts]
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        folder.start(resume=False)
        began = time.perf_counter()
        tuned = tune_embedder(grounds, train, config, folder, resume=False)
        seconds = time.perf_counter() - began
        new = Embedder(ModelConfig(name=str(tuned.folder)), choose())
        sections = tuned.report.sections
        assert sections.weights is not None
        result: dict[str, Any] = {}
        sides = (("before", old, grounds.vectors, 0), ("after", new, tuned.vectors, 1))
        for when, model, vectors, place_of in sides:
            asked = model.embed_queries(texts).vectors
            found = both_sides(test, asked, vectors, grounds.corpus.sources, words, 100)
            weight = sections.weights[place_of]
            result[f"dense_{when}"] = round(float(found.values(1.0).mean()), 4)
            result[f"hybrid_{when}"] = round(float(found.values(weight).mean()), 4)
            result[f"weight_{when}"] = weight
            result["words"] = round(float(found.values(0.0).mean()), 4)
    return result | {
        "published": sections.published,
        "gate": sections.words,
        "share": sections.share,
        "best_step": sections.best_step,
        "steps": sections.steps,
        "seconds": round(seconds),
        "queries": len(texts),
    }


def read_corpus(data: Path, most: int | None) -> Any:
    """Return SciFact's abstracts, title and text, each one chunk."""
    from tailorbird.rag.query_pairs import Corpus

    rows = [json.loads(line) for line in (data / "corpus.jsonl").open(encoding="utf-8")]
    if most is not None:
        judged = set()
        for part in ("train", "test"):
            with (data / "qrels" / f"{part}.tsv").open() as file:
                judged |= {row["corpus-id"] for row in csv.DictReader(file, delimiter="\t")}
        right = [row for row in rows if row["_id"] in judged]
        rows = (right + [row for row in rows if row["_id"] not in judged])[:most]
    return Corpus(
        [row["_id"] for row in rows],
        [f"{row['title']}\n{row['text']}" for row in rows],
        [row["title"] for row in rows],
        [() for _ in rows],
        [row["text"] for row in rows],
    )


def bm25(texts: list[str], k1: float = 1.2, b: float = 0.75) -> Callable[[str, int], Any]:
    """Return the word side: BM25 over stemmed words."""
    import snowballstemmer
    from scipy.sparse import csr_matrix

    stem = snowballstemmer.stemmer("english")
    known: dict[str, str] = {}

    def words_of(text: str) -> list[str]:
        found = [w for w in re.findall(r"\w+", text.lower()) if w not in _STOP]
        return [known.setdefault(w, known.get(w) or stem.stemWord(w)) for w in found]

    counts = [Counter(words_of(text)) for text in texts]
    lengths = np.asarray([sum(count.values()) for count in counts])
    seen = Counter(word for count in counts for word in count)
    places: dict[str, int] = {}
    rows, columns, values = [], [], []
    for number, count in enumerate(counts):
        for word, times in count.items():
            rarity = math.log(1 + (len(texts) - seen[word] + 0.5) / (seen[word] + 0.5))
            norm = k1 * (1 - b + b * lengths[number] / lengths.mean())
            rows.append(places.setdefault(word, len(places)))
            columns.append(number)
            values.append(rarity * times * (k1 + 1) / (times + norm))
    table = csr_matrix((values, (rows, columns)), (len(places), len(texts)))

    def matching(question: str, k: int) -> dict[int, float]:
        asked = [places[word] for word in words_of(question) if word in places]
        if not asked:
            return {}
        scores = np.asarray(table[asked].sum(axis=0)).ravel()
        best = np.argsort(-scores, kind="stable")[:k]
        return {int(place): float(scores[place]) for place in best if scores[place] > 0}

    return matching


if __name__ == "__main__":
    main()
