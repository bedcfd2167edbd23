"""Slides: spans and headers of tables, charts, SmartArt, groups, numbered items, powers."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.documents.read_result import ReadOptions
from tailorbird.documents.readers import read_file

Fill = Callable[[Any], None]
A = "http://schemas.openxmlformats.org/drawingml/2006/main"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Fill], tuple[list[str], list[str]]]:
    """Return a function that gives the lines and notes of a slide that a function fills."""

    def of(fill: Fill) -> tuple[list[str], list[str]]:
        from pptx import Presentation

        deck: Any = Presentation()
        fill(deck.slides.add_slide(deck.slide_layouts[6]))
        deck.save(str(tmp_path / "a.pptx"))
        (document,), notes = read_file(tmp_path / "a.pptx", "a.pptx", ReadOptions())
        return [line for line in document.text.split("\n") if line], notes

    return of


def table(slide: Any, *rows: tuple[str, ...]) -> Any:
    from pptx.util import Inches

    size = Inches(4)
    made = slide.shapes.add_table(len(rows), len(rows[0]), 0, 0, size, size).table
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            made.cell(r, c).text = text
    return made


PIERS = (("Pier", "May", "June"), ("North", "Alma", ""), ("", "Berta", "Cara"))


def test_spans_of_tables(read: Any) -> None:
    def fill(slide: Any) -> None:
        made = table(slide, *PIERS)
        made.cell(1, 0).merge(made.cell(2, 0))
        made.cell(1, 1).merge(made.cell(1, 2))

    lines, _ = read(fill)
    assert lines == ["Pier: North; May: Alma; June: Alma", "Pier: North; May: Berta; June: Cara"]


def test_groups_of_columns_have_their_names_in_the_second_row(read: Any) -> None:
    def fill(slide: Any) -> None:
        made = table(
            slide, ("Fares", "", ""), ("Line", "Fare", ""), ("", "child", "adult"), ("7", "2", "4")
        )
        made.cell(0, 0).merge(made.cell(0, 2))
        made.cell(1, 0).merge(made.cell(2, 0))
        made.cell(1, 1).merge(made.cell(1, 2))

    assert read(fill)[0] == ["Fares", "Line: 7; Fare / child: 2; Fare / adult: 4"]


@pytest.mark.parametrize(
    ("row", "column", "first"),
    [
        (True, False, "Pier: Owner; May: Ines; June: 555"),
        (False, True, "Pier: May | June"),
        (False, False, "Pier | May | June"),
    ],
)
def test_headers_by_the_word_of_the_file(read: Any, row: bool, column: bool, first: str) -> None:
    def fill(slide: Any) -> None:
        made = table(slide, PIERS[0], ("Owner", "Ines", "555"))
        made.first_row, made.first_col = row, column
        made._tbl.tblPr.set("firstRow", "1" if row else "0")

    assert read(fill)[0][0] == first


def test_charts_are_read_with_their_numbers(read: Any) -> None:
    from pptx.chart.data import CategoryChartData, XyChartData
    from pptx.enum.chart import XL_CHART_TYPE

    def fill(slide: Any) -> None:
        data = CategoryChartData(number_format="0%")
        data.categories = ["Vik", "Ask"]
        data.add_series("2019", (0.5, 0.07))
        data.add_series("2020", (0.25, None))
        frame = slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, 99, 99, data)
        frame.chart.has_title = True
        frame.chart.chart_title.text_frame.text = "Rain"
        points = XyChartData()
        series = points.add_series("tide")
        series.add_data_point(1.5, 12345678901.55)
        slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, 0, 0, 99, 99, points)

    lines, notes = read(fill)
    assert notes == []
    assert lines == [
        "Chart: Rain",
        "Vik; 2019: 50%; 2020: 25%",
        "Ask; 2019: 7%",
        "Chart",
        "1.5; tide: 12345678901.55",
    ]


def test_groups_numbered_items_and_powers(read: Any) -> None:
    from lxml import etree
    from pptx.util import Inches

    def fill(slide: Any) -> None:
        group = slide.shapes.add_group_shape()
        for text in ("inner one", "inner two"):
            group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = text
        frame = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame
        frame.text = "Oil it\nTurn it\n10"
        for paragraph in frame.paragraphs[:2]:
            auto = etree.SubElement(paragraph._p.get_or_add_pPr(), f"{{{A}}}buAutoNum")
            auto.set("type", "alphaLcParenR")
            auto.set("startAt", "3")
        power = frame.paragraphs[2].add_run()
        power.text = "6"
        power.font._element.set("baseline", "30000")

    assert read(fill)[0] == ["inner one", "inner two", "c) Oil it", "d) Turn it", "10^6"]


def test_smart_art_and_what_is_left_out(tmp_path: Path, made: Any) -> None:
    """A diagram's nodes stand in another part, each below the one that it hangs on."""
    made.pptx(tmp_path / "a.pptx")
    dgm = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    p = "http://schemas.openxmlformats.org/presentationml/2006/main"
    frame = (
        f'<p:graphicFrame xmlns:p="{p}" xmlns:a="{A}"><a:graphic><a:graphicData>'
        f'<d:relIds xmlns:d="{dgm}" xmlns:r="{rel}" r:dm="d1"/></a:graphicData></a:graphic>'
        f'</p:graphicFrame><p:graphicFrame xmlns:p="{p}"><p:oleObj progId="Visio.9"/>'
        "</p:graphicFrame></p:spTree>"
    )
    points = "".join(
        f'<d:pt modelId="{i}"{kind}><d:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></d:t></d:pt>'
        for i, kind, text in (
            (0, ' type="doc"', ""),
            (1, "", "Harbour"),
            (2, "", "Pier B"),
            (3, "", "Pier A"),
        )
    )
    links = "".join(
        f'<d:cxn srcId="{a}" destId="{b}" srcOrd="{n}"/>'
        for a, b, n in ((0, 1, 0), (1, 2, 1), (1, 3, 0))
    )
    model = f'<d:m xmlns:d="{dgm}" xmlns:a="{A}"><d:l>{points}</d:l><d:l>{links}</d:l></d:m>'
    slide, rels = "ppt/slides/slide2.xml", "ppt/slides/_rels/slide2.xml.rels"
    with zipfile.ZipFile(tmp_path / "a.pptx") as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts[slide] = parts[slide].replace(b"</p:spTree>", frame.encode())
    parts[rels] = parts[rels].replace(
        b"</Relationships>",
        f'<Relationship Id="d1" Type="{rel}/diagramData" Target="../diagrams/data1.xml"/>'
        "</Relationships>".encode(),
    )
    parts["ppt/diagrams/data1.xml"] = model.encode()
    with zipfile.ZipFile(tmp_path / "b.ppsx", "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    (document,), notes = read_file(tmp_path / "b.ppsx", "b.ppsx", ReadOptions())
    assert "- Harbour\n  - Pier A\n  - Pier B" in document.text
    assert notes == ["left out: an embedded object (Visio.9)"]


@pytest.mark.parametrize("suffix", ["ppsx", "potx", "ppsm"])
def test_shows_and_templates(tmp_path: Path, made: Any, suffix: str) -> None:
    made.pptx(tmp_path / "a.pptx")
    shutil.copy(tmp_path / "a.pptx", tmp_path / f"a.{suffix}")
    (document,), _ = read_file(tmp_path / f"a.{suffix}", "a", ReadOptions())
    assert document.metadata["kind"] == "pptx" and "Forests under water" in document.text
