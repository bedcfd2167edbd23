"""The cost of an arm, as the verdict weighs it."""

from math import inf

from tailorbird.records import ArmReport

PREDICTIONS = 10_000
SAME_COST = 1.5
"""Times within this factor count as equal, since a busy machine's vary as much."""
SAME_SIZE = 1.1

MAJORITY, MEAN, NEAREST, BASE = "majority", "mean", "nearest", "base"
BLIND = (MAJORITY, MEAN)
"""Arms that ignore the text."""
UNTRAINED = frozenset({*BLIND, NEAREST, BASE, "rag", "probe"})
"""Arms that do not train the language model."""
KEEPS_NOTHING = frozenset({BASE})
"""Arms that store nothing but the base model, which every arm needs."""


def rank_cost(arm: ArmReport) -> tuple[float, float]:
    """Return an arm's cost to train and run, in seconds, and to store, in bytes.

    Seconds are those of training and search plus 10,000 predictions on this machine: some weeks of
    use of a small service, so that both long training and slow answers count. What does not happen
    (training a baseline, storing the base model) costs nothing; what was not measured, infinity.
    """
    cost = arm.cost
    make = (cost.train_seconds or 0.0) + (cost.search_seconds or 0.0)
    each = cost.predict_ms_per_example
    run = inf if each is None else each / 1000 * PREDICTIONS
    unknown = 0.0 if arm.name in KEEPS_NOTHING else inf
    keep = unknown if cost.artifact_bytes is None else float(cost.artifact_bytes)
    return make + run, keep
