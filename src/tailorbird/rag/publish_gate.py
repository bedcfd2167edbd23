"""Decides whether to publish a tuned retriever: only if held-out queries show that it is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.ranking import mean_scores, ndcg
from tailorbird.metrics.significance import compare
from tailorbird.rag.fuse import WeightChoice, best_first, choose_weight, convex
from tailorbird.rag.query_pairs import Queries
from tailorbird.rag.retriever_training import DEPTH
from tailorbird.records import Comparison, Score

NEW = "tuned"


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate's decision.

    Attributes:
        passed: Whether the tuned retriever beats every other with a p-value below the threshold.
        words: The reason, with figures.
        scores: nDCG@10 with its interval by name; the tuned retriever is `NEW`.
        wins, losses, ties: Numbers of queries, against the first of the others.
    """

    passed: bool
    words: str
    scores: dict[str, Score]
    tests: tuple[Comparison, ...]
    wins: int
    losses: int
    ties: int


def judge(values: Mapping[str, np.ndarray], significance: float, seed: int = 13) -> Gate:
    """Test the tuned retriever against the others on the same held-out queries.

    Args:
        values: nDCG@10 ``[queries]`` by name; `NEW` is the tuned retriever, the old one comes
            first.
        significance: The p-value must be below this, after correction for the number of tests.
    """
    scores = mean_scores(values)
    tests = compare(values, pairs=[(NEW, name) for name in values if name != NEW], seed=seed)
    better = [test.difference.value > 0 and test.p_holm < significance for test in tests]
    passed = bool(tests) and all(better)
    first = tests[0]
    differences = values[NEW] - values[first.b]
    wins, losses = int((differences > 1e-12).sum()), int((differences < -1e-12).sum())
    rivals = "; ".join(
        f"{test.b} {scores[test.b].value:.4f}, difference {test.difference.value:+.4f} "
        f"[{test.difference.low:+.4f}, {test.difference.high:+.4f}], p = {test.p_holm:.3g}"
        for test in tests
    )
    words = (
        f"{'better' if passed else 'not shown to be better'} on {len(differences)} held-out "
        f"queries: nDCG@10 {scores[NEW].value:.4f} tuned against {rivals}; "
        f"{wins} queries won, {losses} lost"
    )
    return Gate(passed, words, scores, tests, wins, losses, len(differences) - wins - losses)


@dataclass(frozen=True, slots=True)
class JudgedSides:
    """The dense and word results for judged queries, before fusion.

    Attributes:
        sources: The document of each chunk.
        dense: For each query, cosines by place, also of chunks from word search only.
        words: For each query, BM25 by place; empty without word search.
    """

    queries: Queries
    sources: Sequence[str]
    dense: list[dict[int, float]]
    words: list[dict[int, float]]

    def ranking(self, place: int, weight: float) -> list[int]:
        """Return the chunks for the query at `place`, best first."""
        return best_first(convex(self.dense[place], self.words[place], weight))

    def documents(self, place: int, weight: float) -> list[str]:
        """Return the documents, best first; a document ranks by its best chunk."""
        return list(dict.fromkeys(self.sources[p] for p in self.ranking(place, weight)))[:DEPTH]

    def values(self, weight: float) -> np.ndarray:
        """Return nDCG@10 ``[queries]``."""
        grades = self.queries.grades
        return np.asarray(
            [
                ndcg(self.documents(place, weight), grades[query], DEPTH)
                for place, query in enumerate(self.queries.texts)
            ]
        )

    def choose(self) -> WeightChoice:
        """Return the dense side's best weight for these queries."""
        return choose_weight(self.values)


def both_sides(
    queries: Queries,
    query_vectors: np.ndarray,
    vectors: np.ndarray,
    sources: Sequence[str],
    words: Sequence[Mapping[int, float]] | None,
    candidates: int,
) -> JudgedSides:
    """Return each side's results: the `candidates` nearest chunks, and the matches in `words`."""
    dense, worded = [], []
    for place, vector in enumerate(query_vectors):
        scores = vectors @ vector
        matched = dict(words[place]) if words is not None else {}
        near = np.argsort(-scores, kind="stable")[:candidates].tolist()
        places = dict.fromkeys([*near, *matched])
        dense.append({p: float(scores[p]) for p in places})
        worded.append(matched)
    return JudgedSides(queries, sources, dense, worded)
