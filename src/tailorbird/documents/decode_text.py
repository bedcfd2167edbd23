"""Decodes a document's bytes as text, and removes characters that databases reject."""

import contextlib
import re
from pathlib import Path

from tailorbird.data.charset import Encoding, NotText, by_mark, codec_of, encoding_of
from tailorbird.documents.read_result import Notes, Unreadable

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
_TOO_MANY_CONTROLS = 0.01
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def read_text(path: Path, notes: Notes) -> str:
    """Return a file's cleaned text.

    Raises:
        Unreadable: The file is empty or binary.
    """
    return clean(decode(path.read_bytes(), notes))


def decode(data: bytes, notes: Notes) -> str:
    """Decode bytes: by their byte order mark, as UTF-8, or in the likeliest encoding.

    Raises:
        Unreadable: The bytes are no text.
    """
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf"):
        raise Unreadable("the file is empty")
    if marked := by_mark(data):
        length, codec = marked
        return data[length:].decode(codec, "replace")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise Unreadable(f"this is {kind}, despite its name")
    try:
        encoding = encoding_of(data)
    except NotText as error:
        raise Unreadable(str(error)) from error
    text = data.decode(encoding.codec, "replace")
    notes += encoding_notes(data, encoding, text)
    sample = text[:_SAMPLE]
    if len(_CONTROL.findall(sample)) > _TOO_MANY_CONTROLS * len(sample):
        raise Unreadable("binary, not text: it is full of control characters")
    return text


def decode_part(data: bytes, label: str | None, notes: Notes) -> str:
    """Decode bytes in the declared encoding if they are valid, else as `decode` does."""
    codec = codec_of(label) if label else None
    if codec not in (None, "utf-16", "utf-32"):  # these leave the byte order open
        with contextlib.suppress(UnicodeError):
            return data.decode(str(codec))
    try:
        return decode(data, notes)
    except Unreadable:
        return data.decode(codec or "utf-8", "replace")


def encoding_notes(data: bytes, encoding: Encoding, text: str) -> Notes:
    """Return the notes on how bytes were decoded."""
    damaged = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    if not encoding.guessed:
        places = f"{damaged} damaged places in its UTF-8 are shown as \ufffd"
        return [places] if damaged else []
    if encoding.codec.startswith("utf"):
        return [f"no byte order mark; read as {encoding.name}"]
    at = next((i for i, byte in enumerate(data) if byte > 0x7F), 0)
    doubt = "check its letters" if encoding.sure else "but no language fits: check its letters"
    damage = f"; {damaged} places do not fit and are shown as \ufffd" if damaged > 0 else ""
    return [f"not UTF-8 (byte {at:,}); read as {encoding.name}, {doubt}{damage}"]


def clean(text: str) -> str:
    r"""Return text with ``\n`` as its only line end, without characters that databases reject."""
    text = _CONTROL.sub("", _BREAKS.sub("\n", text))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, from JSON or UTF-16
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def squeeze(text: str) -> str:
    """Return text on one line with single spaces."""
    return " ".join(clean(text).split())
