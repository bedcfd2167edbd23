"""Vectors in memory against plain dictionaries, through changes; older looks stay as they were."""

import numpy as np
import pytest

from tailorbird.knowledge import memory_index as resident_module
from tailorbird.knowledge.memory_index import Resident
from tailorbird.knowledge.protocols import Ranking

D = 8


def vector_of(row: int) -> np.ndarray:
    """A row's vector never changes, also when the row comes back."""
    return np.random.default_rng(row).normal(size=D).astype(np.float32)


def follow(resident: Resident, held: dict[int, np.ndarray], version: int) -> Resident:
    def read(rows: np.ndarray) -> Ranking:
        shuffled = np.random.default_rng(version).permutation(rows)
        return shuffled, np.stack([held[row] for row in shuffled.tolist()])

    return resident.brought_up(version, np.asarray(sorted(held), dtype=np.int64), read)


def check(resident: Resident, held: dict[int, np.ndarray], rng: np.random.Generator) -> None:
    query = rng.normal(size=D).astype(np.float32)
    wanted = sorted(held, key=lambda row: -float(held[row] @ query))
    rows, scores = resident.nearest(query, 7)
    assert rows.tolist() == wanted[:7]
    assert scores == pytest.approx([float(held[row] @ query) for row in wanted[:7]], abs=1e-5)
    few = sorted({*wanted[::3], 10**6})
    among, _ = resident.nearest(query, 5, np.asarray(few))
    assert among.tolist() == [row for row in wanted if row in few][:5]
    asked = [*wanted[:3], 10**6, wanted[0]] if wanted else [3]
    found = resident.vectors(np.asarray(asked))
    assert np.array_equal(found, np.stack([held.get(row, np.zeros(D, "f4")) for row in asked]))


@pytest.mark.parametrize("seed", range(6))
def test_follows_every_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held: dict[int, np.ndarray] = {}
    resident, last = Resident(D), 0
    before = (resident, dict(held))
    for version in range(40):
        new = np.arange(last + 1, last + 1 + int(rng.integers(0, 30)))
        last = int(new[-1]) if len(new) else last
        gone = [row for row in held if rng.random() < rng.choice([0, 0.05, 0.6])]
        back = [row for row in range(1, last) if row not in held and rng.random() < 0.02]
        held = {row: vector for row, vector in held.items() if row not in gone}
        held |= {int(row): vector_of(int(row)) for row in [*new, *back]}
        resident = follow(resident, held, version)
        assert resident.version == version
        check(resident, held, rng)
        check(*before, rng)
        if held and rng.random() < 0.5:
            drop = rng.choice(sorted(held), size=min(3, len(held)), replace=False)
            resident = resident.without(drop)
            held = {row: vector for row, vector in held.items() if row not in drop}
            behind = np.arange(last + 1, last + 4)
            vectors = np.stack([vector_of(int(row)) for row in behind])
            resident, last = resident.grown(version, behind[::-1], vectors[::-1]), last + 3
            held |= dict(zip(behind.tolist(), vectors, strict=True))
            assert (resident.alive, resident.last) == (len(held), last)
            check(resident, held, rng)
        before = (resident, dict(held))


def test_nothing_held_finds_nothing() -> None:
    empty = Resident(D)
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
    early = Resident(96).grown(1, rows[:3000], matrix[:3000])
    late = early.grown(2, rows[3000:], matrix[3000:]).without(rows[100:200])
    first, rest = rows < rows[3000], ~np.isin(rows, rows[100:200])
    for resident, here in ((early, first), (late, rest), (early, first)):
        for _ in range(20):
            query = centres[rng.integers(40)] + 0.3 * rng.normal(size=96)
            query = (query / np.linalg.norm(query)).astype("f4")
            exact = np.argsort(-(matrix[here] @ query), kind="stable")[:k]
            found, scores = resident.nearest(query, k)
            assert found.tolist() == rows[here][exact].tolist()
            assert scores == pytest.approx((matrix[here] @ query)[exact], abs=1e-6)
