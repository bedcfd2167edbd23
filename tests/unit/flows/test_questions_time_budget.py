"""What a comparison on questions asks within its budget: less of all where time is short."""

from typing import Any

import pytest

from tailorbird.arms.question_arms.registry import select_arms
from tailorbird.config import Config, load_config
from tailorbird.flows.questions import time_budget
from tailorbird.flows.questions.time_budget import within_budget

ARMS = select_arms(None)


def config(**flags: Any) -> Config:
    return load_config(flags={"data.train": "q.jsonl", "questions.store": "kb"} | flags)


@pytest.fixture(autouse=True)
def rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, "reading_rate", lambda config: 500.0)


def amounts(minutes: float, **flags: Any) -> tuple[int, int | None, int | None]:
    sized, _ = within_budget(config(**{"compare.budget_minutes": minutes} | flags), ARMS, 2000)
    asked = sized.questions
    return asked.test, asked.train, asked.prompt_tokens


def test_nothing_changes_without_a_budget() -> None:
    asked = config()
    assert within_budget(asked, ARMS, 2000) == (asked, ())


def test_a_day_holds_all_and_less_time_less_of_everything() -> None:
    assert amounts(24 * 60) == (300, 300, 512)
    steps = [amounts(minutes) for minutes in (600, 90, 30, 10, 1)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) >= 4
    assert steps[-1] == (50, 50, 128)


def test_the_first_step_takes_as_long_as_its_tokens_do() -> None:
    # base alone: 300 prompts of some 90 tokens and answers of 48, 1.5 of them a read one: 48,600
    # tokens, at 500 a second 97 s, and 6 s to load.
    (base,) = [arm for arm in ARMS if arm.name == "base"]
    for minutes, test in ((103.3 / 60 / 0.8, 300), (103.1 / 60 / 0.8, 200)):
        sized, words = within_budget(config(**{"compare.budget_minutes": minutes}), [base], 2000)
        assert sized.questions.test == test
        assert "500 tokens a second" in words[0]


def test_what_was_said_stays() -> None:
    assert amounts(1, **{"questions.test": 250, "questions.prompt_tokens": 400}) == (250, 50, 400)


def test_arms_without_a_model_need_no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, "reading_rate", None)
    asked = config(**{"compare.budget_minutes": 1})
    assert within_budget(asked, select_arms(["quote", "nearest"]), 2000) == (asked, ())
