"""Sentences: borders, kinds, and offsets that hold to the letter."""

import time

import pytest
from hypothesis import given, strategies as st

from tailorbird.rag.sentences import bound_row, plain, split_sentences


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith came at 3.5 p.m. on Jan. 5. He left.",
         ["Dr. Smith came at 3.5 p.m. on Jan. 5.", "He left."]),
        ("Use e.g. lists, i.e. this. Next.", ["Use e.g. lists, i.e. this.", "Next."]),
        ("The J. P. Morgan bank. It closed.", ["The J. P. Morgan bank.", "It closed."]),
        ('"Really?" she asked. Yes.', ['"Really?" she asked.', "Yes."]),
        ("It works [1]. More [2, 3].", ["It works [1].", "More [2, 3]."]),
        ("It works. [1] More.", ["It works. [1]", "More."]),
        ("Write `a. B` here. Then go.", ["Write `a. B` here.", "Then go."]),
        ("It is done. `sort` returns None.", ["It is done.", "`sort` returns None."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("A line\nthat goes on. End", ["A line\nthat goes on.", "End"]),
    ],
)  # fmt: skip
def test_borders(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_markdown_is_seen_for_what_it_is() -> None:
    page = """<!-- A licence.
More of it. -->

# Title

Text before:

```python
x = 1. + 2.
# no heading

y = "a. B"
```

- One item. Its second.
- Another
  goes on.

| a | b |
|---|---|
| 1 | 2 |
"""
    found = [(s.kind, s.text) for s in split_sentences(page)]
    assert [kind for kind, _ in found if kind != "aside"] == [
        "heading", "prose", "code", "item", "item", "item", "table", "table",
    ]  # fmt: skip
    kinds = dict(reversed([(kind, text) for kind, text in found]))
    assert kinds["code"].startswith("```python") and kinds["code"].endswith("```")
    assert kinds["aside"] == "<!-- A licence."
    assert found[-3][1] == "Another\n  goes on."


def test_a_passage_cut_out_of_a_block_of_code_begins_with_code() -> None:
    found = split_sentences("y = 2\nprint(y)\n```\n\nThen text. More.")
    assert [(s.kind, s.text) for s in found] == [
        ("code", "y = 2\nprint(y)\n```"), ("prose", "Then text."), ("prose", "More."),
    ]  # fmt: skip


@given(st.text(alphabet="aB .!?\n`#-*|>[]()<1。'\"", max_size=120))
def test_offsets_hold_and_nothing_overlaps_or_is_lost(text: str) -> None:
    at = 0
    for sentence in split_sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text != ""
        assert at <= sentence.start
        assert not any(c.isalpha() for c in text[at : sentence.start])
        at = sentence.end
    assert not any(c.isalpha() for c in text[at:])


def test_plain_reads_links_and_emphasis_by_their_words() -> None:
    marked = "* [TIES](https://x.org) - **uses** the [`~Lora.merge`] `a * b` __init__ snake_case"
    assert plain(marked).startswith("TIES - uses the `merge` `a * b`")
    assert plain("> quoted\n*word* here") == "quoted word here"


@pytest.mark.parametrize(
    "line",
    [
        " ".join(f"[[Page {n}]]" for n in range(4000)) + " and a word",
        "[!warning]   " * 4000 + "x",
        "Paid " + "." * 60_000 + " later",
        "If it rains to the shop when it is day " * 1500 + "and no verb at all",
        "`" * 30_000 + " a",
        "`a` b. " * 8000,
        "[a](b" * 10_000,
        "**a *b " * 8000,
        "<!-- c -->\n" * 4000 + "the end.",
        "\n" * 60_000 + ">",
    ],
    ids=["links", "notes", "dots", "clauses", "ticks", "code", "open links", "stars", "asides",
         "lines"],
)  # fmt: skip
def test_long_lines_take_no_more_than_linear_time(line: str) -> None:
    began = time.process_time()
    for sentence in split_sentences(line):
        plain(sentence.text)
    plain(line)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("See [![Build](a.svg)](b) now", "See Build now"),
        ("the [set](https://example.org/a_(b)) of c", "the set of c"),
        ("| Size | 3 \\| 4 | |", "Size; 3 | 4"),
        ("see [the guide][1] or [this one][]", "see the guide or this one"),
        ("of [[Sea lions|lions]] and [[Seals]]", "of lions and Seals"),
        ("it floats[^2], see <https://example.org/a>", "it floats, see https://example.org/a"),
        ("read `the manual <guide.html>`_ first", "read the manual first"),
        ("as [the rest of it](https://example.or", "as the rest of it"),
        ("a[0][1] is b[i] of `[[1]]`", "a[0][1] is b[i] of `[[1]]`"),
        ("a **very *soft* bed** and ***that***", "a very soft bed and that"),
        ("_use snake_case here_ and __there__", "use snake_case here and there"),
        ("2 * 3 * 4 and a_b_c", "2 * 3 * 4 and a_b_c"),
    ],
)
def test_links_and_emphasis_are_read_as_words(written: str, read: str) -> None:
    assert plain(written) == read


def test_a_row_has_its_headers_names_and_rules_and_link_targets_say_nothing() -> None:
    page = "Prices:\n\n| Size | Price |\n| --- | ---: |\n| big | [5](a.html) |\n| none | |\n"
    assert [s.kind for s in split_sentences(page)] == ["prose", "table", "table", "table"]
    rows = [s for s in split_sentences(page) if s.kind == "table"]
    assert [bound_row(page, row.start) for row in rows] == [
        "Size; Price", "Size: big; Price: 5", "Size: none",
    ]  # fmt: skip
    assert bound_row("| a | b |", 0) == "a; b"
    assert bound_row("| x |\n| a | b |", 6) == "a; b"
    assert [s.kind for s in split_sentences("A [link][1].\n\n[1]: https://example.org")] == [
        "prose", "aside",
    ]  # fmt: skip
