"""Each value of a table stands with its headers, whatever spans and headers its markup has."""

import time
from typing import Any

import pytest

from tailorbird.documents.table_grid import Cell, Header, lay_out, table_lines
from tailorbird.documents.text_builder import TextBuilder


def lines(*rows: list[Any]) -> list[str]:
    return list(table_lines(rows))


def head(*texts: str, kind: Header = "th") -> list[Cell]:
    return [Cell(text, header=kind) for text in texts]


def test_spans_fill_all_that_they_cover() -> None:
    grid = lay_out([[Cell("a", rows=2), Cell("b", columns=2)], ["c", "d"], ["e"]])
    assert grid.values == [["a", "b", "b"], ["a", "c", "d"], ["e", "", ""]]
    assert [grid.origin(1, 0), grid.origin(0, 2), grid.origin(1, 1)] == [(0, 0), (0, 1), (1, 1)]


def test_a_cell_over_several_rows_is_said_in_each() -> None:
    assert lines(
        head("Pier", "Boat", "Captain"),
        [Cell("North", rows=2), "Alma", "Ines"],
        ["Berta", "Olaf"],
        ["South", "Cara", "Ruth"],
    ) == [
        "Pier: North; Boat: Alma; Captain: Ines",
        "Pier: North; Boat: Berta; Captain: Olaf",
        "Pier: South; Boat: Cara; Captain: Ruth",
    ]


def test_a_cell_over_several_columns_stands_with_each_name() -> None:
    assert lines(
        head("Hall", "May", "June", "July"), ["Big", Cell("painted", columns=2), "dance"]
    ) == ["Hall: Big; May: painted; June: painted; July: dance"]
    long = "word " * 99
    (line,) = lines(head("Hall", "May", "June"), ["Big", Cell(long, columns=2)])
    assert line == f"Hall: Big; May, June: {long.strip()}"


def test_a_long_text_over_several_rows_is_said_once() -> None:
    long = "word " * 99
    rows = [head("Pier", "Rule"), ["North", Cell(long, rows=3)], ["South"], [Cell(long, rows=1)]]
    assert [line.count("word") for line in lines(*rows)] == [99, 0, 99]


def test_head_rows_are_joined() -> None:
    assert lines(
        [Cell("Shop", rows=2, header="th"), *[Cell(y, columns=2, header="th") for y in "XY"]],
        head("in", "out", "in", "out"),
        ["A", "1", "2", "3", "4"],
    ) == ["Shop: A; X / in: 1; X / out: 2; Y / in: 3; Y / out: 4"]


def test_row_heads_without_column_heads() -> None:
    assert lines(
        [Cell("River", header="row"), "Elva"], [Cell("Length", header="row"), "77 km"]
    ) == ["River: Elva", "Length: 77 km"]
    assert lines(
        [Cell("Lock", rows=2, header="row"), Cell("wide", header="row"), "5", "6"],
        [Cell("deep", header="row"), "2", "3"],
    ) == ["Lock / wide: 5 | 6", "Lock / deep: 2 | 3"]


def test_row_heads_and_column_heads() -> None:
    assert lines(
        head("", "2019", "2020"), [Cell("Rain", header="th"), "7", "9"], [*head("Sun"), "3", ""]
    ) == ["Rain; 2019: 7; 2020: 9", "Sun; 2019: 3"]


def test_a_new_head_row_names_what_follows_it() -> None:
    assert lines(
        head("Tea", "Price"), ["Assam", "4"], [Cell("Cakes", columns=2, header="th")],
        head("Cake", "Weight"), ["Bun", "90 g"],
    ) == ["Tea: Assam; Price: 4", "Cakes", "Cake: Bun; Weight: 90 g"]  # fmt: skip


def test_titles_and_captions_are_no_names() -> None:
    builder = TextBuilder()
    builder.table(
        [[Cell("Prices of 1911", columns=3)], ["Ware", "Unit", "Price"], ["Salt", "kg", "2"],
         ["Soda", "kg", "3"]],
        caption="Table 4",
    )  # fmt: skip
    assert builder.result()[0] == (
        "Table 4\n\nPrices of 1911\nWare: Salt; Unit: kg; Price: 2\nWare: Soda; Unit: kg; Price: 3"
    )


def test_markup_that_names_no_header_is_believed() -> None:
    assert lines(
        [Cell("Ware", header="data"), Cell("Unit"), Cell("Price")], ["Salt", "kg", "2"]
    ) == ["Ware | Unit | Price", "Salt | kg | 2"]
    assert lines(head("only", "heads"), head("more", "heads")) == ["only | heads", "more | heads"]


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([["Ware", "Unit", "Price"], ["Salt", "kg", "2"]], "Ware: Salt; Unit: kg; Price: 2"),
        ([["", 2019, 2020], ["Rain", 7, 9], ["Sun", 3, 4]], "Rain; 2019: 7; 2020: 9"),
        ([["Ware", "Price"], ["Salt", "2"], ["Soda", "3"], ["Wax", "9"]], "Ware: Salt; Price: 2"),
        ([["Pier", "Boat"], ["North", "Alma"], ["North", "Cara"]], "Pier: North; Boat: Alma"),
        ([["", "Price"], ["Salt", "dear"], ["Soda", "cheap"]], "Salt; Price: dear"),
        (
            [["Ware", "2024-01-01", "2024-02-01"], ["Salt", "5", "6"], ["Soda", "1", "2"]],
            "Ware: Salt; 2024-01-01: 5; 2024-02-01: 6",
        ),
        # Pairs: the first column names what stands beside it.
        ([["Keeper", "Ines"], ["Phone", "555 01"], ["Road", "Quay 4"]], "Keeper: Ines"),
        ([["Keeper:", "Ines"], ["Height:", "4"], ["Width:", "5"], ["Age:", "6"]], "Keeper: Ines"),
        ([["Isle", "Ness"], ["People", "41200"], ["Piers", "7"], ["Year", "1822"]], "Isle: Ness"),
        # The first row is of its columns' kind, or comes again: it is one of the values.
        ([["Ines", "555 01", "x"], ["Olaf", "555 02", "y"]], "Ines | 555 01 | x"),
        ([["Ines", "1901-02-03", "x"], ["Olaf", "1905-01-01", "y"]], "Ines | 1901-02-03 | x"),
        ([["Ines", "Oslo", "x"], ["Olaf", "Oslo", "y"]], "Ines | Oslo | x"),
        ([["Ines", "1905", "x"], ["Olaf", "1901", "y"]], "Ines | 1905 | x"),
        ([["a@b.no", "Ines", "x"], ["c@d.no", "Olaf", "y"]], "a@b.no | Ines | x"),
        # A cell of the first row that reaches into the next is a value.
        ([[Cell("North", rows=2), "Alma", "x"], ["Berta", "y"]], "North | Alma | x"),
    ],
)  # fmt: skip
def test_silent_markup(rows: list[list[Any]], first: str) -> None:
    rows = [[c if isinstance(c, Cell) else str(c) for c in row] for row in rows]
    assert next(iter(table_lines(rows))) == first


def test_a_header_that_programs_write_by_themselves() -> None:
    """It decides between readings that the content leaves open, and no others."""
    first = head("Keeper", "Ines", kind="maybe")
    assert lines(first, ["Mate", "Olaf"]) == ["Keeper: Mate; Ines: Olaf"]
    assert lines(first, ["Phone", "555 01"], ["Road", "Quay"]) == [
        "Keeper: Ines",
        "Phone: 555 01",
        "Road: Quay",
    ]


def test_bold_words_decide_where_the_markup_is_silent() -> None:
    bold = [Cell("Pier", strong=True), Cell("Boat", strong=True)]
    assert lines(bold, ["North", "Alma"]) == ["Pier: North; Boat: Alma"]
    assert lines(
        [Cell("Pier", strong=True), "North", "South"], [Cell("Boat", strong=True), "Alma", "Cara"]
    ) == ["Pier | North | South", "Boat | Alma | Cara"]


def test_a_silent_group_of_columns() -> None:
    rows = [["", Cell("2019", columns=2)], ["Shop", "in", "out"], ["A", "1", "2"], ["B", "3", "4"]]
    assert lines(*rows) == [
        "Shop: A; 2019 / in: 1; 2019 / out: 2",
        "Shop: B; 2019 / in: 3; 2019 / out: 4",
    ]


def test_a_title_that_spans_more_columns_than_there_are() -> None:
    title = Cell("Who is who", columns=100)
    assert lines([title], ["Keeper", "Ines"], ["Phone", "555 01"], ["Road", "Quay"]) == [
        "Who is who",
        "Keeper: Ines",
        "Phone: 555 01",
        "Road: Quay",
    ]


def test_rows_of_merged_cells_come_once() -> None:
    both = [Cell("North", rows=2), Cell("Alma", rows=2)]
    assert lines(head("Pier", "Boat"), both, [], ["South", "Cara"]) == [
        "Pier: North; Boat: Alma",
        "Pier: South; Boat: Cara",
    ]
    assert lines(head("Pier", "Boat", "N"), ["a", "b", "1"], head("Pier", "Boat", "N")) == [
        "Pier: a; Boat: b; N: 1"
    ]


def test_absurd_spans_are_bounded() -> None:
    started = time.monotonic()
    rows = [[Cell("x", rows=10**9, columns=10**9), "y"] for _ in range(3000)]
    grid = lay_out(rows)
    assert sum(map(len, grid.values)) < 10_000_000 and time.monotonic() - started < 20
