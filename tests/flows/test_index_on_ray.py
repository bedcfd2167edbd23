"""Documents read and embedded on nodes: the knowledge base of one machine, whatever fails there."""

import os
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.flows import index as flow, index_on_ray
from tailorbird.flows.index import index
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.maintenance import verify
from tailorbird.runs.ray_nodes import TaskFailed
from tests_knowledge import load, without_vectors_of

CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8)


class ToyNodes:
    """Does in this process what nodes would, with what pickles of pickles hold."""

    calls = 0
    fails = 0
    elsewhere: Path = Path()

    def __init__(self, address: str) -> None: ...

    def __enter__(self) -> "ToyNodes":
        return self

    def __exit__(self, *_: object) -> None: ...

    def each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(work, items)

    def call(self, function: Callable[[Any], Any], request: Any, title: str, **_: int) -> Any:
        type(self).calls += 1
        if self.calls <= self.fails:
            raise TaskFailed("the worker died")
        before = os.getcwd()
        os.chdir(self.elsewhere)  # a node works in another folder
        try:
            return pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(request)))))
        finally:
            os.chdir(before)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(flow, "RayNodes", ToyNodes)
    monkeypatch.setattr(index_on_ray, "load_embedder", load)
    monkeypatch.setattr(index_on_ray, "_FILES", 4)
    index_on_ray._embedder.cache_clear()
    ToyNodes.calls = ToyNodes.fails = 0
    ToyNodes.elsewhere = tmp_path_factory.mktemp("node")


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "docs"
    (place / "below").mkdir(parents=True)
    for number in range(6):
        words = " ".join(f"word{number} and{n}" for n in range(80))
        (place / f"page {number}.md").write_text(f"# Page {number}\n\n{words}\n")
    (place / "below" / "rows.csv").write_text("id,text,year\na,first row,1999\nb,second row,2001\n")
    (place / "below" / "page 1.html").write_text("<title>Other</title><p>The same last name.</p>")
    (place / "broken.pdf").write_bytes(b"%PDF-1.4 nothing more")
    (place / "empty.md").touch()
    with zipfile.ZipFile(place / "both.zip", "w") as archive:
        archive.writestr("in/one.md", "# One\n\nOf an archive.\n")
        archive.writestr("in/two.txt", "Two of an archive.\n")
    for path in place.rglob("*"):  # times of change are old, so that they are trusted
        os.utime(path, (1_600_000_000, 1_600_000_000))
    monkeypatch.chdir(tmp_path)
    return Path("docs")


def opened(place: Path) -> KnowledgeFolder:
    return KnowledgeFolder(place, CONFIG, load)


def content(kb: KnowledgeFolder) -> dict[str, Any]:
    """Return all documents with their chunks and vectors, and what was noted of files."""
    sources = sorted(kb.ledger.live_digests())
    rows = kb.ledger.rows("live")
    chunks = [(chunk.source, chunk.text, name) for _, name, chunk in kb.ledger.chunks_at(rows)]
    return {
        "documents": [kb.ledger.document(source) for source in sources],
        "digests": kb.ledger.live_digests(),
        "chunks": sorted(chunks),
        "files": kb.ledger.files(),
    }


def test_nodes_make_the_knowledge_base_of_one_machine(tmp_path: Path, docs: Path) -> None:
    with opened(tmp_path / "here") as here, opened(tmp_path / "there") as there:
        alone, spread = index(here, [docs], CONFIG), index(there, [docs], CONFIG, ray="toy:1")
        assert ToyNodes.calls == 3, "shards of four files"
        assert alone.added == 11 and set(alone.skipped) == {"docs/broken.pdf", "docs/empty.md"}
        assert alone.to_json() | {"seconds": 0} == spread.to_json() | {"seconds": 0}
        assert content(here) == content(there)
        names = [name for _, _, name in content(here)["chunks"]]
        mine, theirs = (kb.ledger.vectors(kb.current.number, names) for kb in (here, there))
        for name, vector in mine.items():
            np.testing.assert_array_equal(vector, theirs[name])
        assert verify(there).problems == ()


def test_what_has_not_changed_goes_nowhere(tmp_path: Path, docs: Path) -> None:
    with opened(tmp_path / "KB") as kb:
        index(kb, [docs], CONFIG, ray="toy:1")
        ToyNodes.calls = 0
        again = index(kb, [docs], CONFIG, ray="toy:1")
        assert (again.unchanged, again.added, ToyNodes.calls) == (9, 0, 1)
        (docs / "page 2.md").write_text("# Page 2\n\nOther words.\n")
        (docs / "page 3.md").rename(docs / "moved.md")
        (docs / "page 4.md").unlink()
        done = index(kb, [docs], CONFIG, sync=True, ray="toy:1")
        assert (done.changed, done.moved, done.deleted, done.added) == (1, 1, 1, 0)
        assert verify(kb).problems == ()


def test_a_shard_that_no_node_can_do_is_done_here(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ToyNodes.fails = 2
    with opened(tmp_path / "here") as here, opened(tmp_path / "there") as there:
        index(here, [docs], CONFIG)
        index(there, [docs], CONFIG, ray="toy:1")
        assert content(here) == content(there)
    assert "more are read here: the worker died" in capsys.readouterr().err


def test_a_text_without_a_vector_is_left_out_and_named(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load("words"), "embed_documents", without_vectors_of("word2"))
    with opened(tmp_path / "KB") as kb:
        done = index(kb, [docs], CONFIG, ray="toy:1")
        assert done.added == 10 and "docs/page 2.md" in done.skipped
        assert verify(kb).problems == ()


def test_another_model_on_a_node_is_told(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = type("Other", (), {"fingerprint": "other"})
    monkeypatch.setattr(index_on_ray, "load_embedder", lambda name: other)
    with opened(tmp_path / "KB") as kb, pytest.raises(UserError, match="the weights of words"):
        index(kb, [docs], CONFIG, ray="toy:1")
