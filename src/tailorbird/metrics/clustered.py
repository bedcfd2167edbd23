"""Intervals and tests where examples of one document are alike: documents are what is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tailorbird.metrics.answers import mean_score
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.significance import compare
from tailorbird.records import Comparison, Score


def cluster_ids(groups: Sequence[str]) -> np.ndarray:
    """Return a number per example ``[n]``, the same for those of one group."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    return np.asarray([numbers[name] for name in groups], dtype=np.int64)


def cluster_mean(values: Floats, clusters: np.ndarray) -> Score:
    """Return the mean of ``values [n]`` with its 95 % interval over the choice of clusters.

    See `intervals.interval_of`: the error is that of the clusters' sums.
    """
    if not len(values):
        return Score(float("nan"), float("nan"), float("nan"))
    return mean_score("difference", values[None], clusters)


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
    pairs = [(best, name) for name in values if name != best]
    tests = compare(values, pairs=pairs, groups=clusters, seed=seed)
    return tuple(replace(test, test=f"{test.test} of documents") for test in tests)
