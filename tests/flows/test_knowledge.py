"""A knowledge base through kills, other writers, other settings and damage."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests_knowledge import document, load

from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.flows.index import add_documents, index, remove
from tailorbird.flows.upkeep import verify
from tailorbird.rag.knowledge import KnowledgeBase

HERE = Path(__file__).parent
CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with KnowledgeBase(tmp_path / "KB", CONFIG, load):
        return tmp_path / "KB"


def versions(kb: KnowledgeBase) -> dict[str, set[str]]:
    """Return the versions that a reader sees of every document; whole ones have one."""
    with kb.reading() as view:
        found = {}
        for source in view.sources():
            chunks, text = view.chunks(source), view.text(source)
            assert all(text[c.start : c.end] == c.text for c in chunks)
            assert chunks[-1].end == len(text.rstrip()) and chunks[0].start == 0
            found[source] = set(re.findall(r"version (\d+) of", text))
        return found


def start(folder: Path, name: str, begin: int = 0) -> "subprocess.Popen[str]":
    source = Path(__file__).resolve().parents[2] / "src"
    return subprocess.Popen(
        [sys.executable, str(HERE / "writer_of_knowledge.py"), str(folder), name, str(begin)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{HERE}"},
    )


def killed(folder: Path, moments: int, seed: int) -> None:
    """Kill a writer so many times; what it had said is there each time, and nothing is half."""
    draw = random.Random(seed)
    said: dict[str, str] = {}
    begin = 0
    for _ in range(moments):
        writer = start(folder, "d", begin)
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # at work
        time.sleep(draw.uniform(0, 0.4))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        for line in filter(str.strip, lines):
            kind, source, number = line.split()
            said[source] = number if kind == "have" else ""
            begin += 1
        with KnowledgeBase(folder, None, load) as kb:
            assert verify(kb).problems == ()
            seen = versions(kb)
        under_way = f"d-{begin % 12}"
        for source, number in said.items():
            if source != under_way:
                assert seen.get(source, set()) == ({number} if number else set()), source
        assert all(len(found) == 1 for found in seen.values())
        said |= {under_way: next(iter(seen.get(under_way, {""})))}


def test_killed_writers_lose_nothing(folder: Path) -> None:
    killed(folder, 2, seed=1)


@pytest.mark.slow
def test_a_hundred_kills(folder: Path) -> None:
    killed(folder, 100, seed=2)


def test_two_writers_and_a_reader(folder: Path) -> None:
    writers = [start(folder, name) for name in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    until = time.monotonic() + 2
    with KnowledgeBase(folder, None, load) as kb:
        while time.monotonic() < until:
            assert all(len(found) == 1 for found in versions(kb).values())
        for writer in writers:
            writer.kill()
            writer.wait()
        with KnowledgeBase(folder, None, load) as again:
            assert verify(again).problems == ()
            assert {source[0] for source in versions(again)} == {"a", "b"}


def test_added_changed_and_deleted_are_seen_at_once(folder: Path) -> None:
    with KnowledgeBase(folder, None, load) as kb, KnowledgeBase(folder, None, load) as other:
        add_documents(kb, [document("x", 1), document("y", 2)])
        for number in (3, 4):
            add_documents(kb, [document("x", number)])
            with other.reading() as view:
                found = view.matching(f"version {number}", 50)
                assert {hit.chunk.source for hit in found if f"version {number} " in hit.chunk.text}
                assert not [h for h in found if f"version {number - 1} of x" in h.chunk.text]
                vector = load("words").embed_queries([found[0].chunk.text]).vectors[0]
                assert view.nearest(vector, 3)[0].chunk.source == "x"
                few = view.nearest(vector, 50, "number = 2")
                assert {hit.chunk.source for hit in few} == {"y"}
        assert remove(kb, ["x"]) == 1
        with other.reading() as view:
            assert {h.chunk.source for h in view.nearest(vector, 50)} == {"y"}
            with pytest.raises(UserError, match="did you mean 'number'"):
                view.matching("version", 5, "numbr = 2")


def test_a_look_does_not_change(folder: Path) -> None:
    with KnowledgeBase(folder, None, load) as kb, KnowledgeBase(folder, None, load) as other:
        add_documents(kb, [document("x", 1)])
        with other.reading() as view:
            add_documents(kb, [document("x", 2), document("z", 9)])
            assert view.sources() == ["x"] and "version 1 " in view.text("x")
            assert all("version 1 " in hit.chunk.text for hit in view.matching("version", 9))
        assert set(versions(other)) == {"x", "z"}


def write_files(place: Path) -> None:
    place.mkdir()
    for name in ("one", "two", "three"):
        (place / f"{name}.md").write_text(f"# Title {name}\n\nA text about {name}.\n")


def test_files_unchanged_changed_moved_and_gone(folder: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write_files(docs)
    with KnowledgeBase(folder, None, load) as kb:
        first = index(kb, [docs], CONFIG)
        assert (first.added, first.changed, first.skipped) == (3, 0, {})
        before = load("words").embedded
        assert index(kb, [docs], CONFIG).unchanged == 3
        (docs / "two.md").rename(docs / "moved.md")
        moved = index(kb, [docs], CONFIG)
        assert moved.moved == 1 and load("words").embedded == before
        (docs / "one.md").write_text("# Title one\n\nAnother text.\n")
        (docs / "three.md").unlink()
        assert index(kb, [docs], CONFIG).changed == 1
        assert len(kb.ledger.paths()) == 3
        assert index(kb, [docs], CONFIG, sync=True).deleted == 1
        assert sorted(Path(path).name for path in kb.ledger.paths()) == ["moved.md", "one.md"]
        assert verify(kb).problems == ()


def test_other_settings_cut_again_and_embedders_switch_and_roll_back(folder: Path) -> None:
    with KnowledgeBase(folder, None, load) as kb:
        add_documents(kb, [document("x", 1, 20), document("y", 2, 20)])
        chunks = len(kb.ledger.rows("live"))
        index(kb, [], CONFIG.model_copy(update={"chunk_tokens": 128}))
        assert 0 < len(kb.ledger.rows("live")) < chunks
        kb.set_setting("weight", 0.7)
        number = kb.build_generation("others")
        assert kb.current.embedder == "words"
        kb.switch(number)
        assert (kb.settings.embedder, kb.get_setting("weight")) == ("others", None)
        add_documents(kb, [document("z", 3)])
        assert verify(kb).problems == ()
        kb.rollback()
        assert (kb.settings.embedder, kb.get_setting("weight")) == ("words", 0.7)
        assert verify(kb).problems == () and set(versions(kb)) == {"x", "y", "z"}


def test_a_lost_index_is_made_again(folder: Path) -> None:
    with KnowledgeBase(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
    shutil.rmtree(folder / "index")
    with pytest.raises(UserError, match="--repair"):
        KnowledgeBase(folder, None, load)
    before = load("words").embedded
    with KnowledgeBase(folder, None, load, repairing=True) as kb:
        assert kb.rebuild() == len(kb.ledger.rows("live"))
        assert load("words").embedded == before
        assert verify(kb).problems == ()


def test_ledgers_that_are_not_ours_to_open(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no knowledge base"):
        KnowledgeBase(tmp_path / "none", None, load)
    link = sqlite3.connect(folder / "ledger.sqlite")
    link.execute("PRAGMA user_version = 99")
    link.close()
    with pytest.raises(UserError, match="newer tailorbird"):
        KnowledgeBase(folder, None, load)
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    (folder / "ledger.sqlite").write_bytes(b"no database at all" * 999)
    with pytest.raises(UserError, match="damaged"):
        KnowledgeBase(folder, None, load)


def test_verify_names_what_is_wrong(folder: Path) -> None:
    with KnowledgeBase(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
        kb.store(kb.current).delete(kb.ledger.rows("live")[:1])
        assert "1 chunks are missing in the index" in verify(kb).problems
        kb.ledger.link.execute("DELETE FROM chunks WHERE position = 0")
        assert any("of" in p and "chunks" in p for p in verify(kb).problems)
