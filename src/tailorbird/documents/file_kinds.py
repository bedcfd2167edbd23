"""Kinds of files by the ending of their names: which are read, by which reader, and why not."""

from typing import TypeVar

from tailorbird.data.split_files import FORMATS

_T = TypeVar("_T")


def by_ending(suffixes: str, value: _T) -> dict[str, _T]:
    """Return a part of a table: the same value for each ending."""
    return dict.fromkeys(suffixes.split(), value)


# Modules are named, not imported: a worker that reads Markdown need not load PDFium.
READERS: dict[str, tuple[str, str, str, str]] = {
    suffix: (kind, FORMATS.get(suffix, words), module, reader)
    for suffixes, kind, words, module, reader in (
        (".txt .text .log", "plain", "text", "plain_text", "read_plain"),
        (".md .markdown .mdx .qmd .rmd", "markdown", "Markdown", "markdown", "read_markdown"),
        (".rst", "rst", "reStructuredText", "plain_text", "read_rst"),
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
        (".odt .ott", "odt", "an ODT", "odf", "read_odt"),
        (".odp .otp .odg", "odp", "an ODP", "odf", "read_odp"),
        (".ods .ots", "xlsx", "an ODS", "odf", "read_ods"),
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
            *("code", "code", "plain_text", "read_plain"),
        ),
    )
    for suffix in suffixes.split()
}
"""Kind, its description, and the reader's module and function, by the ending of a file name."""

_PICTURE = "a picture: it has no text without OCR"
_SOUND = "sound or film: transcribe it first"
_ARCHIVE = "an unsupported kind of archive: unpack it first"
_OLD = "the Office format of before 2007: save it as {} first"
_BINARY = "a binary file with no text"
OLD_KINDS = {
    **by_ending(".doc .dot", ".docx"),
    **by_ending(".ppt .pps .pot", ".pptx"),
    **by_ending(".xls .xlt", ".xlsx"),
}
UNREAD: dict[str, str] = {
    **by_ending(".doc .dot", _OLD.format("DOCX")),
    **by_ending(".ppt .pps .pot", _OLD.format("PPTX")),
    ".pages": "an Apple Pages document: export it as DOCX first",
    ".key": "an Apple Keynote presentation: export it as PPTX first",
    ".numbers": "an Apple Numbers sheet: export it as XLSX first",
    **by_ending(".mobi .azw3", "a Kindle book: convert it to EPUB first"),
    ".ps": "PostScript: convert it to PDF first",
    **by_ending(".png .jpg .jpeg .gif .bmp .tif .tiff .webp .heic .svg .ico", _PICTURE),
    **by_ending(".mp3 .wav .flac .ogg .m4a .mp4 .mkv .mov .avi .webm", _SOUND),
    **by_ending(".7z .rar .zst", _ARCHIVE),
    **by_ending(
        ".exe .dll .so .dylib .o .a .bin .dat .db .sqlite .pkl .npy .npz .pt .onnx .safetensors "
        ".woff .woff2 .ttf .otf .class .jar .whl .lance",
        _BINARY,
    ),
}
"""Why files of other kinds are not read, by the ending of their name."""
