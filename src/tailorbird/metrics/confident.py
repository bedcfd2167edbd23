"""Which labels are likely wrong: confident disagreement of a model that did not see them."""

from typing import NamedTuple

import numpy as np

from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.labels import Classes


class Doubt(NamedTuple):
    """An example whose label is likely wrong.

    Attributes:
        example: Which one, by its place.
        suggested: The class that the model is confident of.
        margin: The probability of that class minus that of the label.
    """

    example: int
    suggested: int
    margin: float


def label_errors(probabilities: Floats, given: Classes, least: float = 0.0) -> list[Doubt]:
    """Return the examples that confident learning calls mislabelled, the surest first.

    A class is likely for an example if its probability is at least the mean probability of that
    class over the examples labelled so; of several the most probable counts. Where it is not the
    label, the label is in doubt: the off-diagonal of the confident joint (Northcutt, Jiang and
    Chuang 2021, arXiv 1911.00068, section 3.1). The thresholds are each class's own, so that a
    class the model is never sure of is not called wrong for that.

    Args:
        probabilities: ``[n, classes]``, each row by a model that was not trained on it.
        given: Class ids ``[n]``.
        least: Leave out doubts with a smaller margin: the joint counts every one, also those that
            are a weak model's own mistakes.
    """
    classes = probabilities.shape[1]
    of_class = given[:, None] == np.arange(classes)
    sizes = np.maximum(1, of_class.sum(axis=0))
    own = np.where(of_class, probabilities, 0.0).sum(axis=0) / sizes
    # No example is labelled so: nothing says how sure of it the model is when it is right.
    thresholds = np.where(of_class.any(axis=0), own, np.inf)
    likely = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = likely.argmax(axis=1)
    every = np.arange(len(given))
    margins = probabilities[every, suggested] - probabilities[every, given]
    counted = likely[every, suggested] >= 0
    found = np.flatnonzero(counted & (suggested != given) & (margins >= least))
    order = found[np.argsort(-margins[found], kind="stable")]
    return [Doubt(int(i), int(suggested[i]), float(margins[i])) for i in order]
