"""How long answers are held against the passages that were read, and what the notes warn of."""

import pytest

from tailorbird.arms.question_arms.records import PromptPassage
from tailorbird.flows.questions.report import _order_notes, _supported
from tailorbird.records import QuestionArmReport, Score

PIECES = [
    PromptPassage("a", "Rivers", "The Glen flows through Nesby. It freezes in most winters."),
    PromptPassage("b", "Bridges", "Nesby has seven bridges, the oldest of stone."),
]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("The Glen flows through Nesby.", 1.0),
        ("Nesby has nine bridges.", 0.0),  # another figure
        ("The Glen flows through Nesby. Its mayor plays chess on Sundays.", 0.5),
        ("", 1.0),  # nothing is said, so nothing unfounded
    ],
)
def test_share_of_sentences_that_a_passage_holds(text: str, share: float) -> None:
    assert _supported(text, PIECES, 0.6) == share


def test_one_warning_for_all_metrics_that_would_rank_the_same_arm_first() -> None:
    def arm(name: str, words: float, **scores: float) -> QuestionArmReport:
        values = {key: Score(value, value, value) for key, value in scores.items()}
        return QuestionArmReport(name, "", "ok", scores=values, mean_words=words)

    long = arm("quote", 28.6, answer_match=0.6, token_f1=0.1, exact_match=0.0)
    short = arm("lora", 2.6, answer_match=0.2, token_f1=0.3, exact_match=0.2)
    (note,) = _order_notes([long, short], "answer_match")
    assert note.startswith("by token F1 and exact match lora would be first, not quote")
    assert "28.6 words" in note and "2.6 for lora" in note
    assert _order_notes([long], "answer_match") == _order_notes([short, short], "token_f1") == ()
