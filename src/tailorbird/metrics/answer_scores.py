"""Scores of generated answers with their intervals, and the choice of the headline metric."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tailorbird.errors import UserError, did_you_mean
from tailorbird.metrics.classification import divide
from tailorbird.metrics.classification_intervals import accuracy_score
from tailorbird.metrics.custom_metric import function_name, is_custom
from tailorbird.metrics.intervals import Floats, Groups, interval_of
from tailorbird.metrics.text import ANSWER_MARK, METRICS
from tailorbird.records import Score

CHOICE, LOSS, PERPLEXITY = "choice_accuracy", "loss", "perplexity"
LOWER_IS_BETTER = (LOSS, PERPLEXITY)
MOST_LABELS = 20
# Of the references, so that a typo does not change the metric.
_NEARLY_ALL = 0.95
_MARKED_NUMBER = re.compile(rf"{ANSWER_MARK}\s*+(?:[-\u2212$€£¥₹]++\s*+)?[\d.]")


def label_set(references: Sequence[str]) -> tuple[str, ...]:
    """Return the labels, sorted, if the references are a few repeated ones; else nothing.

    A few are 2 to 20, and at least 95 % of the references must occur more than once.
    """
    counts = Counter(reference.strip() for reference in references)
    if not 2 <= len(counts) <= MOST_LABELS or "" in counts:
        return ()
    repeated = sum(count for count in counts.values() if count > 1)
    return tuple(sorted(counts)) if repeated >= _NEARLY_ALL * len(references) else ()


def holds_numbers(references: Sequence[str]) -> bool:
    """Return whether (nearly) all references mark their answer as GSM8K does: ``#### number``."""
    marked = sum(bool(_MARKED_NUMBER.search(reference)) for reference in references)
    return bool(references) and marked >= _NEARLY_ALL * len(references)


def which_metrics(references: Sequence[str]) -> tuple[str, ...]:
    """Return the meaningful text metrics for such references."""
    return tuple(name for name in METRICS if name != "numeric_match" or holds_numbers(references))


def headline_of(metric: str, references: Sequence[str]) -> str:
    """Return the name of the headline score, from ``evaluate.metric`` and the references.

    Raises:
        UserError: There is no such metric, or the references are no set of labels.
    """
    if is_custom(metric):
        return function_name(metric)
    if metric == "auto":
        if holds_numbers(references):
            return "numeric_match"
        return CHOICE if label_set(references) else "token_f1"
    names = (*METRICS, CHOICE)
    if metric not in names:
        raise UserError(
            f"evaluate.metric is {metric!r}{did_you_mean(metric, names)}",
            f"use auto, {', '.join(names)}, or FILE.py:FUNCTION",
        )
    if metric == CHOICE and not label_set(references):
        raise UserError(
            f"evaluate.metric is {CHOICE}, but the answers are not a few repeated labels: there "
            f"are {len(set(references)):,} different among {len(references):,}",
            "use another metric; auto chooses one",
        )
    return metric


def score_texts(
    outputs: Sequence[str], references: Sequence[str], metrics: Iterable[str]
) -> dict[str, Floats]:
    """Return each example's score ``[n]`` by each given metric of `text.METRICS`."""
    pairs = list(zip(outputs, references, strict=True))
    return {
        name: np.asarray([METRICS[name](output, reference) for output, reference in pairs])
        for name in metrics
    }


def score_answers(
    values: Mapping[str, Floats],
    loss_sums: Floats | None = None,
    token_counts: np.ndarray | None = None,
    groups: Groups | None = None,
) -> dict[str, Score]:
    """Return every score with its 95 % interval over the sampling of examples.

    Means of values in 0..1 have Wilson's interval, others Student's (`intervals.interval_of`). The
    loss is nats per token: a ratio of two sums, since examples differ in length. Perplexity is its
    exponential.

    Args:
        values: ``[n]`` for each metric, or ``[trainings, n]`` for several trainings of one arm:
            then a value is the mean over them.
        loss_sums: Nats per example, summed over its tokens, ``[n]`` or ``[trainings, n]``.
    """
    scores = {name: mean_score(name, np.atleast_2d(each), groups) for name, each in values.items()}
    if loss_sums is None or token_counts is None or not token_counts.sum():
        return scores
    sums = np.atleast_2d(loss_sums).mean(axis=0)
    value, rest = float(sums.sum() / token_counts.sum()), token_counts.sum() - token_counts
    # The change of the ratio without the example, times the number of others (jackknife). The
    # losses may cover more examples than were answered, whose groups are unknown here.
    influences = (len(sums) - 1) * divide(sums - value * token_counts, rest.astype(np.float64))
    own = groups if groups is not None and len(groups) == len(influences) else None
    loss = interval_of(LOSS, value, influences, own)
    # An untrained model's loss is about ln(vocabulary); larger ones overflow.
    powers = [float(np.exp(min(part, 700.0))) for part in (loss.value, loss.low, loss.high)]
    return scores | {LOSS: loss, PERPLEXITY: Score(*powers)}


def mean_score(name: str, runs: Floats, groups: Groups | None = None) -> Score:
    """Return the mean of values ``[trainings, n]`` with its interval.

    Raises:
        ValueError: There are no values.
    """
    if not runs.size:
        raise ValueError("there are no examples to score")
    each = runs.mean(axis=0)
    if runs.min() >= 0 and runs.max() <= 1:
        if np.isin(runs, (0.0, 1.0)).all():
            return accuracy_score(each, len(runs), groups)
        name = "accuracy"  # by any name, a share of 1
    return interval_of(name, float(each.mean()), each, groups)
