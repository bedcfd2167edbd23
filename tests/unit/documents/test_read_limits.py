"""Damaged, hostile and huge files are named with the reason; none ends, hangs or swells a run."""

import json
import os
import random
import signal
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.decode_text import clean, decode
from tailorbird.documents.find_files import source_of
from tailorbird.documents.pool import read_files
from tailorbird.documents.read_result import FileResult, FileVersion, Unreadable


def one(path: Path, **settings: Any) -> FileResult:
    (result,) = read_files([path], IndexConfig(workers=1, **settings))
    return result


def test_a_bad_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.docx").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "d.txt").write_text("good too")
    files = [tmp_path / name for name in ("a.txt", "b.docx", "c.txt", "d.txt")]
    results = list(read_files(files, IndexConfig(workers=2)))
    assert [r.path for r in results] == files
    assert [bool(r.documents) for r in results] == [True, False, False, True]
    assert results[1].why.startswith("damaged or cut off")
    assert results[2].why == "cannot be opened: No such file or directory"


@pytest.mark.parametrize("seed", range(4))
def test_truncated_and_flipped_files(tmp_path: Path, made: Any, seed: int) -> None:
    """Every kind, cut at random places and with random bits turned: a result for each."""
    chance = random.Random(seed)
    damaged = []
    for path in made.all_kinds(tmp_path):
        data = path.read_bytes()
        cut = path.with_name(f"cut{path.suffix}")
        cut.write_bytes(data[: chance.randrange(len(data))])
        flipped = bytearray(data)
        for _ in range(1 + len(data) // 200):
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        turned = path.with_name(f"flip{path.suffix}")
        turned.write_bytes(flipped)
        damaged += [cut, turned]
    results = list(read_files(damaged, IndexConfig(seconds_per_file=20)))
    assert [r.path for r in results] == damaged
    for result in results:
        assert bool(result.documents) != bool(result.why)
        assert "longer than" not in result.why and "crashed" not in result.why
        for document in result.documents or ():
            document.text.encode("utf-8")


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * (120 << 20))
    assert path.stat().st_size < 1 << 20
    assert "a zip bomb" in one(path).why


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "liar.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<a>" + b" " * (120 << 20))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    data[22:26] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert one(path, worker_memory_mb=512).why


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    path = tmp_path / "laughs.odt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.xml", f"<!DOCTYPE d [{laughs}]><d><text><p>&l11;</p></text></d>")
    started = time.monotonic()
    assert one(path).why
    assert time.monotonic() - started < 20


def test_encrypted(tmp_path: Path, made: Any) -> None:
    made.encrypted_pdf(tmp_path / "a.pdf")
    assert one(tmp_path / "a.pdf").why == "encrypted: save a copy without its password"
    (tmp_path / "a.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert one(tmp_path / "a.docx").why.startswith("encrypted")


def test_pdf_without_text(tmp_path: Path, made: Any) -> None:
    made.pdf(tmp_path / "a.pdf", ("", ""))
    assert "no text layer: its 2 pages" in one(tmp_path / "a.pdf").why
    made.pdf(tmp_path / "b.pdf", ("", "words"))
    result = one(tmp_path / "b.pdf")
    assert result.documents and result.notes == ("no text layer on pages 1",)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.txt", bytes(range(256)) * 20, "binary, not text: it holds NUL bytes"),
        ("b.txt", bytes([*range(1, 9), *range(14, 32)]) * 99, "binary, not text: it is full of"),
        ("c.txt", b"%PDF-1.7 x", "this is a PDF, despite its name"),
        ("d.pdf", b"plain words", "not a PDF, despite its name"),
        ("e.md", b"  \n", "the file is empty"),
        ("f.csv", b"a,b\n", "no rows below its first line"),
        ("g.json", b'{"a": ', "damaged"),
        ("h.jsonl", b"nonsense\n[1]\n", "damaged: 2 lines are not JSON objects"),
        ("i.json", b"[" * 100_000, "nested too deeply"),
        ("j.doc", b"x", "the Office format of before 2007"),
        ("k.png", b"\x89PNG", "a picture"),
        ("l.weird", bytes(99) + b"\x01", "an unknown kind of file, and not text"),
        ("m.html", b"<html><script>x</script></html>", "it has no text: the page"),
        ("n.msg", b"no message", "damaged, or not an Outlook message"),
        ("o.docx", b"", "the file is empty"),
        ("s.pdf", b"", "the file is empty"),
        ("t.zip", b"", "the file is empty"),
        ("p.ipynb", b"{}", "damaged, or not a notebook"),
        ("q.rtf", b"words", "not an RTF"),
        ("r.eml", b"\n\nno header", "not an e-mail"),
        ("u.eml", b"  \n \n", "the file is empty"),
    ],
)
def test_reasons(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert one(tmp_path / name).why.startswith(why)


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * (2 << 20))
    assert one(tmp_path / "a.txt", max_file_mb=1).why == (
        "it has 2 MB, more than 1 (index.max_file_mb)"
    )


def test_too_slow_too_hungry_and_crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that hang, swell and die, in real workers: each ends its own file alone."""
    rogue = tmp_path / "rogue"
    rogue.mkdir()
    (rogue / "sitecustomize.py").write_text(
        """
import os, time
import tailorbird.documents.plain_text as markup
plain = markup.read_plain
def rogue(path, options, notes):
    if path.name == "slow.txt": time.sleep(60)
    if path.name == "hungry.txt": x = bytearray(3 << 30)
    if path.name == "crash.txt": os.kill(os.getpid(), 11)
    if path.name == "loud.txt": print("noise", flush=True); os.write(1, b"noise")
    return plain(path, options, notes)
markup.read_plain = rogue
"""
    )
    # Workers get this process's sys.path by a command; sitecustomize comes from the environment.
    import sys

    monkeypatch.setenv("PYTHONPATH", ":".join([str(rogue), *filter(None, sys.path)]))
    names = ("slow.txt", "hungry.txt", "crash.txt", "loud.txt", "fine.txt")
    for name in names:
        (tmp_path / name).write_text("words")
    started = time.monotonic()
    config = IndexConfig(workers=1, seconds_per_file=2, worker_memory_mb=1024)
    found = {r.path.name: r for r in read_files([tmp_path / n for n in names[1:]], config)}
    assert "needs more than 1,024 MB of memory" in found["hungry.txt"].why
    assert found["crash.txt"].why == "its reader crashed (signal 11)"
    assert found["loud.txt"].documents and found["fine.txt"].documents
    # A worker's first file also has the time that starting takes, so one goes before the slow one.
    files = [tmp_path / "fine.txt", tmp_path / "slow.txt", tmp_path / "loud.txt"]
    fine, slow, loud = read_files(files, config)
    assert fine.documents and loud.documents
    assert slow.why == "reading it took longer than 2 s (index.seconds_per_file)"
    assert time.monotonic() - started < 45


def test_a_reader_that_is_left_early_leaves_no_process(tmp_path: Path) -> None:
    import psutil

    for i in range(40):
        (tmp_path / f"{i:02}.txt").write_text("words")
    before = {p.pid for p in psutil.Process().children()}
    results = read_files(sorted(tmp_path.iterdir()), IndexConfig(workers=2))
    next(results)
    assert {p.pid for p in psutil.Process().children()} - before
    results.close()  # type: ignore[attr-defined]
    assert {p.pid for p in psutil.Process().children()} <= before


def test_known_files_are_not_read(tmp_path: Path) -> None:
    import os

    path = tmp_path / "a.txt"
    path.write_text("words")
    young = one(path)
    assert young.mtime_ns == 0 and young.size == 5  # may change again within the clock's grain
    os.utime(path, (1e9, 1e9))
    old = one(path)
    assert old.mtime_ns == 10**18 and old.digest == young.digest
    known = {source_of(path): FileVersion(source_of(path), old.size, old.mtime_ns, old.digest)}
    (same,) = read_files([path], IndexConfig(), known)
    assert same.unchanged and same.documents is None and same.why == ""
    os.utime(path, (1.1e9, 1.1e9))  # touched, with the same bytes
    (touched,) = read_files([path], IndexConfig(), known)
    assert touched.unchanged and touched.mtime_ns == 11 * 10**17
    path.write_text("other")
    os.utime(path, (1.2e9, 1.2e9))
    (changed,) = read_files([path], IndexConfig(), known)
    assert not changed.unchanged and changed.documents
    # Other columns give other documents of the same bytes.
    (again,) = read_files([path], IndexConfig(title="t"), known)
    assert not again.unchanged


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve".encode(), "naïve"),
        ("naïve".encode("utf-8-sig"), "naïve"),
        ("naïve".encode("utf-16"), "naïve"),
        ("naïve words".encode("utf-16-be"), "naïve words"),
        ("naïve".encode("cp1252"), "naïve"),
        ("“quoted”".encode("cp1252"), "“quoted”"),
        ("ééééé é".encode() + b"\xe9 a", "ééééé é\ufffd a"),
        ("cut é".encode()[:-1], "cut \ufffd"),
    ],
)
def test_encodings(data: bytes, text: str) -> None:
    assert decode(data, []) == text


def test_a_guessed_encoding_is_told() -> None:
    notes: list[str] = []
    decode("naïve".encode("latin-1"), notes)
    assert "not UTF-8 (byte 2)" in notes[0]
    with pytest.raises(Unreadable):
        decode(b"\0\1\2\3" * 9, [])


def test_clean() -> None:
    assert clean("a\r\nb\rc\x0cd\x00\u2028e\ud800") == "a\nb\nc\nd\ne?"


@pytest.mark.slow
def test_a_line_of_50_megabytes(tmp_path: Path, wordpiece: Any) -> None:
    from tailorbird.documents.chunk import chunk_document

    path = tmp_path / "line.txt"
    path.write_bytes(b"several words of a line " * (50 * 2**20 // 24))
    result = one(path)
    assert result.documents is not None and len(result.documents[0].text) > 52_000_000 - 48
    chunks = chunk_document(result.documents[0], wordpiece, IndexConfig())
    assert len(chunks) > 30_000


def test_a_number_that_no_json_holds_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a reader makes of a file, its worker answers and goes on."""
    from tailorbird.documents import worker
    from tailorbird.documents.read_result import ReadOptions

    def huge(path: Path, source: str, options: ReadOptions) -> Any:
        if path.name == "raises":
            raise LookupError("no such codec")
        return [], [16**6000]

    monkeypatch.setattr(worker, "read_file", huge)
    for name, why in (("raises", "LookupError: no such codec"), ("huge", "ValueError: Exceeds")):
        (tmp_path / name).write_text("x")
        question = {"path": bytes(tmp_path / name).hex(), "source": name, "known": ""}
        answer = json.loads(worker._encode(worker._answer(question, ReadOptions())))
        assert answer["why"].startswith(f"cannot be read as a document: {why}")


def test_a_file_from_before_our_calendar_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.documents.read_result import ReadOptions
    from tailorbird.documents.readers import read_file

    (tmp_path / "a.md").write_text("words")
    # Few file systems keep such a time; network ones hand it on.
    stat = os.stat_result((0o100644, 1, 1, 1, 0, 0, 5, -100_000_000_000, -100_000_000_000, 0))
    monkeypatch.setattr(Path, "stat", lambda path, **_: stat)
    ((document,), _) = read_file(tmp_path / "a.md", "a.md", ReadOptions())
    assert document.text == "words" and "modified" not in document.metadata


def test_the_alarm_of_a_worker_is_the_time_limit(tmp_path: Path) -> None:
    from tailorbird.documents.pool import _Pool

    pool = _Pool([], IndexConfig(seconds_per_file=5), None)
    assert pool._why_ended(-signal.SIGALRM) == (
        "reading it took longer than 5 s (index.seconds_per_file)"
    )
