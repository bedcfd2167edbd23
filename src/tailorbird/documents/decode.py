"""Bytes to text: the encoding is told by the bytes, and text is made fit to be kept."""

import re
from pathlib import Path

from tailorbird.documents.parsed import Notes, Unreadable

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_MAGIC = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip file or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Office file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x7fELF", "a program"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "a database"),
)
_SAMPLE = 1 << 16
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_LETTERS = re.compile("[^\x00-\x7f\ufffd]")
_TOO_MANY_CONTROLS = 0.01
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def read_text(path: Path, notes: Notes) -> str:
    """Return a file's text, cleaned.

    Raises:
        Unreadable: It is empty or binary.
    """
    return clean(decode(path.read_bytes(), notes))


def decode(data: bytes, notes: Notes) -> str:
    """Return bytes as text: by their byte order mark, as UTF-8, else as Windows' Latin letters.

    Raises:
        Unreadable: The bytes are no text.
    """
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf"):
        raise Unreadable("the file is empty")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise Unreadable(f"this is {kind}, whatever its name says")
    if b"\0" in data[:_SAMPLE]:
        wide = _wide(data[:_SAMPLE])
        if wide is None:
            raise Unreadable("binary, not text: it holds NUL bytes")
        notes.append(f"no byte order mark; read as {wide}")
        text = data.decode(wide, "replace")
    else:
        text = _narrow(data, notes)
    sample = text[:_SAMPLE]
    if len(_CONTROL.findall(sample)) > _TOO_MANY_CONTROLS * len(sample):
        raise Unreadable("binary, not text: it is full of control characters")
    return text


def _narrow(data: bytes, notes: Notes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        first = error
    mended = data.decode("utf-8", "replace")
    bad = mended.count("\ufffd")
    whole = len(_LETTERS.findall(mended))
    # UTF-8 with a few damaged bytes, or cut off within a letter, would be garbled as Latin-1.
    if whole > 4 * bad or first.reason == "unexpected end of data":
        notes.append(f"{bad} damaged places in its UTF-8 are shown as \ufffd")
        return mended
    notes.append(f"not UTF-8 (byte {first.start:,}); read as Windows-1252, check its letters")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _wide(sample: bytes) -> str | None:
    """Return which UTF-16 has its zeros where this has them."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def clean(text: str) -> str:
    r"""Return text with ``\n`` alone as line end and nothing that no database keeps."""
    text = _CONTROL.sub("", _BREAKS.sub("\n", text))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, from JSON or UTF-16
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def squeeze(text: str) -> str:
    """Return text on one line with single spaces."""
    return " ".join(clean(text).split())
