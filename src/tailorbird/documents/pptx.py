"""PPTX: slides in their order, titles as headings, then words, tables and the speaker's notes."""

import posixpath
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tailorbird.documents.build import TextBuilder, squeeze
from tailorbird.documents.parsed import Notes, Parsed, ReadOptions, Unreadable, Value
from tailorbird.documents.zipped import attribute, core_properties, local, needed, opened, part

_NUMBERS = frozenset({"sldNum", "dt", "ftr", "hdr"})


def read_pptx(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read the slides; a slide's number is its page."""
    builder = TextBuilder()
    with opened(path) as archive:
        root = needed(archive, "ppt/presentation.xml", "a PPTX")
        targets = _related(archive, "ppt/presentation.xml")
        slides = [e for e in root.iter() if local(e) == "sldId"]
        title = ""
        for number, slide in enumerate(slides, 1):
            # The slide's own `id` has no namespace; the relation's comes with one.
            relation = next((v for k, v in slide.attrib.items() if k.endswith("}id")), "")
            place = targets.get(relation, ("", ""))[1]
            builder.leave()
            builder.page(number)
            try:
                found = _slide(builder, archive, place)
            except Unreadable as error:
                notes.append(f"slide {number}: {error}")
                continue
            title = title or found
        said = core_properties(archive)
    metadata: dict[str, Value] = {"pages": len(slides)}
    if said.get("creator"):
        metadata["author"] = said["creator"]
    named = said.get("title", "")
    if named.lower() in ("powerpoint presentation", "presentation"):  # what programs write
        named = ""
    yield Parsed(*builder.result(), named or title, metadata)


def _related(archive: zipfile.ZipFile, name: str) -> dict[str, tuple[str, str]]:
    """Return type and place of what a part of the archive refers to, by the relation's id."""
    folder, file = posixpath.split(name)
    root = part(archive, f"{folder}/_rels/{file}.rels")
    found = {}
    for element in root.iter() if root is not None else ():
        if local(element) == "Relationship" and element.get("TargetMode") != "External":
            place = posixpath.normpath(posixpath.join("/", folder, element.get("Target") or ""))
            kind = (element.get("Type") or "").rpartition("/")[2]
            found[element.get("Id") or ""] = (kind, place.lstrip("/"))
    return found


def _slide(builder: TextBuilder, archive: zipfile.ZipFile, place: str) -> str:
    """Write a slide; return its title."""
    root = needed(archive, place, "a whole PPTX")
    shapes = [e for e in root.iter() if local(e) in ("sp", "graphicFrame")]
    titles = [shape for shape in shapes if _placeholder(shape) in ("title", "ctrTitle")]
    title = squeeze(" ".join(" ".join(_paragraphs(shape)) for shape in titles))
    builder.heading(title, 1)
    for shape in shapes:
        if shape in titles or _placeholder(shape) in _NUMBERS:
            continue
        table = next((e for e in shape.iter() if local(e) == "tbl"), None)
        if table is not None:
            builder.table(_rows(table))
        else:
            builder.block("\n".join(_paragraphs(shape)))
    for kind, where in _related(archive, place).values():
        if kind == "notesSlide" and (root := part(archive, where)) is not None:
            said = [
                line
                for shape in root.iter()
                if local(shape) == "sp" and _placeholder(shape) == "body"
                for line in _paragraphs(shape)
            ]
            if said:
                builder.block("Notes: " + "\n".join(said))
    return title


def _placeholder(shape: Any) -> str:
    found = next((e for e in shape.iter() if local(e) == "ph"), None)
    return "" if found is None else attribute(found, "type") or "content"


def _paragraphs(shape: Any) -> list[str]:
    lines = []
    for paragraph in (e for e in shape.iter() if local(e) == "p"):
        words = "".join(
            "\n" if local(e) == "br" else e.text or ""
            for e in paragraph.iter()
            if local(e) in ("t", "br")
        )
        if words.strip():
            lines.append(words.strip())
    return lines


def _rows(table: Any) -> list[list[str]]:
    return [
        [" ".join(_paragraphs(cell)) for cell in row if local(cell) == "tc"]
        for row in table
        if local(row) == "tr"
    ]
