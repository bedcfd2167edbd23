"""Means and tests of documents: what is alike within one is no more evidence than it is."""

import numpy as np
import pytest

from tailorbird.metrics.intervals import wilson
from tailorbird.metrics.question_scores import cluster_ids, cluster_mean
from tailorbird.metrics.question_verdict import compare_with_best


def test_ids_are_numbers_in_order() -> None:
    assert cluster_ids(["b", "a", "b"]).tolist() == [0, 1, 0]


def test_copies_of_a_question_within_its_document_narrow_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, 40).astype(float)
    once = cluster_mean(values, np.arange(40))
    copies = cluster_mean(np.repeat(values, 25), np.repeat(np.arange(40), 25))
    assert copies.value == pytest.approx(once.value)
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.02)
    alone = cluster_mean(np.repeat(values, 25), np.arange(1000))
    assert alone.high - alone.low < (once.high - once.low) / 3


def test_an_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    values = np.tile([0.0, 1.0], 100)
    found = cluster_mean(values, np.arange(200))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 200**0.5, rel=0.06)


def test_nothing_wrong_is_no_certainty() -> None:
    found = cluster_mean(np.ones(50), np.repeat(np.arange(10), 5))
    assert (found.low, found.high) == wilson(10, 10)


def test_of_two_documents_nothing_can_be_told() -> None:
    clusters = np.repeat([0, 1], 100)
    better = {"a": np.ones(200), "b": np.zeros(200)}
    (test,) = compare_with_best("a", better, clusters)
    # Of the four ways to choose two signs, two are as far from 0 as what was seen.
    assert test.p == pytest.approx(0.5) and test.difference.value == 1.0
    (many,) = compare_with_best("a", better, np.repeat(np.arange(20), 10))
    assert many.p < 1e-4


def test_p_values_are_corrected_for_their_number() -> None:
    values = {"a": np.ones(8), "b": np.zeros(8), "c": np.zeros(8)}
    tests = compare_with_best("a", values, np.arange(8))
    assert [t.b for t in tests] == ["b", "c"]
    assert tests[0].p == pytest.approx(2 / 2**8) and tests[0].p_holm == pytest.approx(4 / 2**8)
