"""Readers of archives (ZIP, TAR) and of compressed files.

The reader of its kind reads each file inside. No file is written under a name from an archive: one
at a time is unpacked to a folder of its own, under a name with the same ending.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from posixpath import normpath
from typing import IO, Any, cast

from tailorbird.data.charset import NotText, encoding_of
from tailorbird.data.message_words import listing
from tailorbird.documents.decode_text import clean
from tailorbird.documents.ignore_rules import is_clutter
from tailorbird.documents.read_result import Notes, ReadOptions, Unreadable, failure
from tailorbird.documents.text_builder import LONGEST_TEXT
from tailorbird.documents.zip_xml import MOST_BYTES, open_zip
from tailorbird.records import Document

MOST_MEMBERS = 10_000
DEEPEST = 3
_PIECE = 1 << 20
_MOST_NOTES = 10
_ENDING = re.compile(r"\.[a-z0-9]{1,12}", re.I)
_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".tbz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
}


class TooMuch(Unreadable):
    """An archive exceeds its limits and is refused as a whole."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Its path within the archive, with slashes on every system.
        modified: Time of modification, in seconds since 1970.
        open: Opens its bytes.
        why: Why it cannot be read; empty if it can.
    """

    name: str
    modified: float
    open: Callable[[], IO[bytes]]
    why: str = ""


Members = dict[str, Member]
"""The files of an archive by name; the last of equal names, as when it is unpacked."""


@dataclass
class Allowance:
    """Limits on the unpacked size of a file, including nested archives."""

    depth: int = 0
    members: int = 0
    unpacked_bytes: int = 0
    letters: int = 0

    def enter(self) -> None:
        """Count an archive within an archive.

        Raises:
            Unreadable: It is nested too deep.
        """
        if self.depth == DEEPEST:
            raise Unreadable(f"archives nested more than {DEEPEST} deep: unpack it first")
        self.depth += 1

    def take(self, members: int = 0, unpacked_bytes: int = 0, letters: int = 0) -> None:
        """Count unpacked members, bytes and characters.

        Raises:
            TooMuch: A limit is exceeded.
        """
        self.members += members
        self.unpacked_bytes += unpacked_bytes
        self.letters += letters
        if self.members > MOST_MEMBERS:
            raise TooMuch(f"an archive of more than {MOST_MEMBERS:,} files: unpack it first")
        if self.unpacked_bytes > MOST_BYTES:
            raise TooMuch(f"an archive that unpacks to more than {MOST_BYTES >> 20:,} MB")
        if self.letters > LONGEST_TEXT:
            raise TooMuch(f"its texts have more than {LONGEST_TEXT >> 20} million characters")


Read = Callable[[Path, str, ReadOptions, Allowance], tuple[list[Document], Notes]]
"""Reads a member as `readers.read_file` reads any file."""


def read_archive(
    path: Path, source: str, options: ReadOptions, allowance: Allowance, read: Read
) -> tuple[list[Document], Notes]:
    """Read the files of a ZIP or a TAR.

    The reader of its kind reads each file inside; its name is `archive.zip!/folder/file.pdf`.

    Raises:
        Unreadable: It is damaged, encrypted or too large, or nothing in it can be read.
        MemoryError: A file of it needs more memory than the worker may use.
    """
    allowance.enter()
    reading = _Reading()
    try:
        # `zipfile.is_zipfile` would accept a TAR that ends with a ZIP.
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        if is_zip:
            with open_zip(path) as archive:
                reading.read(_zip_members(archive), source, options, allowance, read)
        else:
            with tarfile.open(path, "r:") as tar:
                reading.read(_tar_members(tar), source, options, allowance, read)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # tarfile raises any error on damage
        raise Unreadable(failure(error, "an archive")) from error
    finally:
        allowance.depth -= 1
    notes = reading.summary()
    if not reading.documents:
        raise Unreadable("; ".join(["none of its files can be read", *notes]))
    return reading.documents, notes


def read_compressed(
    path: Path, source: str, options: ReadOptions, allowance: Allowance, read: Read
) -> tuple[list[Document], Notes]:
    """Read a single compressed file.

    The reader of its kind reads the file inside: `page.md.gz` is Markdown, `all.tar.gz` an archive.

    Raises:
        Unreadable: It is damaged or too large, or its content cannot be read.
        MemoryError: It needs more memory than the worker may use.
    """
    allowance.enter()
    ending = path.suffix.lower()
    name = source.rpartition("/")[2][: -len(ending)] + (".tar" if ending.startswith(".t") else "")
    member = Member(name, path.stat().st_mtime, lambda: _OPENERS[ending](path))
    try:
        return _unpack(member, source, options, allowance, read)
    finally:
        allowance.depth -= 1


@dataclass
class _Reading:
    """Collects the results of an archive's members."""

    documents: list[Document] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: Notes = field(default_factory=list)

    def read(
        self, members: Members, source: str, options: ReadOptions, allowance: Allowance, read: Read
    ) -> None:
        for member in members.values():
            try:
                if member.why:
                    raise Unreadable(member.why)
                place = f"{source}!/{member.name}"
                documents, notes = _unpack(member, place, options, allowance, read)
            except TooMuch:
                raise
            except Unreadable as error:
                self.left_out.setdefault(str(error), []).append(member.name)
                continue
            self.documents += documents
            self.notes += (f"{member.name}: {note}" for note in notes)
            allowance.take(letters=sum(len(document.text) for document in documents))

    def summary(self) -> Notes:
        notes = [f"left out: {listing(names)}: {why}" for why, names in self.left_out.items()]
        more = len(self.notes) - _MOST_NOTES
        notes += self.notes[:_MOST_NOTES]
        return notes + [f"{more:,} more notes about its files"] * (more > 0)


def _unpack(
    member: Member, source: str, options: ReadOptions, allowance: Allowance, read: Read
) -> tuple[list[Document], Notes]:
    """Return the documents of a member."""
    ending = os.path.splitext(member.name)[1]
    size = 0
    allowance.take(members=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "member" + ending if _ENDING.fullmatch(ending) else "member")
        with path.open("wb") as file:
            for piece in _pieces(member):
                size += len(piece)
                allowance.take(unpacked_bytes=len(piece))
                if size > options.file_bytes:
                    most = options.file_bytes / 2**20
                    raise TooMuch(
                        f"{member.name} in it has more than {most:,.0f} MB (index.max_file_mb)"
                    )
                file.write(piece)
        with contextlib.suppress(OverflowError, ValueError, OSError):  # not a valid file time
            os.utime(path, (member.modified, member.modified))
        return read(path, source, options, allowance)


def _pieces(member: Member) -> Iterator[bytes]:
    """Yield a member's bytes in pieces."""
    try:
        with member.open() as stream:
            yield from iter(lambda: stream.read(_PIECE), b"")
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # zlib, lzma, a checksum, an unknown compression method
        raise Unreadable(f"damaged: {error}") from error


def _zip_members(archive: zipfile.ZipFile) -> Members:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_MEMBERS:
        raise TooMuch(f"an archive of more than {MOST_MEMBERS:,} files: unpack it first")
    # Without the UTF-8 flag a name is in the packer's code page; zipfile decodes it as DOS's.
    names = _names(
        [e.filename.encode("utf-8" if e.flag_bits & 0x800 else "cp437") for e in entries]
    )
    members = {}
    for name, entry in zip(names, entries, strict=True):
        kind = stat.S_IFMT(entry.external_attr >> 16)
        why = _why_not(name, kind in (0, stat.S_IFREG))
        members[name] = Member(name, _seconds(entry.date_time), partial(archive.open, entry), why)
    return members


def _tar_members(archive: tarfile.TarFile) -> Members:
    entries = []
    for number, entry in enumerate(archive, 1):
        if number > MOST_MEMBERS:
            raise TooMuch(f"an archive of more than {MOST_MEMBERS:,} files: unpack it first")
        if not entry.isdir():
            entries.append(entry)
    names = _names([entry.name.encode("utf-8", "surrogateescape") for entry in entries])
    members = {}
    for name, entry in zip(names, entries, strict=True):
        why = _why_not(name, entry.isreg())
        opener = cast("Callable[[], IO[bytes]]", partial(archive.extractfile, entry))
        members[name] = Member(name, float(entry.mtime), opener, why)
    return members


def _names(raw: list[bytes]) -> list[str]:
    """Decode members' names: as UTF-8, or else all in the likeliest encoding."""
    odd = b"\n".join(name for name in raw if not _is_utf8(name))
    try:
        codec = encoding_of(odd).codec if odd else "utf-8"
    except NotText:
        codec = "cp437"
    words = (name.decode("utf-8" if _is_utf8(name) else codec, "replace") for name in raw)
    return [normpath(clean(name).replace("\\", "/")) for name in words]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _why_not(name: str, regular: bool) -> str:
    """Return why a member is not read, or an empty text."""
    if not regular:
        return "a link or a device, not a file"
    if name.startswith(("/", "../")) or name in ("..", ".") or re.match("[a-zA-Z]:", name):
        return "its name leads out of the archive"
    return "hidden, or a program's own file" if is_clutter(name) else ""


def _seconds(date: tuple[int, int, int, int, int, int]) -> float:
    try:
        return time.mktime((*date, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0
