"""What the tests of scores share."""

from collections.abc import Callable

import numpy as np
import pytest

from tailorbird.metrics.classification import Classes, Numbers

Sample = Callable[..., tuple[Numbers, Classes]]


@pytest.fixture(scope="session")
def sample() -> Sample:
    """Return a maker of softmax outputs of a middling classifier and their targets."""

    def make(n: int, classes: int, skew: float = 0.0, seed: int = 0) -> tuple[Numbers, Classes]:
        rng = np.random.default_rng(seed)
        weights = np.arange(1.0, classes + 1) ** -skew
        target = rng.choice(classes, n, p=weights / weights.sum())
        logits = rng.normal(size=(n, classes))
        logits[np.arange(n), target] += 2
        odds = np.exp(logits)
        return odds / odds.sum(axis=-1, keepdims=True), target

    return make
