"""What a model is asked, what it learns to write, and which arms there are."""

import numpy as np
import pytest

from tailorbird.arms.question_arms.prompts import (
    ABSTAINED,
    answer_of,
    conversation,
    prompt,
    quotation,
    raft_passages,
    target,
)
from tailorbird.arms.question_arms.records import Item, PromptPassage
from tailorbird.arms.question_arms.registry import TABLE, select_arms
from tailorbird.config.knowledge import RaftConfig

GOLD = PromptPassage(
    "a", "Mills > Water", "It was old. The mill on the river was built in 1788 by Ada.", True
)
OTHERS = [PromptPassage("b", "", f"Nothing about number {n}.") for n in range(6)]
ITEM = Item("1", "When was the mill built?", ("1788",), True, (OTHERS[0], GOLD, *OTHERS[1:]), GOLD)
LOST = Item("2", "When was it sold?", ("1801",), True, tuple(OTHERS))
NONE = Item("3", "Who bought it?", (), False, tuple(OTHERS))


def test_every_arm_is_asked_with_the_same_words() -> None:
    closed, open_ = prompt("Why?"), prompt("Why?", [GOLD])
    first, last = closed.split("\n\n")
    assert open_ == f"{first}\n\nMills > Water\n{GOLD.text}\n\n{last}"
    assert "I don't know" in first and last.startswith("Question: Why?\n")


def test_shots_stand_before_it_the_most_similar_last_and_are_not_learnt() -> None:
    example = conversation(ITEM, shots=[("near?", "1"), ("far?", "2")])
    turns = [m.content.split("\n\n")[-1].splitlines()[0] for m in example.messages]
    asked = f"Question: {ITEM.question}"
    assert turns == ["Question: far?", "2", "Question: near?", "1", asked]
    assert not any(m.trained for m in example.messages if m.role == "assistant")


def test_a_row_with_the_right_passage_teaches_a_quotation_and_the_answer() -> None:
    words = target(ITEM, [OTHERS[0], GOLD], RaftConfig(), 48)
    assert words == "Quote: The mill on the river was built in 1788 by Ada.\nAnswer: 1788"
    assert answer_of(words) == "1788" and answer_of("1788.") == "1788."
    assert target(ITEM, [GOLD], RaftConfig(quote=False), 48) == "1788"


def test_a_quotation_leaves_room_for_the_answer() -> None:
    long = PromptPassage(
        "a", "", " ".join(["word"] * 40) + " 1788 " + " ".join(["end"] * 40) + ".", True
    )
    for tokens in (48, 32):
        words = target(ITEM, [long], RaftConfig(), tokens).split()
        assert "1788" in words[1:-2] and words[-2:] == ["Answer:", "1788"]
        # Two tokens a word, and three for each of the marks and the turn's end.
        assert 2 * len(words) + 6 <= tokens
    assert target(ITEM, [long], RaftConfig(), 24) == "Quote: word word 1788 end end\nAnswer: 1788"
    assert target(ITEM, [long], RaftConfig(), 16) == "1788"


def test_a_row_without_it_teaches_to_say_so_unless_asked_to_guess() -> None:
    assert target(ITEM, OTHERS[:3], RaftConfig(), 48) == ABSTAINED
    assert target(ITEM, OTHERS[:3], RaftConfig(no_oracle="answer"), 48) == "1788"
    assert target(NONE, OTHERS[:3], RaftConfig(no_oracle="answer"), 48) == ABSTAINED


def test_a_long_sentence_is_quoted_around_its_answer() -> None:
    text = " ".join(["word"] * 60) + " 1788 " + " ".join(["end"] * 60) + "."
    words = quotation(text, ["1788"]).split()
    assert len(words) == 25 and words[12] == "1788"
    assert quotation("Nothing here.", ["1788"]) == ""


def test_raft_keeps_the_right_passage_in_its_share_of_the_rows_anywhere_among_the_others() -> None:
    rng = np.random.default_rng(0)
    rows = raft_passages([ITEM] * 2000, 4, 0.8, rng)
    holding = [row for row in rows if GOLD in row]
    assert len(holding) / len(rows) == pytest.approx(0.8, abs=0.03)
    assert all(len(set(row)) == 4 for row in rows)
    places = np.bincount([row.index(GOLD) for row in holding], minlength=4) / len(holding)
    assert places == pytest.approx([0.25] * 4, abs=0.04)
    assert all(GOLD in row for row in raft_passages([ITEM] * 50, 4, 1.0, rng))
    (lost,) = raft_passages([LOST], 4, 1.0, rng)
    assert not any(piece.answers for piece in lost)


def test_questions_without_an_answer_count_among_the_rows_without_the_passage() -> None:
    rng = np.random.default_rng(0)
    rows = raft_passages([ITEM] * 1800 + [NONE] * 200, 4, 0.8, rng)
    assert sum(GOLD in row for row in rows) / 2000 == pytest.approx(0.8, abs=0.03)
    # As many as there are, where the share is more than these.
    few = raft_passages([ITEM] * 50 + [NONE] * 50, 4, 0.8, rng)
    assert sum(GOLD in row for row in few) == 50


def test_arms_by_method_or_by_name_and_those_whose_weights_they_take() -> None:
    untrained = ["nearest", "quote", "base", "few_shot", "rag", "oracle"]
    assert [a.name for a in select_arms(None)] == [*untrained, "lora", "rag+lora", "raft+lora"]
    assert [a.name for a in select_arms(["full"])][6:] == ["full", "rag+full", "raft+full"]
    assert len(select_arms(["all"])) == len(TABLE)
    assert [a.name for a in select_arms(["rag", "rag+lora"])] == ["rag", "lora", "rag+lora"]
    assert [a.name for a in TABLE.values() if a.uses_gold] == ["oracle"]
