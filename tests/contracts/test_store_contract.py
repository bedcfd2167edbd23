"""What every store must do, against exact cosines and BM25 by the book."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stores import STORES, place_of
from tailorbird.errors import UserError
from tailorbird.knowledge.backends import backend_of
from tailorbird.knowledge.protocols import ChunkIndex

D = 16
WORDS = [f"term{n}" for n in range(60)]


class Oracle:
    """Rows in plain dictionaries."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[np.ndarray, list[str]]] = {}

    def nearest(self, vector: np.ndarray, k: int, among: np.ndarray | None = None) -> list[int]:
        rows = [r for r in self.held if among is None or r in among]
        return sorted(rows, key=lambda r: (-float(self.held[r][0] @ vector), r))[:k]

    def bm25(self, question: str) -> dict[int, float]:
        """Return k1 = 1.2, b = 0.75, idf = ln(1 + (N - n + 0.5) / (n + 0.5))."""
        texts = {row: words for row, (_, words) in self.held.items()}
        mean = sum(map(len, texts.values())) / len(texts)
        scores: dict[int, float] = {}
        for word in question.split():
            with_it = [row for row, words in texts.items() if word in words]
            idf = math.log(1 + (len(texts) - len(with_it) + 0.5) / (len(with_it) + 0.5))
            for row in with_it:
                count, length = texts[row].count(word), len(texts[row])
                weight = count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))
                scores[row] = scores.get(row, 0.0) + idf * weight
        return scores


def rows_of(count: int, seed: int, start: int = 1) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [" ".join(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(count)]
    return np.arange(start, start + count), vectors, texts


def put(store: ChunkIndex, oracle: Oracle, count: int, seed: int, start: int = 1) -> None:
    rows, vectors, texts = rows_of(count, seed, start)
    store.add(rows, vectors, texts)
    oracle.held |= {int(r): (v, t.split()) for r, v, t in zip(rows, vectors, texts, strict=True)}


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place_of(request.param)


@pytest.fixture
def pair(address: str, tmp_path: Path) -> Iterator[tuple[ChunkIndex, Oracle]]:
    backend = backend_of(tmp_path, address)
    link = backend.connect(create=True)
    store, oracle = backend.open(1, D, create=True), Oracle()
    put(store, oracle, 300, seed=1)
    yield store, oracle
    link.close()


def check(store: ChunkIndex, oracle: Oracle, close: float = 0.02) -> None:
    _, queries, _ = rows_of(5, seed=9)
    assert store.rows().tolist() == sorted(oracle.held)
    for query in queries:
        rows, cosines = store.nearest(query, 10)
        assert rows.tolist() == oracle.nearest(query, 10)
        wanted = [float(oracle.held[r][0] @ query) for r in rows.tolist()]
        assert cosines == pytest.approx(wanted, abs=1e-5)
    for question in ("term1 term2", "term3 term40 term41"):
        rows, scores = store.matching(question, 500)
        wanted_scores = oracle.bm25(question)
        assert set(rows.tolist()) == set(wanted_scores)
        assert np.all(np.diff(scores) <= 0)
        assert scores == pytest.approx([wanted_scores[r] for r in rows.tolist()], rel=close)


def test_finds_what_was_added(pair: tuple[ChunkIndex, Oracle]) -> None:
    check(*pair)


def test_finds_the_same_when_optimized(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    store.optimize()
    assert not store.due(0)
    check(store, oracle)


def test_finds_words_of_rows_that_are_not_indexed_yet(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    store.optimize()
    put(store, oracle, 40, seed=2, start=1000)
    assert store.due(10) and not store.due(100)
    # How rare a word is may be counted without them until `optimize`.
    check(store, oracle, close=0.1)
    store.optimize()
    check(store, oracle)


def test_deleted_rows_are_gone_at_once(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    query = rows_of(1, seed=9)[1][0]
    before = store.nearest(query, 3)[0]
    store.delete(np.append(before, 123456))
    assert not set(store.nearest(query, 50)[0].tolist()) & set(before.tolist())
    assert store.rows().tolist() == sorted(set(oracle.held) - set(before.tolist()))
    question = " ".join(oracle.held[int(before[0])][1])
    assert before[0] not in store.matching(question, 500)[0]


@pytest.mark.parametrize("few", [1, 7, 200])
def test_among_is_exact(pair: tuple[ChunkIndex, Oracle], few: int) -> None:
    store, oracle = pair
    among = np.sort(np.random.default_rng(few).choice(np.arange(1, 301), few, replace=False))
    query = rows_of(1, seed=9)[1][0]
    assert store.nearest(query, 5, among)[0].tolist() == oracle.nearest(query, 5, among)
    whole = dict(zip(*(a.tolist() for a in store.matching("term5 term6", 500)), strict=True))
    rows, scores = store.matching("term5 term6", 500, among)
    assert set(rows.tolist()) == set(whole) & set(among.tolist())
    assert scores.tolist() == [whole[row] for row in rows.tolist()]
    none = np.empty(0, dtype=np.int64)
    assert len(store.nearest(query, 5, none)[0]) == len(store.matching("term5", 5, none)[0]) == 0


def test_vectors_come_in_the_order_asked(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    found = store.vectors(np.array([7, 3, 9999, 250]))
    wanted = [oracle.held[7][0], oracle.held[3][0], np.zeros(D), oracle.held[250][0]]
    assert np.array_equal(found, np.stack(wanted).astype(np.float32))


def test_many_small_changes_are_tidied(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    for number in range(70):
        put(store, oracle, 2, seed=number, start=1000 + 3 * number)
        if number % 9 == 0:
            store.delete(np.array([number + 1, 1000 + 3 * number]))
            del oracle.held[number + 1], oracle.held[1000 + 3 * number]
    assert store.due(100)
    store.optimize()
    assert not store.due(0)
    check(store, oracle)
    put(store, oracle, 3, seed=99, start=2000)
    store.delete(np.arange(50, 60))
    for row in range(50, 60):
        oracle.held.pop(row, None)
    store.optimize()
    check(store, oracle)


def test_words_are_stemmed_and_odd_questions_do_no_harm(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, _ = pair
    store.add(np.array([900]), np.eye(D, dtype=np.float32)[:1], ["The runner was running"])
    assert store.matching("runs", 5)[0].tolist() == [900]
    for question in ("", "   ", "the", "\"'()*:-", "\ud800", "AND OR NOT"):
        assert 900 not in store.matching(question, 5)[0]


def test_another_opening_sees_every_change(
    pair: tuple[ChunkIndex, Oracle], address: str, tmp_path: Path
) -> None:
    store, oracle = pair
    other = backend_of(tmp_path, address).open(1, D)
    check(other, oracle)
    put(store, oracle, 20, seed=3, start=500)
    store.delete(np.array([5, 501]))
    del oracle.held[5], oracle.held[501]
    assert other.nearest(oracle.held[510][0], 1)[0].tolist() == [510]
    check(other, oracle)


def test_rows_come_back_as_a_repair_adds_them(pair: tuple[ChunkIndex, Oracle]) -> None:
    store, oracle = pair
    store.delete(np.arange(20, 30))
    put(store, oracle, 10, seed=4, start=20)
    store.optimize()
    check(store, oracle)


def test_an_index_that_is_not_there(address: str, tmp_path: Path) -> None:
    backend = backend_of(tmp_path, address)
    backend.connect(create=True).close()
    with pytest.raises(UserError, match="--repair"):
        backend.open(1, D)
    backend.open(1, D, create=True).add(*rows_of(3, seed=1))
    assert backend.open(1, D).rows().tolist() == [1, 2, 3]
    backend.remove(1)
    backend.remove(1)
    assert backend.open(1, D, create=True).rows().tolist() == []
