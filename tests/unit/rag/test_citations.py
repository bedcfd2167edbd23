"""Citations: what is held is let through and placed; what is not is named."""

from dataclasses import replace

import pytest

from tailorbird.rag.citations import (
    PassageParts,
    check_answer,
    cited_numbers,
    find_support,
    trail_at,
    without_marks,
)
from tailorbird.rag.content_words import content_words
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
    support = find_support(
        "LoRA adds matrices and merging removes latency", PassageParts(passage())
    )
    assert support.quote.startswith("LoRA adds") and support.quote.endswith("latency.")
    assert find_support("default rank", PassageParts(passage())).quote == "The default rank is 8."


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


# What a passage says, what it holds, and what it does not.
HELD = [
    ("It is kept at -40 degrees.", "It is kept at minus 40 degrees", "It is kept at 40 degrees"),
    ("It is kept at 40 degrees.", "It is kept at 40 degrees", "It is kept at -40 degrees"),
    ("It is kept at \u221240 °C.", "It is kept at -40 °C", "It is kept at 40 °C"),
    ("Nights reach 5 degrees below zero.", "Nights reach -5 degrees", "Nights reach 5 degrees"),
    ("Losses were 7,2 percent.", "Losses were 7.2 %", "Losses were 72 percent"),
    ("Losses were 7.2 percent.", "Losses were 7,20 percent", "Losses were 7 percent"),
    ("Add 3/4 cup of oil.", "Add 0.75 cup of oil", "Add 3 cup of oil"),
    ("Add 1½ cups of oil.", "Add 1 1/2 cups of oil", "Add 1/2 cups of oil"),
    ("Up to 12,500 people.", "Up to 12 500 people", "Up to 12.5 people"),
    ("Up to 12.500 people and 1,5 tons.", "Up to 12500 people", "Up to 12.5 people"),
    ("The mass is 12.500 g, or 0.4 oz.", "The mass is 12.5 g", "The mass is 12500 g"),
    ("There are 2'300'000 trees.", "There are 2.3 million trees", "There are 2.3 thousand trees"),
    ("Sales reached 4 million euros.", "Sales reached €4,000,000", "Sales reached $4,000,000"),
    ("It holds 10⁶ cells.", "It holds 1,000,000 cells", "It holds 106 cells"),
    ("It takes 21 days.", "It takes 21 days", "It takes 21 months"),
    ("It takes 21 days.", "It takes twenty-one days", "It takes twelve days"),
    ("It stops at eight floors.", "It stops at 8 floors", "It stops at seven floors"),
    ("Er hält auf acht Etagen.", "Er hält auf 8 Etagen", "Er hält auf 9 Etagen"),
    ("About 20\u201330 % agree.", "About 20 to 30 percent agree", "About 20 people agree"),
    ("About 35 % of voters agree.", "About 35 percent of voters agree", "About 35 of voters agree"),
    ("It opened on 2019-03-04.", "It opened on 4 March 2019", "It opened on 3 April 2019"),
    ("It opened on March 4, 2019.", "It opened in March 2019", "It opened in May 2019"),
    ("Es öffnete am 4. März 2019.", "Es öffnete am 04.03.2019", "Es öffnete am 03.04.2019"),
    ("The gate shuts at 10:30 am.", "The gate shuts at 10:30 a.m.", "The gate shuts at 10:30 pm"),
    ("Version 2.10.1 is needed.", "Version 2.10.1 is needed", "Version 2.10 is needed"),
    ("It is the 3rd floor.", "It is the third floor", "It is the fourth floor"),
    ("Lines 10-18 differ.", "Lines 10 to 18 differ", "Lines -18 differ"),
    ("غرفة ٣٥ مفتوحة.", "غرفة 35 مفتوحة", "غرفة 36 مفتوحة"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "held", "other"), HELD)
def test_figures_are_held_by_their_value_sign_and_unit(said: str, held: str, other: str) -> None:
    assert find_support(held, PassageParts(passage(said))).holds(0.6)
    assert not find_support(other, PassageParts(passage(said))).holds(0.6)


DENIED = [
    ("The pool is not heated in winter.", "The pool is heated in winter"),
    ("The pool is no longer heated in winter.", "The pool is heated in winter"),
    ("Guests never pay for parking.", "Guests pay for parking"),
    ("The tour starts without a guide.", "The tour starts with a guide"),
    ("The rear gate is unlocked at night.", "The rear gate is locked at night"),
    ("The old pass is invalid in trams.", "The old pass is valid in trams"),
    ("Der Pool wird nicht beheizt.", "Der Pool wird beheizt"),
    ("Wir beheizen den Pool nicht.", "Wir beheizen den Pool"),
    ("Es gibt keinen Rabatt für Gruppen.", "Es gibt Rabatt für Gruppen"),
    ("La piscine n'est jamais chauffée.", "La piscine est chauffée"),
    ("La piscine n\u2019est plus chauffée.", "La piscine est chauffée"),
    ("La piscina no se calienta en invierno.", "La piscina se calienta en invierno"),
    ("La piscina non è riscaldata.", "La piscina è riscaldata"),
    ("A piscina não é aquecida no inverno.", "A piscina é aquecida no inverno"),
    ("Het zwembad wordt niet verwarmd.", "Het zwembad wordt verwarmd"),
    ("Бассейн зимой не отапливается.", "Бассейн зимой отапливается"),
    ("Basen nie jest ogrzewany zimą.", "Basen jest ogrzewany zimą"),
    ("Poolen värms inte upp på vintern.", "Poolen värms upp på vintern"),
    ("Bassenget er ikke oppvarmet.", "Bassenget er oppvarmet"),
    ("Bazén se v zimě nevytápí.", "Bazén se v zimě vytápí"),
    ("Havuz kışın sıcak değil.", "Havuz kışın sıcak"),
    ("A medence nem fűtött télen.", "A medence fűtött télen"),
    ("Piscina nu este încălzită.", "Piscina este încălzită"),
    ("泳池冬天不加热。", "泳池冬天加热"),
    ("プールは冬に開きません。", "プールは冬に開きます"),
    ("수영장은 겨울에 열지 않습니다.", "수영장은 겨울에 열지"),
    ("Kolam tidak dipanaskan.", "Kolam dipanaskan"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "affirmed"), DENIED)
def test_what_is_denied_is_not_held_and_the_other_way_round(said: str, affirmed: str) -> None:
    assert find_support(said, PassageParts(passage(said))).holds(0.6)
    assert find_support(affirmed, PassageParts(passage(f"{affirmed}."))).holds(0.6)
    assert not find_support(affirmed, PassageParts(passage(said))).holds(0.6)
    assert not find_support(said, PassageParts(passage(f"{affirmed}."))).holds(0.6)


@pytest.mark.parametrize(
    ("said", "claim"),
    [
        ("The pool is not only clean but warm.", "The pool is clean and warm"),
        ("The rear gate is not unlocked at night.", "The rear gate is locked at night"),
        ("Le bassin n'ouvre que le lundi.", "Le bassin ouvre le lundi"),
        ("The tour is not without risk.", "The tour has risk"),
        ("L'eau de l'étang est froide.", "Eau étang froide"),
        ("The pool isn't heated.", "The pool is not heated"),
    ],
)
def test_what_denies_nothing_or_twice_is_held(said: str, claim: str) -> None:
    assert find_support(claim, PassageParts(passage(said))).holds(0.6)


def test_strange_figures_do_not_break_it() -> None:
    digits = "9" * 6000
    for text in (digits, f"1/{digits}", "1/0", f"2^{digits}", "9^999", "1e999", "0x10", "1.2.3.4.5",
                 "-", "31.31.2024", "½½", f"{digits},{digits}", "1,2,3,", "٣٫٥"):  # fmt: skip
        said = f"It says {text} today."
        assert find_support(said, PassageParts(passage(said))).holds(0.6), text
