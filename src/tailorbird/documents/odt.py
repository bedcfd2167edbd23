"""ODT and RTF: texts of LibreOffice and of older word processors."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.zipped import attribute, core_properties, local, needed, opened, part

_MOST_SPACES = 100


def read_odt(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read headings by their outline level, paragraphs, lists and tables."""
    with opened(path) as archive:
        manifest = part(archive, "META-INF/manifest.xml")
        if manifest is not None and any(local(e) == "encryption-data" for e in manifest.iter()):
            raise Unreadable("encrypted: it needs a password")
        root = needed(archive, "content.xml", "an ODT")
        said = core_properties(archive, "meta.xml")
    body = next((e for e in root.iter() if local(e) == "text" and len(e)), root)
    builder = TextBuilder()
    _blocks(builder, body, depth=0)
    metadata: dict[str, Value] = {"author": said["creator"]} if said.get("creator") else {}
    yield Parsed(*builder.result(), said.get("title", ""), metadata)


def _blocks(builder: TextBuilder, parent: Any, depth: int) -> None:
    for element in parent:
        kind = local(element)
        if kind == "h":
            level = attribute(element, "outline-level") or "1"
            builder.heading(_words(element), int(level) if level.isdigit() else 1)
        elif kind == "p" and depth:
            builder.item("  " * (depth - 1) + "- " + _words(element).strip())
        elif kind == "p":
            builder.block(_words(element))
        elif kind == "list":
            _blocks(builder, element, min(depth + 1, 8))
        elif kind == "table":
            builder.table(_rows(element))
        elif kind in ("list-item", "list-header", "section", "index-body"):
            _blocks(builder, element, depth)


def _words(element: Any) -> str:
    """Return an element's text; spaces, tabs and line ends are elements of their own."""
    parts = []
    stack: list[tuple[Any, bool]] = [(element, False)]
    while stack:
        inner, left = stack.pop()
        if left:
            parts.append(inner.tail or "")
            continue
        if inner is not element:
            stack.append((inner, True))
        kind = local(inner)
        if kind == "s":
            count = attribute(inner, "c") or "1"
            parts.append(" " * (min(int(count), _MOST_SPACES) if count.isdigit() else 1))
        elif kind in ("tab", "line-break"):
            parts.append("\t" if kind == "tab" else "\n")
        elif kind not in ("annotation", "tracked-changes"):
            parts.append(inner.text or "")
            stack.extend((child, False) for child in reversed(inner))
    return "".join(parts)


def _rows(table: Any) -> list[list[str]]:
    return [
        [
            squeeze(_words(cell))
            for cell in row
            if local(cell) in ("table-cell", "covered-table-cell")
        ]
        for row in table.iter()
        if local(row) == "table-row"
    ]


def read_rtf(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read the words of an RTF file; it keeps no headings that can be told."""
    from striprtf.striprtf import rtf_to_text

    data = path.read_bytes()
    if not data.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("not an RTF, whatever its name says")
    builder = TextBuilder()
    for paragraph in rtf_to_text(data.decode("latin-1"), errors="replace").split("\n"):
        builder.block(paragraph)
    yield Parsed(*builder.result())
