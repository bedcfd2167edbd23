"""Web pages: tables with their headers, lists with their numbers, no word glued or lost."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tailorbird.documents.read_result import Parsed, ReadOptions, Unreadable
from tailorbird.documents.web import html, read_html

Read = Callable[[str], str]


def page(body: str) -> Parsed:
    return html(f"<html><body>{body}</body></html>", [])


@pytest.fixture
def lines() -> Callable[[str], list[str]]:
    return lambda body: [line for line in page(body).text.split("\n") if line]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        pytest.param(  # a cell that spans rows
            "<tr><th>Ship<th>Mate<th>Port<tr><td rowspan=2>Gull<td>Ida<td>Oslo"
            "<tr><td>Per<td>Bergen<tr><td>Tern<td>Eva<td>Moss",
            [
                "Ship: Gull; Mate: Ida; Port: Oslo",
                "Ship: Gull; Mate: Per; Port: Bergen",
                "Ship: Tern; Mate: Eva; Port: Moss",
            ],
            id="rowspan",
        ),
        pytest.param(  # to the end of its group, not of the table
            "<thead><tr><th>A<th>B<tbody><tr><td rowspan=0>x<td>1<tr><td>2<tbody><tr><td>y<td>3",
            ["A: x; B: 1", "A: x; B: 2", "A: y; B: 3"],
            id="rowspan=0",
        ),
        pytest.param(
            "<tr><th>Hall<th>Sat<th>Sun<tr><td>Oak<td colspan=2>market<tr><td>Elm<td>ball<td>fair",
            ["Hall: Oak; Sat: market; Sun: market", "Hall: Elm; Sat: ball; Sun: fair"],
            id="colspan",
        ),
        pytest.param(
            "<tr><th rowspan=2>Town<th colspan=2>Rain<tr><th>May<th>June"
            "<tr><td>Voss<td>80<td>95<tr><td>Moss<td>40<td>50",
            [
                "Town: Voss; Rain / May: 80; Rain / June: 95",
                "Town: Moss; Rain / May: 40; Rain / June: 50",
            ],
            id="two rows of headers",
        ),
        pytest.param(
            "<tr><th scope=row>Mayor<td>Ruth<tr><th scope=row>Founded<td>1190",
            ["Mayor: Ruth", "Founded: 1190"],
            id="headers of rows",
        ),
        pytest.param(
            "<tfoot><tr><td>Sum<td>5</tfoot><thead><tr><td>Item<td>Price</thead>"
            "<tbody><tr><td>Rope<td>5</tbody>",
            ["Item: Rope; Price: 5", "Item: Sum; Price: 5"],
            id="a foot stands last and a head names columns",
        ),
        pytest.param(
            "<tr><th>Knot<th>Use<tr><td>Bowline<td><ul><li>mooring<li>rescue</ul>"
            "<tr><td>Reef<td><h4>Sails</h4><pre>tie\ntwice</pre>"
            "<tr><td>Hitch<td><table><tr><td>posts<td>rings</table>",
            [
                "Knot: Bowline; Use: mooring, rescue",
                "Knot: Reef; Use: Sails tie twice",
                "Knot: Hitch; Use: posts rings",
            ],
            id="lists, headings, code and tables in cells",
        ),
        pytest.param(
            "<tr><th>Land<th>Fare<tr><td>Chile<br>Peru<td><div>3 days</div><div>4 days</div>",
            ["Land: Chile Peru; Fare: 3 days 4 days"],
            id="lines in cells",
        ),
    ],
)
def test_tables(lines: Callable[[str], list[str]], table: str, rows: list[str]) -> None:
    assert lines(f"<table>{table}</table>") == rows


def test_a_table_made_of_roles(lines: Callable[[str], list[str]]) -> None:
    row = "<div role=row><span role={0}>{1}</span><span role={0}>{2}</span></div>"
    table = row.format("columnheader", "Bird", "Eggs") + row.format("cell", "Auk", "1")
    assert lines(f"<div role=table>{table}</div>") == ["Bird: Auk; Eggs: 1"]


def test_what_a_table_is_of_and_tables_that_lay_out(lines: Callable[[str], list[str]]) -> None:
    table = "<table><caption>Tolls<br>by night</caption><tr><th>Car<th>Toll<tr><td>Van<td>9</table>"
    assert lines(table) == ["Tolls by night", "Car: Van; Toll: 9"]
    laid_out = f"<table><tr><td><p>left</p><td><h2>Right</h2>{table}</table>"
    assert lines(laid_out) == ["left", "Right", "Tolls by night", "Car: Van; Toll: 9"]
    assert lines("<table role=presentation><tr><td>a<td>b<tr><td>c<td>d</table>") == list("abcd")


def test_numbers_of_lists(lines: Callable[[str], list[str]]) -> None:
    assert lines("<ol start=4><li>a<li>b</ol><ol><li value=9>c<li>d</ol>") == [
        *("4. a", "5. b", "9. c", "10. d")
    ]
    assert lines("<ol reversed><li>a<li>b<li>c</ol>") == ["3. a", "2. b", "1. c"]
    assert lines("<ol type=a start=26><li>x<li>y</ol><ol type=I start=4><li>z</ol>") == [
        *("z. x", "aa. y", "IV. z")
    ]
    assert lines('<ol style="list-style-type: lower-roman" start=9><li>x</ol>') == ["ix. x"]
    # A hidden list does not end the one around it.
    assert lines("<ol><li>a<ul hidden><li>no</ul><li>b</ol>") == ["1. a", "2. b"]


def test_terms_stand_with_what_is_said_of_them(lines: Callable[[str], list[str]]) -> None:
    assert lines("<dl><dt>Cleat<dt>Bitt<dd>Holds a rope.<dt>Why?<dd>So.<dt>Alone</dl>") == [
        *("Cleat, Bitt: Holds a rope.", "Why? So.", "Alone")
    ]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("3 × 10<sup>8</sup> m s<sup>-1</sup>", "3 × 10^8 m s^-1"),
        ("the 2<sup>nd</sup> x<sup>n+1</sup>", "the 2nd x^(n+1)"),
        ("CO<sub>2</sub>, 101<sub>2</sub>, log<sub>2</sub>8", "CO2, 101_2, log_2 8"),
        ('It cost 12<sup><a href="#n1">1</a></sup> then', "It cost 12[1] then"),
        ('born 1990<a href="#f"><sup>[3]</sup></a>', "born 1990[3]"),
        ('so<a epub:type="noteref" href="n.xhtml#4">4</a>', "so[4]"),
        ("<sup>1</sup>Without tax", "1 Without tax"),
        ("漢<ruby>字<rp>(</rp><rt>ji</rt></ruby>", "漢字(ji)"),
        ("<x-card>one</x-card><x-card>two</x-card>", "one\n\ntwo"),
        ('<span style="display:block">one</span><b style="display: block">two</b>', "one\n\ntwo"),
        ("<a href=a>un</a><a href=b>deux</a>", "un deux"),
        ("super<wbr>man and <b>Hyper</b>text", "superman and Hypertext"),
        ("<math><msup><mi>a</mi><mn>2</mn></msup><mo>=</mo><mi>b</mi></math>", "a^2 = b"),
        ("<math><mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mn>2</mn></mfrac></math>",
         "(a + 1)/2"),
        ('<math alttext="\\frac{a}{2}"><mi>a</mi></math>', "\\frac{a}{2}"),
        ("<details><summary>More</summary>inside</details>", "More\n\ninside"),
        ('<h2><button aria-expanded="false">When?</button></h2>Now', "When?\n\nNow"),
        ("a<br>b<p>c", "a\nb\n\nc"),
        ("<pre>one<br>two<div>three</div><div>four</div></pre>",
         "```\none\ntwo\nthree\nfour\n```"),
        ("<h2>Night<br>bus</h2>", "Night bus"),
        ('<h2>Tide<a class="headerlink" href="#tide">¶</a></h2>', "Tide"),
        ('<div role="heading" aria-level="3">Bell</div>', "Bell"),
    ],
)  # fmt: skip
def test_words(markup: str, text: str) -> None:
    assert page(markup).text == text


def test_what_is_hidden() -> None:
    hidden = (
        "<p hidden>a</p><p aria-hidden=true>b</p><p style='display: none'>c</p><dialog>d</dialog>"
        "<p style='visibility:hidden'>e</p><template>f</template>"
    )
    assert page(f"{hidden}<p hidden=until-found>seen</p>").text == "seen"
    # A page that waits behind a dialog or for a script is its text.
    assert page(f"<div aria-hidden=true><p>{'words ' * 9}</p></div>").text == ("words " * 9).strip()
    assert page("<div style='visibility:hidden'><p>all there is</p></div>").text == "all there is"


def test_a_drawing_is_no_title_and_is_told() -> None:
    notes: list[str] = []
    drawing = "<svg><title>Icon</title><text>1 2 3</text></svg>"
    parsed = html(f"<body>{drawing}<iframe src=x></iframe><h1>Kelp<br>beds</h1>words", notes)
    assert parsed.title == "Kelp beds"
    assert notes == ["left out: drawings with words (1), embedded pages (1)"]


def test_depth() -> None:
    assert page("<div>" * 1500 + "deep").text == "deep"
    notes: list[str] = []
    with pytest.raises(Unreadable):
        html("<div>" * 3000 + "too deep", notes)
    assert notes and "nested" in notes[0]


@pytest.mark.parametrize("piece", ["<table>", "<table><tr><th>a", "<p><table><tr><td>a<p><td>b"])
def test_tables_within_tables_take_no_time(piece: str) -> None:
    deep = piece * (1900 // len(re.findall("<t", piece)) - 5)
    start = time.process_time()
    assert "deep" in page(f"{deep}<p>deep").text
    assert time.process_time() - start < 3  # 6 to 12 without a bound


def test_spans_that_would_fill_the_memory() -> None:
    cell = "<td rowspan=65534 colspan=1000>x</td>"
    rows = "".join(f"<tr>{cell}{cell}</tr>" for _ in range(20))
    assert len(page(f"<table><tr><th>a<th>b</tr>{rows}</table>").text) < 100_000


NAMES = ("Home", "Boats", "Rope", "Tar", "Maps")
MENU = "".join(f"<li><a href='/{name}'>{name}</a>" for name in NAMES)
TEXT = (
    "The old crane was taken down in May after the ice had bent its arm beyond repair.",
    "Four men from the yard sawed it up, and the iron went to the smith on the hill.",
    "A new one has been ordered, which will lift twice as much and turn by itself.",
    "Until it comes, heavy goods are landed at the ferry quay on the other side.",
)
STORY = "".join(f"<p>{line}</p>" for line in TEXT)
COOKIES = "<p>We use cookies and similar means to count visits; accept them or choose here.</p>"
PAGES = {
    "markup says it": f"<header><a href=/>Yard</a><nav><ul>{MENU}</ul></nav></header><main>"
    f"<article><h1>The crane</h1>{STORY}<div class=share-buttons><a href=#>Post</a></div>"
    f"</article><aside class=related><h2>Related</h2><ul>{MENU}</ul></aside>"
    "<section id=comments><p>Good riddance, it squeaked all night long, says neighbour.</p>"
    "</section></main><footer>© Yard. <a href=/i>Imprint</a></footer>",
    "names say it": f"<div class=cookie-banner>{COOKIES}</div><div class=topMenu><ul>{MENU}</ul>"
    f"</div><div id=wrap><div class=text><h1>The crane</h1>{STORY}</div><div class=sidebar>"
    f"<h3>Popular</h3><ul>{MENU}</ul></div></div><div id=footer>© Yard</div>",
    "links say it": f"<table><tr><td colspan=2><a href=1>Home</a> | <a href=2>Maps</a> | "
    f"<a href=3>Tar</a><tr><td><ul>{MENU}</ul><td><h1>The crane</h1>{STORY}</table>",
    "it waits behind a dialog": f"<div aria-hidden=true><h1>The crane</h1>{STORY}</div>"
    f"<div role=dialog class=consent>{COOKIES}</div>",
    "teasers are articles too": f"<article><h1>The crane</h1>{STORY}</article>"
    + "<article><h3><a href=/a>Ferry</a></h3><p>It sails again.</p></article>" * 4,
    "its heading stands apart": f"<div class=hero><h1>The crane</h1></div><ul>{MENU}</ul>"
    f"<div><div>{STORY}</div></div>",
}


def read(tmp_path: Path, body: str) -> tuple[str, list[str]]:
    file = tmp_path / "page.html"
    file.write_text(f"<html><body>{body}</body></html>")
    notes: list[str] = []
    (parsed,) = read_html(file, ReadOptions(), notes)
    return parsed.text, notes


@pytest.mark.parametrize("name", PAGES)
def test_main_part(tmp_path: Path, name: str) -> None:
    text, notes = read(tmp_path, PAGES[name])
    assert text == "\n\n".join(("The crane", *TEXT))
    assert len(notes) == 1 and notes[0].startswith("left out around its main part: ")


def test_what_only_looks_like_the_rest_of_a_page(tmp_path: Path) -> None:
    index = f"<h1>Guides</h1><ul>{MENU}</ul>"
    assert read(tmp_path, index) == ("Guides\n\n- Home\n- Boats\n- Rope\n- Tar\n- Maps", [])
    posts = "".join(f"<div class=comment><p>{line}</p></div>" for line in TEXT)
    assert read(tmp_path, f"<h1>Forum</h1><div class=comments>{posts}</div>")[0] == "\n\n".join(
        ("Forum", *TEXT)
    )
    policy = f"<div class=cookie-policy><h1>Cookies</h1>{COOKIES}</div>"
    assert "count visits" in read(tmp_path, policy)[0]
    notes = '<footer><p id="footnote-1">1. Measured at the lower quay in the spring.</p></footer>'
    assert "lower quay" in read(tmp_path, f"<article>{STORY}{notes}</article>")[0]
    blocks = "".join(f"<div class=elementor-widget><p>{line}</p></div>" for line in TEXT)
    lead = "<p class=teaser>A crane that the whole quay knew is gone.</p>"
    assert read(tmp_path, f"<h1>Crane</h1>{lead}{blocks}")[0].count("\n\n") == 1 + len(TEXT)
    menu = "<p>Soup of the day with bread from the oven, 9 euro</p>" * 4
    assert "Soup" in read(tmp_path, f"<h1>Inn</h1><div class=menu>{menu}</div>")[0]
