"""Drawings in Office files: charts with their numbers, SmartArt, text boxes and formulas."""

import datetime
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from tailorbird.documents.list_numbers import number_label
from tailorbird.documents.read_result import Notes, Unreadable, note_once
from tailorbird.documents.table_grid import Cell, whole_number
from tailorbird.documents.text_builder import TextBuilder, squeeze, superscript
from tailorbird.documents.zip_xml import Relation, attribute, child, local, relation_id, xml_part

_DAY_ZERO = datetime.datetime(1899, 12, 30)
_LAST_DAY = 2_958_465
_EXACT_DIGITS = 1e13
_DATE_FORMAT = re.compile(r"[yd]", re.I)
_POINT_LISTS = frozenset({"lvl", "strCache", "numCache", "strLit", "numLit"})
_AUTO = {"arabic": "decimal", "alphaLc": "lowerLetter", "alphaUc": "upperLetter",
         "romanLc": "lowerRoman", "romanUc": "upperRoman"}  # fmt: skip
_AUTO_MARKS = {"Period": ("", "."), "ParenR": ("", ")"), "ParenBoth": ("(", ")")}


def number_text(value: float) -> str:
    """Return a number in plain notation with all stored digits."""
    if value.is_integer() and abs(value) < 1e18:
        return str(int(value))
    # 15 digits hide rounding errors in sums of cents; large numbers need all digits.
    return f"{value:.15g}" if abs(value) < _EXACT_DIGITS else repr(value)


class Drawings:
    """Writes the contents of the drawings in one part of an archive."""

    def __init__(
        self,
        builder: TextBuilder,
        archive: zipfile.ZipFile,
        targets: dict[str, Relation],
        notes: Notes,
    ) -> None:
        self.builder = builder
        self.archive = archive
        self.targets = targets
        self.notes = notes

    def write(self, element: Any) -> bool:
        """Write an object's chart, diagram or note; return whether it has one."""
        for inner in element.iter():
            kind = local(inner)
            if kind == "chart" and (target := self._target(inner, "id")):
                self._chart(target)
            elif kind == "relIds" and (target := self._target(inner, "dm")):
                self._diagram(target)
            elif kind in ("oleObj", "OLEObject"):
                program = attribute(inner, "progId") or attribute(inner, "ProgID") or "unknown kind"
                note_once(self.notes, f"left out: an embedded object ({program})")
            else:
                continue
            return True
        return False

    def _target(self, element: Any, name: str) -> Relation | None:
        return self.targets.get(relation_id(element, name))

    def _chart(self, target: Relation) -> None:
        try:
            root = xml_part(self.archive, target.place)
        except Unreadable as error:
            return note_once(self.notes, f"left out: a chart: {error}")
        rows = [] if root is None else list(_chart_rows(root))
        parts = () if root is None else root.iter("{*}chart", "{*}chartSpace")
        title = next(filter(None, map(_title, parts)), "")
        if len(rows) < 2:
            note_once(
                self.notes,
                f"left out: a chart without numbers or of an unsupported kind: {title!r}",
            )
        self.builder.table(rows if len(rows) > 1 else [], caption=f"Chart: {title}".rstrip(": "))

    def _diagram(self, target: Relation) -> None:
        try:
            root = xml_part(self.archive, target.place)
        except Unreadable as error:
            return note_once(self.notes, f"left out: a diagram: {error}")
        for depth, text in _diagram_items(root) if root is not None else ():
            self.builder.item("  " * depth + "- " + text)


def _title(element: Any) -> str:
    title = child(element, "title")
    return "" if title is None else squeeze(" ".join(paragraphs(title)))


def _chart_rows(root: Any) -> Iterator[list[Cell]]:
    """Yield a header row and a row per category, for all series with the same categories."""
    plots: dict[tuple[str, ...], list[tuple[str, dict[int, str]]]] = {}
    names: dict[tuple[str, ...], dict[int, str]] = {}
    for series in root.iter("{*}ser"):
        categories = _points(child(series, "cat", "xVal"))
        values = _points(child(series, "val", "yVal"))
        key = tuple(categories.values())
        names.setdefault(key, categories)
        plots.setdefault(key, []).append((" ".join(_points(child(series, "tx")).values()), values))
    axes = [_title(e) for e in root.iter("{*}catAx", "{*}dateAx")]
    for key, series_values in plots.items():
        heads = [(axes or [""])[0], *(title for title, _ in series_values)]
        yield [Cell(text, header="column") for text in heads]
        for index in sorted(set(names[key]).union(*(values for _, values in series_values))):
            texts = [names[key].get(index, ""), *(v.get(index, "") for _, v in series_values)]
            yield [Cell(text) for text in texts]


def _points(element: Any) -> dict[int, str]:
    """Return a chart's cached texts of its cells, by their number."""
    if element is None:
        return {}
    texts: dict[int, list[str]] = {}
    levels = [e for e in element.iter() if local(e) in _POINT_LISTS]
    for level in reversed(levels):  # the innermost names are first in the file
        form = getattr(child(level, "formatCode"), "text", "") or ""
        for point in level.iterchildren("{*}pt"):
            text = format_value(getattr(child(point, "v"), "text", "") or "", form)
            texts.setdefault(whole_number(point.get("idx"), 0), []).append(text)
    if not texts and (plain := child(element, "v")) is not None:
        return {0: plain.text or ""}
    return {index: " / ".join(parts) for index, parts in sorted(texts.items())}


def format_value(text: str, form: str) -> str:
    """Format a point's value by its number format: dates and percentages."""
    try:
        value = float(text)
    except ValueError:
        return squeeze(text)
    if "%" in form:
        return number_text(float(f"{value * 100:.12g}")) + "%"
    if "General" not in form and _DATE_FORMAT.search(form) and 0 < value < _LAST_DAY:
        return (_DAY_ZERO + datetime.timedelta(days=value)).date().isoformat()
    return number_text(value)


def _diagram_items(root: Any) -> Iterator[tuple[int, str]]:
    """Yield depth and words of a diagram's nodes, in tree order."""
    points = {e.get("modelId"): e for e in root.iter() if local(e) == "pt"}
    below: dict[str | None, list[tuple[int, str | None]]] = {}
    hanging = set()
    for link in root.iter("{*}cxn"):
        if link.get("type", "parOf") == "parOf":
            order = whole_number(link.get("srcOrd"), 0)
            below.setdefault(link.get("srcId"), []).append((order, link.get("destId")))
            hanging.add(link.get("destId"))
    stack = [(0, name) for name in reversed(points) if name not in hanging]
    written_parts = set()
    while stack:
        depth, name = stack.pop()
        point = points.get(name)
        if point is None or name in written_parts:
            continue
        written_parts.add(name)
        text = squeeze(" ".join(paragraphs(point)))
        if text and point.get("type", "node") in ("node", "asst"):
            yield depth, text
            depth = min(depth + 1, 8)
        for _, inner in sorted(below.get(name, []), key=lambda pair: -pair[0]):
            stack.append((depth, inner))


def paragraphs(shape: Any) -> list[str]:
    """Return the lines of a shape's text, with the numbers of list items."""
    lines = []
    counts: dict[int, int] = {}
    for paragraph in shape.iter("{*}p"):
        words = paragraph_words(paragraph).strip()
        if not words:
            continue
        properties = child(paragraph, "pPr")
        level = 0 if properties is None else min(whole_number(properties.get("lvl"), 0), 8)
        auto = child(properties, "buAutoNum")
        last = level - (auto is None)
        counts = {depth: count for depth, count in counts.items() if depth <= last}
        if auto is not None:
            counts[level] = counts.get(level, whole_number(auto.get("startAt")) - 1) + 1
            words = f"{'  ' * level}{_auto_label(auto.get('type') or '', counts[level])} {words}"
        lines.append(words)
    return lines


def _auto_label(kind: str, number: int) -> str:
    name = next((name for name in _AUTO if kind.startswith(name)), "arabic")
    before, after = _AUTO_MARKS.get(kind.removeprefix(name), ("", ""))
    return f"{before}{number_label(number, _AUTO[name])}{after}"


def paragraph_words(paragraph: Any) -> str:
    """Return the words of a drawing's paragraph, with superscripts marked."""
    parts: list[str] = []
    for element in paragraph.iter():
        kind = local(element)
        if kind == "br":
            parts.append("\n")
        elif kind == "tab":
            parts.append("\t")
        elif kind == "t" and "officeDocument/2006/math" in str(element.tag):
            parts.append(formula_mark(element) + (element.text or ""))
        elif kind == "t":
            properties = child(element.getparent(), "rPr")
            high = properties is not None and not (properties.get("baseline") or "0").startswith(
                ("0", "-")
            )
            text = element.text or ""
            parts.append(superscript("".join(parts[-2:]), text) if high else text)
    return "".join(parts)


def formula_mark(text: Any) -> str:
    """Return the sign before a formula's text, of a power or a division, or an empty text."""
    outer = text.getparent()
    while outer is not None and next(iter(outer.iter(text.tag))) is text:
        if local(outer) in ("sup", "den"):
            return "^" if local(outer) == "sup" else "/"
        outer = outer.getparent()
    return ""
