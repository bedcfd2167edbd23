"""Follow-up questions: what leans on the conversation takes its words, the rest stays."""

import pytest

from tailorbird.rag.answerer import leans_on_history, standalone

HISTORY = [("How do I merge a LoRA adapter into the base model?", "Call merge_and_unload.")]


@pytest.mark.parametrize(
    "question",
    ["And how do I undo it?", "What about QLoRA?", "Why?", "Does it need more memory?",
     "Can they be saved?", "How long does that take?"],
)  # fmt: skip
def test_what_leans_takes_the_words_before(question: str) -> None:
    assert leans_on_history(question)
    found = standalone(question, HISTORY)
    assert found.startswith(question) and "merge" in found and "LoRA" in found
    assert standalone(question, []) == question


@pytest.mark.parametrize(
    "question",
    ["How do I install PEFT from source?", "Is it possible to train on two GPUs?",
     "I appended a list to a list and got a nested one. How do I undo it?"],
)  # fmt: skip
def test_what_stands_alone_stays(question: str) -> None:
    assert standalone(question, HISTORY) == question


def test_words_that_are_there_already_are_not_said_twice() -> None:
    assert standalone("What about merging it?", HISTORY).count("merg") == 1


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("How do I undo merging a LoRA adapter?", True),
        ("Question: How do I undo merging a LoRA adapter?", True),
        ("The weather in Paris is sunny and undo.", False),
        ("How do I merge a LoRA adapter?", False),  # it lost what was asked
        ("First line about undo\nsecond line", False),
        ("", False),
    ],
)
def test_a_models_rewriting_is_checked(written: str, taken: bool) -> None:
    found = standalone("And how do I undo it?", HISTORY, lambda prompt: written)
    by_rule = standalone("And how do I undo it?", HISTORY)
    assert found == ("How do I undo merging a LoRA adapter?" if taken else by_rule)
