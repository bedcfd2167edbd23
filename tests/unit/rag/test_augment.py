"""Prompts that fit, and the record of what did not."""

from collections.abc import Sequence

import pytest

from tailorbird.errors import UserError
from tailorbird.rag.augment import heading_of, pack
from tailorbird.records import Message, Passage


def count(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)


def passage(text: str, score: float, title: str = "T") -> Passage:
    return Passage(0, "d", title, text, 50, 50 + len(text), score)


LONG = "Alpha beta gamma delta. Epsilon zeta eta theta. Iota kappa lambda mu."


def test_all_in_order_of_scores_when_there_is_room() -> None:
    packed = pack("Why?", [passage("Low.", 1.0), passage("High.", 2.0)], count, 500)
    assert [(p.number, p.text) for p in packed.passages] == [(1, "High."), (2, "Low.")]
    assert packed.dropped == () and packed.tokens == count(packed.messages)
    assert "[1] T\nHigh." in packed.messages[0].content
    assert packed.messages[0].content.endswith("Question: Why?")


def test_every_room_is_kept_and_nothing_is_lost_in_silence() -> None:
    found = [passage(LONG, 2.0), passage("Small one.", 1.0)]
    bare = pack("Why?", [], count, 500).tokens
    whole = pack("Why?", found, count, 500).tokens
    for room in range(bare, whole + 1):
        packed = pack("Why?", found, count, room)
        assert packed.tokens <= room
        given = " ".join(p.text for p in packed.passages).split()
        left = " ".join(p.text for p, _ in packed.dropped).split()
        assert sorted(given + left) == sorted(f"{LONG} Small one.".split())
        assert all(p.text == LONG[: p.end - 50] for p in packed.passages if p.score == 2.0)
        assert all(p.text.endswith(".") for p in packed.passages)
        assert all("did not fit" in why for _, why in packed.dropped)


def test_a_text_given_twice_is_given_once() -> None:
    packed = pack("Why?", [passage("Same  text.", 2.0), passage("Same text.", 1.0)], count, 500)
    assert [why for _, why in packed.dropped] == ["the same text as [1]"]


def test_a_question_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="the question alone"):
        pack("Why?", [], count, 5)


def test_heading_names_each_part_once() -> None:
    found = Passage(1, "d", "Page", "", 0, 0, 1.0, headings=("Page", "Part"))
    assert heading_of(found) == "Page > Part"
