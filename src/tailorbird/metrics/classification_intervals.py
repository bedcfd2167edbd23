"""All scores of single-label classification with their intervals.

For a small test set or a rare class a bootstrap, which can only draw observed examples, claims far
too much certainty. So each score has the interval that held in simulation
(`benchmarks/verdict.py`); docs/compare.md names them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tailorbird.metrics import classification as scoring
from tailorbird.metrics.intervals import (
    Floats,
    Groups,
    combine,
    design_effect,
    interval_of,
    standard_error,
    t_quantile,
    wilson,
)
from tailorbird.records import Score

if TYPE_CHECKING:
    from tailorbird.metrics.classification import Classes, Counts, Numbers

METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc", "log_loss", "ece")
FEWEST_FOR_ECE = 100
"""The fewest test examples for an interval of the calibration error."""
DRAWS = 1000
CALIBRATION_DRAWS = 400
_SEED = 13
# Pseudo-examples, spread over the cells of a confusion matrix: Jeffreys' prior of two classes.
_IMAGINED = 2.0
# In a larger confusion matrix only observed cells are drawn.
_MOST_CELLS = 64


class _Run(NamedTuple):
    """One training's predictions on the test set.

    Attributes:
        cells: The observed cells of the confusion matrix, as label and prediction ``[cells, 2]``.
        cell: The cell of each example ``[n]``.
        table: The number of examples in each ``[cells]``.
    """

    probabilities: npt.NDArray[np.floating[Any]]
    right: Floats
    losses: Floats
    cells: "Classes"
    cell: "Classes"
    table: Floats


def score_all(
    probabilities: "Numbers", target: "Classes", labels: Sequence[str], groups: Groups | None = None
) -> dict[str, Score]:
    """Return every score of `METRICS` with its 95 % interval over the sampling of test examples.

    No interval covers the variation between trainings; see `significance.method_score`.

    Args:
        probabilities: ``[n, classes]``; or ``[trainings, n, classes]`` for several trainings of one
            arm: then a value, and each bound, is the mean over them.

    Raises:
        ValueError: The shapes do not fit, or rows are not probabilities.
    """
    runs = [_run(run, target) for run in _checked_runs(probabilities, target, labels)]
    each = [_scores(run, target, len(labels), groups) for run in runs]
    scores = {name: _mean([scored[name] for scored in each]) for name in METRICS}
    # Trainings that differ on an example count as more than one observation of it.
    right = np.mean([run.right for run in runs], axis=0)
    accuracy = accuracy_score(right, len(runs), groups)
    return scores | {"accuracy": accuracy, "micro_f1": accuracy}


def accuracy_score(right: Floats, trainings: int = 1, groups: Groups | None = None) -> Score:
    """Return the mean of shares with Wilson's interval.

    Trainings that agree on an example are one observation of it, trainings that differ are more:
    the number of trials is the effective one (Korn and Graubard 1998), between ``n`` and ``n``
    times the trainings; groups of rows reduce it.

    Args:
        right: The share of trainings that were correct on each example, ``[n]``.
    """
    n, value = len(right), float(right.mean())
    alone = value * (1 - value)
    spread = max(float(right.var()), alone / trainings)
    trials = n * alone / spread if spread > 0 else float(n)
    trials /= design_effect(right, groups)
    return Score(value, *wilson(value * trials, trials))


def _scores(run: _Run, target: "Classes", classes: int, groups: Groups | None) -> dict[str, Score]:
    counts = scoring.count(run.probabilities.argmax(axis=-1), target, classes)
    effect = design_effect(run.right, groups)
    weighted = float(scoring.weighted_f1(counts))
    return {
        "accuracy": accuracy_score(run.right, 1, groups),
        "micro_f1": accuracy_score(run.right, 1, groups),
        "macro_f1": _macro_f1(run, counts, groups),
        "weighted_f1": interval_of(
            "weighted_f1", weighted, _influences(run, counts, scoring.weighted_f1), groups
        ),
        "mcc": _mcc(run, counts, groups),
        "log_loss": _log_loss(run, effect),
        "ece": _calibration_error(run, target, effect),
    }


def _influences(run: _Run, counts: "Counts", score: "Callable[[Counts], Floats]") -> Floats:
    """Return each example's influence ``[n]`` on a score of counts, equal within a cell."""
    label, predicted = run.cells.T
    hit = (label == predicted).astype(np.float64)
    one = np.eye(len(counts.target))
    without = score(
        scoring.Counts(
            counts.target[:, None] - one[:, label],
            counts.predicted[:, None] - one[:, predicted],
            counts.hits[:, None] - one[:, label] * hit,
        )
    )
    n = run.table.sum()
    influences = (n - 1) * ((run.table @ without) / n - without)
    return np.asarray(influences[run.cell])


def _macro_f1(run: _Run, counts: "Counts", groups: Groups | None) -> Score:
    influences = _influences(run, counts, scoring.macro_f1)
    effect = design_effect(influences, groups)
    value = float(scoring.macro_f1(counts))
    jackknife = interval_of("macro_f1", value, influences, groups)
    is_telling = bool((influences != influences[0]).any())
    return macro_f1_score(
        counts, jackknife, _f1_correlations(run, counts), effect, is_telling=is_telling
    )


def macro_f1_score(
    counts: "Counts",
    jackknife: Score,
    correlations: Floats,
    effect: float,
    *,
    is_telling: bool = True,
) -> Score:
    """Return macro-F1 with the wider of two intervals.

    One combines the intervals of the classes, which is valid for a class of three examples or none;
    the other is the jackknife's, valid for many small classes, whose F1 are all slightly too low.
    """
    union = (counts.target + counts.predicted - counts.hits) / effect
    jaccard = np.asarray([wilson(h, u) for h, u in zip(counts.hits / effect, union, strict=True)])
    parts = np.where(union > 0, scoring.class_f1(counts), 0.5)
    bounds = 2 * jaccard / (1 + jaccard)
    low, high = combine(parts, bounds[:, 0], bounds[:, 1], correlations)
    value = jackknife.value
    return Score(
        value,
        max(0.0, min(value, low, jackknife.low if is_telling else low)),
        min(1.0, max(value, high, jackknife.high if is_telling else high)),
    )


def _f1_correlations(run: _Run, counts: "Counts") -> Floats:
    """Return the correlations between the F1 of the classes ``[classes, classes]``, smoothed."""
    target, predicted, hits = counts
    n, classes = run.table.sum(), len(target)
    expected = np.outer((target + 1) / (n + classes), (predicted + 1) / (n + classes)) * _IMAGINED
    cells = expected.copy()
    cells[run.cells[:, 0], run.cells[:, 1]] += run.table
    sums = cells.sum(axis=1) + cells.sum(axis=0)
    f1 = 2 * np.diag(cells) / sums
    rows = -f1 / sums
    # Influence of cell (i, j) on class k: rows[k] if i is k, again if j is, and the hit.
    share = cells / cells.sum()
    by_label, by_called, diagonal = share.sum(axis=1), share.sum(axis=0), np.diag(share)
    hit = 2 / sums
    mean = rows * (by_label + by_called) + hit * diagonal
    cross = np.outer(rows, rows) * (share + share.T)
    cross += np.diag(rows**2 * (by_label + by_called))
    cross += np.diag(4 * rows * hit * diagonal + hit**2 * diagonal)
    covariance = cross - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    return np.asarray(np.clip(covariance / np.outer(deviation, deviation), -1.0, 1.0))


def _mcc(run: _Run, counts: "Counts", groups: Groups | None) -> Score:
    """Return Matthews' correlation with percentiles over possible confusion matrices.

    The cells are drawn from a Dirichlet distribution (as Goutte and Gaussier 2005 do for F1) after
    two pseudo-examples, so that an unobserved cell is rare, not impossible.
    """
    value = float(scoring.mcc(counts))
    effect = design_effect(_influences(run, counts, scoring.mcc), groups)
    classes = len(counts.target)
    cells, table = run.cells, run.table / effect
    if classes**2 <= _MOST_CELLS:
        cells = np.argwhere(np.ones((classes, classes), bool))
        every = np.zeros((classes, classes))
        every[run.cells[:, 0], run.cells[:, 1]] = table
        table = every.ravel()
    rng = np.random.default_rng(_SEED)
    draws = rng.standard_gamma(table + _IMAGINED / classes**2, size=(DRAWS, len(table))).T
    label, predicted = np.eye(classes)[:, cells[:, 0]], np.eye(classes)[:, cells[:, 1]]
    sums = scoring.Counts(label @ draws, predicted @ draws, (label * predicted) @ draws)
    low, high = np.percentile(scoring.mcc(sums), [2.5, 97.5])
    return Score(value, min(value, float(low)), max(value, float(high)))


def _log_loss(run: _Run, effect: float) -> Score:
    """Return the mean loss, its interval from the losses of correct and wrong answers separately.

    The main uncertainty of a test set is how many answers are wrong, and rare wrong answers make up
    most of the loss. So the error rate has Wilson's interval, both mean losses have Student's, and
    the three are combined (Zou and Donner 2008). With no or few wrong answers, the loss that a
    wrong one would have by the probabilities is used.
    """
    n, value = len(run.right), float(run.losses.mean())
    wrong, right = run.losses[run.right < 1], run.losses[run.right == 1]
    share = len(wrong) / n
    least, most = wilson(len(wrong) / effect, n / effect)
    if_wrong = _loss_if_wrong(run.probabilities)
    mean_right = float(right.mean()) if len(right) else 0.0
    more = max(0.0, (float(wrong.mean()) if len(wrong) else float(if_wrong.mean())) - mean_right)
    spread = float(np.concatenate([wrong, if_wrong]).var(ddof=1)) if n > 1 else 0.0
    if len(wrong) > 1:
        wrong_freedom = len(wrong) - 1
        spread = (wrong_freedom * float(wrong.var(ddof=1)) + 4 * spread) / (wrong_freedom + 4)
    of_wrong = t_quantile(len(wrong) + 3) * (spread * effect / max(1, len(wrong))) ** 0.5
    of_right = 0.0
    if len(right) > 1:
        error, freedom = standard_error(right)
        of_right = t_quantile(freedom) * error * effect**0.5
    fixed = ((1 - share) * of_right) ** 2 + (share * of_wrong) ** 2
    below = (fixed + ((share - least) * more) ** 2) ** 0.5
    above = (fixed + ((most - share) * more) ** 2) ** 0.5
    return Score(value, max(0.0, value - below), value + above)


def _loss_if_wrong(probabilities: "Numbers") -> Floats:
    """Return the loss that each example would have if its prediction were wrong ``[n]``.

    The other classes have the relative probabilities of the model.
    """
    shares = np.clip(probabilities.astype(np.float64), scoring.SMALLEST_PROBABILITY, 1.0)
    losses = -np.log(shares)
    shares[np.arange(len(shares)), shares.argmax(axis=1)] = 0.0
    return scoring.divide((shares * losses).sum(axis=1), shares.sum(axis=1))


def _calibration_error(run: _Run, target: "Classes", effect: float) -> Score:
    """Return the calibration error; from 100 examples on with an interval.

    It is a sum of absolute values, which chance alone increases. So its distribution is drawn for a
    model whose bins are ``c`` times as far off as observed, and the interval contains the ``c`` for
    which the observed error is not unlikely (an inverted test; Davison and Hinkley 1997, section
    5.4). For ``c`` of 0 this is the test that the model is calibrated (Bröcker and Smith 2007).
    """
    value = scoring.expected_calibration_error(run.probabilities, target)
    n = len(run.right)
    if n / effect < FEWEST_FOR_ECE:
        return Score(value, value, value)
    confidence, bins = scoring.confidence_bins(run.probabilities)
    sizes = np.bincount(bins, minlength=scoring.BINS)
    sure = np.bincount(bins, weights=confidence, minlength=scoring.BINS)
    hits = np.bincount(bins, weights=run.right, minlength=scoring.BINS)
    filled = sizes > 0
    sizes, sure, hits = sizes[filled], sure[filled], hits[filled]
    # One pseudo-example per bin that is correct as often as its confidence, so that no bin is
    # certain.
    gaps, claimed = (sure - hits) / (sizes + 1), sure / sizes
    once = float(np.abs(gaps) @ sizes / n)
    trials = np.maximum(1, np.round(sizes / effect)).astype(np.int64)

    def likely(times: float) -> float:
        chance = np.clip(claimed - times * gaps, 0.0, 1.0)
        size = (CALIBRATION_DRAWS, len(trials))
        draws = np.random.default_rng(_SEED).binomial(trials, chance, size)
        errors = np.abs(claimed - draws / trials) @ (sizes / n)
        return float((errors <= value).mean())

    low, high = (_crossing(likely, level) * once for level in (0.975, 0.025))
    return Score(value, min(value, low), max(value, high))


def _crossing(falling: Callable[[float], float], level: float) -> float:
    """Return where a decreasing function on 0..4 reaches a level, by bisection."""
    low, high = 0.0, 4.0
    if falling(low) < level:
        return 0.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) >= level else (low, middle)
    return low


def _mean(scores: Sequence[Score]) -> Score:
    value, low, high = np.mean([(s.value, s.low, s.high) for s in scores], axis=0).tolist()
    return Score(value, min(value, low), max(value, high))


def _run(probabilities: "Numbers", target: "Classes") -> _Run:
    predicted = probabilities.argmax(axis=-1)
    pairs = np.stack([np.asarray(target, np.int64), predicted.astype(np.int64)], axis=1)
    cells, cell, table = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    right = (predicted == target).astype(np.float64)
    losses = scoring.losses(probabilities, target)
    return _Run(probabilities, right, losses, cells, cell.ravel(), table.astype(np.float64))


def _checked_runs(
    probabilities: "Numbers", target: "Classes", labels: Sequence[str]
) -> npt.NDArray[np.floating[Any]]:
    """Return ``probabilities`` as ``[trainings, n, classes]``."""
    runs = probabilities[None] if probabilities.ndim == 2 else probabilities
    if runs.ndim != 3 or runs.shape[1:] != (len(target), len(labels)) or not runs.size:
        expected = f"([trainings,] {len(target)}, {len(labels)})"
        raise ValueError(f"probabilities have the shape {probabilities.shape}, not {expected}")
    if not np.all(np.abs(runs.sum(axis=-1, dtype=np.float64) - 1) < 0.01):
        raise ValueError("probabilities must be finite and sum to 1 in every row")
    return runs
