"""Compares a person's grades of a few answers with a metric's grades of all."""

from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.intervals import Floats, Z, wilson
from tailorbird.records import Score


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a metric's and a person's grades.

    Attributes:
        same: Share of the graded answers with equal grades.
        only_metric, only_person: Numbers of answers that only one of the two calls correct.
    """

    count: int
    same: Score
    only_metric: int
    only_person: int


def agreement(metric: Floats, person: Floats) -> Agreement:
    """Return the agreement of grades ``[n]`` of 0 and 1, of at least one answer."""
    same = float((metric == person).sum())
    share = same / len(metric)
    return Agreement(
        len(metric),
        Score(share, *wilson(same, len(metric))),
        int(((metric == 1) & (person == 0)).sum()),
        int(((metric == 0) & (person == 1)).sum()),
    )


def corrected(everything: Floats, metric: Floats, person: Floats) -> Score:
    """Estimate the share of correct answers by the person's standard, with its interval.

    The metric's mean over all answers is shifted by the mean difference between the person's and
    the metric's grades: prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633,
    section 2).

    Args:
        everything: The metric's grades of all answers, ``[n]``.
        metric: Those of the graded answers, ``[m]``.
        person: The person's grades of the same, ``[m]``.
    """
    gaps = person - metric
    value = float(everything.mean() + gaps.mean())
    spread = everything.var() / len(everything) + gaps.var(ddof=1) / len(gaps)
    reach = Z * float(np.sqrt(spread))
    return Score(value, max(0.0, value - reach), min(1.0, value + reach))
