"""Opens zip archives of XML, with limits."""

import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailorbird.documents.read_result import Unreadable, Value

MOST_BYTES = 1 << 30
_MOST_XML_BYTES = 256 << 20
_BOMB_RATIO = 200
_BOMB_BYTES = 50 << 20
_OLE = b"\xd0\xcf\x11\xe0"


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive, with a limit on its unpacked size.

    Raises:
        Unreadable: It is no archive, is encrypted, or unpacks to too much.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == _OLE:
        raise Unreadable("encrypted with a password, or in the Office format of before 2007")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Unreadable(f"damaged or cut off: {error}") from error
    with archive:
        _check(archive)
        yield archive


def _check(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if any(entry.flag_bits & 1 for entry in entries):
        raise Unreadable("encrypted: save a copy without its password")
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if unpacked > MOST_BYTES or (unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed):
        raise Unreadable(
            f"unpacks from {packed / 2**20:.1f} MB to {unpacked / 2**20:,.0f} MB: a zip bomb"
        )


def member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """Return a file of the archive, or None.

    Raises:
        Unreadable: It is damaged or too large.
    """
    try:
        entry = archive.getinfo(name)
    except KeyError:
        return None
    if entry.file_size > _MOST_XML_BYTES:
        raise Unreadable(f"its part {name} has {entry.file_size / 2**20:,.0f} MB")
    try:
        return archive.read(entry)
    except MemoryError:
        raise
    except Exception as error:  # zlib, CRC, unknown compression: a damaged archive
        raise Unreadable(f"damaged: its part {name}: {error}") from error


def parse_xml(data: bytes, name: str) -> Any:
    """Return the root element; entities are not expanded and nothing is fetched.

    Raises:
        Unreadable: The XML is damaged.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"damaged: its part {name}: {error.msg}") from error
    if root is None:
        raise Unreadable(f"damaged: its part {name} is empty")
    return root


def xml_part(archive: zipfile.ZipFile, name: str) -> Any | None:
    """Return the root of an XML file of the archive, or None."""
    data = member(archive, name)
    return None if data is None else parse_xml(data, name)


def required_part(archive: zipfile.ZipFile, name: str, kind: str) -> Any:
    """Return the root of an XML file that every file of this kind has.

    Raises:
        Unreadable: It is missing.
    """
    root = xml_part(archive, name)
    if root is None:
        raise Unreadable(f"not {kind}: it has no {name}")
    return root


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation from a part of an Office file to another.

    Attributes:
        kind: The last word of its type: ``chart``, ``comments``, ``slide`` ...
    """

    kind: str
    place: str


def relations(archive: zipfile.ZipFile, name: str) -> dict[str, Relation]:
    """Return the relations of a part of an Office file within the archive, by id."""
    folder, file = posixpath.split(name)
    root = xml_part(archive, posixpath.join(folder, "_rels", f"{file}.rels"))
    targets = {}
    for element in root.iter() if root is not None else ():
        if local(element) == "Relationship" and element.get("TargetMode") != "External":
            place = posixpath.normpath(posixpath.join("/", folder, element.get("Target") or ""))
            kind = (element.get("Type") or "").rpartition("/")[2]
            targets[element.get("Id") or ""] = Relation(kind, place.lstrip("/"))
    return targets


def main_part(archive: zipfile.ZipFile, usual: str) -> str:
    """Return the name of an Office file's main part, which may differ from the usual one."""
    if usual in archive.NameToInfo:
        return usual
    targets = relations(archive, "").values()
    return next((target.place for target in targets if target.kind == "officeDocument"), usual)


def local(element: Any) -> str:
    """Return an element's name without its namespace; empty for comments and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def child(element: Any, *names: str) -> Any:
    """Return an element's first child with one of these names, or None."""
    tags = (f"{{*}}{name}" for name in names)
    return None if element is None else next(element.iterchildren(*tags), None)


def relation_id(element: Any, name: str = "id") -> str:
    """Return the relation id of an element, from its namespaced attribute."""
    return next((str(v) for k, v in element.attrib.items() if k.endswith("}" + name)), "")


def attribute(element: Any, name: str) -> str | None:
    """Return an attribute in any namespace."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return None


def office_facts(
    archive: zipfile.ZipFile, name: str = "docProps/core.xml"
) -> tuple[str, dict[str, Value]]:
    """Return an Office file's title, and its author as metadata."""
    try:
        root = xml_part(archive, name)
    except Unreadable:
        return "", {}
    properties: dict[str, str] = {}
    for element in root.iter() if root is not None else ():
        if words := " ".join((element.text or "").split()):
            properties.setdefault(local(element), words)
    author = properties.get("creator")
    return properties.get("title", ""), {"author": author} if author else {}
