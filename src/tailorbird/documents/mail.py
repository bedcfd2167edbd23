"""E-mail: EML and Outlook's MSG; who wrote when to whom, then the words."""

import email
import email.policy
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.decode import clean
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.web import html


def read_eml(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a message as mail programs save it; the plain version where there are two."""
    data = path.read_bytes()
    if not data.strip():
        raise Unreadable("the file is empty")
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise Unreadable("not an e-mail: it has no header lines")
    head = {name: _header(message, name) for name in ("From", "To", "Cc", "Date", "Subject")}
    attachments = [
        str(part.get_filename() or part.get_content_type()) for part in _attachments(message)
    ]
    yield _letter(head, _body(message, notes), attachments, notes)


def _header(message: EmailMessage, name: str) -> str:
    """Return a header's words; the standard library fails on some that are damaged."""
    try:
        return squeeze(str(message.get(name, "")))
    except Exception:
        return ""


def _attachments(message: EmailMessage) -> list[Any]:
    return [part for part in message.walk() if part.get_content_disposition() == "attachment"]


def _body(message: EmailMessage, notes: Notes) -> str:
    try:
        part = message.get_body(preferencelist=("plain", "html"))
    except Exception:
        part = None
    if part is None:
        return ""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        text = data.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeError):
        text = data.decode("utf-8", "replace")
    if part.get_content_type() == "text/html":
        return html(text, notes).text if text.strip() else ""
    return text


def _letter(head: dict[str, str], body: str, attachments: list[str], notes: Notes) -> Parsed:
    builder = TextBuilder()
    shown = [f"{name}: {head[name]}" for name in ("From", "To", "Cc", "Date") if head[name]]
    builder.block("\n".join(shown))
    builder.block(clean(body))
    if not body.strip() and not head["Subject"]:
        raise Unreadable("no words in it")
    metadata: dict[str, Value] = {
        name.lower(): head[name] for name in ("From", "To", "Cc") if head[name]
    }
    if date := _iso(head["Date"]):
        metadata["date"] = date
    if attachments:
        metadata["attachments"] = ", ".join(attachments)
        notes.append(f"attachments are not read: {', '.join(attachments[:5])}")
    return Parsed(*builder.result(), head["Subject"], metadata)


def _iso(date: str) -> str:
    try:
        return parsedate_to_datetime(date).isoformat() if date else ""
    except (ValueError, TypeError, IndexError):
        return date


def read_msg(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read a message as Outlook saves it."""
    from oxmsg import Message

    try:
        message = Message.load(str(path))
        sent = message.sent_date
        head = {
            "From": squeeze(message.sender or ""),
            "To": squeeze(", ".join(f"{r.name} <{r.email_address}>" for r in message.recipients)),
            "Cc": "",
            "Date": sent.isoformat() if sent else "",
            "Subject": squeeze(message.subject or ""),
        }
        body = message.body or ""
        page = message.html_body or ""
        attachments = [str(a.file_name or "attachment") for a in message.attachments]
    except MemoryError:
        raise
    except Exception as error:  # oxmsg and olefile raise whatever the damage leads to
        raise Unreadable(f"damaged or no Outlook message: {_first_line(error)}") from error
    if not body.strip() and page.strip():
        body = html(page, notes).text
    yield _letter(head, body, attachments, notes)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
