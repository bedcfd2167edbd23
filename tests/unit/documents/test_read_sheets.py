"""Sheets: which cells are a table, exact numbers, headers by the file's word, charts."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.documents.read_result import ReadOptions, Unreadable
from tailorbird.documents.readers import read_file
from tailorbird.documents.sheet_tables import SheetCells, sheet_tables

Fill = Callable[[Any], None]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Fill], tuple[list[str], list[str]]]:
    """Return a function that gives the lines and notes of a workbook that a function fills."""

    def of(fill: Fill) -> tuple[list[str], list[str]]:
        from openpyxl import Workbook

        book = Workbook()
        book.active.title = "S"  # type: ignore[union-attr]
        fill(book.active)
        book.save(tmp_path / "a.xlsx")
        (document,), notes = read_file(tmp_path / "a.xlsx", "a.xlsx", ReadOptions())
        return [line for line in document.text.split("\n") if line][1:], notes

    return of


def rows(*given: tuple[Any, ...]) -> Fill:
    return lambda sheet: [sheet.append(row) for row in given] and None


def test_numbers_keep_all_their_digits(read: Any) -> None:
    lines, _ = read(
        rows(
            ("Parcel", "Weight", "Worth"),
            (7234567890123457, 2.5, 98765432101.05),
            (3, 0.1 + 0.2, 12345678901234.56),
            (4, 1e-7, 1e300),
        )
    )
    assert lines == [
        "Parcel: 7234567890123457; Weight: 2.5; Worth: 98765432101.05",
        "Parcel: 3; Weight: 0.3; Worth: 12345678901234.56",
        "Parcel: 4; Weight: 1e-07; Worth: 1e+300",
    ]


def test_numbers_that_no_float_holds_come_from_the_file(tmp_path: Path, read: Any) -> None:
    read(rows(("Parcel", "Weight", "Worth"), (77, 2, 3)))
    changed = tmp_path / "b.xlsx"
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(b"<v>77</v>", b"<v>9007199254740993</v>")
            new.writestr(name, data)
    (document,), _ = read_file(changed, "b.xlsx", ReadOptions())
    assert "Parcel: 9007199254740993; Weight: 2" in document.text


def test_merged_cells_and_titles(read: Any) -> None:
    def fill(sheet: Any) -> None:
        rows(
            ("Tides of May", None, None, None, None),
            ("Port", "2019", None, "2020", None),
            (None, "high", "low", "high", "low"),
            ("Vik", 5, 1, 6, 2),
            ("Ask", 4, None, 7, 3),
        )(sheet)
        for area in ("A1:E1", "A2:A3", "B2:C2", "D2:E2", "B5:C5"):
            sheet.merge_cells(area)

    lines, _ = read(fill)
    assert lines == [
        "Tides of May",
        "Port: Vik; 2019 / high: 5; 2019 / low: 1; 2020 / high: 6; 2020 / low: 2",
        "Port: Ask; 2019 / high: 4; 2019 / low: 4; 2020 / high: 7; 2020 / low: 3",
    ]


def test_tables_side_by_side(read: Any) -> None:
    lines, _ = read(
        rows(
            ("Staff", "Shift", None, "Hall", "Seats"),
            ("Ines", "early", None, "Big", 90),
            ("Ines", "late", None, "Small", 20),
            (None, None, None, "Tent", 40),
        )
    )
    assert lines == [
        "Staff: Ines; Shift: early",
        "Staff: Ines; Shift: late",
        "Hall: Big; Seats: 90",
        "Hall: Small; Seats: 20",
        "Hall: Tent; Seats: 40",
    ]


def test_a_gap_within_a_table_and_below_a_row(read: Any) -> None:
    lines, _ = read(
        rows(
            ("Ware", "2019", None, "2020", "2021"),
            ("Salt", 5, None, 6, 7),
            (),
            ("Soda", 1, None, 2, 3),
        )
    )
    assert lines == [
        "Ware: Salt; 2019: 5; 2020: 6; 2021: 7",
        "Ware: Soda; 2019: 1; 2020: 2; 2021: 3",
    ]


def test_pairs_without_a_header(read: Any) -> None:
    lines, _ = read(rows(("Keeper", "Ines"), ("Phone", "555 01"), ("Built", 1911)))
    assert lines == ["Keeper: Ines", "Phone: 555 01", "Built: 1911"]


def test_bold_first_rows_and_what_excel_calls_a_table(read: Any) -> None:
    from openpyxl.styles import Font
    from openpyxl.worksheet.table import Table

    def fill(sheet: Any) -> None:
        rows(
            ("Lamp", "Colour"), ("North", "red"), (), ("x",), (), ("Boat", "Home"), ("Alma", "Vik")
        )(sheet)
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        sheet.add_table(Table(displayName="T", ref="A6:B7"))

    lines, _ = read(fill)
    assert lines == ["Lamp: North; Colour: red", "x", "Boat: Alma; Home: Vik"]


def test_percentages_dates_and_formulas_without_values(read: Any) -> None:
    import datetime

    def fill(sheet: Any) -> None:
        rows(("Ware", "Share", "Day", "Sum"), ("Salt", 0.07, datetime.date(2024, 2, 29), "=1+1"))(
            sheet
        )
        sheet["B2"].number_format = "0.0%"

    lines, notes = read(fill)
    assert lines == ["Ware: Salt; Share: 7%; Day: 2024-02-29"]
    assert "1 formulas have no value in the file" in notes[0]


def test_powers_in_cells(tmp_path: Path, read: Any) -> None:
    """Some programs write a text of several runs into the cell, others into the shared texts."""
    from openpyxl.cell.rich_text import CellRichText, TextBlock
    from openpyxl.cell.text import InlineFont

    def fill(sheet: Any) -> None:
        high = TextBlock(InlineFont(vertAlign="superscript"), "6")
        rows(("Pier", "Cost", "Unit"), ("North", CellRichText("10", high, " kr"), "XX"))(sheet)

    lines, _ = read(fill)
    assert lines == ["Pier: North; Cost: 10^6 kr; Unit: XX"]
    high = "<r><rPr><vertAlign val='superscript'/></rPr><t>2</t></r>"
    by_hand(tmp_path / "b.xlsx", f"<si><t>x2</t></si><si><r><t>m</t></r>{high}</si>", (0, 1))
    (document,), _ = read_file(tmp_path / "b.xlsx", "b.xlsx", ReadOptions())
    assert document.text == "S\n\nx2: m^2"


def by_hand(path: Path, strings: str, cells: tuple[int, ...]) -> None:
    """Write a workbook of one row whose cells show shared texts."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    ids = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"

    def relations(**targets: str) -> str:
        inner = "".join(
            f'<Relationship Id="{kind}" Type="{ids}/{kind}" Target="{target}"/>'
            for kind, target in targets.items()
        )
        return f'<Relationships xmlns="{package}">{inner}</Relationships>'

    row = "".join(
        f'<c r="{chr(65 + i)}1" t="s"><v>{number}</v></c>' for i, number in enumerate(cells)
    )
    row = f'<row r="1">{row}</row>'
    sheets = f'<sheets><sheet name="S" sheetId="1" xmlns:r="{ids}" r:id="worksheet"/></sheets>'
    parts = {
        "_rels/.rels": relations(officeDocument="xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{main}">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            worksheet="s.xml", sharedStrings="sharedStrings.xml"
        ),
        "xl/sharedStrings.xml": f'<sst xmlns="{main}">{strings}</sst>',
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{row}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, xml in parts.items():
            archive.writestr(name, xml)


def test_hidden_sheets_comments_and_charts(read: Any) -> None:
    from openpyxl.chart import BarChart, Reference
    from openpyxl.comments import Comment

    def fill(sheet: Any) -> None:
        rows(("Town", "Rain"), ("Vik", 90), ("Ask", 70), ("Lom", 30))(sheet)
        sheet["A2"].comment = Comment("by the sea", "Ines")
        chart = BarChart()
        chart.title = "Rain by town"
        chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=4), titles_from_data=True)
        sheet.add_chart(chart)
        sheet.parent.create_sheet("Old").sheet_state = "hidden"

    lines, notes = read(fill)
    assert lines[:3] == ["Town: Vik; Rain: 90", "Town: Ask; Rain: 70", "Town: Lom; Rain: 30"]
    assert lines[3] == "Chart: Rain by town"
    assert notes[0] == "hidden sheets are read too: 'Old'"
    assert notes[1] == "sheet 'S': 1 comments are left out"
    assert "chart without numbers or of an unsupported kind: 'Rain by town'" in notes[2]


def test_one_long_text_in_many_cells_is_refused(tmp_path: Path) -> None:
    long = "word " * 100_000
    by_hand(tmp_path / "a.xlsx", f"<si><t>{long}</t></si>", (0,) * 20)
    with pytest.raises(Unreadable, match="MB grow to 10 million characters: a bomb"):
        read_file(tmp_path / "a.xlsx", "a.xlsx", ReadOptions())


def test_merged_cells_beyond_the_sheet_are_harmless() -> None:
    sheet = SheetCells([["a", "b", "c"], ["d", "e", "f"]], merged=[((0, 0), (10**6, 0))])
    assert len(list(sheet_tables(sheet))) == 1


@pytest.mark.parametrize("suffix", ["xltx", "xlsm", "xltm"])
def test_templates(tmp_path: Path, made: Any, suffix: str) -> None:
    made.xlsx(tmp_path / f"a.{suffix}")
    (document,), _ = read_file(tmp_path / f"a.{suffix}", "a", ReadOptions())
    assert "Name: Seal; Weight: 85.5" in document.text
