"""Vectors in memory against plain dictionaries; int8 codes against products in full."""

import numpy as np
import pytest

from tailorbird.knowledge import memory_index as resident_module
from tailorbird.knowledge.memory_index import Resident

D = 8


@pytest.mark.parametrize("seed", range(6))
def test_finds_what_a_dictionary_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.choice(500, size=120, replace=False)
    held = {int(row): rng.normal(size=D).astype(np.float32) for row in numbers}
    twice = [*held, *list(held)[:5]]  # as a repair may add a row again
    resident = Resident(np.asarray(twice), np.stack([held[row] for row in twice]))
    query = rng.normal(size=D).astype(np.float32)
    best = sorted(held, key=lambda row: -float(held[row] @ query))
    rows, scores = resident.nearest(query, 7)
    assert rows.tolist() == best[:7]
    assert scores == pytest.approx([float(held[row] @ query) for row in best[:7]], abs=1e-5)
    few = sorted({*best[::3], 10**6})
    among, _ = resident.nearest(query, 5, np.asarray(few))
    assert among.tolist() == [row for row in best if row in few][:5]
    some = [*best[:3], 10**6, best[0]]
    vectors = resident.vectors(np.asarray(some))
    assert np.array_equal(vectors, np.stack([held.get(row, np.zeros(D, "f4")) for row in some]))


def test_nothing_held_finds_nothing() -> None:
    empty = Resident(np.empty(0, dtype=np.int64), np.empty((0, D), dtype=np.float32))
    assert [len(part) for part in empty.nearest(np.ones(D), 3)] == [0, 0]
    assert not empty.vectors(np.asarray([1, 2])).any()


@pytest.mark.parametrize("k", [1, 10, 60])
def test_many_vectors_as_bytes_rank_as_all_in_full(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident_module, "multiplies_bytes", lambda: True)
    monkeypatch.setattr(resident_module, "_FEWEST_CODED", 1000)
    rng = np.random.default_rng(k)
    centres = rng.normal(size=(40, 96))
    matrix = centres[rng.integers(40, size=4000)] + 0.3 * rng.normal(size=(4000, 96))
    matrix[7] = 0.0
    matrix = (matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-9)).astype("f4")
    rows = np.arange(10, 4010)
    resident = Resident(rows, matrix)
    for _ in range(20):
        query = centres[rng.integers(40)] + 0.3 * rng.normal(size=96)
        query = (query / np.linalg.norm(query)).astype("f4")
        exact = np.argsort(-(matrix @ query), kind="stable")[:k]
        nearest, scores = resident.nearest(query, k)
        assert nearest.tolist() == rows[exact].tolist()
        assert scores == pytest.approx((matrix @ query)[exact], abs=1e-6)
