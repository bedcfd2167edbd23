"""Fusion, against closed forms and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.rag.fuse import best_first, choose_weight, convex, diverse, min_max, rrf

SCORES = st.dictionaries(st.integers(0, 20), st.floats(0, 30), max_size=12)


def test_scaling() -> None:
    np.testing.assert_allclose(min_max(np.array([2.0, 4.0, 3.0])), [0, 1, 0.5])
    np.testing.assert_allclose(min_max(np.array([2.0, 4.0]), floor=0.0), [0.5, 1])
    np.testing.assert_allclose(min_max(np.array([5.0, 5.0])), [1, 1])
    assert len(min_max(np.zeros(0))) == 0


def test_convex_sum_by_hand() -> None:
    fused = convex({1: 0.8, 2: 0.4, 3: 0.6}, {2: 10.0, 4: 5.0}, 0.6)
    assert fused == pytest.approx({1: 0.6, 2: 0.4, 3: 0.3, 4: 0.2})
    assert best_first(fused) == [1, 2, 3, 4]


def test_ends_are_one_side_alone() -> None:
    dense, words = {1: 0.9, 2: 0.1}, {2: 3.0, 3: 9.0}
    assert best_first(convex(dense, words, 1.0)) == [1, 2]
    assert best_first(convex(dense, words, 0.0)) == [3, 2]
    assert best_first(rrf([1, 2], [3, 2], 1.0)) == [1, 2]


def test_reciprocal_ranks_by_hand() -> None:
    fused = rrf([7, 8], [8, 9])
    assert fused == pytest.approx({7: 0.5 / 61, 8: 0.5 / 62 + 0.5 / 61, 9: 0.5 / 62})
    assert best_first(fused) == [8, 7, 9]


@given(SCORES, SCORES, st.floats(0, 1), st.floats(0.1, 50), st.floats(0.01, 3))
@settings(max_examples=80, deadline=None)
def test_units_of_the_scores_do_not_matter(
    dense: dict[int, float], words: dict[int, float], weight: float, by: float, times: float
) -> None:
    dense = {key: round(value, 3) for key, value in dense.items()}
    words = {key: round(value, 3) for key, value in words.items()}
    fused = convex(dense, words, weight)
    moved = convex(
        {key: times * value + by for key, value in dense.items()},
        {key: times * value for key, value in words.items()},
        weight,
    )
    assert fused == pytest.approx(moved, abs=1e-6)
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in fused.values())


def test_the_weight_with_the_best_mean_is_chosen() -> None:
    choice = choose_weight(lambda w: np.full(5, 1 - (w - 0.3) ** 2))
    assert choice.weight == 0.3
    assert choice.queries == 5
    assert choice.scores[0.3] == pytest.approx(1.0)


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 1.0), (-1.0, 0.0)])
def test_a_side_that_hurts_is_dropped(slope: float, expected: float) -> None:
    assert choose_weight(lambda w: np.full(5, slope * w)).weight == expected


def test_a_lone_peak_is_luck_and_a_tie_goes_to_the_middle() -> None:
    def score(weight: float) -> np.ndarray:
        return np.full(3, 0.74 if weight == 0.9 else 0.73 if 0.3 <= weight <= 0.6 else 0.5)

    assert choose_weight(score).weight in (0.35, 0.4, 0.45, 0.5, 0.55)
    assert choose_weight(lambda w: np.zeros(4)).weight == 0.5


def test_diversity_takes_the_unlike() -> None:
    vectors = np.array([[1, 0], [0.999, 0.0447], [0, 1]], dtype=np.float32)
    scores = np.array([1.0, 0.9, 0.5])
    assert diverse(scores, vectors, 2, 0.0) == [0, 1]
    assert diverse(scores, vectors, 2, 0.7) == [0, 2]
    assert sorted(diverse(scores, vectors, 9, 0.5)) == [0, 1, 2]


def test_diversity_is_brute_force_maximal_marginal_relevance() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(12, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.sort(rng.random(12))[::-1]
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    taken: list[int] = []
    for _ in range(6):
        left = [i for i in range(12) if i not in taken]
        likeness = {i: max([0.0] + [float(vectors[i] @ vectors[j]) for j in taken]) for i in left}
        taken.append(max(left, key=lambda i: 0.6 * scaled[i] - 0.4 * likeness[i]))
    assert diverse(scores, vectors, 6, 0.4) == taken
