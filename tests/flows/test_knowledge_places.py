"""Where a knowledge base lies, and what its documents are known by."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.flows.index import add_documents, index, remove
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import Ledger
from tailorbird.knowledge.maintenance import verify
from tailorbird.knowledge.sqlite_ledger import connect
from tests_knowledge import document, load

CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8)


def texts(kb: KnowledgeFolder) -> dict[str, str]:
    with kb.reading() as snapshot:
        return {source: snapshot.text(source).strip() for source in kb.ledger.live_digests()}


def test_a_file_takes_no_place_of_another_files_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "rules.csv").write_text("id,text\n1,Doors close at nine.\n2,No dogs.\n")
    (docs / "rules.csv#1").write_text("Doors never close.")
    (docs / "c#.txt").write_text("A language.")
    with KnowledgeFolder(tmp_path / "KB", CONFIG, load) as kb:
        done = index(kb, ["docs"], CONFIG)
        assert "docs/rules.csv already: rename" in done.skipped["docs/rules.csv#1"]
        assert "rules.csv#1" in capsys.readouterr().err
        rows = {"docs/rules.csv#1": "Doors close at nine.", "docs/rules.csv#2": "No dogs."}
        assert texts(kb) == {**rows, "docs/c#.txt": "A language."}
        # The file that was there first keeps its name, whichever is of many rows.
        (docs / "rules.csv#1").unlink()
        (docs / "late.csv#7").write_text("A page.")
        index(kb, ["docs"], CONFIG)
        (docs / "late.csv").write_text("id,text\n7,A row.\n8,Another.\n")
        done = index(kb, ["docs"], CONFIG)
        assert "1 documents are left out" in done.notes["docs/late.csv"][0]
        assert texts(kb)["docs/late.csv#7"] == "A page."
        (docs / "late.csv#7").unlink()
        index(kb, ["docs"], CONFIG, sync=True)
        index(kb, ["docs"], CONFIG)
        assert texts(kb)["docs/late.csv#7"] == "A row."


def test_a_removed_file_whose_name_has_a_hash_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c#.txt").write_text("A language.")
    with KnowledgeFolder(tmp_path / "KB", CONFIG, load) as kb:
        index(kb, ["c#.txt"], CONFIG)
        assert remove(kb, ["c#.txt"]) == 1
        assert index(kb, ["c#.txt"], CONFIG).added == 1


def test_names_of_bytes_and_of_letters_are_two_files(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    try:
        (docs / os.fsdecode(b"\xe9.txt")).write_text("byte")
    except OSError:
        pytest.skip("this file system keeps no such names")
    (docs / "\\xe9.txt").write_text("letters")
    with KnowledgeFolder(tmp_path / "KB", CONFIG, load) as kb:
        assert index(kb, [docs], CONFIG).added == 2
        assert sorted(texts(kb).values()) == ["byte", "letters"]


def test_a_folder_of_a_persons_keeps_its_files(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("Doors close at nine.")
    (docs / ".tailorignore").write_text("drafts/\n")
    with KnowledgeFolder(docs, CONFIG, load) as kb:
        assert index(kb, [docs], CONFIG).added == 1
        assert index(kb, [docs], CONFIG).skipped == {}
    assert (docs / ".tailorignore").read_text() == "drafts/\n"
    with KnowledgeFolder(tmp_path / "KB", CONFIG, load):
        assert "*" in (tmp_path / "KB" / ".tailorignore").read_text().splitlines()
    profile, other = tmp_path / "profile", tmp_path / "other"
    profile.write_text("mine")
    other.mkdir()
    (other / ".tailorignore").symlink_to(profile)
    with KnowledgeFolder(other, CONFIG, load):
        assert profile.read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_several_make_the_same_ledger_at_once(tmp_path: Path, there: bool) -> None:
    faults: list[Exception] = []

    def make(path: Path, start: threading.Barrier) -> None:
        start.wait()
        try:
            ledger = Ledger(connect(path, create=True))
            ledger.setting("generation")
            ledger.link.close()
        except Exception as error:
            faults.append(error)

    for number in range(25):
        path = tmp_path / str(number)
        if there:
            path.touch()
        start = threading.Barrier(4)
        makers = [threading.Thread(target=make, args=(path, start)) for _ in range(4)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
    assert faults == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Yield a knowledge base on a file system that may only be read."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs a right that is not there")
    try:
        with KnowledgeFolder(disk / "KB", CONFIG, load) as kb:
            add_documents(kb, [document("x", 1, 20)])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk / "KB"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_knowledge_base_that_may_only_be_read(read_only: Path, tmp_path: Path) -> None:
    with KnowledgeFolder(read_only, None, load) as kb:
        assert verify(kb).problems == ()
        with kb.reading() as snapshot:
            assert snapshot.matching(snapshot.text("x").split()[0], 3)
        with pytest.raises(UserError, match="cannot be written"):
            add_documents(kb, [document("y", 1, 20)])
        with pytest.raises(UserError, match="cannot be written"):
            kb.set_setting("weight", 0.5)
    with pytest.raises(UserError, match="cannot be written"):
        KnowledgeFolder(read_only.parent / "other", CONFIG, load)
