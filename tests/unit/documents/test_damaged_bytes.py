"""Files that somebody else made or damaged: documents, or a reason; never a fault of ours.

Each example is a small valid file with a few changes, or another kind's file under a wrong name,
for every entry of the table of formats. Most changes are within what is packed, and leave XML and
JSON whole: a checksum or a parser would refuse the others before a line of ours is run. An
exception that came from our own lines, which a reader's caller would tell as "cannot be read as
HTML: IndexError", is a fault here.
"""

import contextlib
import copy
import gzip
import io
import json
import re
import resource
import signal
import sys
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tailorbird.documents.file_kinds import READERS
from tailorbird.documents.read_result import ReadOptions, Unreadable
from tailorbird.documents.readers import ARCHIVES, read_file

SECONDS, MEMORY_BYTES = 5, 1 << 30
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

ODD = (
    *(b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", b"<", b">", b"]]>", b"&#0;"),
    *(b"&#xd800;", b'"', b"'", b"--", b"-1", b"0", b"1e999", b"NaN", b"9" * 20, b"9" * 5000),
    *(sign * 3000 for sign in (b"[", b"<b>", b"{", b"(", b"*", b"|", b"-", b" ", b"\n> ", b"[[")),
    *(b"<!--", b"<![CDATA[", b"```\n", b"\\", b"\r", b"\n\n\n", b"\xc3", b"%", b"\t", b"=?"),
)
WORDS = ("", " ", "0", "-1", "1", "99999999", "1e9", "NaN", "x", "\u202e\ud7ff", "&<", "[", "true")
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    "",
    "a",
    "<b>" * 300,
    [],
    {},
    [None],
    {"": 1},
)
LIMITED = pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory needs it")
NUMBERS = re.compile(rb"\d+")
PIECES = re.compile(rb"<[^<>]{0,200}>|[\n&;,|=:\"{}\[\]\\]")


class Samples(dict[Any, list[tuple[str, bytes]]]):
    """Endings and bytes of files by what reads them."""

    def __repr__(self) -> str:
        return f"{len(self)} kinds"  # hypothesis writes it into messages


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, made: Any) -> Samples:
    """Return small valid files, with their endings, by what reads them."""
    folder = tmp_path_factory.mktemp("samples")
    for name, text in made.RICH_TEXTS.items():
        (folder / name).write_text(text)
    made.pdf(folder / "a.pdf")
    made.epub(folder / "a.epub")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        made_office: Any = __import__("made_office")
        story = __import__("made_documents").story(1, spans=True, sections=1)
    for kind in ("docx", "pptx", "xlsx", "odt", "ods"):
        getattr(made_office, f"write_{kind}")(folder / f"a.{kind}", story)
    with zipfile.ZipFile(folder / "a.odp", "w") as archive:
        archive.writestr("content.xml", made.SLIDES)
    _tables(folder)
    _archives(folder)
    files = Samples()
    for file in sorted(folder.iterdir()):
        files.setdefault(_reads(file.suffix), []).append((file.suffix, file.read_bytes()))
    return files


def _tables(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    table = pa.table({"id": [1, 2], "text": ["Otters", "Kelp"], "tags": [["a"], None]})
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    pyarrow.feather.write_feather(table, str(folder / "a.arrow"))


def _archives(folder: Path) -> None:
    import tarfile

    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in ("a.html", "a.csv", "a.eml"):
            archive.write(folder / name, f"in/{name}")
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / "a.md", "in/a.md")
        tar.add(folder / "a.zip", "a.zip")
    (folder / "a.tgz").write_bytes(gzip.compress((folder / "a.tar").read_bytes()))


def _reads(ending: str) -> Any:
    """Return what reads files of an ending."""
    return ARCHIVES.get(ending) or READERS[ending]


# One ending of each reader, so that a new one is tried without a line here.
ENDINGS = sorted({_reads(ending): ending for ending in (*READERS, *ARCHIVES)}.values())


def _changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with one change: cut, a piece doubled, moved, left out, or something odd."""
    how = draw(st.integers(0, 7))
    if how < 4:  # at what the file is made of: its tags, its signs
        places = [match.span() for match in PIECES.finditer(data)]
    else:
        places = [match.span() for match in NUMBERS.finditer(data)]
    if not places or draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(data)))
        places = [(at, min(len(data), at + draw(st.integers(0, 40))))]
    begin, end = draw(st.sampled_from(places[:3000]))
    piece = data[begin:end]
    if how == 0:
        return data[:begin] + data[end:]
    if how == 1:
        return data[:begin] + piece * draw(st.sampled_from([2, 3, 50, 3000])) + data[end:]
    if how == 2:
        other = draw(st.sampled_from(places[:3000]))
        return data[:begin] + data[slice(*other)] + data[end:]
    if how == 3:
        return data[:begin]
    return data[:begin] + draw(st.sampled_from(ODD)) + data[end:]


def _changes(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with some changes, mostly within what they are: packed, XML, JSON."""
    if draw(st.integers(0, 4)):
        for within in (_in_gzip, _in_zip, _in_xml, _in_json):
            with contextlib.suppress(ValueError, SyntaxError, OSError, zipfile.BadZipFile):
                return within(draw, data)
    for _ in range(draw(st.integers(1, 3))):
        data = _changed(draw, data)
    return data


def _in_gzip(draw: st.DrawFn, data: bytes) -> bytes:
    return gzip.compress(_changes(draw, gzip.decompress(data)), 1)


def _in_zip(draw: st.DrawFn, data: bytes) -> bytes:
    """Return a ZIP with a change in one of its parts, or without it."""
    if not data.startswith(b"PK"):
        raise ValueError
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(parts)))
    if draw(st.integers(0, 9)) == 0:
        del parts[name]
    else:
        parts[name] = _changes(draw, parts[name])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()


def _in_xml(draw: st.DrawFn, data: bytes) -> bytes:
    """Return XML with elements left out, doubled, moved, renamed, or with odd attributes."""
    from lxml import etree

    root = etree.fromstring(data)
    for _ in range(draw(st.integers(1, 4))):
        elements = list(root.iter("{*}*"))[:3000]
        one, other = draw(st.sampled_from(elements)), draw(st.sampled_from(elements))
        how, above = draw(st.integers(0, 6)), one.getparent()
        if how == 0 and above is not None:
            above.remove(one)
        elif how == 1 and above is not None and one not in list(other.iterancestors()):
            copies = draw(st.sampled_from([1, 2, 60]))
            other.extend([copy.deepcopy(one) for _ in range(copies)] if other is not one else [])
        elif how == 2:
            one.tag = other.tag
        elif how == 3:
            one.text = draw(st.sampled_from(WORDS))
        elif how == 4:
            one[:] = []
        elif names := sorted(one.attrib):
            one.set(draw(st.sampled_from(names)), draw(st.sampled_from(WORDS)))
    return etree.tostring(root)  # type: ignore[no-any-return]


def _in_json(draw: st.DrawFn, data: bytes) -> bytes:
    """Return JSON, or one line of JSONL, with another value somewhere in it."""
    lines = data.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines) - 1)) if len(lines) > 1 else 0
    whole = json.loads(lines[at] if lines else b"")
    if not isinstance(whole, dict | list):
        raise ValueError
    inner: Any = whole
    while draw(st.integers(0, 4)):
        places = list(inner) if isinstance(inner, dict) else range(len(inner))
        holders = [p for p in places if isinstance(inner[p], dict | list) and inner[p]]
        if not holders:
            break
        inner = inner[draw(st.sampled_from(holders))]
    place = draw(st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner))))
    if draw(st.integers(0, 5)) == 0:
        del inner[place]
    else:
        inner[place] = draw(st.sampled_from(VALUES))
    lines[at] = json.dumps(whole).encode() + b"\n"
    return b"".join(lines)


@st.composite
def damaged(draw: st.DrawFn, samples: Samples, endings: list[str]) -> tuple[str, bytes]:
    """Return an ending and bytes."""
    wanted = draw(st.sampled_from(endings))
    own = samples.get(_reads(wanted))
    if own is None or draw(st.integers(0, 19)) == 0:
        own = [(wanted, data) for kind in samples.values() for _, data in kind]
    ending, data = draw(st.sampled_from(own))
    return ending, _changes(draw, data)


class TooLong(BaseException):
    """A reader has had its time."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Give a reader its time and memory, as a worker's are."""

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def read(folder: Path, ending: str, data: bytes) -> None:
    """Read a file: documents that can be kept, or a reason."""
    path = folder / f"a{ending}"
    path.write_bytes(data)
    try:
        with limited():
            documents, notes = read_file(path, path.name, ReadOptions())
    except Unreadable as error:
        assert str(error)
        assert not _is_ours(error), "".join(traceback.format_exception(error))
        return
    assert documents
    for document in documents:
        json.dumps([document.text, document.title, dict(document.metadata), notes])
        document.text.encode("utf-8")
        places = [mark.start for mark in document.marks]
        assert places == sorted(places) and places[0] >= 0 and places[-1] <= len(document.text)


def _is_ours(reason: Unreadable) -> bool:
    """Say whether a reason hides an exception of Python's own that our lines have raised."""
    error = reason.__cause__
    if error is None or not str(reason).startswith("cannot be read as"):
        return False
    # Libraries raise their own, or Python's from their own lines; a bad number is a file's fault.
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    own = type(error).__module__ == "builtins" and "tailorbird" in last
    return own and not isinstance(error, ValueError | OSError)


def examples(most: int) -> settings:
    return settings(
        max_examples=most,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def read_many(folder: Path, samples: Samples, endings: list[str], most: int) -> None:
    @examples(most)
    @given(damaged(samples, endings))
    def each(file: tuple[str, bytes]) -> None:
        read(folder, *file)

    each()


@LIMITED
def test_any_file_is_read(tmp_path: Path, samples: Samples) -> None:
    read_many(tmp_path, samples, ENDINGS, 150)


@pytest.mark.slow
@LIMITED
@pytest.mark.parametrize("ending", ENDINGS)
def test_any_of_many_files_is_read_or_refused(
    tmp_path: Path, samples: Samples, ending: str
) -> None:
    read_many(tmp_path, samples, [ending], 150)


HEADERS = (
    "Content-Type: text/plain", "Content-Type: text/html; charset=utf-16", "Content-Type: text/x",
    "Content-Type: text/plain; charset*=x''%ff", "Content-Type: application/pdf; name=a", "From: ",
    "Content-Type: message/delivery-status", "Content-Transfer-Encoding: base64", "Subject: \xff",
    "Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: x-uuencode",
    "Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1=x", "Date: 99 Foo 99999",
    "Content-Disposition: attachment", "Subject: =?utf-8?b?w?= =?x?q?=FF?=", "To: =?utf-7?q?+?=",
    "Date: Mon, 16 Dec 2024 10:30:00 +9999", "Cc: \udcff\udcfe", "Message-ID: <1>", "X" * 2000,
)  # fmt: skip
HOLDERS = (
    *("multipart/mixed", "multipart/alternative", "multipart/digest", "multipart/signed"),
    *("message/rfc822", "message/partial", "multipart/encrypted", "multipart"),
)
BODIES = (
    "",
    " ",
    "Otters eat.",
    "<p>Kelp",
    "4pyT",
    "=E2=9C",
    "begin 644 a\n#0V%T\nend",
    "\xe9 " * 9,
)


@st.composite
def letters(draw: st.DrawFn, depth: int = 0) -> str:
    """Return a message, or a part of one, of any shape."""
    head = draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    if depth > 3 or draw(st.booleans()):
        return "\n".join([*head, "", draw(st.sampled_from(BODIES))])
    kind, edge = draw(st.sampled_from(HOLDERS)), draw(st.sampled_from(["X", "X ", "", "="]))
    parts = [draw(letters(depth + 1)) for _ in range(draw(st.integers(0, 3)))]
    lines = [*head, f'Content-Type: {kind}; boundary="{edge}{depth}"', ""]
    for part in parts:
        lines += [f"--{edge}{depth}"] * kind.startswith("multipart") + [part]
    return "\n".join(lines + [f"--{edge}{depth}--"] * draw(st.booleans()))


def read_letters(folder: Path, most: int) -> None:
    @examples(most)
    @given(letters(), st.booleans())
    def each(letter: str, box: bool) -> None:
        data = letter.encode("latin-1", "surrogateescape")
        if box:
            data = b"From a Mon Dec 16 10:30:00 2024\n" + data
        read(folder, ".mbox" if box else ".eml", data)

    each()


@LIMITED
def test_any_letter_is_read(tmp_path: Path) -> None:
    read_letters(tmp_path, 30)


@LIMITED
@pytest.mark.slow
def test_any_of_many_letters_is_read(tmp_path: Path) -> None:
    read_letters(tmp_path, 1000)


def test_every_sample_is_read(tmp_path: Path, samples: Samples) -> None:
    for ending, data in (file for files in samples.values() for file in files):
        (tmp_path / f"a{ending}").write_bytes(data)
        assert read_file(tmp_path / f"a{ending}", f"a{ending}", ReadOptions())[0]
