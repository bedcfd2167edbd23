"""Two rankings of the same chunks made into one: pure numbers, alike for every store.

The convex sum of scaled scores beats reciprocal ranks where judged queries can choose its weight,
and needs few of them (Bruch, Gai and Ingber 2023, arXiv 2210.11934).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Floats = np.ndarray
"""``[n]`` numbers."""

EVEN = 0.5
"""Weight of the dense side where no judged query has chosen one."""
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
_RRF_K = 60  # Cormack, Clarke and Büttcher 2009


def min_max(scores: Floats, floor: float | None = None) -> Floats:
    """Return scores from 0 to 1: the best is 1, `floor` (None: the worst) is 0.

    All equal, they are all 1: each was found, and none is worse.
    """
    if not len(scores):
        return scores
    low = float(scores.min()) if floor is None else floor
    span = float(scores.max()) - low
    return (scores - low) / span if span > 0 else np.ones(len(scores))


def convex(
    dense: Mapping[int, float], words: Mapping[int, float], weight: float
) -> dict[int, float]:
    """Return ``weight * dense + (1 - weight) * words`` of scaled scores, by key.

    Each side is scaled from its worst candidate to its best; BM25 from 0, which is its least. What
    a side did not find has 0 there.
    """
    fused = dict.fromkeys([*dense, *words], 0.0)
    for side, share, floor in ((dense, weight, None), (words, 1 - weight, 0.0)):
        if share:
            scaled = min_max(np.asarray(list(side.values()), dtype=np.float64), floor)
            for key, value in zip(side, scaled, strict=True):
                fused[key] += share * float(value)
    # A side without weight finds nothing, rather than leaving its finds at the end.
    sides = [side for side, share in ((dense, weight), (words, 1 - weight)) if share]
    return {key: score for key, score in fused.items() if any(key in side for side in sides)}


def rrf(dense: Sequence[int], words: Sequence[int], weight: float = EVEN) -> dict[int, float]:
    """Return the weighted sums of reciprocal ranks of two orders of keys, best first, by key.

    >>> best_first(rrf(dense=[7, 3], words=[9, 7]))  # what both sides have goes first
    [7, 9, 3]
    """
    fused: dict[int, float] = {}
    for side, share in ((dense, weight), (words, 1 - weight)):
        for rank, key in enumerate(side, start=1):
            if share:
                fused[key] = fused.get(key, 0.0) + share / (_RRF_K + rank)
    return fused


def best_first(scores: Mapping[int, float]) -> list[int]:
    """Return the keys by falling score; equal ones in the order given."""
    return sorted(scores, key=lambda key: -scores[key])


@dataclass(frozen=True, slots=True)
class WeightChoice:
    """A weight chosen on judged queries.

    Attributes:
        weight: Of the dense side; 0 or 1: the other side hurts.
    """

    weight: float
    scores: dict[float, float]
    queries: int


def choose_weight(
    score: Callable[[float], Floats], weights: Sequence[float] = WEIGHTS, smooth: int = 1
) -> WeightChoice:
    """Return the weight with the best mean score.

    A weight is judged with its neighbours (the mean over ``2 * smooth + 1`` weights): a peak that
    stands alone is luck. The ends 0 and 1 are taken only where they are best by themselves too: a
    side is dropped when it hurts. Of equals, the one nearest to even.

    Args:
        score: Weight to the queries' scores ``[n]``.
        smooth: Neighbours on each side.
    """
    each = [score(weight) for weight in weights]
    means = np.asarray([values.mean() if len(values) else 0.0 for values in each])
    smoothed = np.asarray(
        [means[max(0, i - smooth) : i + smooth + 1].mean() for i in range(len(means))]
    )
    for end in (0, len(means) - 1):
        # An end has neighbours on one side only, so it stands for itself.
        smoothed[end] = means[end] if means[end] >= means.max() else -np.inf
    order = sorted(range(len(weights)), key=lambda i: (-smoothed[i], abs(weights[i] - EVEN)))
    scores = {weight: float(mean) for weight, mean in zip(weights, means, strict=True)}
    return WeightChoice(weights[order[0]], scores, len(each[0]))


def diverse(scores: Floats, vectors: np.ndarray, k: int, diversity: float) -> list[int]:
    """Return `k` places by maximal marginal relevance (Carbonell and Goldstein 1998).

    Args:
        scores: Relevance ``[n]``, best first; scaled to 0 to 1 here.
        vectors: Unit vectors ``[n, d]``.
        diversity: Share of being unlike what was taken: 0 keeps the order given.
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
