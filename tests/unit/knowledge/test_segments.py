"""Segments in files against plain dictionaries, through additions, deletions and merges."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tailorbird.errors import UserError
from tailorbird.knowledge import memory_index, segment_file, segments
from tailorbird.knowledge.index_terms import key_of, keys_to_index, terms_to_index
from tailorbird.knowledge.segments import SegmentStore

D = 8
WORDS = ["ash", "birch", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew"]


def vector_of(row: int) -> np.ndarray:
    vector = np.random.default_rng(row).normal(size=D)
    unit: np.ndarray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def text_of(row: int) -> str:
    return " ".join(np.random.default_rng([row, 1]).choice(WORDS, size=1 + row % 9))


def add(store: SegmentStore, rows: list[int]) -> None:
    store.add(np.asarray(rows), np.stack([vector_of(row) for row in rows]), [*map(text_of, rows)])


def bm25(held: set[int], question: list[str]) -> dict[int, float]:
    """By the book, k1 = 1.2 and b = 0.75, with Lucene's idf."""
    counts = {row: Counter(terms_to_index(text_of(row))) for row in held}
    mean = sum(c.total() for c in counts.values()) / len(held)
    scores: Counter[int] = Counter()
    for term in question:
        having = [row for row in held if counts[row][term]]
        weight = math.log(1 + (len(held) - len(having) + 0.5) / (len(having) + 0.5))
        for row in having:
            count = counts[row][term]
            long = 1.2 * (0.25 + 0.75 * counts[row].total() / mean)
            scores[row] += weight * count * 2.2 / (count + long)
    return scores


def check(store: SegmentStore, held: set[int], rng: np.random.Generator) -> None:
    assert store.rows().tolist() == sorted(held)
    query = vector_of(int(rng.integers(10**6)))
    order = sorted(held, key=lambda row: -float(vector_of(row) @ query))
    rows, cosines = store.nearest(query, 7)
    assert rows.tolist() == order[:7]
    assert cosines == pytest.approx([vector_of(row) @ query for row in order[:7]], abs=1e-5)
    few = sorted({*order[::3], 10**6})
    among = store.nearest(query, 5, np.asarray(few))[0].tolist()
    assert among == [row for row in order if row in few][:5]
    wish = [*order[:3], 10**6, order[0]] if order else [3]
    expected = [vector_of(row) if row in held else np.zeros(D) for row in wish]
    assert np.array_equal(store.vectors(np.asarray(wish)), np.stack(expected))
    question = rng.choice(WORDS, size=3).tolist()
    scores = (
        bm25(held, [term for word in question for term in terms_to_index(word)]) if held else {}
    )
    matches = dict(zip(*(part.tolist() for part in store.matching(" ".join(question), 10**6)),
                       strict=True))  # fmt: skip
    assert set(matches) == set(scores)
    assert [matches[row] for row in scores] == pytest.approx([*scores.values()], rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_two_openings_agree_through_every_change(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_file, "_BLOCK", 7)
    monkeypatch.setattr(segment_file, "_ENTRIES", 11)
    rng = np.random.default_rng(seed)
    writer = SegmentStore(tmp_path / "g1", D, create=True)
    reader = SegmentStore(tmp_path / "g1", D)
    held: set[int] = set()
    last = 0
    for _ in range(30):
        new = list(range(last + 1, last + 1 + int(rng.integers(0, 20))))
        last += len(new)
        back = [row for row in range(1, last - len(new)) if row not in held and rng.random() < 0.02]
        rows = [row for row in rng.permutation([*new, *back]).tolist() if row not in held]
        moment = reader.moment
        if rows:
            add(writer, rows)
            assert reader.moment != moment
        held |= set(rows)
        check(reader, held, rng)
        gone = {row for row in held if rng.random() < rng.choice([0, 0.05, 0.7])}
        moment = reader.moment
        writer.delete(np.asarray([*gone, 10**6]))
        assert (reader.moment != moment) == bool(gone)
        held -= gone
        check(reader, held, rng)
        if rng.random() < 0.4:
            writer.optimize()
            assert not writer.due(0)
            check(reader, held, rng)
    assert len(list((tmp_path / "g1").glob("*.segment"))) < 12


def test_merged_away_the_gone_leave_nothing_behind(tmp_path: Path) -> None:
    store, once = (SegmentStore(tmp_path / name, D, create=True) for name in ("g1", "g2"))
    for start in range(0, 90, 30):
        add(store, list(range(start, start + 30)))
    store.delete(np.arange(0, 90, 2))
    store.optimize()
    add(once, list(range(1, 90, 2)))
    (path,), (other,) = (list((tmp_path / name).glob("*.segment")) for name in ("g1", "g2"))
    assert path.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "g1").glob("*.gone"))
    store.delete(np.arange(90))
    store.optimize()
    assert [path.name for path in (tmp_path / "g1").iterdir()] == ["segments.json"]
    assert len(store.nearest(vector_of(1), 3)[0]) == 0 == len(store.matching("oak", 3)[0])


def test_rows_that_are_held_twice_are_said_twice_and_both_go(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "g1", D, create=True)
    add(store, [1, 2, 3])
    add(store, [3, 4])
    assert store.rows().tolist() == [1, 2, 3, 3, 4]
    store.delete(np.array([3]))
    assert store.rows().tolist() == [1, 2, 4]


@pytest.mark.parametrize("fast", [True, False])
def test_many_rank_as_all_in_full(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "multiplies_bytes", lambda: fast)
    monkeypatch.setattr(segments, "_FEWEST_CODED", 1000)
    monkeypatch.setattr(segments, "_PATIENCE", 0)
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(5000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = SegmentStore(tmp_path / "g1", 64, create=True)
    for start in range(0, 5000, 1700):
        rows = np.arange(start, min(start + 1700, 5000))
        store.add(rows, vectors[rows], ["oak"] * len(rows))
    left = np.arange(0, 5000, 3)
    store.delete(np.setdiff1d(np.arange(5000), left))
    for query in vectors[:20]:
        order = left[np.argsort(-(vectors[left] @ query), kind="stable")]
        assert store.nearest(query, 12)[0].tolist() == order[:12].tolist()


def test_a_killed_writer_leaves_what_was(tmp_path: Path) -> None:
    folder = tmp_path / "g1"
    store = SegmentStore(folder, D, create=True)
    add(store, [1, 2])
    # What a kill leaves: a file under way, and one that is whole and that nothing names yet.
    (folder / "000002.part").write_bytes(b"half")
    segment_file.write_segment(
        folder / "000002.segment", np.array([5]), vector_of(5)[None], ["oak"]
    )
    again = SegmentStore(folder, D)
    assert again.rows().tolist() == [1, 2]
    add(again, [3])
    assert SegmentStore(folder, D).rows().tolist() == [1, 2, 3]
    again.optimize()
    assert {path.suffix for path in folder.iterdir()} == {".json", ".segment"}


@pytest.mark.parametrize("damage", ["cut", "lost", "names"])
def test_damage_is_told_with_its_fix(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "kb" / "index" / "g1"
    store = SegmentStore(folder, D, create=True)
    add(store, [1, 2])
    (path,) = folder.glob("*.segment")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "lost":
        path.unlink()
    else:
        (folder / "segments.json").write_text(json.dumps({"segments": 3}))
    with pytest.raises(UserError, match=r"index in .*g1 is damaged") as caught:
        SegmentStore(folder, D)
    assert caught.value.fix == f"tailor index --store {tmp_path / 'kb'} --repair"
    with pytest.raises(UserError, match="missing"):
        SegmentStore(tmp_path / "g2", D)


def test_terms_in_bulk_are_those_of_each_text() -> None:
    texts = ["The oaks' d'été", "", "東京都 and 東京", "to be or not", "Oak oak OAK 1.5 x_y"]
    numbers, counts, keys = keys_to_index(texts)
    ends = np.cumsum(counts)
    for start, end, text in zip([0, *ends], ends, texts, strict=False):
        assert keys[numbers[start:end]].tolist() == [*map(key_of, terms_to_index(text))]


def test_bytes_are_within_half_a_step() -> None:
    vectors = np.stack([vector_of(row) for row in range(50)] + [np.zeros(D, np.float32)])
    codes, steps = memory_index.coded(vectors)
    assert np.abs(codes * steps[:, None] - vectors).max() <= steps.max() / 2 + 1e-7
