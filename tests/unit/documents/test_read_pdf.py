"""PDF: what is read, in which order, what is left out, and what is told of it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.documents.pdf import read_pdf
from tailorbird.documents.pdf_layout import Word, read_lines
from tailorbird.documents.pdf_text import hyphen_joint
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions

LEFT = (
    "The ferry leaves the old harbour",
    "at noon and needs two hours for",
    "the way to the island. On board",
    "there is tea, and a man who sells",
    "maps of the coast to those who",
    "come without any.",
)
RIGHT = (
    "Whoever wants to stay the night",
    "has to ask at the lighthouse, as",
    "rooms are few. In winter nobody",
    "is there and the boat goes back",
    "as soon as the mail is on land",
    "and the crew has eaten.",
)

Read = Callable[..., tuple[Parsed, Notes]]


@pytest.fixture
def read(tmp_path: Path, made: Any) -> Read:
    """Return a function that writes pages and reads them."""

    def read(*pages: Any, **options: Any) -> tuple[Parsed, Notes]:
        path, notes = tmp_path / "made.pdf", Notes()
        made.pdf_writer().write_pdf(path, pages, **options)
        (parsed,) = read_pdf(path, ReadOptions(), notes)
        return parsed, notes

    return read


@pytest.fixture
def text(made: Any) -> Any:
    """Return the maker of a line of a page."""
    return made.pdf_writer().Text


def lines_at(
    text: Any, x: float, lines: tuple[str, ...], top: float = 700, **more: Any
) -> list[Any]:
    return [text(x, top - 14 * i, line, **more) for i, line in enumerate(lines)]


def rows_of(*columns: list[Any]) -> list[Any]:
    return [line for row in zip(*columns, strict=True) for line in row]


def test_first_lines_that_differ_in_their_numbers_stay(read: Read, text: Any) -> None:
    pages = [
        [text(60, 790, f"Rule {n}"), text(60, 760, f"No {word} in the garden after nine.")]
        for n, word in enumerate(("dogs", "bells", "bikes", "drums"), 1)
    ]
    parsed, notes = read(*pages)
    assert [line for line in parsed.text.split("\n") if line.startswith("Rule")] == [
        "Rule 1",
        "Rule 2",
        "Rule 3",
        "Rule 4",
    ]
    assert notes == []


def test_rows_of_a_table_over_pages_stay(read: Read, text: Any) -> None:
    rows = [f"{1950 + i} {i * 7 % 50} {i * 3 % 40}" for i in range(24)]
    pages = [lines_at(text, 60, tuple(rows[p * 6 : p * 6 + 6]), 800) for p in range(4)]
    assert read(*pages)[0].text.split() == " ".join(rows).split()


@pytest.mark.parametrize(
    "foot",
    ["{}", "- {} -", "Page {} of 5", "Seite {}", "{} | Harbour rules", "Harbour rules – p. {}"],
)
def test_running_heads_and_page_numbers_go_and_are_told(read: Read, text: Any, foot: str) -> None:
    pages = [
        [
            text(60, 815, "The harbour master", 9),
            *lines_at(text, 60, (f"Boat {name} lies at the quay.", "It may stay there."), 760),
            text(280, 30, foot.format(number), 9),
        ]
        for number, name in enumerate(("Anna", "Bea", "Cora", "Dora", "Ella"), 1)
    ]
    parsed, notes = read(*pages)
    assert "harbour" not in parsed.text.lower() and "Page" not in parsed.text
    assert [word for word in parsed.text.split() if word.strip("-|").isdigit()] == []
    assert len(notes) == 1 and "'The harbour master'" in notes[0]
    assert "Harbour rules" in notes[0] or "page numbers" in notes[0]


def test_roman_page_numbers_go(read: Read, text: Any) -> None:
    pages = [
        [*lines_at(text, 60, (f"Preface part {name}.",)), text(280, 30, number)]
        for name, number in (("a", "vii"), ("b", "viii"), ("c", "ix"), ("d", "x"))
    ]
    assert "i" not in read(*pages)[0].text.replace("Preface part", "")


def test_head_of_a_table_is_kept_once(read: Read, text: Any) -> None:
    pages = [
        lines_at(text, 60, ("Year Boats", f"{1990 + i} {i}", f"{1995 + i} {9 - i}"), 800)
        for i in range(4)
    ]
    parsed, notes = read(*pages)
    assert parsed.text.count("Year Boats") == 1 and "'Year Boats'" in notes[0]


def test_repeated_sentences_within_a_page_stay(read: Read, text: Any) -> None:
    pages = [lines_at(text, 60, (f"Room {i}.", "Breakfast is at eight.")) for i in range(5)]
    assert read(*pages)[0].text.count("Breakfast is at eight.") == 5


# How content is drawn so that it is upright on a page that viewers turn by so many degrees.
TURNED = {
    0: "1 0 0 1 60 {down}",
    90: "0 1 -1 0 {across} 60",
    180: "-1 0 0 -1 500 {up}",
    270: "0 -1 1 0 {down} 700",
}


@pytest.mark.parametrize("degrees", TURNED)
def test_turned_pages_read_like_upright_ones(read: Read, degrees: int) -> None:
    shown = "".join(
        f"{TURNED[degrees].format(down=500 - 14 * i, across=95 + 14 * i, up=300 + 14 * i)} Tm "
        f"({line}) Tj\n"
        for i, line in enumerate(LEFT)
    )
    parsed, _ = read(f"BT /F1 11 Tf\n{shown}ET", rotate=degrees)
    assert parsed.text == "\n".join(LEFT)


def test_words_in_the_margin_do_not_run_into_lines(read: Read) -> None:
    shown = (
        "1 0 0 1 60 700 Tm (A line) Tj 0 1 -1 0 30 700 Tm (sideways) Tj "
        "1 0 0 1 60 686 Tm (goes on) Tj"
    )
    assert read(f"BT /F1 11 Tf {shown} ET")[0].text == "A line\ngoes on\n\nsideways"


@pytest.mark.parametrize("drawn", ["rows", "columns", "apart"])
def test_two_columns_follow_each_other(read: Read, text: Any, drawn: str) -> None:
    left, right = lines_at(text, 60, LEFT), lines_at(text, 260, RIGHT, 700 - 6 * (drawn == "apart"))
    body = (
        left + right
        if drawn == "columns"
        else [x for pair in zip(left, right, strict=True) for x in pair]
    )
    title = text(60, 760, "News of the islands and of the coast beyond", 16)
    parsed, _ = read([title, *body])
    assert parsed.text.split("\n\n", 1)[1].split() == " ".join(LEFT + RIGHT).split()


def test_three_columns(read: Read, text: Any) -> None:
    columns = [lines_at(text, x, lines) for x, lines in ((30, LEFT), (215, RIGHT), (400, LEFT))]
    parsed, _ = read(rows_of(*columns))
    assert parsed.text.split() == " ".join(LEFT + RIGHT + LEFT).split()


def test_rows_of_a_table_are_no_columns(read: Read, text: Any) -> None:
    left = ("Leave", "Sick pay", "Leave of parents and guardians", "Notice")
    right = ("25 days a year", "From day four on", "Twelve months", "Three months")
    parsed, _ = read(rows_of(lines_at(text, 60, left), lines_at(text, 300, right)))
    assert parsed.text.split("\n") == [f"{a} {b}" for a, b in zip(left, right, strict=True)]


def test_hyphen_at_the_end_of_a_column(read: Read, text: Any) -> None:
    left = lines_at(text, 60, (*LEFT[:5], "come without any. The cap-"))
    goes_on = lines_at(text, 260, ("tain has none to give, and", *RIGHT[1:]))
    assert "The captain has none to give, and" in read(rows_of(left, goes_on))[0].text
    another = lines_at(text, 260, ("Rooms for the night", *RIGHT[1:]))
    assert "The cap-\n\nRooms for the night" in read(rows_of(left, another))[0].text


def test_hyphen_at_the_end_of_a_page(read: Read, text: Any) -> None:
    pages = [text(60, 400, "They sell maps and post-")], [text(60, 800, "cards to those who come.")]
    parsed, _ = read(*pages)
    assert parsed.text == "They sell maps and postcards\n\nto those who come."
    assert [mark.page for mark in parsed.marks] == [1, 2]


@pytest.mark.parametrize(
    ("before", "after", "others", "joint"),
    [
        ("the infor-", "mation desk", (), ""),
        ("a well-", "known man", ("well-known",), "-"),
        ("a well-", "known man", ("well-known", "wellknown"), ""),
        ("from COVID-", "19 on", (), "-"),
        ("pages 10-", "20 of", (), "-"),
        ("an X-", "ray of it", (), "-"),
        ("IF ELE-", "MENT is", ("element",), ""),
        ("the infor-", "Figure 3", (), None),
        ("a dash -", "and more", (), None),
        ("no hyphen", "here", (), None),
        ("soft\u00ad", "ened", (), ""),
    ],
)
def test_hyphens(before: str, after: str, others: tuple[str, ...], joint: str | None) -> None:
    assert hyphen_joint(before, after, lambda word: word in others) == joint


def test_raised_numbers_are_no_digits_of_the_number_before(read: Read, text: Any) -> None:
    raised = [
        text(60, 700, "About 10", 12),
        text(108, 705, "6", 8),
        text(112.5, 700, " cells per 10", 12),
        text(181.2, 705, "-3", 8),
        text(188.4, 700, " litres.", 12),
    ]
    assert read(raised)[0].text == "About 10^6 cells per 10^-3 litres."


ARABIC = dict(zip("abcdefg", ["س", "لا", "م", "ع", "ل", "ي", "ك"], strict=True))


def test_arabic_ligatures_and_order(read: Read) -> None:
    # Glyphs from left to right, as they are drawn; the second letter is lam and alef in one.
    shown = (
        "1 0 0 1 60 700 Tm /F3 12 Tf (gfed cba) Tj 1 0 0 1 60 680 Tm /F1 12 Tf (One ) Tj "
        "/F3 12 Tf (gfed cba) Tj /F1 12 Tf ( two) Tj"
    )
    parsed, _ = read(f"BT {shown} ET", letters=ARABIC)
    assert parsed.text.split("\n") == ["سلام عليك", "One سلام عليك two"]


def test_headings_by_font(read: Read, text: Any) -> None:
    page = [
        text(60, 780, "Guide to the islands", 22, 2),
        text(60, 740, "1. How to get there", 15, 2),
        *lines_at(text, 60, LEFT, 715),
        text(60, 600, "In bad weather", 11, 2),
        *lines_at(text, 60, RIGHT, 584),
        text(60, 470, "2. Where to", 15, 2),
        text(60, 452, "sleep", 15, 2),
        *lines_at(text, 60, LEFT, 425),
    ]
    parsed, _ = read(page)
    title = "Guide to the islands"
    assert [mark.headings for mark in parsed.marks] == [
        (title,),
        (title, "1. How to get there"),
        (title, "1. How to get there", "In bad weather"),
        (title, "2. Where to sleep"),
    ]


def test_bookmarks_make_headings_and_may_go_in_circles(read: Read, text: Any) -> None:
    # Pages are the objects that follow the given ones: 11 and 13.
    outline = (
        "<< /Type /Outlines /First 9 0 R /Last 10 0 R >>",
        "<< /Title (The ferry) /Parent 8 0 R /Next 10 0 R /Dest [11 0 R /Fit] >>",
        "<< /Title (The night) /Parent 8 0 R /Dest [13 0 R /Fit] /First 10 0 R /Next 9 0 R >>",
    )
    pages = [
        [text(60, 760, "1 The Ferry"), *lines_at(text, 60, LEFT)],
        [text(60, 760, "2 The Night"), *lines_at(text, 60, RIGHT)],
    ]
    parsed, _ = read(*pages, catalog="/Outlines 8 0 R", objects=outline)
    assert [(m.page, m.headings) for m in parsed.marks] == [
        (1, ("The ferry",)),
        (2, ("The night",)),
    ]


def test_leaders_of_a_table_of_contents_are_no_headings(read: Read, text: Any) -> None:
    page = [text(60, 780, "The ferry . . . . . . . . . . . . 3", 15), *lines_at(text, 60, LEFT)]
    parsed, _ = read(page)
    assert parsed.text.startswith("The ferry ... 3\n") and parsed.marks[0].headings == ()


@pytest.mark.parametrize(
    ("title", "right"),
    [
        ("2024-11", ""),
        ("Microsoft Word - letter.doc", ""),
        ("final_v2.indd", ""),
        ("Untitled-1", ""),
        ("Presentation1", ""),
        ("Ferries in winter", "Ferries in winter"),
        ("1984", ""),
    ],
)
def test_titles(read: Read, text: Any, title: str, right: str) -> None:
    assert read([text(60, 700, "Words.")], info=f"/Title ({title})")[0].title == right


def test_form_fields_and_comments(read: Read, text: Any) -> None:
    objects = (
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (Name) /V (Ada) /Rect [0 0 90 20] >>",
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (Town) /Rect [0 0 90 20] >>",
        "<< /Type /Annot /Subtype /FreeText /Contents (two berths) /DA () /Rect [0 0 90 20] >>",
        "<< /Type /Annot /Subtype /Link /Contents (link) /Rect [0 0 90 20] >>",
    )
    parsed, notes = read(
        [text(60, 700, "Booking")],
        objects=objects,
        catalog="/AcroForm << /Fields [8 0 R 9 0 R] >>",
        page_entries="/Annots [8 0 R 9 0 R 10 0 R 11 0 R]",
    )
    assert parsed.text == "Booking\n\nName: Ada\n\ntwo berths"
    assert notes == ["2 form fields, text boxes and comments stand at the end of their page"]


def test_a_page_of_very_many_letters_is_read_without_places(
    read: Read, text: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailorbird.documents.pdf._MOST_CHARACTERS", 50)
    parsed, notes = read(lines_at(text, 60, LEFT), [text(60, 700, "Short.")])
    assert parsed.text.split() == [*" ".join(LEFT).split(), "Short."]
    assert notes == ["too many characters to detect columns and headings on pages 1"]


def test_scattered_words_are_read_row_by_row() -> None:
    """A file that draws its words column by column within a line has no order of its own."""
    words = [
        Word(f"{row}{column}", 50 + 30 * column, 70 + 30 * column, 700 - 14 * row, 11)
        for row in range(20)
        for column in range(3)
    ]
    shuffled = [words[i * 23 % 60] for i in range(60)]
    assert [line.text for line in read_lines(shuffled)][:2] == ["00 01 02", "10 11 12"]


def test_values_written_after_all_names_stand_beside_them(read: Read, text: Any) -> None:
    names = lines_at(text, 60, ("Guest:", "Room:", "Nights:"))
    values = lines_at(text, 200, ("Ada of Bergen", "Attic", "3"))
    assert read(names + values)[0].text == "Guest: Ada of Bergen\nRoom: Attic\nNights: 3"
    numbers = [lines_at(text, x, cells) for x, cells in ((200, ("10", "12")), (260, ("8", "9.50")))]
    parsed, _ = read([*lines_at(text, 60, ("Adults", "Children")), *numbers[0], *numbers[1]])
    assert parsed.text == "Adults 10 8\nChildren 12 9.50"


def table_at(text: Any, *columns: tuple[str, ...], font: int = 1) -> list[Any]:
    """Return the cells of a table row by row, the first in a font of its own."""
    cells = rows_of(*(lines_at(text, 60 + 110 * i, column) for i, column in enumerate(columns)))
    head = [cell._replace(font=font) for cell in cells[: len(columns)]]
    return head + cells[len(columns) :]


def test_values_of_a_table_stand_with_their_headers(read: Read, text: Any) -> None:
    boats = ("Boat", "Anna", "Bea", "Cora")
    table = table_at(text, boats, ("Length", "12.5", "9", "11"), ("2024", "310", "290", ""))
    assert read(table)[0].text.split("\n") == [
        "Boat: Anna; Length: 12.5; 2024: 310",
        "Boat: Bea; Length: 9; 2024: 290",
        "Boat: Cora; Length: 11",
    ]
    table = table_at(text, boats, ("Home port", "Oslo", "Bergen", "Kiel"), font=2)
    assert "Boat: Bea; Home port: Bergen" in read(table)[0].text
    table = table_at(
        text, ("", *boats), ("Length", "in m", "12", "9", "8"), ("Sold", "", "3", "5", "1")
    )
    assert "Boat: Bea; Length in m: 9; Sold: 5" in read(table)[0].text


@pytest.mark.parametrize(
    "columns",
    [
        (("Anna", "Bea", "Cora", "Dora"), ("12", "9", "11", "8"), ("3", "4", "5", "6")),
        (("Anna", "Bea", "Cora", "Dora"), ("1999", "2004", "2011", "2018"), ("a", "b", "c", "d")),
        (("Name:", "Age:", "Room:"), ("Ada", "36", "12")),
        (("Name", "Age", "Room"), ("Ada", "36", "12")),
        (("1.", "2.", "3."), ("first thing", "second thing", "third thing")),
        (("Boat", "Anna", "Bea"), ("Port", "Kiel", "Oslo"), ("Owner", "Ada", "Bo")),
    ],
)
def test_rows_without_a_sure_header_stay_plain(
    read: Read, text: Any, columns: tuple[tuple[str, ...], ...]
) -> None:
    plain = [" ".join(row) for row in zip(*columns, strict=True)]
    assert read(table_at(text, *columns))[0].text.split("\n") == plain


@pytest.mark.parametrize("seed", range(60))
def test_no_word_is_lost_or_doubled_wherever_it_stands(seed: int) -> None:
    draw = random.Random(seed)
    words = [
        Word(f"word{i} of it", x, x + 90, draw.randrange(20, 800, 7), draw.choice((6, 11, 20)))
        for i in range(draw.randrange(80))
        for x in (draw.choice((20, 60, 210, 300, 420)),)
    ]
    lines = " ".join(line.text for line in read_lines(words))
    assert sorted(lines.split()) == sorted(" ".join(word.text for word in words).split())
