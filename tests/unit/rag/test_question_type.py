"""What a question asks for, and which sentences are of that kind."""

import pytest

from tailorbird.rag.question_type import defines, dependence, leans, subject, tells, wanted


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How do I merge an adapter?", "steps"),
        ("How can one undo a commit?", "steps"),
        ("I get an error when I load it. What should I do?", "steps"),
        ("Show me an example of a generator", "steps"),
        ("What is prompt tuning?", "definition"),
        ("Who was Ada Lovelace?", "definition"),
        ("What does LoRA stand for?", "definition"),
        ("What's a KeyError?", "definition"),
        ("How many adapters are there?", "other"),
        ("How old is the bridge?", "other"),
        ("When was it built?", "other"),
        ("What is the matter with my list?", "other"),
    ],
)
def test_what_is_asked_for(question: str, kind: str) -> None:
    assert wanted(question) == kind


@pytest.mark.parametrize(
    ("sentence", "does"),
    [
        ("Use `merge_and_unload` to merge them.", True),
        ("To save memory, use a smaller batch.", True),
        ("If it fails, do not retry.", True),
        ("Alternatively, you can pass a list.", True),
        ("Please check the version.", True),
        ("Then call `train`.", True),
        ("The use of a list is rare.", False),
        ("Users load it every day.", False),
        ("The bridge was built in 1937.", False),
    ],
)
def test_what_tells_what_to_do(sentence: str, does: bool) -> None:
    assert tells(sentence) is does


def test_what_says_little_by_itself() -> None:
    whole = dependence("A set raises a KeyError for a missing item.", opens=False)
    assert whole == 0.0
    for part in (
        "It raises a KeyError.",
        "This should not be an issue.",
        "For example, the second one is merged.",
        "In this case the list is empty.",
        "However, the adapter has to be loaded before.",
    ):
        assert leans(part) and dependence(part, opens=False) == 1.0
        # Under its heading, "it" is what the heading names.
        assert dependence(part, opens=True) < 0.5
    assert dependence("The snippet below shows how to do it with PEFT.", opens=False) > 0.5
    assert dependence("Why is the list empty after a loop?", opens=False) > 0.5
    assert dependence("Very important.", opens=False) > 0.5
    assert not leans("There is no such key.")


@pytest.mark.parametrize(
    ("question", "sentence", "worth"),
    [
        ("What is IA3?", "Infused Adapter (IA3) is a method that adds vectors.", 1.0),
        ("What is a KeyError?", "A KeyError means that the key is not there.", 1.0),
        ("What is prompt tuning?", "Prompt tuning adds a virtual prompt.", 0.6),
        ("What is a KeyError?", "`KeyError: 'a'` and `KeyError: 'b'` are different.", 0.0),
        ("What is LoRA?", "The learning rate is a number.", 0.0),
        ("What is LoRA?", "Models have become large; so people came to use LoRA.", 0.0),
    ],
)
def test_what_defines(question: str, sentence: str, worth: float) -> None:
    assert defines(sentence, subject(question)) == pytest.approx(worth)


def test_a_heading_gives_its_first_sentences_a_subject() -> None:
    about = subject("What is DoRA?")
    said = "This technique decomposes the updates."
    under = "Weight-Decomposed Adaptation (DoRA)"
    found = [defines(said, about, under, place) for place in (0, 1, 4)]
    assert found[0] > found[1] > found[2] == 0.0
    assert defines(said, about, "Another method", 0) == 0.0
    assert defines("Anything is a thing.", subject("What is it?"), "", 0) == 0.0
