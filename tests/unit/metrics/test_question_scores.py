"""Marks of answers, where they went wrong, what changed, and the verdict's sentences."""

from dataclasses import replace

import numpy as np
import pytest

from tailorbird.metrics.question_scores import Judge, change_scores, failure, hit_scores
from tailorbird.metrics.question_verdict import (
    break_evens,
    compare_with_best,
    decide,
    verdict_heading,
)
from tailorbird.records import (
    ChangeScores,
    Comparison,
    Question,
    QuestionArmReport,
    QuestionCost,
    Score,
)

QUESTIONS = [
    Question("1", "Which town?", {}, ("Bergen",)),
    Question("2", "Which year?", {}, ("1901",)),
    Question("3", "Which king?", {}, (), answerable=False),
    Question("4", "Which river?", {}, ("Arno",)),
]
TEXTS = ["Bergen", "1902", "I don't know.", "I don't know."]


@pytest.fixture
def judge() -> Judge:
    return Judge(QUESTIONS, np.arange(4))


def test_right_wrong_and_not_known(judge: Judge) -> None:
    outcomes = judge.outcomes(TEXTS)
    assert outcomes == ["correct", "wrong", "correct", "abstained"]
    scores = judge.scores(TEXTS, outcomes, np.asarray([True, False, False, True]))
    assert scores["answer_match"].value == 0.5 and scores["net"].value == 0.25
    assert scores["abstained"].value == scores["wrong"].value == 0.25
    assert scores["sufficient"].value == 0.5 and scores["lacking"].value == 0.0


def test_long_answers_are_judged_by_their_words() -> None:
    long = "they carried the stones down from the hill at night on sledges drawn by oxen"
    judge = Judge([Question("1", "How?", {}, (long,))], np.arange(1))
    assert judge.headline == "gold_recall"
    assert judge.values(["at night on sledges"], ["wrong"])[0] == pytest.approx(4 / 13)


@pytest.mark.parametrize(
    ("mark", "answerable", "sufficient", "why"),
    [
        ("correct", True, True, ""),
        ("wrong", True, True, "misread"),
        ("wrong", True, False, "not found"),
        ("wrong", True, None, "invented"),
        ("wrong", False, False, "invented"),
        ("abstained", True, True, "refused"),
        ("abstained", True, False, "not found"),
        ("abstained", True, None, "refused"),
    ],
)
def test_where_it_went_wrong(
    mark: str, answerable: bool, sufficient: bool | None, why: str
) -> None:
    assert failure(mark, answerable, sufficient) == why  # type: ignore[arg-type]


def test_after_a_change_answers_are_new_old_or_neither() -> None:
    now = [
        replace(q, answers=(new,)) for q, new in zip(QUESTIONS[:2], ("Oslo", "1788"), strict=True)
    ]
    judge = Judge(now, np.arange(2))
    control = (np.asarray([0.0, -1.0]), np.arange(2))
    old = [("Bergen",), ("1901",)]
    found = change_scores(["correct", "wrong"], ["Oslo", "in 1901"], judge, old, control)
    assert (found.before.value, found.current.value, found.stale.value) == (0.5, 0.5, 0.5)
    assert found.other.value == 0.0 and found.control.value == -0.5
    both = change_scores(["correct"] * 2, ["Oslo, before Bergen", "1788"], judge, old, control)
    assert both.current.value == 0.5 and both.stale.value == 0.5


def test_hits_among_the_first() -> None:
    found = hit_scores([[True, False], [False, True], [False, False]], np.arange(3), 2)
    assert {name: round(score.value, 3) for name, score in found.items()} == {
        "hit@1": 0.333, "hit@2": 0.667,
    }  # fmt: skip


def arm(name: str, right: float, **more: object) -> QuestionArmReport:
    cost = QuestionCost(
        answer_seconds=float(more.pop("seconds", 10.0)), train_seconds=more.pop("train", None)
    )  # type: ignore[arg-type]
    scores = {"answer_match": Score(right, right - 0.05, right + 0.05)}
    return QuestionArmReport(name, "", "ok", scores=scores, cost=cost, **more)  # type: ignore[arg-type]


def verdict_of(rates: dict[str, float], arms: list[QuestionArmReport]) -> object:
    n = 400
    values = {name: (np.arange(n) < rate * n).astype(float) for name, rate in rates.items()}
    best = max((a for a in arms if not a.bound), key=lambda a: rates[a.name]).name
    trained = [a.name for a in arms if a.method]
    tests = compare_with_best(best, values, np.arange(n), trained)
    return decide(arms, tests, "answer_match")


def test_documents_are_recommended_where_they_answer_more() -> None:
    rates = {"base": 0.05, "rag": 0.40, "lora": 0.10, "oracle": 0.80}
    arms = [
        arm("base", 0.05),
        arm("rag", 0.40, retrieves=True),
        arm("lora", 0.10, method="lora", train=60.0),
        arm("oracle", 0.80, bound=True),
    ]
    found = verdict_of(rates, arms)
    assert found.recommended == found.best == "rag"  # type: ignore[attr-defined]
    reason = found.reason  # type: ignore[attr-defined]
    assert reason.startswith("Retrieve, do not train: rag answers 40.0 % correctly")
    assert "lora, answers 10.0 %: 30.0 points fewer" in reason and "80.0 % (oracle)" in reason


def test_a_clear_gap_on_few_documents_is_neither_confirmed_nor_denied() -> None:
    # Seven documents of one sign each: p = 2 / 2 ** 7, and times eight comparisons 0.125.
    arms = [arm("rag", 0.60, retrieves=True), arm("lora", 0.15, method="lora")]
    gap = Comparison("rag", "lora", Score(0.45, 0.30, 0.60), 2 / 2**7, 16 / 2**7, "sign-flip")
    reason = decide(arms, [gap], "answer_match").reason
    assert "45.0 points fewer than rag (30.0 to 60.0); with so few documents" in reason
    even = replace(gap, difference=Score(0.05, -0.02, 0.12))
    assert "is not significant" in decide(arms, [even], "answer_match").reason


def test_of_ways_that_cannot_be_told_apart_the_one_that_costs_less() -> None:
    # One question of 400 behind; another training may differ by 2 points: 0.25 + 0.84 * 2.05 < 2.
    rates = {"rag": 0.40, "raft+lora": 0.4025}
    trained = arm("raft+lora", 0.4025, retrieves=True, method="lora", train=5000.0)
    found = verdict_of(rates, [arm("rag", 0.40, retrieves=True), trained])
    assert found.best == "raft+lora" and found.recommended == "rag"  # type: ignore[attr-defined]
    clear = {"rag": 0.40, "raft+lora": 0.60}
    better = [arm("rag", 0.40, retrieves=True), replace(trained, scores=arm("", 0.6).scores)]
    told = verdict_of(clear, better)
    assert told.reason.startswith("Retrieve and fine-tune: raft+lora")  # type: ignore[attr-defined]


def test_silence_is_told_first_where_nothing_is_shown_to_beat_it() -> None:
    arms = [arm("rag", 0.20, retrieves=True)]  # at least 15 %
    beaten = decide(arms, (), "answer_match", 0.10).reason
    assert beaten.startswith("Retrieve") and "would be correct for 10.0 % of them" in beaten
    level = decide(arms, (), "answer_match", 0.18).reason
    assert level.startswith("No arm is shown to be better than abstaining") and "18.0 %" in level
    assert verdict_heading(decide(arms, (), "answer_match", 0.18)) == (
        "No arm is shown to be better than abstaining"
    )
    assert "abstaining" not in decide(arms, (), "answer_match").reason


def test_the_verdict_says_who_follows_a_change() -> None:
    def changed(before: float, new: float, old: float) -> ChangeScores:
        spans = [Score(value, value - 0.1, value + 0.1) for value in (before, new, old)]
        return ChangeScores(*spans, Score(1 - new - old, 0.0, 1.0), None)

    tuned = arm("rag+lora", 0.5, retrieves=True, method="lora", change=changed(0.6, 0.2, 0.3))
    plain = arm("rag", 0.3, retrieves=True, change=changed(0.4, 0.35, 0.0))
    verdict = decide([tuned, plain], (), "answer_match")
    assert verdict_heading(verdict) == "Retrieve and fine-tune"
    assert (
        "it answered 60.0 % correctly before; without retraining it gives the new answer to 20.0 % "
        "(10.0 % to 30.0 %) and the old one to 30.0 %; rag gives the new one to 35.0 %."
    ) in verdict.reason
    alone = decide([tuned], (), "answer_match").reason
    assert alone.count("gives the new") == 1


def test_nothing_that_ran_is_said() -> None:
    failed = QuestionArmReport("rag", "", "failed", why="no room")
    assert decide([failed], (), "answer_match").reason == ("No arm could be run (rag: no room).")


def test_training_pays_from_the_number_of_questions_that_saves_its_time() -> None:
    slow, quick = (
        arm("rag", 0.4, seconds=30.0),
        arm("lora", 0.4, seconds=10.0, method="lora", train=60.0),
    )
    (pair,) = break_evens([slow, quick])
    # It takes 60 s, and each thousand questions saves 20 s.
    assert (pair.trained, pair.untrained, pair.questions) == ("lora", "rag", 3000.0)
    slower = replace(quick, cost=QuestionCost(40.0, train_seconds=60.0))
    assert break_evens([slow, slower])[0].questions is None
