"""Likely label errors, by confident disagreement of a model that was not trained on them."""

from typing import NamedTuple

import numpy as np

from tailorbird.metrics.classification import Classes
from tailorbird.metrics.intervals import Floats

_SMALLEST = 1e-12
_LOG_SHARPNESS = (-4.0, 2.0)


class Doubt(NamedTuple):
    """An example whose label is likely wrong.

    Attributes:
        margin: The probability of the suggested class minus that of the label.
    """

    example: int
    suggested: int
    margin: float


def label_errors(probabilities: Floats, labels: Classes, least: float = 0.0) -> list[Doubt]:
    """Return the examples that confident learning finds mislabelled, the most certain first.

    A class is likely for an example if its probability is at least the mean probability of that
    class over the examples labelled so; among several, the most probable counts. If it is not the
    label, the label is in doubt: the off-diagonal of the confident joint (Northcutt, Jiang and
    Chuang 2021, arXiv 1911.00068, section 3.1). Thresholds are per class, so that a class on which
    the model is never confident is not flagged for that.

    Args:
        probabilities: ``[n, classes]``, each row by a model that was not trained on it.
        least: Leave out doubts with a smaller margin: the joint counts every one, including a weak
            model's own mistakes.
    """
    classes = probabilities.shape[1]
    of_class = labels[:, None] == np.arange(classes)
    sizes = np.maximum(1, of_class.sum(axis=0))
    own = np.where(of_class, probabilities, 0.0).sum(axis=0) / sizes
    # No example has this label, so the model's confidence when correct is unknown.
    thresholds = np.where(of_class.any(axis=0), own, np.inf)
    likely = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = likely.argmax(axis=1)
    every = np.arange(len(labels))
    margins = probabilities[every, suggested] - probabilities[every, labels]
    counted = likely[every, suggested] >= 0
    suspects = np.flatnonzero(counted & (suggested != labels) & (margins >= least))
    order = suspects[np.argsort(-margins[suspects], kind="stable")]
    return [Doubt(int(i), int(suggested[i]), float(margins[i])) for i in order]


def calibrated(probabilities: Floats, labels: Classes) -> Floats:
    """Return the probabilities at the temperature with the best log loss on the labels.

    A model is overconfident on little data and underconfident on many classes; a single temperature
    corrects most of either (Guo et al. 2017, arXiv 1706.04599, section 4.2).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(probabilities, _SMALLEST, 1.0))
    # A class absent from a model's training has probability 0 and would outweigh all others.
    usable = np.flatnonzero(probabilities[np.arange(len(labels)), labels] > _SMALLEST)
    if not len(usable):
        return probabilities

    def loss(log_sharpness: float) -> float:
        log_shares = log_softmax(logits[usable] * np.exp(log_sharpness), axis=1)
        return -float(log_shares[np.arange(len(usable)), labels[usable]].mean())

    best = minimize_scalar(loss, bounds=_LOG_SHARPNESS, method="bounded").x
    sharpened: Floats = np.exp(log_softmax(logits * np.exp(best), axis=1))
    return sharpened
