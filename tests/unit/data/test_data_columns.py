"""Which columns are taken, and when the user is asked instead."""

from pathlib import Path

import pytest

from tailorbird.data.columns import choose_columns
from tailorbird.data.raw_rows import Table
from tailorbird.errors import UserError

TEXTS = ["how do I pay for it", "what does it cost today", "where is my parcel", "it came broken"]
FEW = ["buy", "buy", "ship", "ship"]
IDS = ["1", "2", "3", "4"]


def table(**columns: list[str]) -> Table:
    rows = tuple(zip(*columns.values(), strict=True))
    return Table(Path("f.csv"), tuple(columns), rows, tuple(range(2, 6)), headed=True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": TEXTS, "label": FEW}, ("text", "label")),
        ({"Label": FEW, "Text": TEXTS}, ("Text", "Label")),
        ({"id": IDS, "review": TEXTS, "sentiment": FEW}, ("review", "sentiment")),
        ({"title": IDS, "text": TEXTS, "label": FEW, "label_text": FEW}, ("text", "label")),
        ({"question": TEXTS, "kind": FEW}, ("question", "kind")),
        ({"utt": TEXTS, "intent": FEW}, ("utt", "intent")),
        ({"a": TEXTS, "b": FEW}, ("a", "b")),
        ({"b": FEW, "a": TEXTS}, ("a", "b")),
    ],
)
def test_certain_guess(columns: dict[str, list[str]], expected: tuple[str, str]) -> None:
    chosen = choose_columns(table(**columns), None, None, need_label=True)
    assert (chosen.text, chosen.label) == expected
    (note,) = chosen.notes
    assert f"text={expected[0]!r}, label={expected[1]!r}" in note
    assert "--text/--label" in note


@pytest.mark.parametrize(
    "columns",
    [
        {"a": TEXTS, "b": TEXTS[::-1]},
        {"a": FEW, "b": FEW},
        {"a": IDS, "b": TEXTS},
        {"a": IDS, "b": ["positive", "positive", "negative", "negative"]},
        {"a": TEXTS, "b": ["p", "q", "r", "p"]},
        {"question": TEXTS, "answer": TEXTS[::-1]},
        {"title": TEXTS, "body": TEXTS, "label": FEW},
        {"text": TEXTS, "category": FEW, "sentiment": FEW},
        {"id": IDS, "utt": TEXTS, "what": FEW},
    ],
)
def test_uncertain_guess_lists_the_columns(columns: dict[str, list[str]]) -> None:
    with pytest.raises(UserError) as caught:
        choose_columns(table(**columns), None, None, need_label=True)
    assert "--label NAME" in caught.value.fix
    assert all(repr(name) in caught.value.problem for name in columns)


def test_one_named_column_leaves_the_other_to_guess() -> None:
    columns = {"title": TEXTS, "body": TEXTS, "label": FEW}
    chosen = choose_columns(table(**columns), "title", None, need_label=True)
    assert (chosen.text, chosen.label) == ("title", "label")
    assert len(chosen.notes) == 1
    chosen = choose_columns(table(**columns), "title", "label", need_label=True)
    assert chosen.notes == ()


@pytest.mark.parametrize(
    "columns",
    [
        # A survey's question as a header; a label column named like one of its values.
        {"What did you like about it?": TEXTS, "verdict": FEW},
        {"words": TEXTS, "ship": FEW},
    ],
)
def test_an_odd_header_is_still_a_header(columns: dict[str, list[str]]) -> None:
    chosen = choose_columns(table(**columns), None, None, need_label=True)
    assert [chosen.text, chosen.label] == list(columns)


def test_a_missing_header_is_told_before_a_missing_column() -> None:
    columns = {"where do I find my order": TEXTS, "ship": FEW}
    with pytest.raises(UserError, match="header is missing"):
        choose_columns(table(**columns), "text", None, need_label=True)
