"""Bytes to text: UTF-8 or a fault that says where and what to do."""

from pathlib import Path

from tailorbird.errors import UserError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FORMATS = {
    b"PK\x03\x04": ("an Excel or zip file", "save it as CSV (UTF-8) first"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save it as CSV (UTF-8) first"),
    b"\x1f\x8b": ("a gzip file", "unpack it first: gunzip < FILE > NEW_FILE"),
    b"PAR1": ("a Parquet file", "rename it so that its name ends in .parquet"),
    b"%PDF": ("a PDF file", "give a table of texts and labels: CSV, TSV, JSONL or Parquet"),
}


def read_text(path: Path) -> str:
    """Return a file's text, without byte order mark.

    Raises:
        UserError: The file is empty, binary, or not UTF-8.
    """
    data = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    if not data.strip():
        raise UserError(f"{path}: the file is empty", "give a file that has rows")
    for magic, (kind, fix) in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise UserError(f"{path}: this is {kind}, whatever its name says", fix)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong_encoding(path, "the file is UTF-16, not UTF-8", "utf-16")
    nul = data.find(b"\0")
    if nul >= 0:
        raise UserError(
            f"{path}: a NUL byte in line {_line(data, nul)} (byte {nul:,}): "
            "the file is damaged, binary or UTF-16",
            f"if it is UTF-16: {_iconv(path, 'utf-16le')}; "
            f"else remove the bytes: tr -d '\\000' < {path} > clean{path.suffix}",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        # Bytes 80 to 9F are letters and quotes in Windows' code page, control codes in Latin-1.
        windows = any(0x80 <= byte <= 0x9F for byte in data)
        raise _wrong_encoding(
            path,
            f"line {_line(data, at)} (byte {at:,}, value 0x{data[at]:02x}) is not UTF-8",
            "windows-1252" if windows else "latin1",
        ) from None


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _iconv(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {path} > {path.stem}.utf8{path.suffix}"


def _wrong_encoding(path: Path, what: str, encoding: str) -> UserError:
    return UserError(f"{path}: {what}", f"save it as UTF-8, for instance: {_iconv(path, encoding)}")
