"""A person's marks beside a metric's: how far both agree, and what the person would have found."""

import numpy as np
import pytest

from tailorbird.metrics.intervals import wilson
from tailorbird.metrics.manual_grades import agreement, corrected


def test_agreement_and_who_is_alone() -> None:
    found = agreement(np.asarray([1.0, 1, 0, 0, 1]), np.asarray([1.0, 0, 0, 1, 1]))
    assert (found.count, found.only_metric, found.only_person) == (5, 1, 1)
    assert (found.same.value, found.same.low, found.same.high) == (0.6, *wilson(3, 5))


def test_a_metric_that_is_always_right_stays_as_it_is() -> None:
    marks = np.asarray([1.0, 0, 1, 1])
    assert corrected(np.tile([1.0, 0.0], 50), marks, marks).value == 0.5


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        person = (rng.random(300) < 0.55).astype(float)
        metric = np.where(rng.random(300) < 0.2, 0.0, person)  # it misses a fifth of what is right
        some = rng.choice(300, 60, replace=False)
        found = corrected(metric, metric[some], person[some])
        held += found.low <= 0.55 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.035)
