"""What a knowledge base promises whatever store it lies in."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from store_writer import DOCUMENTS
from stores import STORES, place_of
from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.flows.index import add_documents, remove
from tailorbird.knowledge import write
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.maintenance import move_to, stats, verify
from tests_knowledge import document, load, versions

CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8, workers=1)
WRITER = Path(__file__).resolve().parent.parent / "store_writer.py"


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest) -> str:
    return place_of(request.param)


@pytest.fixture
def folder(address: str, tmp_path: Path) -> Iterator[Path]:
    KnowledgeFolder(tmp_path / "kb", CONFIG, load, store=address).close()
    yield tmp_path / "kb"


def test_the_store_is_recorded(folder: Path, address: str) -> None:
    name = address.partition("://")[0]
    with KnowledgeFolder(folder, None, load) as kb:
        assert kb.get_setting("store") == kb.backend.name == name
        assert stats(kb)["store"].startswith(name)
    other = "lancedb" if name != "lancedb" else "toy"
    with pytest.raises(UserError, match=f"is stored in {name}"):
        KnowledgeFolder(folder, None, load, store=other)


def test_one_that_an_earlier_version_made_is_opened(tmp_path: Path) -> None:
    with KnowledgeFolder(tmp_path / "kb", CONFIG, load, store="lancedb") as kb:
        add_documents(kb, [document("d", 1)])
        kb.ledger.link.execute("DELETE FROM settings WHERE name = 'store'")
    with KnowledgeFolder(tmp_path / "kb", None, load) as kb:
        assert kb.backend.name == "lancedb" and versions(kb) == {"d": {"1"}}
    with pytest.raises(UserError, match="no store 'lancdb'.*'lancedb'"):
        KnowledgeFolder(tmp_path / "new", CONFIG, load, store="lancdb")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("address", ["s3://bucket/kb", "gs://bucket/kb"])
def test_object_storage_is_refused_with_the_reason(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, store in (("kb", address), (address, None)):
        with pytest.raises(UserError, match="ledger is written in place") as caught:
            KnowledgeFolder(folder, CONFIG, load, store=store)
        assert "postgresql://" in caught.value.fix
    with pytest.raises(UserError, match="--store takes a folder") as caught:
        KnowledgeFolder("postgresql://me:secret@host/db", CONFIG, load)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_documents_are_written_replaced_found_and_removed(folder: Path) -> None:
    with KnowledgeFolder(folder, CONFIG, load) as kb:
        assert add_documents(kb, [document(f"d{n}", 1) for n in range(5)]).added == 5
        assert add_documents(kb, [document("d3", 2), document("d4", 1)]).changed == 1
        assert versions(kb) == {f"d{n}": {"2" if n == 3 else "1"} for n in range(5)}
        chunk = None
        with kb.reading() as view:
            chunk = view.chunks("d3")[0]
            vector = load("words").embed_queries([chunk.text]).vectors[0]
            for hits in (view.nearest(vector, 8), view.matching("version 2 of d3", 40)):
                assert any(hit.chunk.source == "d3" for hit in hits)
                assert all("version 2" in h.chunk.text for h in hits if h.chunk.source == "d3"
                           and h.chunk.position == 0)  # fmt: skip
            vectors = view.vectors(view.nearest(vector, 3))
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
            last = view.chunks("d3")[-1]
            near = view.neighbours([chunk, last, view.chunks("d2")[0]], 1)
            assert [[(c.source, c.position) for c in each] for each in near] == [
                [("d3", 1)], [("d3", last.position - 1)], [("d2", 1)],
            ]  # fmt: skip
            assert view.texts_of(["d3", "d3", "no"]) == {"d3": view.text("d3")}
        assert remove(kb, ["d3"]) == 1
        assert "d3" not in versions(kb)
        assert verify(kb).problems == ()
        assert kb.rebuild() == len(kb.ledger.rows("live"))
        assert verify(kb).problems == ()


def test_texts_that_databases_stumble_over(folder: Path) -> None:
    texts = {
        "zero": "before\0after, the zero byte",
        "quote": 'it\'s "quoted", a\\b, %s and $1 and ? and {x}',
    }
    with KnowledgeFolder(folder, CONFIG, load) as kb:
        for name, text in texts.items():
            one = document(name, 1)
            add_documents(kb, [type(one)(name, text, name, (), {"note": text}, name)])
        assert verify(kb).problems == ()
        with kb.reading() as view:
            assert view.text("quote") == texts["quote"]
            assert len(view.text("zero")) == len(texts["zero"])
            for name in texts:
                assert view.chunks(name)[0].text == view.text(name)
            (hit,) = view.matching("quoted", 5)
            assert hit.metadata == {"note": texts["quote"]}


def test_filters_leave_all_that_fits_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KnowledgeFolder(folder, CONFIG, load) as kb:
        add_documents(kb, [document(f"d{n:02}", n) for n in range(40)])
        vector = load("words").embed_queries(["version 7 of d07 line 1"]).vectors[0]
        chunks = {source: 0 for source in kb.ledger.live_digests()}
        with kb.reading() as view:
            chunks = {source: len(view.chunks(source)) for source in chunks}
        for few in (5000, 3):  # rows named to the store, and rows picked from its ranking
            monkeypatch.setattr("tailorbird.knowledge.snapshot._FEW", few)
            for where, fits in (
                ("number >= 38", ["d38", "d39"]),
                ("number = 7", ["d07"]),
                ("number < 0", []),
                ("number <> 3", [f"d{n:02}" for n in range(40) if n != 3]),
            ):
                with kb.reading() as view:
                    dense = view.nearest(vector, 1000, where)
                    words = view.matching("version line", 1000, where)
                assert {hit.chunk.source for hit in dense} == set(fits)
                assert len(dense) == sum(chunks[source] for source in fits)
                assert {hit.chunk.source for hit in words} == set(fits)


def test_a_reader_sees_the_old_document_or_the_new_and_never_half(folder: Path) -> None:
    with KnowledgeFolder(folder, CONFIG, load) as kb:
        add_documents(kb, [document(f"d{n}", 0) for n in range(3)])
        done = threading.Event()

        def write_on() -> None:
            with KnowledgeFolder(folder, None, load) as writer:
                for number in range(1, 9):
                    add_documents(writer, [document(f"d{n}", number) for n in range(3)])
            done.set()

        writing = threading.Thread(target=write_on)
        writing.start()
        looks = 0
        while not done.is_set() or not looks:
            looks += 1
            # One call writes all three, so they come together.
            assert len({version for found in versions(kb).values() for version in found}) == 1
        writing.join()
        assert versions(kb) == {f"d{n}": {"8"} for n in range(3)}


def test_moved_to_another_store_and_back_it_is_the_same(folder: Path, address: str) -> None:
    with KnowledgeFolder(folder, CONFIG, load) as kb:
        add_documents(kb, [document(f"d{n}", n) for n in range(8)])
        remove(kb, ["d5"])
        kb.set_setting("weight", 0.25)
        before, hits = versions(kb), hits_of(kb)
        other = "lancedb" if "://" in address else place_of("postgresql")
        with pytest.raises(UserError, match="there already"):
            move_to(kb, address)
        assert move_to(kb, other)["chunks"] > 7
        # One that was open meanwhile loses nothing of what it acknowledges.
        with pytest.raises(UserError, match="was moved"):
            add_documents(kb, [document("late", 1)])
        with pytest.raises(UserError, match="was moved"):
            kb.set_setting("weight", 0.75)
    with KnowledgeFolder(folder, None, load) as kb:
        assert versions(kb) == before and kb.get_setting("weight") == 0.25
        assert [found for found, _ in hits_of(kb)] == [found for found, _ in hits]
        for (_, ours), (_, theirs) in zip(hits_of(kb), hits, strict=True):
            assert ours == pytest.approx(theirs, rel=0.02, abs=1e-5)
        add_documents(kb, [document("d9", 9)])
        assert verify(kb).problems == ()
        move_to(kb, address)
    with KnowledgeFolder(folder, None, load) as kb:
        assert kb.backend.name == address.partition("://")[0]
        assert versions(kb) == before | {"d9": {"9"}} and verify(kb).problems == ()


def hits_of(kb: KnowledgeFolder) -> list[tuple[list[str], list[float]]]:
    with kb.reading() as view:
        vector = load("words").embed_queries(["version 3 of d3 line 2 word2"]).vectors[0]
        found = view.nearest(vector, 10), view.matching("version 3 of d3 line 2 word4", 10)
    return [([hit.chunk.id for hit in hits], [hit.score for hit in hits]) for hits in found]


@pytest.mark.parametrize("step", ["index", "flip", "erase"])
def test_what_a_killed_writer_left_is_finished(
    folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer ends between two steps of a replacement; nothing is cleaned up after it."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with KnowledgeFolder(folder, CONFIG, load) as kb:
        add_documents(kb, [document("d", 1)])
        place = {"index": type(kb.store(kb.current)), "flip": type(kb.ledger),
                 "erase": type(kb.ledger)}[step]  # fmt: skip
        name = {"index": "add", "flip": "flip", "erase": "erase"}[step]
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(place, name, die)
            add_documents(kb, [document("d", 2)])
        assert len(versions(kb)["d"]) == 1
    with KnowledgeFolder(folder, None, load) as kb:
        assert verify(kb).problems == () and not write.unsettled(kb.ledger)
        assert len(versions(kb)["d"]) == 1
        add_documents(kb, [document("d", 3)])
        assert versions(kb) == {"d": {"3"}} and verify(kb).problems == ()


def kill_writers(folder: Path, writers: int, count: int, seconds: float, seed: int) -> None:
    """Let writers replace, kill them all, and look whether what they were told is there."""
    began = {writer: versions_of(folder, writer) for writer in range(writers)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(WRITER), str(folder), str(writer), str(count)],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        for writer in range(writers)
    ]  # fmt: skip
    first = [process.stdout.readline() for process in processes if process.stdout]
    assert all(first), "a writer failed"
    draw = Random(seed)
    time.sleep(draw.uniform(0, seconds))
    for process in processes:
        process.send_signal(signal.SIGKILL)
        time.sleep(draw.uniform(0, 0.02))
    for writer, process in enumerate(processes):
        assert process.stdout
        last = ([int(first[writer]), *map(int, process.stdout.read().split())])[-1]
        process.wait()
        seen = versions_of(folder, writer)
        for place in range(DOCUMENTS):
            sure = max((n for n in range(1, last + 1) if n % DOCUMENTS == place), default=None)
            may = {began[writer].get(place) if sure is None else sure}
            may |= {last + 1} if (last + 1) % DOCUMENTS == place else set()
            assert seen.get(place) in may, (writer, place, last, seen)
    with KnowledgeFolder(folder, None, load) as kb:
        assert verify(kb).problems == ()
        assert all(len(found) == 1 for found in versions(kb).values())


def versions_of(folder: Path, writer: int) -> dict[int, int]:
    with KnowledgeFolder(folder, None, load) as kb:
        return {
            int(source.partition("-")[2]): int(min(found))
            for source, found in versions(kb).items()
            if source.startswith(f"doc{writer}-")
        }


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_nothing_acknowledged_is_lost_when_writers_are_killed(folder: Path) -> None:
    kill_writers(folder, writers=2, count=1000, seconds=0.5, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_four_writers_are_killed(folder: Path, seed: int) -> None:
    kill_writers(folder, writers=4, count=500, seconds=6.0, seed=seed)
    kill_writers(folder, writers=4, count=500, seconds=1.0, seed=seed + 100)
