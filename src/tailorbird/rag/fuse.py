"""Fusion of two rankings of the same chunks, independent of the store.

A convex sum of scaled scores beats reciprocal rank fusion if judged queries can set its weight, and
needs few of them (Bruch, Gai and Ingber 2023, arXiv 2210.11934).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)
"""What is ranked: the id or the place of a chunk."""

Floats = np.ndarray
"""``[n]`` numbers."""

EVEN = 0.5
"""The weight of the dense ranking if no judged queries have set one."""
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
_RRF_K = 60  # Cormack, Clarke and Büttcher 2009


def min_max(scores: Floats, floor: float | None = None) -> Floats:
    """Scale scores to 0..1: the best becomes 1, `floor` (None: the worst) becomes 0.

    If all are equal, all become 1.
    """
    if not len(scores):
        return scores
    low = float(scores.min()) if floor is None else floor
    span = float(scores.max()) - low
    return (scores - low) / span if span > 0 else np.ones(len(scores))


def convex(
    dense: Mapping[Key, float], words: Mapping[Key, float], weight: float
) -> dict[Key, float]:
    """Return ``weight * dense + (1 - weight) * words`` of scaled scores, by key.

    Dense scores are scaled from the worst candidate to the best; BM25 from 0, its minimum. A key
    that one side lacks has 0 there.
    """
    fused = dict.fromkeys([*dense, *words], 0.0)
    for side, share, floor in ((dense, weight, None), (words, 1 - weight, 0.0)):
        if share:
            scaled = min_max(np.asarray(list(side.values()), dtype=np.float64), floor)
            for key, value in zip(side, scaled, strict=True):
                fused[key] += share * float(value)
    # A side with weight 0 is left out, rather than appended at the end.
    sides = [side for side, share in ((dense, weight), (words, 1 - weight)) if share]
    return {key: score for key, score in fused.items() if any(key in side for side in sides)}


def rrf(dense: Sequence[Key], words: Sequence[Key], weight: float = EVEN) -> dict[Key, float]:
    """Return the weighted reciprocal rank fusion of two orders of keys (best first), by key.

    >>> best_first(rrf(dense=[7, 3], words=[9, 7]))  # what both sides have goes first
    [7, 9, 3]
    """
    fused: dict[Key, float] = {}
    for side, share in ((dense, weight), (words, 1 - weight)):
        for rank, key in enumerate(side, start=1):
            if share:
                fused[key] = fused.get(key, 0.0) + share / (_RRF_K + rank)
    return fused


def best_first(scores: Mapping[Key, float]) -> list[Key]:
    """Return the keys by descending score; ties keep their order."""
    return sorted(scores, key=lambda key: -scores[key])


@dataclass(frozen=True, slots=True)
class WeightChoice:
    """A fusion weight tuned on judged queries.

    Attributes:
        weight: Of the dense side; at 0 or 1, the other side only hurts.
    """

    weight: float
    scores: dict[float, float]
    queries: int


def choose_weight(
    score: Callable[[float], Floats], weights: Sequence[float] = WEIGHTS, smooth: int = 1
) -> WeightChoice:
    """Return the weight with the best mean score.

    Each weight is scored with its neighbours (mean over ``2 * smooth + 1`` weights), since an
    isolated peak is chance. The ends 0 and 1 are chosen only if they are also best on their own: a
    side is dropped when it hurts. Ties go to the weight nearest to even.

    Args:
        score: Maps a weight to the queries' scores ``[n]``.
        smooth: Neighbours on each side.
    """
    each = [score(weight) for weight in weights]
    means = np.asarray([values.mean() if len(values) else 0.0 for values in each])
    smoothed = np.asarray(
        [means[max(0, i - smooth) : i + smooth + 1].mean() for i in range(len(means))]
    )
    for end in (0, len(means) - 1):
        # An end has neighbours on one side only, so its own mean must be the best.
        smoothed[end] = means[end] if means[end] >= means.max() else -np.inf
    order = sorted(range(len(weights)), key=lambda i: (-smoothed[i], abs(weights[i] - EVEN)))
    scores = {weight: float(mean) for weight, mean in zip(weights, means, strict=True)}
    return WeightChoice(weights[order[0]], scores, len(each[0]))


def diverse(scores: Floats, vectors: np.ndarray, k: int, diversity: float) -> list[int]:
    """Return `k` places by maximal marginal relevance (Carbonell and Goldstein 1998).

    Args:
        scores: Relevance ``[n]``, best first; scaled to 0..1 here.
        vectors: Unit vectors ``[n, d]``.
        diversity: Weight of dissimilarity to earlier picks; 0 keeps the order.
    """
    scaled = min_max(scores)
    near = np.zeros(len(scores))
    left = list(range(len(scores)))
    places: list[int] = []
    while left and len(places) < k:
        worth = (1 - diversity) * scaled[left] - diversity * near[left]
        place = left.pop(int(np.argmax(worth)))
        near = np.maximum(near, vectors @ vectors[place])
        places.append(place)
    return places
