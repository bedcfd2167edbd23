"""Ranking metrics for judged queries.

Computed as in trec_eval: gains are the grades themselves (linear), a document without a judgement
counts as irrelevant, and nDCG's ideal order contains all judged documents, retrieved or not.
trec_eval breaks ties by name; here rankings are lists in their given order.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tailorbird.metrics.answer_scores import score_answers
from tailorbird.metrics.intervals import Floats, Groups
from tailorbird.records import Score

KS = (1, 3, 5, 10, 20, 50, 100)
HEADLINE = "ndcg@10"

Grades = Mapping[str, int]
"""Grades by document; 0 and below: not relevant."""


def recall(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return the share of the relevant documents in the top `k`."""
    relevant = _relevant(grades)
    return len(relevant & set(ranking[:k])) / len(relevant) if relevant else 0.0


def precision(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return the share of the top `k` places with a relevant document."""
    return len(_relevant(grades) & set(ranking[:k])) / k


def reciprocal_rank(ranking: Sequence[str], grades: Grades, k: int | None = None) -> float:
    """Return 1 / the rank of the first relevant document (its mean is MRR), 0 without one."""
    relevant = _relevant(grades)
    ranks = (rank for rank, name in enumerate(ranking[:k], start=1) if name in relevant)
    return 1 / next(ranks, float("inf"))


def average_precision(ranking: Sequence[str], grades: Grades) -> float:
    """Return the mean of the precision at each relevant document (its mean is MAP)."""
    relevant = _relevant(grades)
    if not relevant:
        return 0.0
    hits, total = 0, 0.0
    for rank, name in enumerate(ranking, start=1):
        if name in relevant:
            hits += 1
            total += hits / rank
    return total / len(relevant)


def ndcg(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return the discounted gain of the first `k` over that of the best order (Järvelin 2002).

    >>> round(ndcg(["b", "a"], {"a": 1}, k=10), 4)  # the right one second: 1 / log2(3)
    0.6309
    """
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    ideal = _discounted(best[:k])
    if not ideal:
        return 0.0
    return _discounted([max(0, grades.get(name, 0)) for name in ranking[:k]]) / ideal


def rank_scores(
    rankings: Sequence[Sequence[str]], grades: Sequence[Grades], ks: Sequence[int] = KS
) -> dict[str, Floats]:
    """Return each query's scores ``[n]`` by name: ``ndcg@10``, ``recall@5``, ``mrr``, ``map`` ...

    Args:
        rankings: For each query the documents, best first, without duplicates.
        grades: The judgements of each query; a query without a relevant document scores 0.
    """
    pairs = list(zip(rankings, grades, strict=True))
    scores: dict[str, list[float]] = {}
    for k in ks:
        scores[f"ndcg@{k}"] = [ndcg(ranking, right, k) for ranking, right in pairs]
        scores[f"recall@{k}"] = [recall(ranking, right, k) for ranking, right in pairs]
        scores[f"precision@{k}"] = [precision(ranking, right, k) for ranking, right in pairs]
    scores["mrr"] = [reciprocal_rank(ranking, right) for ranking, right in pairs]
    scores["map"] = [average_precision(ranking, right) for ranking, right in pairs]
    return {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}


def mean_scores(each: Mapping[str, Floats], groups: Groups | None = None) -> dict[str, Score]:
    """Return the means over queries with their 95 % intervals."""
    return score_answers(each, groups=groups)


def rank_of(ranking: Sequence[str], grades: Grades) -> int | None:
    """Return the rank of the first relevant document, from 1, or None."""
    relevant = _relevant(grades)
    return next((rank for rank, name in enumerate(ranking, start=1) if name in relevant), None)


def _relevant(grades: Grades) -> set[str]:
    return {name for name, grade in grades.items() if grade > 0}


def _discounted(gains: Sequence[int]) -> float:
    places = np.arange(2, len(gains) + 2)
    return float((np.asarray(gains, dtype=np.float64) / np.log2(places)).sum())
