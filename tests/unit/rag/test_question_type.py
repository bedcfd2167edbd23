"""What a question asks for: code, a figure, a name."""

import pytest

from tailorbird.rag.question_type import asks_for_code, asks_for_figure, fact_kind, meaning


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("How do I merge an adapter?", True),
        ("What should I do about it?", True),
        ("Show me an example of a generator", True),
        ("What does merge_and_unload return?", True),
        ("Why is `a` empty?", True),
        ("What does open(path) raise?", True),
        ("What does --force do?", True),
        ("Wie lösche ich einen Schlüssel?", True),
        ("What is prompt tuning?", False),
        ("Who won the cup in 2022?", False),
        ("Why is the sea salty?", False),
        ("How many adapters are there?", False),
    ],
)
def test_code_answers_what_asks_for_code(question: str, code: bool) -> None:
    assert asks_for_code(question) is code


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many adapters are there?", "number"),
        ("What is the maximum weight of a parcel, and how heavy is this one?", "number"),
        ("Which share of the rows is left out?", "number"),
        ("When was it built?", "date"),
        ("In which year did it open?", "date"),
        ("Who opened it?", "name"),
        ("Which city has the most bridges?", "name"),
        ("Why did it close?", "phrase"),
        ("What happens when a key is missing?", "phrase"),
    ],
)
def test_kinds_of_facts(question: str, kind: str) -> None:
    assert fact_kind(question) == kind
    assert asks_for_figure(question) is (kind in ("number", "date"))


def test_numbers_mean_something_and_small_words_do_not() -> None:
    assert meaning("Was it 12 of the adapters?") == {"12", "adapt"}
