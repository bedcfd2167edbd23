"""How long answers are held against the passages that were read."""

import pytest

from tailorbird.arms.question_arms.records import PromptPassage
from tailorbird.flows.questions.report import _supported

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
