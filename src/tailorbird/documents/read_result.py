"""The result of reading a file: texts with their marks, or the reason for none."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tailorbird.records import Document, Mark

Value = str | int | float | bool | None

# Increased when readers change, so that known files are read again.
READ_VERSION = 2


class Unreadable(Exception):  # noqa: N818 - a finding about a file, which users never see raised
    """Why a file has no text, worded for the user."""


def failure(error: Exception, words: str) -> str:
    """Return the reason to skip a file after an error; `words` name its kind."""
    line = (str(error).strip().splitlines() or [""])[0][:200]
    return f"cannot be read as {words}: {type(error).__name__}{': ' * bool(line)}{line}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One text of a file.

    Attributes:
        id: Identifies the text within its file; empty for the file's only one.
    """

    text: str
    marks: tuple[Mark, ...] = ()
    title: str = ""
    metadata: Mapping[str, Value] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The options of a worker."""

    text: str | None = None
    title: str | None = None
    id: str | None = None
    seconds: float = 60.0
    memory_bytes: int = 2 << 30
    file_bytes: int = 200 << 20

    @property
    def fingerprint(self) -> str:
        """A hash of the options that change the resulting documents."""
        settings = json.dumps([READ_VERSION, self.text, self.title, self.id])
        return hashlib.blake2b(settings.encode(), digest_size=4).hexdigest()


Notes = list[str]
"""Notes to report on a file."""


def note_once(notes: Notes, text: str) -> None:
    """Add a note unless it is there already."""
    if text not in notes:
        notes.append(text)


Reader = Callable[[Path, ReadOptions, Notes], Iterable[Parsed]]
"""A file's texts.

Raises:
    Unreadable: There are none.
"""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """The recorded version of a file whose documents are all ingested.

    Attributes:
        path: Its source.
        mtime_ns: Its modification time; 0 if unreliable.
        digest: Its `FileResult.digest`.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of one file.

    Attributes:
        source: The prefix of its documents' sources.
        documents: Its documents; None if it was skipped or has not changed.
        unchanged: Whether its content is the recorded one.
        digest: Hash of its bytes and the reading settings; empty if it was skipped unread.
        mtime_ns: Its modification time; 0 if so recent that it may change again within the clock's
            resolution, so that it must be read again.
        notes: Notes to report, such as a guessed encoding.
    """

    path: Path
    source: str
    documents: tuple[Document, ...] | None = None
    why: str = ""
    unchanged: bool = False
    digest: str = ""
    size: int = 0
    mtime_ns: int = 0
    notes: tuple[str, ...] = ()


def document_digest(document: Document) -> str:
    """Return a hash of a document's content, without its file's modification time.

    A table of many rows changes as one file, but only the rows that differ are new documents.
    """
    content = json.dumps(
        [
            document.source,
            document.text,
            document.title,
            [[mark.start, mark.page, mark.headings] for mark in document.marks],
            sorted((k, v) for k, v in document.metadata.items() if k != "modified"),
        ],
        ensure_ascii=False,
    )
    return hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=16).hexdigest()
