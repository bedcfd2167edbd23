"""Archives: every file in them is read as its kind, within bounds; what is left out is named."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents import archive
from tailorbird.documents.find_files import source_of
from tailorbird.documents.pool import read_files
from tailorbird.documents.read_result import FileResult, ReadOptions, Unreadable
from tailorbird.documents.readers import ARCHIVES, read_file

PAGE = "# Otters\n\nOtters eat urchins.\n"


def one(path: Path, **settings: Any) -> FileResult:
    (result,) = read_files([path], IndexConfig(workers=1, **settings))
    return result


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, str], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(text.encode()), 1_700_000_000
            made.addfile(entry, io.BytesIO(text.encode()))
    return path


def texts(result: FileResult, path: Path) -> dict[str, str]:
    assert result.documents is not None, result.why
    start = f"{source_of(path)}!/"
    return {d.source.removeprefix(start): d.text for d in result.documents}


def test_each_file_is_read_as_its_kind(tmp_path: Path, made: Any) -> None:
    made.docx(tmp_path / "a.docx")
    files: dict[str, str | bytes] = {
        "in/page.md": PAGE,
        "rows.csv": "id,text\n7,Kelp grows.\n8,Seals swim.\n",
        "word.docx": (tmp_path / "a.docx").read_bytes(),
    }
    path = zipped(tmp_path / "all.zip", files)
    result = one(path)
    found = texts(result, path)
    assert sorted(found) == ["in/page.md", "rows.csv#7", "rows.csv#8", "word.docx"]
    assert found["rows.csv#8"] == "Seals swim." and made.WORDS in found["word.docx"]
    assert result.notes == ()
    page = next(d for d in result.documents or () if d.source.endswith("page.md"))
    assert page.metadata["kind"] == "markdown" and page.metadata["path"] == page.source
    assert page.title == "Otters" and page.marks[0].headings == ("Otters",)


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.txz", "w:xz")]
)
def test_tars(tmp_path: Path, name: str, mode: str) -> None:
    path = tarred(tmp_path / name, {"in/page.md": PAGE}, mode)
    result = one(path)
    assert texts(result, path) == {"in/page.md": PAGE.strip()}
    assert (result.documents or ())[0].metadata["modified"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_a_compressed_document_is_the_document(tmp_path: Path, ending: str, pack: Any) -> None:
    path = tmp_path / f"page.md.{ending}"
    path.write_bytes(pack.compress(PAGE.encode()))
    (document,) = one(path).documents or ()
    assert document.source == source_of(path)
    assert (document.text, document.metadata["kind"]) == (PAGE.strip(), "markdown")
    path.write_bytes(pack.compress(PAGE.encode() * 999)[:-9])
    assert one(path).why.startswith("damaged: ")


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    files = {"page.md": PAGE, "a.png": "x", "b.png": "x", "bad.docx": "PK", ".env": "KEY=1"}
    files |= {"__MACOSX/._page.md": "x", "node_modules/m.js": "x", "../up.md": "up"}
    files |= {"/etc/top.md": "top", "C:\\Docs\\c.md": "c", "a/../../b.md": "b"}
    path = zipped(tmp_path / "a.zip", files)  # type: ignore[arg-type]
    result = one(path)
    assert list(texts(result, path)) == ["page.md"]
    notes = "\n".join(result.notes)
    assert "left out: a.png, b.png: a picture" in notes
    assert "left out: bad.docx: damaged" in notes
    assert (
        "left out: .env, __MACOSX/._page.md, node_modules/m.js: hidden, or a program's own file"
    ) in notes
    for name in ("../up.md", "/etc/top.md", "C:/Docs/c.md", "../b.md"):
        assert name in notes.partition("leads out of the archive")[0].rpartition("left out: ")[2]


def test_links_and_devices_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    path = tarred(tmp_path / "a.tar", {"page.md": PAGE})
    with tarfile.open(path, "a") as made:
        for name, kind in (("l.txt", tarfile.SYMTYPE), ("h.txt", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, str(tmp_path / "secret.txt")
            made.addfile(entry)
        entry = tarfile.TarInfo("zero")
        entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, 1, 5
        made.addfile(entry)
    result = one(path)
    assert list(texts(result, path)) == ["page.md"]
    assert result.notes == ("left out: l.txt, h.txt, zero: a link or a device, not a file",)
    link = zipfile.ZipInfo("l.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        packed.writestr(link, str(tmp_path / "secret.txt"))
    assert one(tmp_path / "b.zip").why == (
        "none of its files can be read; left out: l.txt: a link or a device, not a file"
    )


def test_archives_within_archives(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"page.md": PAGE, "text.txt.gz": gzip.compress(b"Kelp.")})
    for name in ("b.zip", "c.zip"):
        path = zipped(tmp_path / name, {path.name: path.read_bytes(), "note.txt": name})
    result = one(path)
    assert texts(result, path) == {
        "b.zip!/a.zip!/page.md": PAGE.strip(),
        "b.zip!/note.txt": "b.zip",
        "note.txt": "c.zip",
    }
    assert result.notes == (
        "b.zip: a.zip: left out: text.txt.gz: archives nested more than 3 deep: unpack it first",
    )


def test_names_in_the_code_page_of_who_packed_them(tmp_path: Path) -> None:
    name = "отчёт за год.md"
    path = zipped(tmp_path / "a.zip", {"x" * len(name): PAGE})
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name.encode("cp866")))
    assert list(texts(one(path), path)) == [name]
    tar = tarred(tmp_path / "b.tar", {"é.md": PAGE})
    assert list(texts(one(tar), tar)) == ["é.md"]


def test_of_two_files_of_one_name_the_last_is_read(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"page.md": "old"})
    tarred(path, {"./page.md": "new"}, "a")
    assert texts(one(path), path) == {"page.md": "new"}


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond one the archive is refused as a whole, since part of it would be read for all."""

    def why(path: Path, **options: Any) -> str:
        with pytest.raises(Unreadable) as error:
            read_file(path, path.name, ReadOptions(**options))
        return str(error.value)

    inner = zipped(tmp_path / "in.zip", {f"{n}.txt": "word" for n in range(4)})
    path = zipped(tmp_path / "a.zip", {"in.zip": inner.read_bytes(), "b.txt": "words" * 10})
    tar = tarred(tmp_path / "a.tar", {f"{n}.txt": "word" for n in range(4)})
    assert "b.txt in it has more than 0 MB (index.max_file_mb)" in why(
        zipped(tmp_path / "b.zip", {"b.txt": "words" * 10}), file_bytes=40
    )
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MOST_MEMBERS", 5)
        assert why(path) == "an archive of more than 5 files: unpack it first"
        patch.setattr(archive, "MOST_MEMBERS", 3)
        assert why(tar) == why(inner) == "an archive of more than 3 files: unpack it first"
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MOST_BYTES", 30)
        assert "unpacks to more than" in why(path)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "LONGEST_TEXT", 12)
        assert "million characters" in why(tar)


def test_bombs_take_neither_disk_nor_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert one(path, max_file_mb=2).why == "a.txt in it has more than 2 MB (index.max_file_mb)"
    path = tmp_path / "sparse.tar"  # 1 TB of zeros in 1 KB, as GNU tar notes them
    entry = tarfile.TarInfo("a.txt")
    entry.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "a.txt",
        "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": f"{1 << 40},0",
    }  # fmt: skip
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(entry)
    assert one(path, max_file_mb=2).why == "a.txt in it has more than 2 MB (index.max_file_mb)"


@pytest.mark.parametrize("ending", sorted(ARCHIVES))
def test_damaged_archives(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"PK no archive" * 99)
    assert one(path).why.startswith(("damaged", "cannot be read as an archive"))


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = zipped(tmp_path / "a.zip", {"page.md": PAGE})
    assert one(path).documents
    assert os.listdir(scratch) == []
