"""Markdown as written: code stays code, table values stand with their headers, nothing is lost."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tailorbird.documents.markdown import markdown, read_notebook
from tailorbird.documents.read_result import ReadOptions


def text(source: str) -> str:
    return markdown(source, []).text


@pytest.mark.parametrize(
    "source",
    [
        "Write `<!--` first.\n\nAnd more.",
        "Write ``a ` <!--`` first, then `-->` last.",
        "Code:\n\n    <!-- kept\n\nAnd more.",
        "- item\n\n      <!-- kept\n\n- more",
        "> ```\n> <!-- kept\n> ```\n\nmore",
        "~~~\n<!-- kept\n~~~\nmore",
        "1. a\n\n   ```\n   <!--\n   ```\n2. b",
        "An arrow <!- no comment ->, and a lone <!-- in a line.\n\nmore",
        "See [the page][x], which is defined nowhere.",
        "a | b\n\nno table",
        "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```",
        "Code `[a]` and footnote[^1].\n\n[^1]: Note",
        "<table>\n<tr><td>\n\n```py\nx = 1\n```\n\n</td></tr>\n</table>",
        "<table><tr><td><img src=x></table>",
    ],
)
def test_what_stays_as_written(source: str) -> None:
    assert text(source) == source


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a<!-- no -->b", "ab"),
        ("<!-- no\n\n# no -->\nyes", "yes"),
        ("a `b` <!-- `no` --> c", "a `b`  c"),
        ("<div>\n<!-- no -->\nyes\n</div>", "<div>\n\nyes\n</div>"),
        ("See [the page][x] or [x].\n\n[x]: http://x.org 'T'",
         'See [the page](http://x.org "T") or [x](http://x.org "T").'),
        ("![pic][p]\n\n[p]: p.png\n[unused]: u", "![pic](p.png)\n\n\n[unused]: u"),
        ("| Fish | Kg |\n|:--|--:|\n| Cod \\| ling | 3 |\n| Hake | `a \\| b` |",
         "Fish: Cod | ling; Kg: 3\nFish: Hake; Kg: `a | b`"),
        ("|   |   |\n|---|---|\n| Mesh | 40 mm |\n| Depth | 9 m |", "Mesh: 40 mm\nDepth: 9 m"),
        ("- x\n\n  | A | B |\n  |--|--|\n  | 1 | 2<br>3 |", "- x\n\n  A: 1; B: 2 3"),
        ("Before\n\n<table><tr><th>A<th>B<tr><td rowspan=2>x<td>1<tr><td>2</table>\n\nAfter",
         "Before\n\nA: x; B: 1\nA: x; B: 2\n\n\nAfter"),
    ],
)  # fmt: skip
def test_what_is_written_otherwise(source: str, words: str) -> None:
    assert text(source) == words


def test_a_comment_without_end_is_told() -> None:
    notes: list[str] = []
    assert markdown("a\n\n<!-- b\n\nc", notes).text == "a"
    assert notes == ["an unclosed comment (<!--) hides the rest of the page"]


def test_marks_stand_at_their_headings_behind_what_is_left_out() -> None:
    source = (
        "<!-- top -->\n\n# One [two][l]\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\n"
        "<!-- x -->\nThree\n-----\n\n> # quoted\n\n## `Four`\n\n[l]: http://l\n"
    )
    parsed = markdown(source, [])
    places = [parsed.text[mark.start :].split("\n")[0] for mark in parsed.marks]
    assert places == ["# One [two](http://l)", "Three", "## `Four`"]
    assert [mark.headings[-1] for mark in parsed.marks] == ["One two", "Three", "Four"]


def test_front_matter() -> None:
    parsed = markdown('+++\ntitle = "Nets"\nyear = 1990\n+++\nwords', [])
    assert (parsed.title, parsed.metadata, parsed.text) == ("Nets", {"year": 1990}, "words")
    notes: list[str] = []
    bomb = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{f'*{b}, ' * 9}]\n" for b, c in ("ab", "bc"))
    assert "words" in markdown(f"---\n{bomb}d: [{'*c, ' * 99}]\n---\nwords", notes).text


@pytest.mark.parametrize(
    "source",
    ["<table>\n\n" * 3000, "`" * 3000 + "a`" * 3000 + "<!--", "[a][" * 9000 + "\n\n[a]: b",
     "a <!-- " * 9000, "<!--\n\n" * 3000, "|a" * 3000 + "|\n" + "|-" * 3000 + "|"],
)  # fmt: skip
def test_hostile_pages_take_no_time(source: str) -> None:
    began = time.monotonic()
    text(source)
    assert time.monotonic() - began < 5


def read(tmp_path: Path, cells: list[dict[str, Any]]) -> tuple[str, list[str]]:
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    notes: list[str] = []
    (parsed,) = read_notebook(file, ReadOptions(), notes)
    return parsed.text, notes


def test_a_notebook_with_what_it_printed(tmp_path: Path) -> None:
    table = "<table><tr><th></th><th>kg</th></tr><tr><th>cod</th><td>3</td></tr></table>"
    outputs = [
        {"output_type": "stream", "text": ["\x1b[31m3 nets\x1b[0m\n", "done\n"]},
        {"output_type": "execute_result", "data": {"text/html": table, "text/plain": "no"}},
        {"output_type": "display_data", "data": {"image/png": "iVBO"}},
        {"output_type": "display_data", "data": {"text/markdown": "**so**"}},
        {"output_type": "error", "ename": "E", "traceback": ["Trace", "back"]},
    ]
    cells = [
        {"cell_type": "markdown", "source": "# Catch"},
        {"cell_type": "code", "source": ["print('```')\n", "x"], "outputs": outputs},
    ]
    words, notes = read(tmp_path, cells)
    assert words == (
        "# Catch\n\n````\nprint('```')\nx\n````\n\n```\n3 nets\ndone\n```\n\ncod; kg: 3\n\n"
        "**so**\n\n```\nTraceback\n```"
    )
    assert notes == ["1 outputs without text are left out, such as pictures"]


def test_a_notebook_with_odd_outputs(tmp_path: Path) -> None:
    outputs: list[Any] = [None, 3, {"data": []}, {"text": {"a": 1}}, {"text": "x" * 30_000}]
    cells = [{"cell_type": "code", "source": "y", "outputs": outputs}]
    words, notes = read(tmp_path, cells)
    assert words.count("x") == 20_000
    assert "an output of 30,000 characters is cut to 20,000" in notes
