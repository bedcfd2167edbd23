"""Parts of the training rows: what a smaller set of the same kind would have been."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np


def stratified_order(strata: Sequence[str], seed: int) -> list[int]:
    """Return row numbers in an order whose every beginning has the shares of the whole.

    A stratum's rows are spread over the order at equal distances, its first row at the beginning,
    so that the first rows hold one of each.

    Args:
        strata: What each row counts for: its class; all equal where none is to be kept.
        seed: Which rows come first, and the order of equals.

    Example:
        >>> order = stratified_order(["a"] * 8 + ["b"] * 4, seed=0)
        >>> sorted("aaaaaaaabbbb"[i] for i in order[:6])
        ['a', 'a', 'a', 'a', 'b', 'b']
    """
    random = np.random.default_rng(seed)
    sizes = Counter(strata)
    counts: dict[str, int] = defaultdict(int)
    places = []
    for row in random.permutation(len(strata)).tolist():
        stratum = strata[row]
        places.append((counts[stratum] / sizes[stratum], row))
        counts[stratum] += 1
    return [row for _, row in sorted(places, key=lambda place: place[0])]
