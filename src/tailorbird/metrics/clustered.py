"""Intervals and tests where examples of one document are alike: whole documents are drawn."""

from collections.abc import Mapping, Sequence

import numpy as np

from tailorbird.metrics.intervals import Floats, percentiles, resamples, wilson
from tailorbird.metrics.significance import sign_flip_values
from tailorbird.metrics.stats import holm
from tailorbird.records import Comparison, Score


def cluster_ids(groups: Sequence[str]) -> np.ndarray:
    """Return a number per example ``[n]``, the same for those of one group."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    return np.asarray([numbers[name] for name in groups], dtype=np.int64)


def cluster_mean(values: Floats, clusters: np.ndarray, seed: int = 13) -> Score:
    """Return the mean of ``values [n]`` with its 95 % interval over the choice of clusters.

    A bootstrap of whole clusters (Davison and Hinkley 1997, section 3.8). Where all values are
    equal it would claim certainty: then Wilson's interval of as many trials as clusters.
    """
    if not len(values):
        return Score(float("nan"), float("nan"), float("nan"))
    value = float(values.mean())
    count = int(clusters.max()) + 1
    if np.ptp(values) == 0 and 0 <= value <= 1:
        low, high = wilson(value * count, count)
        return Score(value, min(value, low), max(value, high))
    draws = _means(values, clusters, seed)
    low, high = (float(bound) for bound in percentiles(draws))
    return Score(value, min(value, low), max(value, high))


def compare_clustered(
    best: str, values: Mapping[str, Floats], clusters: np.ndarray, seed: int = 13
) -> tuple[Comparison, ...]:
    """Test one arm against each other arm on the same examples, documents being what is drawn.

    If the arms were alike, the differences within a document could as well have had the other sign
    all together: the sign-flip test of the documents' sums. Two-sided, Holm-corrected.

    Args:
        best: The arm to compare with, a key of `values`.
        values: Per arm ``[n]``.
        clusters: The document of each example, ``[n]``.
        seed: Seed of the draws.
    """
    others = [name for name in values if name != best]
    found = []
    for name in others:
        gaps = values[best] - values[name]
        sums = np.bincount(clusters, weights=gaps).astype(np.float64)
        p, test = sign_flip_values(sums, seed)
        found.append((cluster_mean(gaps, clusters, seed), p, f"{test} of documents"))
    corrected = holm([p for _, p, _ in found])
    return tuple(
        Comparison(best, name, gap, p, p_holm, test)
        for name, (gap, p, test), p_holm in zip(others, found, corrected, strict=True)
    )


def _means(values: Floats, clusters: np.ndarray, seed: int) -> Floats:
    sums = np.bincount(clusters, weights=values)
    sizes = np.bincount(clusters).astype(np.float64)
    parts = [
        (sums @ weights) / np.maximum(sizes @ weights, 1e-9)
        for weights in resamples(len(sums), 2, seed)
    ]
    means: Floats = np.concatenate(parts)
    return means
