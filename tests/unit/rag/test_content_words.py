"""What a question asks for: code, a figure."""

import pytest

from tailorbird.rag.content_words import asks_for_code, asks_for_figure, meaning


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
    ("question", "figure"),
    [
        ("How many adapters are there?", True),
        ("What is the maximum weight of a parcel, and how heavy is this one?", True),
        ("Which share of the rows is left out?", True),
        ("When was it built?", True),
        ("In which year did it open?", True),
        ("Who opened it?", False),
        ("Which city has the most bridges?", False),
        ("Why did it close?", False),
        ("What happens when a key is missing?", False),
    ],
)
def test_numbers_and_dates_answer_what_asks_for_a_figure(question: str, figure: bool) -> None:
    assert asks_for_figure(question) is figure


def test_numbers_mean_something_and_small_words_do_not() -> None:
    assert meaning("Was it 12 of the adapters?") == {"12", "adapt"}
