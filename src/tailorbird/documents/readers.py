"""Reads a file's documents with the reader of its kind."""

import contextlib
import datetime
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from tailorbird.documents.archive import Allowance, read_archive, read_compressed
from tailorbird.documents.file_kinds import OLD_KINDS, READERS, UNREAD, by_ending
from tailorbird.documents.read_result import (
    Notes,
    Parsed,
    Reader,
    ReadOptions,
    Unreadable,
    Value,
    document_digest,
    failure,
)
from tailorbird.lazy_import import leaf
from tailorbird.records import Document, Mark

_FREE_LETTERS = 2_000_000
_MOST_GROWTH = 200


# Containers of other files.
ARCHIVES = {
    **by_ending(".zip .tar", read_archive),
    **by_ending(".gz .bz2 .xz .tgz .tbz2 .txz", read_compressed),
}

RESERVED = {
    "path": "the file",
    "kind": "what the file is",
    "modified": "when the file was changed",
    "source": "what the document is known by",
    "title": "the document's title",
    "page": "the page of a passage",
}
"""Filter names of the facts about every document, and their meaning."""


def read_file(
    path: Path, source: str, options: ReadOptions, allowance: Allowance | None = None
) -> tuple[list[Document], Notes]:
    """Return a file's documents and the notes on it.

    Raises:
        Unreadable: It has no text; the message says why.
    """
    suffix = path.suffix.lower()
    suffix = _true_suffix(path, suffix) or suffix
    if suffix in UNREAD:
        raise Unreadable(UNREAD[suffix])
    if not path.stat().st_size:
        raise Unreadable("the file is empty")
    if suffix in ARCHIVES:
        return ARCHIVES[suffix](path, source, options, allowance or Allowance(), read_file)
    kind, words, module, name = READERS.get(suffix, READERS[".txt"])
    reader: Reader = leaf("tailorbird.documents", module, name)
    notes: Notes = []
    facts: dict[str, Value] = {"path": source, "kind": kind}
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a time beyond the years 1-9999
        changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        facts["modified"] = changed.isoformat(timespec="seconds")
    # `path.name` may contain bytes that are not UTF-8.
    title = "" if kind in ("csv", "jsonl", "parquet") else source.rpartition("/")[2]
    parsed = _texts(lambda: reader(path, options, notes), words, suffix not in READERS)
    _check_growth(parsed, path.stat().st_size)
    parsed = _with_own_names([one for one in parsed if one.text.strip()], notes)
    documents = [_document(one, source, title, facts) for one in parsed]
    if not documents:
        raise Unreadable("no text in it")
    return documents, notes


def _true_suffix(path: Path, suffix: str) -> str:
    """Return the right ending of an Office file under an old name, by its first bytes."""
    if suffix not in OLD_KINDS:
        return ""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"{\\rtf"):
        return ".rtf"
    if b"<html" in start or b"<table" in start:  # web programs export HTML as a sheet
        return ".html"
    return OLD_KINDS[suffix] if start.startswith(b"pk") else ""


def _check_growth(parsed: list[Parsed], size: int) -> None:
    """Refuse texts implausibly large for the file's size: one long text a thousand times."""
    letters = sum(len(one.text) for one in parsed)
    if letters > max(_FREE_LETTERS, _MOST_GROWTH * size):
        raise Unreadable(
            f"its {size / 2**20:.1f} MB grow to {letters / 10**6:,.0f} million characters: a bomb"
        )


def _texts(read: Callable[[], Iterable[Parsed]], words: str, unknown: bool) -> list[Parsed]:
    """Return a reader's texts; its failures become reasons."""
    try:
        return list(read())
    except Unreadable as error:
        if unknown and "binary" in str(error):
            raise Unreadable("an unknown kind of file, and not text") from error
        raise
    except MemoryError:
        raise
    except RecursionError as error:
        raise Unreadable(f"damaged: nested too deeply for {words}") from error
    except Exception as error:  # libraries raise any error on a damaged file
        raise Unreadable(failure(error, words)) from error


def _with_own_names(parsed: list[Parsed], notes: Notes) -> list[Parsed]:
    """Return texts whose metadata avoids our own names; the file's keys are renamed."""
    hidden = sorted({name for one in parsed for name in one.metadata if name in RESERVED})
    if not hidden:
        return parsed
    notes.extend(
        f"its own {name!r} is kept as 'own_{name}', since {name!r} is reserved for {RESERVED[name]}"
        for name in hidden
    )
    names = {name: f"own_{name}" for name in hidden}
    return [
        replace(one, metadata={names.get(n, n): value for n, value in one.metadata.items()})
        for one in parsed
    ]


def _document(one: Parsed, source: str, title: str, facts: dict[str, Value]) -> Document:
    document = Document(
        source=f"{source}#{one.id}" if one.id else source,
        text=one.text,
        title=one.title or ("" if one.id else title),
        marks=one.marks if one.marks and not one.marks[0].start else (Mark(0), *one.marks),
        # Facts about the file come last, so that a column `path` does not hide them.
        metadata={**one.metadata, **facts},
    )
    object.__setattr__(document, "digest", document_digest(document))
    return document
