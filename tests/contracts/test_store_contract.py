"""What every store must do, against exact cosines and BM25 by the book."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tailorbird.knowledge.lance import LanceStore, Store

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


def put(store: Store, oracle: Oracle, count: int, seed: int, start: int = 1) -> None:
    rows, vectors, texts = rows_of(count, seed, start)
    store.add(rows, vectors, texts)
    oracle.held |= {int(r): (v, t.split()) for r, v, t in zip(rows, vectors, texts, strict=True)}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Store, Oracle]]:
    store, oracle = LanceStore(tmp_path / "index", "g1", D, create=True), Oracle()
    put(store, oracle, 300, seed=1)
    yield store, oracle


def check(store: Store, oracle: Oracle, close: float = 0.02) -> None:
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


def test_finds_what_was_added(pair: tuple[Store, Oracle]) -> None:
    check(*pair)


def test_finds_the_same_when_optimized(pair: tuple[Store, Oracle]) -> None:
    store, oracle = pair
    store.optimize()
    assert not store.due(0)
    check(store, oracle)


def test_finds_words_of_rows_that_are_not_indexed_yet(pair: tuple[Store, Oracle]) -> None:
    store, oracle = pair
    store.optimize()
    put(store, oracle, 40, seed=2, start=1000)
    assert store.due(10) and not store.due(100)
    # How rare a word is may be counted without them until `optimize`.
    check(store, oracle, close=0.1)
    store.optimize()
    check(store, oracle)


def test_deleted_rows_are_gone_at_once(pair: tuple[Store, Oracle]) -> None:
    store, oracle = pair
    query = rows_of(1, seed=9)[1][0]
    before = store.nearest(query, 3)[0]
    store.delete(np.append(before, 123456))
    assert not set(store.nearest(query, 50)[0].tolist()) & set(before.tolist())
    assert store.rows().tolist() == sorted(set(oracle.held) - set(before.tolist()))
    question = " ".join(oracle.held[int(before[0])][1])
    assert before[0] not in store.matching(question, 500)[0]


@pytest.mark.parametrize("few", [1, 7, 200])
def test_among_is_exact(pair: tuple[Store, Oracle], few: int) -> None:
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


def test_vectors_come_in_the_order_asked(pair: tuple[Store, Oracle]) -> None:
    store, oracle = pair
    found = store.vectors(np.array([7, 3, 9999, 250]))
    wanted = [oracle.held[7][0], oracle.held[3][0], np.zeros(D), oracle.held[250][0]]
    assert np.array_equal(found, np.stack(wanted).astype(np.float32))


def test_words_are_stemmed_and_odd_questions_do_no_harm(pair: tuple[Store, Oracle]) -> None:
    store, _ = pair
    store.add(np.array([900]), np.eye(D, dtype=np.float32)[:1], ["The runner was running"])
    assert store.matching("runs", 5)[0].tolist() == [900]
    for question in ("", "   ", "the", "\"'()*:-", "\ud800", "AND OR NOT"):
        assert 900 not in store.matching(question, 5)[0]


def test_another_opening_sees_every_change(
    pair: tuple[Store, Oracle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, oracle = pair
    other = LanceStore(tmp_path / "index", "g1", D)
    check(other, oracle)
    put(store, oracle, 20, seed=3, start=500)
    store.delete(np.array([5, 501]))
    del oracle.held[5], oracle.held[501]
    query = oracle.held[510][0]
    assert other.nearest(query, 1)[0].tolist() == [510]
    # Rows below the last, as a repair adds them; and more deletions than are put up with.
    monkeypatch.setattr("tailorbird.knowledge.lance._READ_ALL_SECONDS", 0.0)
    put(store, oracle, 4, seed=4, start=400)
    store.delete(np.arange(20, 30))
    for row in range(20, 30):
        del oracle.held[row]
    assert other.nearest(oracle.held[402][0], 1)[0].tolist() == [402]
    monkeypatch.setattr("tailorbird.knowledge.lance._READ_ALL_SECONDS", 60.0)
    monkeypatch.setattr("tailorbird.knowledge.lance._STALE", 5)
    store.delete(np.arange(30, 40))
    for row in range(30, 40):
        del oracle.held[row]
    check(other, oracle)
    assert other.rows().tolist() == sorted(oracle.held)


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
