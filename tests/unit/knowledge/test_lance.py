"""What is LanceDB's own: vectors in memory that follow the table, and the index past them."""

from pathlib import Path

import numpy as np
import pytest

from tailorbird.knowledge.lance import LanceStore

D = 16


def vectors_of(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_vectors_in_memory_follow_another_openings_changes(tmp_path: Path) -> None:
    store = LanceStore(tmp_path / "index", "g1", D, create=True)
    vectors = vectors_of(600, seed=1)
    store.add(np.arange(300), vectors[:300], ["text"] * 300)
    other = LanceStore(tmp_path / "index", "g1", D)
    assert other.nearest(vectors[5], 1)[0].tolist() == [5]
    # Rows below the last, as a repair adds them.
    store.add(np.arange(500, 520), vectors[500:520], ["text"] * 20)
    assert other.nearest(vectors[510], 1)[0].tolist() == [510]
    store.add(np.arange(400, 404), vectors[400:404], ["text"] * 4)
    store.delete(np.arange(20, 30))
    assert other.nearest(vectors[402], 1)[0].tolist() == [402]
    store.delete(np.arange(30, 40))
    left = np.setdiff1d(np.concatenate([np.arange(300), np.arange(400, 404), np.arange(500, 520)]),
                        np.arange(20, 40))  # fmt: skip
    found, cosines = other.nearest(vectors[35], 400)
    assert sorted(found.tolist()) == left.tolist() == other.rows().tolist()
    assert cosines == pytest.approx(vectors[found] @ vectors[35], abs=1e-5)


def test_past_the_memory_an_approximate_index_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(40, D))
    vectors = centres[rng.integers(40, size=4000)] + 0.5 * rng.normal(size=(4000, D))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    store = LanceStore(tmp_path / "index", "g1", D, create=True)
    store.add(np.arange(4000), vectors, ["text"] * 4000)
    exact = [set(store.nearest(vector, 10)[0].tolist()) for vector in vectors[:50]]
    monkeypatch.setattr("tailorbird.knowledge.lance._RESIDENT_BYTES", 0)
    large = LanceStore(tmp_path / "index", "g1", D)
    large.optimize()
    found = [set(large.nearest(vector, 100)[0][:10].tolist()) for vector in vectors[:50]]
    shares = [len(one & other) / 10 for one, other in zip(exact, found, strict=True)]
    assert np.mean(shares) >= 0.98
    rows, cosines = large.nearest(vectors[7], 3)
    assert cosines == pytest.approx(vectors[rows] @ vectors[7], abs=1e-5)
    large.delete(rows[:1])
    large.add(np.array([9000]), vectors[7:8], ["text"])
    assert large.nearest(vectors[7], 1)[0].tolist() == [9000]
    few = np.array([5, 9, 11])
    assert set(large.nearest(vectors[7], 3, few)[0].tolist()) == set(few.tolist())
    assert np.array_equal(large.vectors(few), vectors[few])
