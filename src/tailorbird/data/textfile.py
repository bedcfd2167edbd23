"""Bytes to text: UTF-8 or a fault that says where and what to do; packed files as they are."""

import codecs
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tailorbird.errors import UserError

PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""How files are packed, by what follows the ending of their kind: ``train.csv.gz``."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
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
    """Return the ending that says what a file is, without that of its packing, in lower case."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def read_text(path: Path) -> str:
    """Return a file's text, without byte order mark.

    Raises:
        UserError: The file is empty, binary, damaged or not UTF-8.
    """
    with open_text(path) as file:
        return file.read()


@contextmanager
def open_text(path: Path, newline: str | None = "") -> Iterator[io.TextIOWrapper]:
    r"""Yield a file's text to be read bit by bit, unpacked and checked on the way.

    Args:
        path: The file.
        newline: As of `open`: ``"\n"`` alone ends a line, or any line break with the default.

    Raises:
        UserError: While reading: the file is empty, binary, damaged or not UTF-8.
    """
    with _opened(path) as packed:
        checked = io.BufferedReader(_Checked(path, packed), _CHUNK)
        with io.TextIOWrapper(checked, encoding="utf-8", newline=newline) as text:
            yield text


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the file's bytes, unpacked.

    Modules of rarer formats are loaded when they are needed.
    """
    packing = PACKED.get(path.suffix.lower())
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


class _Checked(io.RawIOBase):
    """Bytes that pass, each chunk looked at before anyone decodes it."""

    def __init__(self, path: Path, source: IO[bytes]) -> None:
        self._path, self._source = path, source
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset, self._line, self._left = 0, 1, b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._next()
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _next(self) -> bytes:
        try:
            chunk = self._source.read(_CHUNK)
        except (EOFError, OSError, zlib.error, ValueError) as error:
            if isinstance(error, PermissionError):
                raise
            raise _damaged(self._path, error) from None
        except Exception as error:
            if type(error).__name__ != "LZMAError":
                raise
            raise _damaged(self._path, error) from None
        if not self._begun:
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
            self._begin(chunk)
        self._check(chunk)
        self._offset += len(chunk)
        self._line += chunk.count(b"\n")
        return chunk

    def _begin(self, chunk: bytes) -> None:
        self._begun = True
        if not chunk.strip() and len(chunk) < _CHUNK // 2:
            raise UserError(f"{self._path}: the file is empty", "give a file that has rows")
        for magic, (kind, fix) in _OTHER_FORMATS.items():
            if chunk.startswith(magic):
                raise UserError(f"{self._path}: this is {kind}, whatever its name says", fix)
        if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _wrong_encoding(self._path, "the file is UTF-16, not UTF-8", "utf-16")

    def _check(self, chunk: bytes) -> None:
        path = self._path
        nul = chunk.find(b"\0")
        if nul >= 0:
            raise UserError(
                f"{path}: a NUL byte in line {self._line_at(chunk, nul)} "
                f"(byte {self._offset + nul:,}): the file is damaged, binary or UTF-16",
                f"if it is UTF-16: {_iconv(path, 'utf-16le')}; "
                f"else remove the bytes: tr -d '\\000' < {path} > clean{path.suffix}",
            )
        held = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = max(0, error.start - held)
            # Bytes 80 to 9F are letters and quotes in Windows' code page, control codes in
            # Latin-1.
            windows = any(0x80 <= byte <= 0x9F for byte in chunk)
            raise _wrong_encoding(
                path,
                f"line {self._line_at(chunk, at)} (byte {self._offset + error.start - held:,}, "
                f"value 0x{error.object[error.start]:02x}) is not UTF-8",
                "windows-1252" if windows else "latin1",
            ) from None

    def _line_at(self, chunk: bytes, offset: int) -> int:
        return self._line + chunk.count(b"\n", 0, offset)


def _damaged(path: Path, error: Exception) -> UserError:
    packing = PACKED.get(path.suffix.lower())
    if packing is None:
        return UserError(f"{path}: cannot be read: {error}", "check the disk, or copy it again")
    return UserError(
        f"{path}: cannot be unpacked as {packing}, it may be cut off or of another format: {error}",
        "copy or pack the file again, or give it unpacked",
    )


def _iconv(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {path} > {path.stem}.utf8{path.suffix}"


def _wrong_encoding(path: Path, what: str, encoding: str) -> UserError:
    return UserError(f"{path}: {what}", f"save it as UTF-8, for instance: {_iconv(path, encoding)}")
