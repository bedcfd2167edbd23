"""Citations: what is held is let through and placed; what is not is named."""

from dataclasses import replace

import pytest

from tailorbird.rag.citations import (
    check_answer,
    cited_numbers,
    find_support,
    trail_at,
    without_marks,
)
from tailorbird.rag.words import content_words, negated, numbers
from tailorbird.records import Claim, Passage

TEXT = (
    "LoRA adds two small matrices to each layer. Merging them into the base model removes the "
    "extra latency. The default rank is 8. Prompt tuning does not support merging. "
    "Training took 1,200 steps."
)


def passage(text: str = TEXT, number: int = 1, start: int = 100) -> Passage:
    return Passage(number, f"doc{number}.md", "", text, start, start + len(text), 1.0)


def check(answer: str, *passages: Passage) -> tuple[str, tuple[Claim, ...]]:
    return check_answer(answer, passages or (passage(),), 0.6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a [1] b [2, 3].", [1, 2, 3]), ("[4-6]", [4, 5, 6]), ("[1][1]", [1]), ("x[0] a", [0]),
     ("[^2]", [2]), ("[1 and 3]", [1, 3]), ("[key] [a1]", [])],
)  # fmt: skip
def test_marks(text: str, expected: list[int]) -> None:
    assert cited_numbers(text) == expected


def test_marks_are_taken_off() -> None:
    assert without_marks("It merges [1], fast [2].") == "It merges, fast."


def test_words_are_stemmed_and_names_of_code_taken_apart() -> None:
    assert content_words("The merged adapters") == content_words("merge an adapter")
    assert content_words("merge_and_unload LoraModel") == content_words("merge unload lora model")
    assert numbers("1,200 and 3.5 and 007") == {"1200", "3.5", "7"}
    assert negated("It does not support merging, and it runs.") == set(
        content_words("support merging")
    )


@pytest.mark.parametrize(
    "claim",
    [
        "Merging LoRA's matrices into the base model removes latency",
        "The default rank is 8",
        "Prompt tuning doesn't support merging",
        "It took 1200 training steps",
    ],
)
def test_what_is_held_is_placed(claim: str) -> None:
    text, (found,) = check(f"{claim} [1].")
    assert found.supported and found.wrong == () and text.endswith("[1]")
    (citation,) = found.citations
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.quote


@pytest.mark.parametrize(
    "claim",
    [
        "The default rank is 16",
        "Prompt tuning supports merging",
        "Merging does not remove the extra latency",
        "The moon is made of green cheese",
        "Training took 12,000 steps",
    ],
)
def test_what_is_not_held_is_marked_and_named(claim: str) -> None:
    text, (found,) = check(f"{claim} [1].")
    assert not found.supported and found.wrong == (1,) and found.citations == ()
    assert text == f"{claim}. [?]"


def test_a_number_that_was_not_supplied_is_wrong_and_the_true_source_found() -> None:
    text, (found,) = check("The default rank is 8 [7].")
    assert found.wrong == (7,) and found.supported
    assert text == "The default rank is 8. [1]"


def test_a_sentence_without_marks_is_looked_for() -> None:
    other = passage("Cooking rice takes water.", 2)
    text, found = check("Cooking rice takes water. The default rank is 8.", passage(), other)
    assert [c.citations[0].number for c in found] == [2, 1]
    assert text == "Cooking rice takes water. [2] The default rank is 8. [1]"


def test_marks_after_the_full_stop_belong_to_the_sentence_before() -> None:
    text, found = check("The default rank is 8. [1]\n\nThe sky is green. [1]")
    assert [claim.supported for claim in found] == [True, False]
    assert text == "The default rank is 8. [1]\n\nThe sky is green. [?]"


def test_words_that_claim_nothing_go_with_the_next_sentence() -> None:
    _, found = check("Yes. The default rank is 8.")
    assert [claim.text for claim in found] == ["Yes. The default rank is 8."]


def test_support_may_take_neighbouring_sentences_but_no_more_than_it_needs() -> None:
    support = find_support("LoRA adds matrices and merging removes latency", passage())
    assert support.quote.startswith("LoRA adds") and support.quote.endswith("latency.")
    assert find_support("default rank", passage()).quote == "The default rank is 8."


@pytest.mark.parametrize("answer", ["", "   ", "[1]", "...", "```\ncode"])
def test_odd_answers_do_not_break_it(answer: str) -> None:
    check_answer(answer, [passage()], 0.6)
    check_answer(answer, [], 0.6)


def test_the_trail_is_that_of_the_place_not_of_the_passage() -> None:
    parts = ("The last.", "## Merge", "All at once.", "### Undo", "Unmerge it.", "## Load", "One.")
    text = "\n\n".join(parts)
    held = replace(passage(text, start=40), headings=("LoRA", "Train", "Fast"))
    at = {words: trail_at(held, 40 + text.index(words)) for words in ("The", "All", "Unm", "One")}
    assert at == {
        "The": ("LoRA", "Train", "Fast"),
        "All": ("LoRA", "Merge"),
        "Unm": ("LoRA", "Merge", "Undo"),
        "One": ("LoRA", "Load"),
    }
    _, claims = check_answer("Unmerge it [1].", [held], 0.6)
    assert claims[0].citations[0].headings == ("LoRA", "Merge", "Undo")
    code = passage("```sh\n# no heading\n```\n\nIt runs.", start=0)
    assert trail_at(code, len(code.text) - 3) == ()
