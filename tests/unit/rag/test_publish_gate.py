"""The gate: only what is shown to be better goes through."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from tailorbird.rag.publish_gate import NEW, both_sides, judge
from tailorbird.rag.query_pairs import Queries


def values(difference: float, n: int = 60, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    old = rng.uniform(0.2, 0.8, n)
    return {"old": old, NEW: np.clip(old + difference + rng.normal(0, 0.1, n), 0, 1)}


def test_better_goes_through_with_its_figures() -> None:
    found = judge(values(0.1), 0.05)
    assert found.passed and found.tests[0].p_holm < 0.05
    assert found.wins + found.losses + found.ties == 60 and found.wins > found.losses
    assert f"{found.scores[NEW].value:.4f} tuned against old" in found.words


@pytest.mark.parametrize("difference", [-0.1, 0.0])
def test_worse_and_equal_do_not(difference: float) -> None:
    found = judge(values(difference), 0.05)
    assert not found.passed and "not shown to be better" in found.words


def test_identical_does_not() -> None:
    old = values(0.0)["old"]
    assert not judge({"old": old, NEW: old.copy()}, 1.0).passed


def test_p_is_that_of_scipys_paired_permutation_test() -> None:
    each = values(0.03, n=14)
    theirs = permutation_test(
        (each[NEW], each["old"]),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert judge(each, 0.05).tests[0].p == pytest.approx(theirs.pvalue)


def test_a_reranker_must_beat_all_that_was_there() -> None:
    each = values(0.1)
    assert judge({"none": each["old"], NEW: each[NEW]}, 0.05).passed
    assert not judge({"none": each["old"], "old": each[NEW] + 0.001, NEW: each[NEW]}, 0.05).passed


def test_both_sides_are_fused_and_the_weight_is_chosen() -> None:
    queries = Queries({"q": "ask", "r": "ask too"}, {"q": {"b": 1}, "r": {"b": 1}})
    vectors = np.asarray([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    asked = np.asarray([[1, 0], [1, 0]], dtype=np.float32)
    words = [{1: 4.0, 2: 2.0}, {1: 4.0}]
    sides = both_sides(queries, asked, vectors, ["a", "b", "c"], words, 1)
    # Cosines also of what only words found.
    assert sides.dense[0] == pytest.approx({0: 1.0, 1: 0.0, 2: 0.6})
    assert sides.documents(0, 1.0)[:1] == ["a"] and sides.documents(0, 0.0)[:1] == ["b"]
    assert sides.values(0.0).tolist() == [1.0, 1.0]
    assert sides.choose().weight < 0.5
    alone = both_sides(queries, asked, vectors, ["a", "b", "c"], None, 2)
    assert alone.documents(0, 1.0) == ["a", "c"]
