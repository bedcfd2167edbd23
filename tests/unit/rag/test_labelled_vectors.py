"""Labelled neighbours, against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from tailorbird.rag import labelled_vectors as room
from tailorbird.rag.labelled_vectors import LabelledVectors, VoteSettings
from tailorbird.records import Example

LABELS = ("a", "b", "c")


def unit(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make(count: int = 60, seed: int = 0) -> LabelledVectors:
    examples = [Example(f"text {i}", LABELS[i * 7 % 3], i + 1) for i in range(count)]
    return LabelledVectors(unit(count, seed=seed), examples, LABELS)


@pytest.mark.parametrize("k", [1, 4, 60, 100])
def test_the_nearest_are_scikit_learns(k: int) -> None:
    found, queries = make(), unit(17, seed=1)
    theirs = NearestNeighbors(n_neighbors=min(k, 60), metric="cosine").fit(found.vectors)
    distances, indices = theirs.kneighbors(queries)
    ours, similarities = found.nearest(queries, k)
    np.testing.assert_array_equal(ours, indices)
    np.testing.assert_allclose(similarities, 1 - distances, atol=1e-5)


def test_many_queries_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    found, queries = make(), unit(50, seed=2)
    whole = found.nearest(queries, 5)
    monkeypatch.setattr(room, "_BLOCK", 7)
    indices, similarities = found.nearest(queries, 5)
    np.testing.assert_array_equal(indices, whole[0])
    np.testing.assert_allclose(similarities, whole[1], atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.2])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_vote_is_scikit_learns_weighted_one(k: int, temperature: float) -> None:
    found, queries = make(), unit(25, seed=3)
    theirs = KNeighborsClassifier(
        n_neighbors=k, metric="cosine", weights=lambda d: np.exp((1 - d) / temperature)
    ).fit(found.vectors, [e.label for e in found.examples])
    expected = 0.98 * theirs.predict_proba(queries) + 0.02 / 3
    ours = found.probabilities(queries, VoteSettings(k, temperature))
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    assert ours.dtype == np.float32


@given(st.integers(1, 30), st.integers(1, 40), st.floats(0.005, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_votes_are_probabilities(count: int, k: int, temperature: float, seed: int) -> None:
    shares = make(count, seed).probabilities(unit(4, seed=seed + 1), VoteSettings(k, temperature))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares > 0).all(), "log-loss stays finite"


def test_ties_go_to_the_earlier_example() -> None:
    vectors = np.repeat(unit(1), 30, axis=0)
    examples = [Example(str(i), LABELS[i % 3], i) for i in range(30)]
    indices, _ = LabelledVectors(vectors, examples, LABELS).nearest(unit(1), 30)
    assert indices[0].tolist() == list(range(30))


def test_of_many_equal_neighbours_the_earlier_ones_are_taken() -> None:
    vectors = np.repeat(unit(1), 50, axis=0)
    examples = [Example(str(i), LABELS[i % 3], i) for i in range(50)]
    indices, _ = LabelledVectors(vectors, examples, LABELS).nearest(unit(1), 3)
    again, _ = LabelledVectors(vectors, examples, LABELS).nearest(unit(1), 3)
    assert indices.tolist() == again.tolist()


def test_an_added_example_counts_at_once() -> None:
    found, query = make(), unit(1, seed=9)
    settings_ = VoteSettings(3, 0.02)
    before = found.probabilities(query, settings_)
    assert before.shape == (1, 3)
    found.add(np.repeat(query, 3, axis=0), [Example(f"new {i}", "d") for i in range(3)])
    after = found.probabilities(query, settings_)
    assert found.labels == ["a", "b", "c", "d"]
    assert after.shape == (1, 4)
    assert after[0].argmax() == 3
    assert [n.label for n in found.neighbours(query[0], 3)] == ["d"] * 3
    assert found.neighbours(query[0], 1)[0].similarity == pytest.approx(1, abs=1e-5)


def test_adding_is_the_same_as_having_had_it() -> None:
    whole = make(60)
    part = LabelledVectors(whole.vectors[:40], whole.examples[:40], LABELS)
    part.add(whole.vectors[40:], whole.examples[40:])
    queries = unit(9, seed=4)
    np.testing.assert_array_equal(
        part.probabilities(queries, VoteSettings(7, 0.1)),
        whole.probabilities(queries, VoteSettings(7, 0.1)),
    )


def test_the_best_settings_of_all_are_chosen() -> None:
    found, queries = make(), unit(40, seed=5)
    targets = np.random.default_rng(6).integers(0, 3, 40)

    def quality(k: int, temperature: float) -> tuple[float, float]:
        shares = found.probabilities(queries, VoteSettings(k, temperature)).astype(np.float64)
        right = float((shares.argmax(1) == targets).mean())
        return right, float(np.log(shares[np.arange(40), targets]).mean())

    chosen = found.choose(queries, targets, (None, None))
    tried = [(k, t) for k in (1, 3, 5, 10, 20, 50) for t in (0.02, 0.05, 0.1, 0.2)]
    best = max(quality(k, t) for k, t in tried)
    assert quality(chosen.k, chosen.temperature) == pytest.approx(best, abs=1e-5)


def test_fixed_settings_are_kept() -> None:
    found, queries = make(), unit(10, seed=5)
    targets = np.zeros(10, dtype=np.int64)
    assert found.choose(queries, targets, (7, 0.3)) == VoteSettings(7, 0.3)
    assert found.choose(queries, targets, (7, None)).k == 7
    assert found.choose(queries, targets, (None, 0.3)).temperature == 0.3
