"""A training file's text as a stream: unpacked, decoded and limited."""

import codecs
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tailorbird.data.charset import NotText, by_mark, encoding_of, is_foreign
from tailorbird.errors import UserError

PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""Compression formats, by the ending after that of the kind: ``train.csv.gz``."""

MAX_LINE_CHARACTERS = 64 << 20
"""Longer lines are refused, since no row of texts is as long."""

_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200
_CHUNK = 1 << 20
_MOST_BLANK_BYTES = 16 << 20
_PACKINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER_FORMATS = {
    b"PK\x03\x04": ("an Excel or zip file", "save it as CSV (UTF-8) first"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save it as CSV (UTF-8) first"),
    b"\x1f\x8b": (
        "a gzip file",
        "rename it so that its name ends in .gz, or unpack it: gunzip < FILE > NEW_FILE",
    ),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "rename it so that its name ends in .zst"),
    b"PAR1": ("a Parquet file", "rename it so that its name ends in .parquet"),
    b"%PDF": ("a PDF file", "give a table of texts and labels: CSV, TSV, JSONL or Parquet"),
}


def kind_of(path: Path) -> str:
    """Return the ending of a file's kind, without that of its compression, in lower case."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def packing_of(path: Path) -> str | None:
    """Return a file's compression: by its ending, or else by its first bytes."""
    if path.suffix or not path.is_file():
        return PACKED.get(path.suffix.lower())
    with path.open("rb") as file:
        start = file.read(8)
    return next((name for magic, name in _PACKINGS.items() if start.startswith(magic)), None)


def is_bomb(packed: int, unpacked: int) -> bool:
    """Return whether the ratio of these sizes is implausible for text."""
    return unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * max(1, packed)


def bomb(path: Path, unpacked: int) -> UserError:
    """Return the error for a file that unpacks to far more than its size."""
    size = path.stat().st_size
    return UserError(
        f"{path}: it unpacks from {size / 2**20:,.1f} MB to more than {unpacked / 2**20:,.0f} "
        f"MB, over {_BOMB_RATIO} times its size: a decompression bomb",
        "check its content; if it is intended, decompress it first",
    )


def read_text(path: Path, notes: list[str] | None = None) -> str:
    """Return a file's text, without byte order mark.

    Raises:
        UserError: As `open_text`.
    """
    with open_text(path, notes=notes) as file:
        return file.read()


@contextmanager
def open_text(
    path: Path, newline: str | None = "", notes: list[str] | None = None
) -> Iterator[io.TextIOWrapper]:
    r"""Open a file's text as a stream, unpacked, decoded and checked while reading.

    Args:
        newline: As in `open`: ``"\n"`` alone ends a line, or any line break with the default.
        notes: Receives a guessed encoding.

    Raises:
        UserError: While reading: the file is empty, binary or damaged, unpacks to far too much, or
            its encoding cannot be detected.
    """
    with _open_bytes(path) as packed:
        checked = io.BufferedReader(_Utf8Stream(path, packed, notes), _CHUNK)
        with io.TextIOWrapper(checked, encoding="utf-8", newline=newline) as text:
            yield text


def lines_of(path: Path, file: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of an opened file.

    Raises:
        UserError: A line is implausibly long.
    """
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise UserError(
                f"{path}: line {number} holds more than {MAX_LINE_CHARACTERS >> 20} million "
                "characters",
                "give a file of text with a row per line",
            )
        yield line


@contextmanager
def _open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open the file's bytes, unpacked.

    Modules of rarer formats are imported on demand.
    """
    packing = packing_of(path)
    if packing == "zstd":
        import pyarrow

        with pyarrow.OSFile(str(path)) as file, pyarrow.CompressedInputStream(file, "zstd") as raw:
            yield raw
        return
    if packing is None:
        with path.open("rb") as plain:
            yield plain
        return
    import bz2
    import gzip
    import lzma

    opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[packing]
    with opener(path, "rb") as raw:
        yield raw


class _Utf8Stream(io.RawIOBase):
    """A file's bytes as UTF-8, with each chunk checked before it is read."""

    def __init__(self, path: Path, source: IO[bytes], notes: list[str] | None) -> None:
        self._path, self._source, self._notes = path, source, notes
        self._size = path.stat().st_size
        self._codec, self._name = "", "UTF-8"
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()
        self._offset, self._line, self._left = 0, 1, b""
        self._blank = 0
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = self._read()
            self._left = self._next(chunk)
            if not chunk:
                break
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _read(self) -> bytes:
        try:
            return self._source.read(_CHUNK)
        except (EOFError, OSError, zlib.error, ValueError) as error:
            if isinstance(error, PermissionError):
                raise
            raise _damage(self._path, error) from None
        except Exception as error:
            if type(error).__name__ != "LZMAError":
                raise
            raise _damage(self._path, error) from None

    def _next(self, chunk: bytes) -> bytes:
        """Return a chunk as UTF-8."""
        if not self._started:
            chunk = self._begin(chunk)
        if not self._codec and (is_foreign(chunk) or b"\0" in chunk):
            chunk += self._read()
            self._choose(chunk)
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise self._undecodable(chunk, error, max(0, error.start - pending)) from None
        self._offset += len(chunk)
        self._blank = 0 if chunk.strip() else self._blank + len(chunk)
        if self._blank > _MOST_BLANK_BYTES:
            raise UserError(
                f"{self._path}: more than {_MOST_BLANK_BYTES >> 20} MB of blank lines after line "
                f"{self._line:,}",
                "look at what it holds",
            )
        if is_bomb(self._size, self._offset):
            raise bomb(self._path, self._offset)
        utf8 = chunk if self._codec in ("", "utf-8") else text.encode()
        if (nul := utf8.find(b"\0")) >= 0:
            raise self._nul(utf8, nul)
        self._line += utf8.count(b"\n")
        return utf8

    def _begin(self, chunk: bytes) -> bytes:
        self._started = True
        if marked := by_mark(chunk):
            length, self._codec = marked
            self._decoder = codecs.getincrementaldecoder(self._codec)()
            self._name = self._codec
            chunk = chunk[length:]
        if not chunk.strip() and len(chunk) < _CHUNK // 2:
            raise UserError(f"{self._path}: the file is empty", "give a file that has rows")
        for magic, (kind, fix) in _OTHER_FORMATS.items():
            if chunk.startswith(magic):
                raise UserError(f"{self._path}: this is {kind}, despite its name", fix)
        return chunk

    def _choose(self, sample: bytes) -> None:
        """Choose the encoding; everything before is ASCII, which nearly all encodings share."""
        try:
            encoding = encoding_of(sample)
        except NotText:
            raise self._nul(sample, sample.find(b"\0")) from None
        self._codec, self._name = encoding.codec, encoding.name
        self._decoder = codecs.getincrementaldecoder(encoding.codec)()
        if not encoding.guessed:
            return
        at = next((i for i, byte in enumerate(sample) if byte > 0x7F), 0)
        where = f"line {self._line_at(sample, at)}"
        if not encoding.sure:
            raise UserError(
                f"{self._path}: {where} (byte {self._offset + at:,}, value 0x{sample[at]:02x}) "
                "is not UTF-8, and no other encoding fits its text well enough",
                "save it as UTF-8; if you know its encoding, for instance: "
                + _iconv(self._path, encoding.name.lower()),
            )
        if self._notes is not None:
            self._notes.append(
                f"{self._path}: not UTF-8 ({where}); read as {encoding.name}, a guess: check its "
                "text, or save it as UTF-8"
            )

    def _undecodable(self, chunk: bytes, error: UnicodeDecodeError, at: int) -> UserError:
        return UserError(
            f"{self._path}: line {self._line_at(chunk, at)} (byte {self._offset + at:,}, value "
            f"0x{error.object[error.start]:02x}) is not {self._name}, unlike the text before it",
            "correct it, or drop the damaged bytes: "
            + _iconv(self._path, self._name.lower()).replace("iconv", "iconv -c", 1),
        )

    def _nul(self, chunk: bytes, at: int) -> UserError:
        path = self._path
        return UserError(
            f"{path}: a NUL byte in line {self._line_at(chunk, at)} "
            f"(byte {self._offset + at:,}): the file is damaged or binary",
            f"remove the bytes: tr -d '\\000' < {path} > clean{path.suffix}",
        )

    def _line_at(self, chunk: bytes, offset: int) -> int:
        return self._line + chunk.count(b"\n", 0, offset)


def _damage(path: Path, error: Exception) -> UserError:
    packing = packing_of(path)
    if packing is None:
        return UserError(f"{path}: cannot be read: {error}", "check the disk, or copy it again")
    return UserError(
        f"{path}: cannot be unpacked as {packing}, it may be truncated or in another format: "
        f"{error}",
        "copy or pack the file again, or give it uncompressed",
    )


def _iconv(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {path} > {path.stem}.utf8{path.suffix}"
