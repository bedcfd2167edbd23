"""Readers of e-mail: EML, mailboxes and Outlook's MSG; sender, recipients, date and text."""

import email
import re
from collections.abc import Callable, Iterable
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tailorbird.data.message_words import listing
from tailorbird.documents.decode_text import clean, decode_part
from tailorbird.documents.read_result import (
    Notes,
    Parsed,
    ReadOptions,
    Unreadable,
    Value,
    note_once,
)
from tailorbird.documents.text_builder import TextBuilder, squeeze
from tailorbird.documents.web import html

_T = TypeVar("_T")
_HEAD = ("From", "To", "Cc", "Date")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_SEALS = ("application/pgp-signature", "application/pkcs7-signature", "application/pgp-encrypted")
_DEEPEST, _MOST_PARTS = 20, 2000
# The separator line of messages has a time, since "From" also begins sentences.
_BETWEEN = re.compile(rb"(?:\A|\n\r?\n)From [^\n]*\d\d:\d\d[^\n]*\n")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)


def read_eml(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an EML message.

    Sender, recipients, date, the text (the plain version if it has one) and forwarded messages;
    attachments are named, not read.
    """
    data = path.read_bytes()
    message = email.message_from_bytes(
        _BETWEEN.sub(b"", data, count=1) if data[:5] == b"From " else data
    )
    if not message.keys():
        raise Unreadable(
            "not an e-mail: it has no header lines" if data.strip() else "the file is empty"
        )
    yield _letter(message, notes)


def read_mbox(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read each message of a mailbox.

    Each message is a document, named by its Message-ID; those without text are counted.
    """
    data = path.read_bytes()
    places = list(_BETWEEN.finditer(data))
    if not places or places[0].start():
        raise Unreadable("not a mailbox: it does not begin with a line `From SENDER DATE`")
    names: set[str] = set()
    empty = 0
    for number, place in enumerate(places, 1):
        end = places[number].start() + 1 if number < len(places) else len(data)
        message = email.message_from_bytes(_QUOTED_FROM.sub(rb"\1", data[place.end() : end]))
        name = _words(_raw(message, "Message-ID"), None, []).strip("<>") or str(number)
        while name in names:
            name = f"{name}~{number}"
        names.add(name)
        try:
            parsed = _letter(message, notes)
        except Unreadable:
            empty += 1
            continue
        yield Parsed(parsed.text, parsed.marks, parsed.title, parsed.metadata, name)
    if empty:
        notes.append(f"{empty} messages have no text and are left out")
    notes[:] = dict.fromkeys(notes)


class _MessageWriter:
    """Collects the text of a message's parts, and the names of attachments."""

    def __init__(self, notes: Notes) -> None:
        self.builder = TextBuilder()
        self.notes = notes
        self.attachments: list[str] = []
        self.parts = 0
        self.has_words = False

    def write(self, part: Message, depth: int = 0) -> None:
        """Write a part, and those within it."""
        self.parts += 1
        kind = part.get_content_type()
        if depth > _DEEPEST or self.parts > _MOST_PARTS:
            what = f"parts nested deeper than {_DEEPEST}, or beyond the first {_MOST_PARTS}"
            note_once(self.notes, f"{what} are not read")
        elif kind in _ENCRYPTED:
            note_once(self.notes, "encrypted parts are not read")
        elif kind == "multipart/alternative":
            self._alternative(part, depth)
        elif kind in ("message/rfc822", "message/global") and part.is_multipart():
            for inner in _within(part):
                self._write_forwarded(inner, depth)
        elif kind.startswith("message/") and part.is_multipart():
            self.block(
                "\n".join(
                    f"{k}: {_words(v, None, [])}" for p in _within(part) for k, v in p.raw_items()
                )
            )
        elif part.is_multipart():
            for inner in _within(part):
                self.write(inner, depth + 1)
        else:
            self._leaf(part, kind)

    def _leaf(self, part: Message, kind: str) -> None:
        is_text = kind.startswith("text/")
        if is_text and part.get_content_disposition() != "attachment":
            self.block(_text(part, self.notes))
        elif kind not in _SEALS:
            self.attachments.append(_file_name(part, self.notes) or kind)

    def _alternative(self, part: Message, depth: int) -> None:
        """Write the plain version, or the first other one if the plain one is empty."""
        versions = sorted(
            _within(part), key=lambda version: version.get_content_type() != "text/plain"
        )
        for version in versions:
            before, self.has_words = self.has_words, False
            self.write(version, depth + 1)
            stop, self.has_words = self.has_words, self.has_words or before
            if stop:
                break

    def _write_forwarded(self, message: Message, depth: int) -> None:
        head, subject = _head(message, self.notes)
        self.builder.heading(subject or "Forwarded message", min(6, 2 + depth))
        self.builder.block("\n".join(f"{name}: {words}" for name, words in head.items()))
        self.has_words = self.has_words or bool(subject)
        self.write(message, depth + 1)

    def block(self, text: str) -> None:
        """Write a text unless it is empty."""
        if re.search(r"\w", text):
            self.has_words = True
            self.builder.block(clean(text))


def _letter(message: Message, notes: Notes) -> Parsed:
    head, subject = _head(message, notes)
    body = _MessageWriter(notes)
    body.builder.block("\n".join(f"{name}: {words}" for name, words in head.items()))
    body.write(message)
    return _result(body, head, subject)


def _result(body: _MessageWriter, head: dict[str, str], subject: str) -> Parsed:
    if not body.has_words and not subject:
        raise Unreadable("no text in it")
    metadata: dict[str, Value] = {
        name.lower(): words for name, words in head.items() if name != "Date"
    }
    if date := _iso(head.get("Date", "")):
        metadata["date"] = date
    if names := body.attachments:
        metadata["attachments"] = ", ".join(names)
        body.notes.append(f"attachments are not read: {listing(names)}")
    return Parsed(*body.builder.result(), subject, metadata)


def _within(part: Message) -> list[Message]:
    payload = part.get_payload()
    return (
        [inner for inner in payload if isinstance(inner, Message)]
        if isinstance(payload, list)
        else []
    )


def _head(message: Message, notes: Notes) -> tuple[dict[str, str], str]:
    """Return sender, recipients and date without empty ones, and the subject."""
    charset = next(filter(None, (_charset(part) for part in islice(message.walk(), 50))), None)
    words = {name: _words(_raw(message, name), charset, notes) for name in (*_HEAD, "Subject")}
    subject = words.pop("Subject")
    return {name: value for name, value in words.items() if value}, subject


def _raw(message: Message, name: str) -> str:
    """Return a header as the parser stored it; its own accessor loses undecoded bytes."""
    return next((str(v) for n, v in message.raw_items() if n.lower() == name.lower()), "")


def _words(value: str, charset: str | None, notes: Notes) -> str:
    """Return a header's words: encoded words decoded, and invalid bytes as well."""
    text = _bare(value, charset, notes)
    try:
        pieces = decode_header(text)
    except (HeaderParseError, ValueError):
        return squeeze(text)
    words = ""
    for piece, name in pieces:
        if isinstance(piece, str):
            words += piece
        elif name is None:
            words += piece.decode("raw-unicode-escape", "replace")
        else:
            words += decode_part(piece, name, notes) if piece else ""
    return squeeze(words)


def _bare(value: str, charset: str | None, notes: Notes) -> str:
    """Decode a header's bare bytes: as UTF-8, in the text's encoding, or in the likeliest."""
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return decode_part(raw, charset, notes)


def _charset(part: Message) -> str | None:
    try:
        return part.get_content_charset()
    except (LookupError, UnicodeError, ValueError, TypeError):
        return None


def _file_name(part: Message, notes: Notes) -> str:
    for header in ("Content-Disposition", "Content-Type"):
        if not (raw := _raw(part, header)).isascii():
            part.replace_header(header, _bare(raw, None, notes))
    try:
        return _words(part.get_filename() or "", None, notes)
    except (LookupError, UnicodeError, ValueError, TypeError):
        return ""


def _text(part: Message, notes: Notes) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    text = decode_part(data, _charset(part), notes) if data.strip() else ""
    return _page(text, notes) if part.get_content_type() == "text/html" else text


def _page(text: str, notes: Notes) -> str:
    try:
        return html(text, notes).text if text.strip() else ""
    except Unreadable:
        return ""


def _iso(date: str) -> str:
    try:
        return parsedate_to_datetime(date).isoformat() if date else ""
    except (ValueError, TypeError, IndexError):
        return date


def read_msg(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read an Outlook message.

    Sender, recipients, date and the text; attachments are named, not read.
    """
    from oxmsg import Message as Outlook

    try:
        message = Outlook.load(str(path))
        recipients = message.recipients
    except MemoryError:
        raise
    except Exception as error:  # oxmsg and olefile raise any error on damage
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable(f"damaged, or not an Outlook message: {first_line}") from error
    sent_date = _or_none(lambda: message.sent_date)
    to = [_or_none(lambda r=r: f"{r.name} <{r.email_address}>") for r in recipients]  # type: ignore[misc]
    head = {
        "From": squeeze(_or_none(lambda: message.sender) or ""),
        "To": squeeze(", ".join(filter(None, to))),
        "Date": sent_date.isoformat() if sent_date else "",
    }
    body = _MessageWriter(notes)
    head = {name: words for name, words in head.items() if words}
    body.builder.block("\n".join(f"{name}: {words}" for name, words in head.items()))
    body.block(_or_none(lambda: message.body) or "")
    if not body.has_words:
        body.block(_page(_or_none(lambda: message.html_body) or "", notes))
    for attachment in _or_none(lambda: message.attachments) or ():
        name = _or_none(lambda a=attachment: a.file_name)  # type: ignore[misc]
        body.attachments.append(squeeze(name or "") or "a message or an object without a name")
    yield _result(body, head, squeeze(_or_none(lambda: message.subject) or ""))


def _or_none(value: Callable[[], _T]) -> _T | None:
    """Return a property of a message; None if its bytes are damaged."""
    try:
        return value()
    except MemoryError:
        raise
    except Exception:
        return None
