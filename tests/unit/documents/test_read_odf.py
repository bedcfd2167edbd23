"""OpenDocument and RTF: spans, headers, numbers of lists, notes, charts, slides and sheets."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tailorbird.documents.read_result import ReadOptions, Unreadable
from tailorbird.documents.readers import read_file

NS = "urn:oasis:names:tc:opendocument:xmlns"
NAMES = " ".join(
    f'xmlns:{name}="{NS}:{place}:1.0"'
    for name, place in (
        ("office", "office"), ("text", "text"), ("table", "table"), ("style", "style"),
        ("draw", "drawing"), ("chart", "chart"), ("presentation", "presentation"),
        ("fo", "xsl-fo-compatible"),
    )
)  # fmt: skip
LINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
Lines = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return a function that writes a file and gives the lines and notes of it."""

    def of(
        body: str, kind: str = "odt", styles: str = "", **objects: str
    ) -> tuple[list[str], list[str]]:
        name = {"odt": "text", "odp": "presentation", "ods": "spreadsheet"}[kind]
        content = (
            f"<office:document-content {NAMES} {LINK}><office:automatic-styles>{styles}"
            f"</office:automatic-styles><office:body><office:{name}>{body}</office:{name}>"
            "</office:body></office:document-content>"
        )
        with zipfile.ZipFile(tmp_path / f"a.{kind}", "w") as archive:
            archive.writestr("content.xml", content)
            for place, xml in objects.items():
                archive.writestr(f"{place}/content.xml", f"<office:x {NAMES}>{xml}</office:x>")
        (document,), notes = read_file(tmp_path / f"a.{kind}", "a", ReadOptions())
        return [line for line in document.text.split("\n") if line], notes

    return of


def p(text: str, more: str = "") -> str:
    return f"<text:p {more}>{text}</text:p>"


def cell(text: str, more: str = "") -> str:
    return f"<table:table-cell {more}>{p(text) if text else ''}</table:table-cell>"


def row(*cells: str, more: str = "") -> str:
    inner = "".join(c if c.startswith("<") else cell(c) for c in cells)
    return f"<table:table-row {more}>{inner}</table:table-row>"


def table(*rows: str, name: str = "T", more: str = "") -> str:
    return f'<table:table table:name="{name}" {more}>{"".join(rows)}</table:table>'


def head(*cells: str) -> str:
    return f"<table:table-header-rows>{row(*cells)}</table:table-header-rows>"


REPEATED = "table:number-columns-repeated='"
COVERED = "<table:covered-table-cell/>"


def test_spans_and_header_rows(lines: Lines) -> None:
    body = table(
        head("Pier", "May", "June"),
        row(
            cell("North", 'table:number-rows-spanned="2"'),
            cell("dry", 'table:number-columns-spanned="2"'),
            COVERED,
        ),
        row(COVERED, "Alma", "Cara"),
        row(cell("none", 'table:number-columns-repeated="3"')),
    )
    assert lines(body)[0] == [
        "Pier: North; May: dry; June: dry",
        "Pier: North; May: Alma; June: Cara",
        "Pier: none; May: none; June: none",
    ]


def test_header_columns_and_bold_first_rows(lines: Lines) -> None:
    columns = "<table:table-header-columns><table:table-column/></table:table-header-columns>"
    assert lines(table(columns, row("Keeper", "Ines"), row("Mate", "Olaf")))[0] == [
        "Keeper: Ines",
        "Mate: Olaf",
    ]
    styles = (
        '<style:style style:name="B"><style:text-properties fo:font-weight="bold"/></style:style>'
        '<style:style style:name="H" style:parent-style-name="Table_20_Heading"/>'
    )
    for bold in (
        '<text:p text:style-name="H">{}</text:p>',
        '<text:p><text:span text:style-name="B">{}</text:span></text:p>',
    ):
        cells = (f"<table:table-cell>{bold.format(t)}</table:table-cell>" for t in ("Lamp", "Hue"))
        body = table(row(*cells), row("North", "red"))
        assert lines(body, styles=styles)[0] == ["Lamp: North; Hue: red"]


def test_a_table_within_a_cell_comes_once_and_paragraphs_do_not_stick(lines: Lines) -> None:
    inner = table(head("a", "b"), row("1", "2"))
    body = table(
        head("Room", "Plan"),
        row("Hall", f"<table:table-cell>{p('x')}{p('y')}{inner}</table:table-cell>"),
    )
    assert lines(body)[0] == ["Room: Hall; Plan: x y a: 1; b: 2"]


LIST = (
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" '
    'style:num-format="1" style:num-suffix="."/><text:list-level-style-number text:level="2" '
    'style:num-format="a" style:num-suffix=")" text:start-value="3"/>'
    '<text:list-level-style-bullet text:level="3"/></text:list-style>'
)


def ol(*items: str, more: str = 'text:style-name="L"') -> str:
    inner = "".join(f"<text:list-item>{item}</text:list-item>" for item in items)
    return f"<text:list {more}>{inner}</text:list>"


def test_items_have_their_numbers(lines: Lines) -> None:
    deepest = ol(p("drop"), more="")
    body = ol(
        p("oil") + p("well"), p("turn") + ol(p("tin") + deepest, p("can"), more=""), p("shut")
    )
    goes_on = ol(p("wait"), more='text:style-name="L" text:continue-numbering="true"')
    late = ol(p("nine")).replace("list-item>", 'list-item text:start-value="9">', 1)
    body += p("Then.") + goes_on + ol(p("new")) + late
    assert lines(body, styles=LIST)[0] == [
        "1. oil", "  well", "2. turn", "  c) tin", "    - drop", "  d) can", "3. shut", "Then.",
        "4. wait", "1. new", "9. nine",
    ]  # fmt: skip


def test_numbered_headings(lines: Lines) -> None:
    styles = (
        '<text:outline-style style:name="O"><text:outline-level-style text:level="1" '
        'style:num-format="I"/><text:outline-level-style text:level="2" style:num-format="1" '
        'text:display-levels="2"/></text:outline-style>'
    )
    body = "".join(
        f'<text:h text:outline-level="{n}">{t}</text:h>'
        for n, t in ((1, "Sea"), (2, "Tide"), (2, "Moon"), (1, "Shore"))
    )
    assert lines(body, styles=styles)[0] == ["I Sea", "I.1 Tide", "I.2 Moon", "II Shore"]


def test_notes_comments_boxes_and_powers(lines: Lines) -> None:
    styles = (
        '<style:style style:name="S"><style:text-properties style:text-position="super 58%"/>'
        "</style:style>"
    )
    note = (
        '<text:note text:note-class="{}"><text:note-citation>1</text:note-citation>'
        "<text:note-body>{}</text:note-body></text:note>"
    )
    body = p(
        "At low" + note.format("footnote", p("In May.")) + " tide"
        + note.format("endnote", p("Or June.")) + " 10<text:span text:style-name='S'>6</text:span>"
        " <draw:frame><draw:text-box><text:p>Boxed.</text:p></draw:text-box></draw:frame>boats"
        "<office:annotation><text:p>sure?</text:p></office:annotation>."
    )  # fmt: skip
    texts, notes = lines(body, styles=styles)
    assert texts == ["At low tide 10^6 boats.", "Boxed.", "Footnote: In May.", "Endnote: Or June."]
    assert notes == ["1 comments are left out"]


def test_charts(lines: Lines) -> None:
    frame = p('<draw:frame><draw:object xlink:href="./{}"/></draw:frame>')
    numbers = table(head("", "mm"), row("Vik", "45"))
    chart = f"<chart:chart><chart:title>{p('Rain')}</chart:title>{numbers}</chart:chart>"
    texts, notes = lines(frame.format("O1") + frame.format("O2"), O1=chart, O2="<m/>")
    assert texts == ["Chart: Rain", "Vik; mm: 45"]
    assert notes == ["left out: an embedded object"]


def test_slides(lines: Lines) -> None:
    def frame(kind: str, inner: str) -> str:
        box = f"<draw:text-box>{inner}</draw:text-box>"
        return f'<draw:frame presentation:class="{kind}">{box}</draw:frame>'

    body = "".join(
        f"<draw:page>{frame('outline', p(text))}{frame('title', p(title))}{frame('footer', p('7'))}"
        f"<presentation:notes>{frame('notes', p('slowly'))}</presentation:notes></draw:page>"
        for title, text in (("Sea", "It is wet."), ("Shore", "It is dry."))
    )
    assert lines(body, "odp")[0] == [
        "Sea", "It is wet.", "Notes: slowly", "Shore", "It is dry.", "Notes: slowly",
    ]  # fmt: skip


def value(number: str, shown: str, kind: str = "float") -> str:
    name = "date-value" if kind == "date" else "value"
    return cell(shown, f'office:value-type="{kind}" office:{name}="{number}"')


def test_sheets(lines: Lines) -> None:
    body = table(
        row("Port", cell("2019", 'table:number-columns-spanned="2"'), COVERED, "Day"),
        row("", "id", "share", "first"),
        row(
            "Vik", value("7234567890123457", "7.23E+15"), value("0.07", "7 %", "percentage"),
            value("2024-05-01", "1 May", "date"),
        ),
        row(cell("", f"{REPEATED}16380'"), more="table:number-rows-repeated='1048000'"),
        row("The end."),
        name="Tides",
        more='table:style-name="hid"',
    )  # fmt: skip
    hidden = '<style:table-properties table:display="false"/>'
    styles = f'<style:style style:name="hid">{hidden}</style:style>'
    texts, notes = lines(body, "ods", styles)
    assert texts == [
        "Tides",
        "Port: Vik; 2019 / id: 7234567890123457; 2019 / share: 7 %; Day / first: 2024-05-01",
        "The end.",
    ]
    assert notes == ["hidden sheets are read too: 'Tides'"]


def test_repeated_cells_do_not_unfold_without_end(lines: Lines) -> None:
    wide = cell("x", f"{REPEATED}16000'")
    with pytest.raises(Unreadable, match="unfolds to more than"):
        lines(table(row(wide, more="table:number-rows-repeated='1000000'")), "ods")
    with pytest.raises(Unreadable, match="a bomb"):
        lines(table(*(row(wide, more="table:number-rows-repeated='99'") for _ in range(9))))


def rtf(tmp_path: Path, body: str) -> tuple[list[str], list[str]]:
    (tmp_path / "a.rtf").write_text(rf"{{\rtf1\ansi {body}}}", encoding="latin-1")
    (document,), notes = read_file(tmp_path / "a.rtf", "a", ReadOptions())
    return [line for line in document.text.split("\n") if line], notes


def test_rtf_tables(tmp_path: Path) -> None:
    rows = (
        r"\trowd\trhdr\cellx1000\cellx2000\cellx3000\pard\intbl Pier\cell May\cell June\cell\row "
        r"\trowd\clvmgf\cellx1000\cellx3010\pard\intbl North\cell dry\cell\row "
        r"\trowd\clvmrg\cellx1000\cellx2000\cellx3000\pard\intbl\cell Alma\cell \b Cara\cell"
        r"{\trowd\clvmrg\cellx1000\cellx2000\cellx3000\row}"
        r"\trowd\cellx1000\clmgf\cellx2000\clmrg\cellx3000\pard\intbl South\cell wet\cell\cell\row"
    )
    texts, _ = rtf(tmp_path, rf"\pard Before.\par {rows}\pard After.\par")
    assert texts == [
        "Before.",
        "Pier: North; May: dry; June: dry",
        "Pier: North; May: Alma; June: Cara",
        "Pier: South; May: wet; June: wet",
        "After.",
    ]


def test_rtf_headings_lists_notes_and_powers(tmp_path: Path) -> None:
    body = (
        r"{\stylesheet{\s1\outlinelevel0 heading 1;}}\pard\s1\outlinelevel0 Sea\par"
        r"\pard\plain At low tide{\footnote\pard In May.} 10{\super 6} boats on the 21{\super st}."
        r"\par{\listtext\pard 1.\tab}oil\par{\pntext\f1\'95\tab}turn\par"
        r"{\object\objemb}{\header Harbour book}"
    )
    texts, notes = rtf(tmp_path, body)
    assert texts == [
        "Sea",
        "At low tide 10^6 boats on the 21st.",
        "1. oil",
        "- turn",
        "Footnote: In May.",
    ]
    assert notes == ["left out: embedded objects", "left out: page headers"]
