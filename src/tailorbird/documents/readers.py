"""Which reader reads which kind of file, and why some kinds are not read."""

import contextlib
import datetime
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tailorbird.data.split_files import FORMATS
from tailorbird.documents.archive import Allowance, read_archive, read_compressed
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

_T = TypeVar("_T")
_FREE_LETTERS = 2_000_000
_MOST_GROWTH = 200


def _all(suffixes: str, value: _T) -> dict[str, _T]:
    return dict.fromkeys(suffixes.split(), value)


# Modules are named, not imported: a worker that reads Markdown need not wait for PDFium.
READERS: dict[str, tuple[str, str, str, str]] = {
    suffix: (kind, FORMATS.get(suffix, words), module, reader)
    for suffixes, kind, words, module, reader in (
        (".txt .text .log", "plain", "text", "markup", "read_plain"),
        (".md .markdown .mdx .qmd .rmd", "markdown", "Markdown", "markdown", "read_markdown"),
        (".rst", "rst", "reStructuredText", "markup", "read_rst"),
        (".ipynb", "notebook", "a notebook", "markdown", "read_notebook"),
        (".html .htm .xhtml", "html", "HTML", "web", "read_html"),
        (".tex .latex .ltx", "tex", "LaTeX", "tex", "read_tex"),
        (".srt .vtt", "subtitles", "subtitles", "subtitles", "read_subtitles"),
        (".adoc .asciidoc", "asciidoc", "AsciiDoc", "asciidoc", "read_asciidoc"),
        (".org", "org", "an Org file", "org", "read_org"),
        (".xml .nxml .jats .dbk .docbook .fb2", "xml", "XML", "xml_page", "read_xml"),
        (".epub", "epub", "an EPUB", "web", "read_epub"),
        (".pdf", "pdf", "a PDF", "pdf", "read_pdf"),
        (".docx .docm .dotx .dotm", "docx", "a DOCX", "docx", "read_docx"),
        (".pptx .pptm .ppsx .ppsm .potx .potm", "pptx", "a PPTX", "pptx", "read_pptx"),
        (".odt .ott", "odt", "an ODT", "odt", "read_odt"),
        (".odp .otp .odg", "odp", "an ODP", "odt", "read_odp"),
        (".ods .ots", "xlsx", "an ODS", "odt", "read_ods"),
        (".rtf", "rtf", "an RTF", "rtf", "read_rtf"),
        (".xlsx .xlsm .xltx .xltm .xlsb .xls .xlt", "xlsx", "a workbook", "sheets", "read_sheets"),
        (".csv .tsv .tab", "csv", "TSV", "row_files", "read_delimited"),
        (".jsonl .ndjson", "jsonl", "", "row_files", "read_jsonl"),
        (".json", "json", "", "row_files", "read_json"),
        (".parquet .arrow .feather", "parquet", "Parquet", "row_files", "read_columns"),
        (".eml", "eml", "an e-mail", "mail", "read_eml"),
        (".mbox .mbx", "mbox", "a mailbox", "mail", "read_mbox"),
        (".msg", "msg", "an Outlook message", "mail", "read_msg"),
        (
            ".py .pyi .js .jsx .ts .tsx .java .kt .scala .c .h .cc .cpp .hpp .cs .go .rs .rb .php "
            ".swift .r .jl .lua .pl .sh .bash .zsh .fish .ps1 .sql .toml .yaml .yml .ini .cfg "
            ".conf .css .scss .bib .proto .graphql .tf .dart .ex .exs .erl .hs .ml .clj .vue "
            ".svelte .cmake .gradle .make .mk",
            *("code", "code", "markup", "read_plain"),
        ),
    )
    for suffix in suffixes.split()
}
"""Kind, its words, module and function of what reads a file, by the ending of its name."""

# What holds files of other kinds.
ARCHIVES = {
    **_all(".zip .tar", read_archive),
    **_all(".gz .bz2 .xz .tgz .tbz2 .txz", read_compressed),
}

_PICTURE = "a picture: it has no text without OCR"
_SOUND = "sound or film: transcribe it first"
_ARCHIVE = "an archive of a kind that is not read: unpack it first"
_OLD = "the Office format of before 2007: save it as {} first"
_BINARY = "a binary file with no text"
_OLD_KINDS = {
    **_all(".doc .dot", ".docx"),
    **_all(".ppt .pps .pot", ".pptx"),
    **_all(".xls .xlt", ".xlsx"),
}
UNREAD: dict[str, str] = {
    **_all(".doc .dot", _OLD.format("DOCX")),
    **_all(".ppt .pps .pot", _OLD.format("PPTX")),
    ".pages": "an Apple Pages document: export it as DOCX first",
    ".key": "an Apple Keynote presentation: export it as PPTX first",
    ".numbers": "an Apple Numbers sheet: export it as XLSX first",
    **_all(".mobi .azw3", "a Kindle book: convert it to EPUB first"),
    ".ps": "PostScript: convert it to PDF first",
    **_all(".png .jpg .jpeg .gif .bmp .tif .tiff .webp .heic .svg .ico", _PICTURE),
    **_all(".mp3 .wav .flac .ogg .m4a .mp4 .mkv .mov .avi .webm", _SOUND),
    **_all(".7z .rar .zst", _ARCHIVE),
    **_all(
        ".exe .dll .so .dylib .o .a .bin .dat .db .sqlite .pkl .npy .npz .pt .onnx .safetensors "
        ".woff .woff2 .ttf .otf .class .jar .whl .lance",
        _BINARY,
    ),
}
"""Why files of other kinds are not read, by the ending of their name."""

RESERVED = {
    "path": "the file",
    "kind": "what the file is",
    "modified": "when the file was changed",
    "source": "what the document is known by",
    "title": "the document's title",
    "page": "the page of a passage",
}
"""Names that filters use for what is known of every document, and for what."""


def read_file(
    path: Path, source: str, options: ReadOptions, allowance: Allowance | None = None
) -> tuple[list[Document], Notes]:
    """Return a file's documents and what is to be told about it.

    Args:
        path: The file.
        source: What its documents are known by.
        options: How to read it.
        allowance: What the archive that it comes from may still unpack to.

    Raises:
        Unreadable: It has no text; the words say why.
        MemoryError: It needs more memory than the worker may use.
    """
    suffix = path.suffix.lower()
    suffix = _true_suffix(path, suffix) or suffix
    if suffix in UNREAD:
        raise Unreadable(UNREAD[suffix])
    if suffix in ARCHIVES:
        return ARCHIVES[suffix](path, source, options, allowance or Allowance(), read_file)
    kind, words, module, name = READERS.get(suffix, READERS[".txt"])
    reader: Reader = leaf("tailorbird.documents", module, name)
    notes: Notes = []
    facts: dict[str, Value] = {"path": source, "kind": kind}
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a time beyond the years 1-9999
        changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        facts["modified"] = changed.isoformat(timespec="seconds")
    # Not `path.name`: bytes of it that are no UTF-8 are no words.
    title = "" if kind in ("csv", "jsonl", "parquet") else source.rpartition("/")[2]
    parsed = _texts(lambda: reader(path, options, notes), words, suffix not in READERS)
    _check_growth(parsed, path.stat().st_size)
    parsed = _with_own_names([one for one in parsed if one.text.strip()], notes)
    documents = [_document(one, source, title, facts) for one in parsed]
    if not documents:
        raise Unreadable("no text in it")
    return documents, notes


def _true_suffix(path: Path, suffix: str) -> str:
    """Return the ending that an Office file of an old name should have, by its first bytes."""
    if suffix not in _OLD_KINDS:
        return ""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"{\\rtf"):
        return ".rtf"
    if b"<html" in start or b"<table" in start:  # what web programs give out as a sheet
        return ".html"
    return _OLD_KINDS[suffix] if start.startswith(b"pk") else ""


def _check_growth(parsed: list[Parsed], size: int) -> None:
    """Refuse texts that no file of this size holds in earnest: one long text a thousand times.

    Raises:
        Unreadable: They are longer than that.
    """
    letters = sum(len(one.text) for one in parsed)
    if letters > max(_FREE_LETTERS, _MOST_GROWTH * size):
        raise Unreadable(
            f"its {size / 2**20:.1f} MB grow to {letters / 10**6:,.0f} million letters: a bomb"
        )


def _texts(read: Callable[[], Iterable[Parsed]], words: str, unknown: bool) -> list[Parsed]:
    """Return what a reader yields; its failures become reasons.

    Raises:
        Unreadable: It failed.
        MemoryError: It ran out of memory.
    """
    try:
        return list(read())
    except Unreadable as error:
        if unknown and "binary" in str(error):
            raise Unreadable("a kind that is not known, and no text") from error
        raise
    except MemoryError:
        raise
    except RecursionError as error:
        raise Unreadable(f"damaged: nested too deeply for {words}") from error
    except Exception as error:  # a library that stumbles over a damaged file raises anything
        raise Unreadable(failure(error, words)) from error


def _with_own_names(parsed: list[Parsed], notes: Notes) -> list[Parsed]:
    """Return texts whose metadata has no name of ours; the file's own is kept under another."""
    hidden = sorted({name for one in parsed for name in one.metadata if name in RESERVED})
    if not hidden:
        return parsed
    notes.extend(
        f"its own {name!r} is kept as 'own_{name}', since {name!r} is reserved for {RESERVED[name]}"
        for name in hidden
    )
    return [
        replace(one, metadata={own_name(n): value for n, value in one.metadata.items()})
        for one in parsed
    ]


def own_name(name: str) -> str:
    """Return what a file's own column or field is called in filters."""
    return f"own_{name}" if name in RESERVED else name


def _document(one: Parsed, source: str, title: str, facts: dict[str, Value]) -> Document:
    document = Document(
        source=f"{source}#{one.id}" if one.id else source,
        text=one.text,
        title=one.title or ("" if one.id else title),
        marks=one.marks if one.marks and not one.marks[0].start else (Mark(0), *one.marks),
        # What the file is comes last: a column named `path` does not hide where a row is from.
        metadata={**one.metadata, **facts},
    )
    object.__setattr__(document, "digest", document_digest(document))
    return document
