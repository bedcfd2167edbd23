"""The table of a comparison on questions, as terminals of several widths show it."""

import pytest
from rich.console import Console

from tailorbird.records import (
    ChangeScores,
    QuestionArmReport,
    QuestionCost,
    QuestionSections,
    QuestionsReport,
    Score,
    Verdict,
)
from tailorbird.report.questions_page import question_table


def arm(name: str, right: float) -> QuestionArmReport:
    shares = {"answer_match": right, "wrong": 1 - right, "abstained": 0.1, "sufficient": right}
    scores = {key: Score(value, 0.517, 0.736) for key, value in shares.items()}
    change = ChangeScores(*[Score(0.125, 0.0, 0.49)] * 4, None)
    cost = QuestionCost(446_000.0, train_seconds=1528.0)
    return QuestionArmReport(
        name, "", "ok", scores=scores, mean_words=14.6, cost=cost, change=change, method="lora"
    )


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_cell_is_cut_and_the_verdict_is_in_it(width: int) -> None:
    sections = QuestionSections("q.csv", "KB", {"test": 90}, "by page", 4, {}, {}, ())
    report = QuestionsReport(
        kind="questions",
        arms=(arm("raft+adapter", 0.633), arm("rag+lora", 0.278)),
        sections=sections,
        verdict=Verdict("raft+adapter", "raft+adapter", (), ""),
        headline="answer_match",
    )
    console = Console(width=width)
    with console.capture() as capture:
        console.print(question_table(report, width))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert "recommended" in text and "raft+adapter" in text and "63.3 %" in text
    assert ("words" in text) == (width == 140)
