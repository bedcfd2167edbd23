"""Solved examples before a question: in order, as turns, and only as many as fit."""

from typing import Any

import pytest

from tailorbird.arms.generative_predictor import fit_shots, with_shots
from tailorbird.data.chat_template import install_template
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.models.load import tokenizer_in
from tailorbird.records import Example, Message


def asked(text: str, *, system: str = "", answer: str | None = None) -> Example:
    """Return a question, as data or a person asks it."""
    leads = (Message("system", system),) if system else ()
    ends = (Message("assistant", answer),) if answer is not None else ()
    return Example(text, answer, 7, (*leads, Message("user", text), *ends))


SHOTS = [Example("nearest", "one"), Example("near", "two"), Example("far", "three")]


def turns(example: Example) -> list[tuple[str, str]]:
    """Return a conversation's turns, without what else they hold."""
    return [(message.role, message.content) for message in example.messages]


def test_the_most_similar_stands_next_to_the_question() -> None:
    longer = with_shots(asked("what now?", answer="four"), SHOTS)
    assert turns(longer) == [
        ("user", "far"),
        ("assistant", "three"),
        ("user", "near"),
        ("assistant", "two"),
        ("user", "nearest"),
        ("assistant", "one"),
        ("user", "what now?"),
        ("assistant", "four"),
    ]
    # For people and for the scores it is the same question.
    assert (longer.text, longer.label, longer.row) == ("what now?", "four", 7)


def test_a_system_message_stays_the_first() -> None:
    longer = with_shots(asked("what now?", system="Be brief."), SHOTS[:1])
    assert turns(longer)[0] == ("system", "Be brief.")
    assert turns(longer)[1:] == [("user", "nearest"), ("assistant", "one"), ("user", "what now?")]


def test_only_the_questions_own_answer_counts_for_the_loss() -> None:
    longer = with_shots(asked("what now?", answer="four"), SHOTS)
    assert [m.content for m in longer.messages if m.role == "assistant" and m.trained] == ["four"]


def test_no_shots_change_nothing() -> None:
    example = asked("what now?", system="Be brief.", answer="four")
    assert with_shots(example, []) == example


# --- room ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(models: Any) -> Any:
    found = tokenizer_in(models("llama"))
    install_template(found, "plain")
    return found


def size(example: Example, tokenizer: Any) -> int:
    """Return a prompt's tokens."""
    (ids,) = encode_prompts([example], tokenizer)
    return len(ids)


def test_as_many_fit_as_leave_the_prompt_in_the_room(tokenizer: Any) -> None:
    example = asked("what now?")
    sizes = [size(with_shots(example, SHOTS[:k]), tokenizer) for k in range(4)]
    assert sizes == sorted(set(sizes)), "every pair makes the prompt longer"
    for k in range(4):
        for room in (sizes[k], sizes[k] + 1):
            (kept,) = fit_shots([example], [SHOTS], tokenizer, room)
            assert kept == SHOTS[:k], "the least similar go first"


def test_a_question_that_fills_the_room_by_itself_gets_none(tokenizer: Any) -> None:
    example = asked("what now?")
    assert fit_shots([example], [SHOTS], tokenizer, 1) == [[]]


def test_each_question_has_its_own_room(tokenizer: Any) -> None:
    short, long = asked("what now?"), asked("what now? " * 30)
    room = size(with_shots(long, SHOTS[:1]), tokenizer)
    kept = fit_shots([short, long, short], [SHOTS, SHOTS, SHOTS[:1]], tokenizer, room)
    assert kept == [SHOTS, SHOTS[:1], SHOTS[:1]]
    assert fit_shots([], [], tokenizer, 10) == []


def test_what_was_given_is_left_alone(tokenizer: Any) -> None:
    given = list(SHOTS)
    fit_shots([asked("what now?")], [given], tokenizer, 1)
    assert given == SHOTS
