"""What a person's marks of a few answers say of a metric's marks of all."""

from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.intervals import Floats, Z, wilson
from tailorbird.records import Score


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a metric's marks compare with a person's.

    Attributes:
        same: Share of the graded answers that both mark alike.
        only_metric, only_person: Answers that only one of the two calls right.
    """

    count: int
    same: Score
    only_metric: int
    only_person: int


def agreement(metric: Floats, person: Floats) -> Agreement:
    """Return how marks ``[n]`` of 0 and 1 agree, of at least one answer."""
    same = float((metric == person).sum())
    share = same / len(metric)
    return Agreement(
        len(metric),
        Score(share, *wilson(same, len(metric))),
        int(((metric == 1) & (person == 0)).sum()),
        int(((metric == 0) & (person == 1)).sum()),
    )


def corrected(everything: Floats, metric: Floats, person: Floats) -> Score:
    """Return the share of right answers as the person would have found it, with its interval.

    The metric's mean over all answers, moved by how much the person's marks of some differ from the
    metric's: prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633, section 2).

    Args:
        everything: The metric's marks of all answers, ``[n]``.
        metric: Those of the graded answers, ``[m]``.
        person: The person's marks of the same, ``[m]``.
    """
    gaps = person - metric
    value = float(everything.mean() + gaps.mean())
    spread = everything.var() / len(everything) + gaps.var(ddof=1) / len(gaps)
    reach = Z * float(np.sqrt(spread))
    return Score(value, max(0.0, value - reach), min(1.0, value + reach))
