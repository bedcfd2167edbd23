"""A knowledge base through kills, other writers, other settings and damage."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from terminal import PATIENCE, environment

from tailorbird.config.knowledge import IndexConfig, RetrieveConfig
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.errors import UserError
from tailorbird.flows import index as flow
from tailorbird.flows.index import add_documents, index, put_file, remove
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import text_hash
from tailorbird.knowledge.maintenance import verify
from tailorbird.rag.retrieve import Retriever
from tests_knowledge import WordVectors, document, load, versions, without_vectors_of

CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with KnowledgeFolder(tmp_path / "KB", CONFIG, load):
        return tmp_path / "KB"


def killed(*arguments: Any) -> dict[str, Any]:
    """Return what `benchmarks/kill_index.py` saw: it forks, which a process of tests should not."""
    script = Path(__file__).parents[2] / "benchmarks" / "kill_index.py"
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=environment(TOKENIZERS_PARALLELISM="false"),
        capture_output=True,
        text=True,
        timeout=600 * PATIENCE,
        check=False,
    )
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["problems"], done.returncode) == ([], 0)
    return told


def test_killed_and_contending_writers_lose_nothing() -> None:
    told = killed("--kills", 5, "--seed", random.randrange(1000), "--contend", 4)
    assert set(told["by_kind"].values()) == {1} and told["acknowledged"] >= 8


@pytest.mark.slow
def test_a_hundred_kills() -> None:
    told = killed("--kills", 100, "--seed", 2)
    assert told["left_behind"]["pending"] and told["left_behind"]["dead"]


def test_a_file_that_is_read_slowly_is_replaced_in_one_transaction(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, writes = [0.0], []
    read, write = flow.read_files, flow._Ingest._write_batch

    def slow(*arguments: Any) -> Any:
        clock[0] += 2 * flow._BATCH_SECONDS
        return list(read(*arguments))

    def counted(work: Any) -> bool:
        writes.append(len(work.prepared))
        return write(work)

    monkeypatch.setattr(flow, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(flow, "read_files", slow)
    monkeypatch.setattr(flow._Ingest, "_write_batch", counted)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": f"row {n} of three"}) + "\n" for n in range(3)))
    with KnowledgeFolder(folder, None, load) as kb:
        assert put_file(kb, file, "rows.jsonl").added == 3
    assert writes == [3]


def test_added_changed_and_deleted_are_seen_at_once(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb, KnowledgeFolder(folder, None, load) as other:
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


def test_filters_are_exact_whatever_kind_of_file_the_values_came_from(
    folder: Path, tmp_path: Path
) -> None:
    docs, number = tmp_path / "docs", 72057594037927937  # 2^56 + 1
    docs.mkdir()
    around = [number - 1, number, number + 1]
    rows = [f"crate {n},{n},{n}.25" for n in around]
    (docs / "a.csv").write_text("\n".join(["text,id no,price", *rows]))
    lines = [json.dumps({"text": f"box {n}", "id no": n, "price": -n}) for n in around]
    (docs / "b.jsonl").write_text("\n".join([*lines, '{"text": "bag", "price": NaN}']))
    for n in around:
        (docs / f"{n}.md").write_text(f"---\nid no: {n}\nprice: .inf\n---\nbarrel {n}\n")
    with KnowledgeFolder(folder, None, load) as kb:
        index(kb, [docs], CONFIG)
        with kb.reading() as view:
            for where, texts in (
                (f"`id no` = {number}", {"crate", "box", "barrel"}),
                (f"`id no` in ({number}, {10**30})", {"crate", "box", "barrel"}),
                (f"price = {number}.25", {"crate"}),
                (f"price = -{number}", {"box"}),
                ("price = 'nan'", {"bag"}),
                (f"price > {10**300} and `id no` = {number}", {"barrel"}),
            ):
                hits = view.matching("crate box barrel bag", 99, where)
                assert sorted(h.chunk.text.split()[0] for h in hits) == sorted(texts), where
                vector = load("words").embed_queries(["crate"]).vectors[0]
                assert len(view.nearest(vector, 99, where)) == len(texts)


def test_a_text_without_a_vector_is_left_out_and_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    write_files(docs)
    model, failing = load("words"), without_vectors_of("two")
    with KnowledgeFolder(folder, None, load) as kb:
        monkeypatch.setattr(model, "embed_documents", failing)
        done = index(kb, [docs], CONFIG)
        assert done.added == 2 and [Path(s).name for s in done.skipped] == ["two.md"]
        assert verify(kb).problems == ()
        with kb.reading() as view:
            assert {Path(h.chunk.source).name for h in view.matching("text", 9)} == {
                "one.md", "three.md"
            }  # fmt: skip
        monkeypatch.setattr(model, "embed_queries", failing)
        with pytest.raises(UserError, match="vector .* for the question"):
            Retriever(kb, RetrieveConfig()).search("number two")
        monkeypatch.undo()
        assert index(kb, [docs], CONFIG).added == 1  # not taken for a file that is in


def test_a_look_does_not_change(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb, KnowledgeFolder(folder, None, load) as other:
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
    with KnowledgeFolder(folder, None, load) as kb:
        first = index(kb, [docs], CONFIG)
        assert (first.added, first.changed, first.skipped) == (3, 0, {})
        before = load("words").embedded
        assert index(kb, [docs], CONFIG).unchanged == 3
        (docs / "two.md").rename(docs / "moved.md")
        moved = index(kb, [docs], CONFIG)
        assert moved.moved == 1 and load("words").embedded == before
        assert (moved.added, moved.changed, moved.deleted) == (0, 0, 0)
        (docs / "one.md").write_text("# Title one\n\nAnother text.\n")
        (docs / "three.md").unlink()
        assert index(kb, [docs], CONFIG).changed == 1
        assert len(kb.ledger.paths()) == 3
        assert index(kb, [docs], CONFIG, sync=True).deleted == 1
        assert sorted(Path(path).name for path in kb.ledger.paths()) == ["moved.md", "one.md"]
        assert verify(kb).problems == ()


def test_a_folder_that_cannot_be_looked_into_loses_nothing(folder: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    write_files(docs / "in")
    with KnowledgeFolder(folder, None, load) as kb:
        index(kb, [docs], CONFIG)
        (docs / "in").rename(tmp_path / "away")
        (docs / "in").symlink_to("in")  # neither there nor gone, as a lost drive
        assert index(kb, [docs], CONFIG, sync=True).deleted == 0
        assert len(kb.ledger.paths()) == 3
        (docs / "in").unlink()
        assert index(kb, [docs], CONFIG, sync=True).deleted == 3


def test_a_glob_is_synchronised_as_far_as_it_reaches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    for place in ("docs/a", "docs/a/.kept", "notes"):
        write_files(Path(place))
    with KnowledgeFolder(folder, None, load) as kb:
        index(kb, ["docs", "docs/a/.kept", "notes"], CONFIG)
        for place in ("docs/a", "docs/a/.kept", "notes"):
            (tmp_path / place / "one.md").unlink()
        assert index(kb, ["docs/**/*.md"], CONFIG, sync=True).deleted == 1
        left = {str(Path(path).parent) for path in kb.ledger.paths() if path.endswith("one.md")}
        assert left == {"docs/a/.kept", "notes"}
        assert index(kb, ["notes/t*.md"], CONFIG, sync=True).deleted == 0
        assert index(kb, ["notes/*.md"], CONFIG, sync=True).deleted == 1


def test_a_folder_is_removed_by_name(folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "docs")
    write_files(tmp_path / "docs2")
    with KnowledgeFolder(folder, None, load) as kb:
        index(kb, [tmp_path / "docs", tmp_path / "docs2"], CONFIG)
        assert remove(kb, [str(tmp_path / "docs")]) == 3
        assert all("docs2" in path for path in kb.ledger.paths())
        assert index(kb, [tmp_path / "docs"], CONFIG).added == 3


def test_what_a_reader_notes_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.txt").write_bytes("Die Br\u00fccke ist gesperrt.".encode("cp1252"))
    with KnowledgeFolder(folder, None, load) as kb:
        assert index(kb, [tmp_path / "old.txt"], CONFIG).added == 1
    assert "old.txt: not UTF-8 (byte 6); read as Windows-1252" in capsys.readouterr().err


def test_other_settings_cut_again_and_embedders_switch_and_roll_back(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1, 20), document("y", 2, 20)])
        chunks = len(kb.ledger.rows("live"))
        index(kb, [], CONFIG.model_copy(update={"chunk_tokens": 128}))
        assert 0 < len(kb.ledger.rows("live")) < chunks
        kb.set_setting("weight", 0.7)
        number = kb.build_generation("others")
        assert kb.current.embedder == "words"
        kb.switch(number, weight=0.2)
        assert (kb.settings.embedder, kb.get_setting("weight")) == ("others", 0.2)
        add_documents(kb, [document("z", 3)])
        assert verify(kb).problems == ()
        kb.rollback()
        assert (kb.settings.embedder, kb.get_setting("weight")) == ("words", 0.7)
        assert verify(kb).problems == () and set(versions(kb)) == {"x", "y", "z"}


def test_settings_that_the_embedder_cannot_follow_change_nothing(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
        before = kb.settings, kb.ledger.rows("live").tolist()
        with pytest.raises(UserError, match="more than the 512 tokens"):
            index(kb, [], CONFIG.model_copy(update={"chunk_tokens": 900}))
        assert (kb.settings, kb.ledger.rows("live").tolist()) == before


def test_weights_are_known_by_their_fingerprint(folder: Path) -> None:
    models = {"words": load("words"), "others": WordVectors("first")}
    with KnowledgeFolder(folder, None, models.__getitem__) as kb:
        add_documents(kb, [document("x", 1)])
        first = kb.build_generation("others")
        assert kb.build_generation("others") == first  # goes on with it
    # Trained again in the same folder: what was embedded before is of no use.
    models["others"] = WordVectors("second")
    with KnowledgeFolder(folder, None, models.__getitem__) as kb:
        second = kb.build_generation("others")
        assert second > first and models["others"].embedded == len(kb.ledger.rows("live"))
        kb.switch(second)
        assert kb.adopts("others") and not kb.adopts("words")
        models["moved"] = models["others"]
        assert kb.adopts("moved") and kb.current == replace(kb.current, embedder="moved")
        assert kb.adopts("others")
    models["others"] = WordVectors("third")
    with KnowledgeFolder(folder, None, models.__getitem__) as kb:
        assert not kb.adopts("others")
        with pytest.raises(UserError, match="have changed since it embedded"):
            add_documents(kb, [document("y", 1)])
        kb.switch(kb.build_generation("others"))
        add_documents(kb, [document("y", 1)])
        assert verify(kb).problems == () and set(versions(kb)) == {"x", "y"}


def test_a_question_is_embedded_by_the_model_of_what_it_is_asked_of(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb, KnowledgeFolder(folder, None, load) as other:
        add_documents(other, [document("x", 1), document("y", 2)])
        number, reading = other.build_generation("others"), kb.reading

        @contextmanager
        def switched() -> Iterator[Any]:
            other.switch(number, weight=1.0)  # between the question's coming and the look
            with reading() as view:
                yield view

        kb.reading = switched  # type: ignore[method-assign]
        finder = Retriever(kb, RetrieveConfig(k=1))
        text = contextual_text(chunks_of(other, "y")[1])
        (hit,) = finder.hits(text)
        assert finder.weight == 1.0 and hit.chunk.source == "y"
        assert hit.dense == pytest.approx(1.0, abs=1e-5)


def test_vectors_that_are_given_are_not_made(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
        said = [contextual_text(chunk) for chunk in chunks_of(kb, "x")]
        other = load("given")
        vectors = other.embed_documents(said).vectors
        number = kb.build_generation(
            "given", vectors=dict(zip(map(text_hash, said), vectors, strict=True))
        )
        kb.switch(number)
        assert other.embedded == len(said)
        assert verify(kb).problems == ()


def test_what_is_deleted_leaves_nothing_behind(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1), document("x", 2), document("y", 1)])
        assert versions(kb) == {"x": {"2"}, "y": {"1"}}
        remove(kb, ["x"])
        kept = kb.ledger.count("SELECT count(*) FROM vectors")
        assert kept == len({said for _, said, _ in kb.ledger.chunks_at(kb.ledger.rows("live"))})
        remove(kb, ["y"])
        for table in ("vectors", "chunks", "texts", "documents"):
            assert kb.ledger.count(f"SELECT count(*) FROM {table}") == 0
        assert len(kb.store(kb.current).rows()) == 0


def chunks_of(kb: KnowledgeFolder, source: str) -> list[Any]:
    with kb.reading() as view:
        return view.chunks(source)


def test_a_lost_index_is_made_again(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
    shutil.rmtree(folder / "index")
    with pytest.raises(UserError, match="--repair"):
        KnowledgeFolder(folder, None, load)
    before = load("words").embedded
    with KnowledgeFolder(folder, None, load, repairing=True) as kb:
        assert kb.rebuild() == len(kb.ledger.rows("live"))
        assert load("words").embedded == before
        assert verify(kb).problems == ()


def test_ledgers_that_are_not_ours_to_open(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a knowledge base"):
        KnowledgeFolder(tmp_path / "none", None, load)
    link = sqlite3.connect(folder / "ledger.sqlite")
    link.execute("PRAGMA user_version = 99")
    link.close()
    with pytest.raises(UserError, match="newer tailorbird"):
        KnowledgeFolder(folder, None, load)
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    (folder / "ledger.sqlite").write_bytes(b"no database at all" * 999)
    with pytest.raises(UserError, match="damaged"):
        KnowledgeFolder(folder, None, load)


def test_verify_names_what_is_wrong(folder: Path) -> None:
    with KnowledgeFolder(folder, None, load) as kb:
        add_documents(kb, [document("x", 1)])
        kb.store(kb.current).delete(kb.ledger.rows("live")[:1])
        assert "1 chunks are missing in the index" in verify(kb).problems
        kb.ledger.link.execute("DELETE FROM chunks WHERE position = 0")
        assert any("of" in p and "chunks" in p for p in verify(kb).problems)
