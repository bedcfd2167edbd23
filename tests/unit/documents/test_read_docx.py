"""DOCX: numbers of lists, spans and headers of tables, notes, boxes, charts, powers, odd places."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tailorbird.documents.read_result import ReadOptions
from tailorbird.documents.readers import read_file

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
M = "http://schemas.openxmlformats.org/officeDocument/2006/math"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
NAMES = f'xmlns:w="{W}" xmlns:r="{R}" xmlns:m="{M}"'
Lines = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return a function that writes a body and other parts, and gives the lines and notes."""

    def of(body: str, main: str = "word/document.xml", **parts: str) -> tuple[list[str], list[str]]:
        folder, _, name = main.rpartition("/")
        with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
            archive.writestr("_rels/.rels", rels(("officeDocument", main)))
            archive.writestr(main, f"<w:document {NAMES}><w:body>{body}</w:body></w:document>")
            targets = rels(*((kind, f"{kind}.xml") for kind in parts))
            archive.writestr(f"{folder}/_rels/{name}.rels", targets)
            for kind, xml in parts.items():
                archive.writestr(f"{folder}/{kind}.xml", f"<w:x {NAMES}>{xml}</w:x>")
        (document,), notes = read_file(tmp_path / "a.docx", "a.docx", ReadOptions())
        return [line for line in document.text.split("\n") if line], notes

    return of


def rels(*targets: tuple[str, str]) -> str:
    inner = "".join(
        f'<Relationship Id="r{n}" Type="{R}/{kind}" Target="{place}"/>'
        for n, (kind, place) in enumerate(targets)
    )
    return f'<Relationships xmlns="{PACKAGE}">{inner}</Relationships>'


def p(text: str, properties: str = "", run: str = "") -> str:
    look = f"<w:rPr>{run}</w:rPr>" if run else ""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r>{look}<w:t>{text}</w:t></w:r></w:p>"


def item(text: str, number: int = 1, depth: int = 0) -> str:
    return p(text, f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/></w:numPr>')


def cell(text: str, properties: str = "", run: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(text, run=run)}</w:tc>"


def row(*cells: str, properties: str = "") -> str:
    plain = (c if c.startswith("<") else cell(c) for c in cells)
    return f"<w:tr><w:trPr>{properties}</w:trPr>{''.join(plain)}</w:tr>"


def table(*rows: str, look: str = "") -> str:
    return f"<w:tbl><w:tblPr>{look}</w:tblPr>{''.join(rows)}</w:tbl>"


def level(depth: int, form: str, text: str, more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{form}"/>'
        f'<w:lvlText w:val="{text}"/>{more}</w:lvl>'
    )


def lists(levels: str, *nums: str) -> str:
    inner = "".join(
        f'<w:num w:numId="{n}"><w:abstractNumId w:val="7"/>{override}</w:num>'
        for n, override in enumerate(nums or ("",), 1)
    )
    return f'<w:abstractNum w:abstractNumId="7">{levels}</w:abstractNum>{inner}'


def test_items_have_their_numbers(lines: Lines) -> None:
    levels = level(0, "decimal", "%1.") + level(1, "lowerLetter", "%2)") + level(2, "bullet", "o")
    body = "".join(
        [item("oil"), item("tin", depth=1), item("can", depth=1), item("drop", depth=2),
         item("turn"), p("Wait."), item("lid", depth=1), item("close")]
    )  # fmt: skip
    assert lines(body, numbering=lists(levels))[0] == [
        "1. oil", "  a) tin", "  b) can", "    - drop", "2. turn", "Wait.", "  a) lid", "3. close",
    ]  # fmt: skip


def test_forms_of_numbers(lines: Lines) -> None:
    levels = level(0, "upperRoman", "Part %1") + level(1, "decimal", "%1.%2", "<w:isLgl/>")
    body = item("sea") + item("tide", depth=1) + item("shore") + item("sand", depth=1)
    assert lines(body, numbering=lists(levels))[0] == [
        "Part I sea", "  1.1 tide", "Part II shore", "  2.1 sand",
    ]  # fmt: skip


def test_lists_that_begin_anew_and_lists_that_go_on(lines: Lines) -> None:
    anew = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>'
    numbering = lists(level(0, "lowerRoman", "(%1)"), "", "", anew)
    body = item("a") + item("b", 2) + item("c", 3) + item("d", 3) + item("no", 0) + item("no", 99)
    assert lines(body, numbering=numbering)[0] == [
        "(i) a", "(ii) b", "(v) c", "(vi) d", "no", "no",
    ]  # fmt: skip


def test_numbers_that_a_style_gives(lines: Lines) -> None:
    """Headings are numbered by their style, whose depth the list says."""
    styles = "".join(
        f'<w:style w:styleId="H{n}"><w:name w:val="heading {n}"/>'
        '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
        for n in (1, 2)
    )
    numbering = lists(
        level(0, "decimal", "%1", '<w:pStyle w:val="H1"/>')
        + level(1, "decimal", "%1.%2", '<w:pStyle w:val="H2"/>')
    )
    h1, h2 = '<w:pStyle w:val="H1"/>', '<w:pStyle w:val="H2"/>'
    body = p("Sea", h1) + p("Tide", h2) + p("Moon", h2) + p("Shore", h1) + p("Sand", h2)
    texts, _ = lines(body, styles=styles, numbering=numbering)
    assert texts == ["1 Sea", "1.1 Tide", "1.2 Moon", "2 Shore", "2.1 Sand"]


def test_spans_of_tables(lines: Lines) -> None:
    head = row("Pier", "May", "June", properties="<w:tblHeader/>")
    first = row(
        cell("North", '<w:vMerge w:val="restart"/>'), cell("dry", '<w:gridSpan w:val="2"/>')
    )
    second = row(cell("", "<w:vMerge/>"), "Alma", "Cara")
    late = row("Berta", "Ines", properties='<w:gridBefore w:val="1"/>')
    assert lines(table(head, first, second, late))[0] == [
        "Pier: North; May: dry; June: dry",
        "Pier: North; May: Alma; June: Cara",
        "May: Berta; June: Ines",
    ]


def test_rows_and_cells_in_content_controls(lines: Lines) -> None:
    def control(inner: str) -> str:
        return f"<w:sdt><w:sdtContent>{inner}</w:sdtContent></w:sdt>"

    gone = row("Nail", "0", properties="<w:del/>")
    body = table(
        row("Part", "Stock", properties="<w:tblHeader/>"),
        control(row("Ring", control(cell("5"))) + control(row("Bolt", "6"))),
        f"<w:ins>{row('Cap', '7')}</w:ins>",
        gone,
    )
    assert lines(body)[0] == ["Part: Ring; Stock: 5", "Part: Bolt; Stock: 6", "Part: Cap; Stock: 7"]


PAIRS = (row("Keeper", "Ines"), row("Mate", "Olaf"))
SHOWN = '<w:style w:styleId="T"><w:tblStylePr w:type="firstRow"/></w:style>'


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ('<w:tblLook w:firstRow="1"/>', "Keeper: Mate; Ines: Olaf"),
        ('<w:tblLook w:val="04A0"/>', "Keeper: Mate; Ines: Olaf"),
        ('<w:tblLook w:firstRow="0"/>', "Keeper: Ines"),
        ('<w:tblLook w:firstRow="0" w:firstColumn="1"/>', "Keeper: Ines"),
        ('<w:tblStyle w:val="T"/><w:tblLook w:firstRow="1"/>', "Keeper: Mate; Ines: Olaf"),
        ("", "Keeper: Ines"),
    ],
)
def test_headers_by_the_look_of_a_table(lines: Lines, look: str, expected: str) -> None:
    assert lines(table(*PAIRS, look=look), styles=SHOWN)[0][0] == expected


def test_what_word_ticks_by_itself_makes_no_pairs_a_header(lines: Lines) -> None:
    pairs = (*PAIRS[:1], row("Phone", "555 01"), row("Road", "Quay 4"))
    word = '<w:tblLook w:firstRow="1" w:firstColumn="1"/>'
    assert lines(table(*pairs, look=word))[0] == ["Keeper: Ines", "Phone: 555 01", "Road: Quay 4"]
    three = (row("Keeper", "Ines", "x"), row("Mate", "Olaf", "y"))
    off = '<w:tblLook w:firstRow="0"/>'
    assert lines(table(*three, look=off))[0] == ["Keeper | Ines | x", "Mate | Olaf | y"]


def test_a_bold_first_row_is_a_header(lines: Lines) -> None:
    bold = row(*(cell(text, run="<w:b/>") for text in ("Lamp", "Colour")))
    body = table(bold, row("North", "red"), look='<w:tblLook w:firstRow="0"/>')
    assert lines(body)[0] == ["Lamp: North; Colour: red"]


def test_nested_tables_come_once_and_boxes_of_one_cell_are_text(lines: Lines) -> None:
    inner = table(row("a", "b", properties="<w:tblHeader/>"), row("1", "2"))
    outer = row("Hall", f"<w:tc>{inner}{p('end')}</w:tc>")
    assert lines(table(row("Room", "Plan", properties="<w:tblHeader/>"), outer))[0] == [
        "Room: Hall; Plan: a: 1; b: 2 end"
    ]
    box = f"<w:tc>{p('One.')}{p('Two.')}</w:tc>"
    assert lines(table(row(box)))[0] == ["One.", "Two."]


def test_captions_notes_and_comments(lines: Lines) -> None:
    body = table(*PAIRS, look='<w:tblCaption w:val="Who is who"/>') + p("The end.")
    texts, notes = lines(
        body,
        footnotes=f"<w:footnote>{p('At low tide.')}</w:footnote>",
        endnotes=f"<w:endnote>{p('After the flood.')}{p('Twice.')}</w:endnote>",
        comments=f"<w:comment>{p('really?')}</w:comment>",
        header=p("Harbour book"),
        footer=p("7"),
    )
    assert texts[0] == "Who is who"
    assert texts[-2:] == ["Footnote: At low tide.", "Endnote: After the flood. Twice."]
    assert notes == [
        "1 comments are left out",
        "page headers and footers are left out: 'Harbour book'",
    ]


def test_powers_and_formulas(lines: Lines) -> None:
    high = '<w:vertAlign w:val="superscript"/>'

    def run(text: str, look: str = "") -> str:
        return f"<w:r><w:rPr>{look}</w:rPr><w:t>{text}</w:t></w:r>"

    def text(inner: str) -> str:
        return f"<m:r><m:t>{inner}</m:t></m:r>"

    formula = (
        f"<m:oMath><m:sSup><m:e>{text('x')}</m:e><m:sup>{text('2')}{text('n')}</m:sup></m:sSup>"
        f"<m:f><m:num>{text('a')}</m:num><m:den>{text('b')}</m:den></m:f></m:oMath>"
    )
    body = f"<w:p>{run('10')}{run('6', high)}{run(' m')}{run('-2', high)}{run(', 21')}"
    body += f"{run('st', high)} {formula}</w:p>"
    assert lines(body)[0] == ["10^6 m^-2, 21stx^2na/b"]


def test_text_boxes_stand_after_their_paragraph_and_once(lines: Lines) -> None:
    box = f"<w:txbxContent>{p('Inside.')}</w:txbxContent>"
    mc = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    both = (
        f'<a:AlternateContent xmlns:a="{mc}"><a:Choice><w:drawing>{box}</w:drawing></a:Choice>'
        f"<a:Fallback><w:pict>{box}</w:pict></a:Fallback></a:AlternateContent>"
    )
    body = f"<w:p><w:r><w:t>Be</w:t></w:r><w:r>{both}</w:r><w:r><w:t>fore.</w:t></w:r></w:p>"
    assert lines(body)[0] == ["Before.", "Inside."]
    assert lines(table(row("a", f"<w:tc>{body}</w:tc>")))[0] == ["a: Before. Inside."]


def test_charts(lines: Lines) -> None:
    c = "http://schemas.openxmlformats.org/drawingml/2006/chart"
    points = '<c:pt idx="0"><c:v>{}</c:v></c:pt>'
    chart = (
        f'<c:chart xmlns:c="{c}"><c:ser><c:tx><c:v>boats</c:v></c:tx>'
        f"<c:cat><c:strCache>{points.format('Vik')}</c:strCache></c:cat>"
        f"<c:val><c:numCache>{points.format('45')}</c:numCache></c:val></c:ser></c:chart>"
    )
    drawing = f'<w:p><w:r><w:drawing><c:chart xmlns:c="{c}" r:id="r0"/></w:drawing></w:r></w:p>'
    assert lines(drawing, chart=chart)[0] == ["Chart", "Vik; boats: 45"]
    _, notes = lines(drawing + p("x"), chart="")
    assert "left out: a chart without numbers or of an unsupported kind" in notes[0]


def test_the_main_part_may_have_any_name(lines: Lines) -> None:
    levels = level(0, "decimal", "%1.")
    texts, _ = lines(item("oil"), "parts/text2.xml", numbering=lists(levels))
    assert texts == ["1. oil"]


@pytest.mark.parametrize("suffix", ["dotx", "docm", "dotm"])
def test_templates(tmp_path: Path, made: object, suffix: str) -> None:
    made.docx(tmp_path / f"a.{suffix}")  # type: ignore[attr-defined]
    (document,), _ = read_file(tmp_path / f"a.{suffix}", "a", ReadOptions())
    assert document.metadata["kind"] == "docx" and "Place: Alaska; Count: 90" in document.text


def test_absurd_spans_are_bounded(lines: Lines) -> None:
    wide = cell("x", '<w:gridSpan w:val="999999999"/><w:vMerge w:val="restart"/>')
    body = table(row("a", "b"), *(row(wide, wide) for _ in range(99)))
    assert len("".join(lines(body)[0])) < 2_000_000
