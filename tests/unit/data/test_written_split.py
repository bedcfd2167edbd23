"""Splits and checks of conversations and plain texts: no labels, prompts kept together."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.check import check_split, summarise
from tailorbird.data.near_duplicates import text_key
from tailorbird.data.read import Loaded
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.records import Example, Message, Split, TaskName

PARTS = ("train", "validation", "test")


def pair(prompt: str, answer: str, row: int = 0) -> Example:
    messages = (Message("user", prompt), Message("assistant", answer))
    return Example(prompt, answer, row, messages)


def loaded(examples: list[Example], task: TaskName = "generation") -> Loaded:
    columns = (
        {"text": "prompt", "label": "completion"} if task == "generation" else {"text": "text"}
    )
    return Loaded(tuple(examples), columns, path=Path("a.jsonl"), task=task, form="some form")


def pairs(count: int) -> Loaded:
    return loaded([pair(f"question {i}", f"answer {i}", i + 1) for i in range(count)])


def cut(train: Loaded, seed: int = 13, validation: float = 0.1, test: float = 0.2) -> Split:
    return make_split(train, None, None, validation_share=validation, test_share=test, seed=seed)


def test_shares_by_hand_and_what_is_said() -> None:
    split = cut(pairs(100))
    assert [len(getattr(split, part)) for part in PARTS] == [70, 10, 20]
    assert (split.labels, split.task, split.form) == ((), "generation", "some form")
    assert split.how == (
        "validation (10 %) and test (20 %) split off the training rows, at random, seed 13"
    )


def test_the_seed_decides_and_nothing_else() -> None:
    assert cut(pairs(50), 1) == cut(pairs(50), 1)
    assert cut(pairs(50), 1) != cut(pairs(50), 2)


@settings(max_examples=60, deadline=None)
@given(
    prompts=st.lists(st.integers(0, 12), min_size=10, max_size=80),
    upper=st.randoms(use_true_random=False),
    task=st.sampled_from(["generation", "text"]),
)
def test_nothing_is_lost_and_the_same_prompt_stays_in_one_part(
    prompts: list[int], upper: object, task: TaskName
) -> None:
    rows = [
        pair(f"Question {i}" if j % 2 else f"question  {i}", f"a{j}", j)
        for j, i in enumerate(prompts)
    ]
    try:
        split = cut(loaded(rows, task))
    except UserError as error:
        assert len(set(prompts)) < 3, error
        return
    every = [e.row for part in PARTS for e in getattr(split, part)]
    assert sorted(every) == list(range(len(prompts)))
    keys = [{text_key(e.text) for e in getattr(split, part)} for part in PARTS]
    assert all(keys)
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])


def test_given_parts_are_used_as_they_are() -> None:
    test = loaded([pair("x", "y")])
    split = make_split(pairs(10), test, test, validation_share=0.1, test_share=0.1, seed=1)
    assert (split.test, split.how) == (test.examples, "given files")


@pytest.mark.parametrize(("task", "word"), [("generation", "prompts"), ("text", "texts")])
def test_too_few_to_cut(task: TaskName, word: str) -> None:
    with pytest.raises(UserError, match=f"2 different {word}") as caught:
        cut(loaded([pair("a", "b"), pair("c", "d"), pair("A ", "e")], task))
    assert "--validation and --test" in caught.value.fix


def checked(train: list[Example], test: list[Example], overlap: str = "drop") -> Split:
    split = Split(tuple(train), (), tuple(test), (), task="generation")
    return check_split(split, overlap=overlap)  # type: ignore[arg-type]


def codes(split: Split) -> Counter[str]:
    return Counter(finding.code for finding in split.findings)


def test_several_answers_are_normal_and_told() -> None:
    train = [pair("Name a fruit", "apple"), pair("name a fruit ", "pear"), pair("Hi", "Ho")]
    split = checked(train, [pair("Other", "x")])
    assert codes(split) == {"several_answers": 1}
    assert split.findings[0].level == "info"
    assert "1 training prompt has more than one answer" in split.findings[0].message
    assert len(split.train) == 3


def test_no_finding_speaks_of_classes_and_repeats_are_told() -> None:
    train = [pair("a b c d", "x")] * 3 + [pair(f"question number {i}", "y") for i in range(40)]
    split = checked(train, [pair("Other", "z")])
    assert codes(split) == {"duplicates": 1}
    assert "prompt and answer" in split.findings[0].message


def test_prompts_that_are_tested_are_dropped_kept_or_refused() -> None:
    train, test = [pair("Hi", "Ho"), pair("Bye", "Tschüss")], [pair("hi ", "Hello")]
    split = checked(train, test)
    assert [e.text for e in split.train] == ["Bye"]
    assert codes(split) == {"overlap": 1}
    assert len(checked(train, test, "keep").train) == 2
    with pytest.raises(UserError, match="--overlap drop"):
        checked(train, test, "error")
    with pytest.raises(UserError, match="every training row also occurs"):
        checked(train[:1], test)


def test_near_duplicates_are_found_among_prompts() -> None:
    text = "The quick brown fox jumps over the lazy dog and runs far away into the dark woods"
    split = checked([pair(text, "x"), pair("Hi", "y")], [pair(f"{text}.", "z")])
    assert codes(split) == {"near_duplicates": 1}


def test_the_summary_names_task_and_form_and_no_labels() -> None:
    split = check_split(cut(pairs(20)))
    summary = summarise(split, "a.jsonl", {"text": "prompt"})
    assert (summary.task, summary.form, summary.labels) == ("generation", "some form", ())
    assert summary.class_counts == {}
    assert summary.counts == {"train": 14, "validation": 2, "test": 4}
