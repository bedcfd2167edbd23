"""What is near enough to be answered from, and what is not."""

from dataclasses import replace

import pytest

from tailorbird.rag.checked_answer import no_figure, too_weak
from tailorbird.rag.extract import Picked
from tailorbird.records import Passage

TEXT = (
    "The pump lifts forty litres a minute. Its hose is made of rubber.\n\n"
    '```python\nprint("Who won the regatta of Porto?")\n```\n'
)


def passage(dense: float | None = 0.5, words: float | None = None, text: str = TEXT) -> Passage:
    return Passage(1, "pump.md", "The pump", text, 0, len(text), 1.0, dense=dense, words=words)


def test_meaning_and_words_together_are_near_enough() -> None:
    question = "What is the hose of the pump made of?"  # both of its words are there
    assert too_weak([passage(0.1)], None, question=question) == ""
    half = "What is the filter of the pump made of?"
    assert too_weak([passage(0.35)], None, question=half) == ""
    assert "similarity 0.25 and one holds 50% of" in too_weak([passage(0.25)], None, question=half)


def test_a_subject_that_only_code_mentions_is_none() -> None:
    question = "Who won the regatta of Porto?"
    assert "one holds 0% of the question's words" in too_weak([passage()], None, question=question)
    named = "Why does print(regatta) of Porto say who won?"
    assert too_weak([passage(0.2)], None, question=named) == "", "the question has code in it"
    said = f"{TEXT}\nNobody won the regatta of Porto."
    assert too_weak([passage(text=said)], None, question=question) == ""


def test_words_alone_have_a_scale_of_their_own() -> None:
    by_words = passage(None, 7.5)
    assert too_weak([by_words], None, question="Who made the hose?") == ""
    assert "0% of the question's words" in too_weak([by_words], None, question="Who likes tea?")


def test_what_someone_set_or_calibrated_is_the_only_measure() -> None:
    far, question = passage(0.2), "Who likes tea?"
    assert too_weak([far], 0.1, question=question) == ""
    assert "0.20, needed is 0.30" in too_weak([far], 0.3, 0.1, question)
    assert too_weak([far], None, 0.1, question) == ""
    assert too_weak([], -1.0) == "no passage was retrieved"
    assert too_weak([replace(far, dense=0.9)], None, question="Why?") == ""


@pytest.mark.parametrize(
    ("question", "nearness", "kind", "refused"),
    [
        ("How heavy is the pump?", 0.9, "prose", True),
        ("How heavy is the pump?", 1.1, "prose", False),
        ("When was the pump built?", 0.9, "item", True),
        ("How heavy is the pump?", 1.1, "code", True),
        ("Who built the pump?", 0.4, "prose", False),
    ],
)
def test_another_figure_of_the_page_is_no_answer(
    question: str, nearness: float, kind: str, refused: bool
) -> None:
    ranked = [Picked(passage(), 0, 37, 1.0, kind, nearness)]
    assert bool(no_figure(question, ranked)) is refused
    assert bool(no_figure(question, [])) is not question.startswith("Who")
