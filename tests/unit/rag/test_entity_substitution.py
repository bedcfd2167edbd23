"""Answers exchanged in documents: everywhere, for one of the kind, and never twice over."""

import numpy as np
import pytest

from tailorbird.metrics.answer_match import answer_type
from tailorbird.rag.entity_substitution import (
    Substitution,
    answer_kind,
    choose_substitutions,
    substituted,
)
from tailorbird.records import Question

TEXT = "Oslo lies by the sea. The mayor of Oslo was Ada Holm from 1901.\nAda  Holm left in 1905."
QUESTIONS = [
    Question("mayor", "Who was the mayor?", {"a": 1}, ("Ada Holm",)),
    Question("since", "Since which year was she mayor?", {"a": 1}, ("1901",)),
    Question("where", "Where is Oslo?", {"a": 1}, ("Oslo",)),  # says its answer itself
    Question("how", "How did she leave?", {"a": 1}, ("in haste",)),  # neither name nor number
    Question("none", "What is her age?", {"a": 1}, (), answerable=False),
    Question("away", "Who was the king?", {"b": 1}, ("Olav Moe",)),  # in no document
]
POOL = [
    *QUESTIONS,
    Question("p", "Who was the mayor of Lima?", {}, ("Rosa Vidal",)),
    Question("q", "In which year did the war begin?", {}, ("1788",)),
]


def chosen(most: int = 9) -> list[Substitution]:
    sources = {q.id: next(iter(q.judged)) for q in QUESTIONS}
    return choose_substitutions(QUESTIONS, sources, {"a": TEXT, "b": ""}, POOL, most)


def test_only_what_can_be_exchanged_is_and_for_one_of_its_kind() -> None:
    changes = {change.id: change for change in chosen()}
    assert set(changes) == {"mayor", "since"}
    assert changes["since"].new == "1788" and changes["mayor"].places == 2
    assert {answer_type(c.new) for c in changes.values()} == {"name", "date"}
    assert changes["mayor"].new in ("Rosa Vidal", "Olav Moe")
    assert len(chosen(most=1)) == 1 and chosen() == chosen()


def test_a_new_figure_or_date_is_near_the_old_one() -> None:
    """A reader who doubts that a song is of 1279 is no evidence against documents."""
    far = [("1279", "1.2%", "thirty"), ("2950", "88.5%", "ninety")]
    near = [("1966", "5.1%", "four"), ("1975", "6%", "seven"), ("1980", "7.9%", "two")]
    answers = [answer for row in far + near for answer in row]
    pool = [Question(answer, "How many, or when?", {}, (answer,)) for answer in answers]
    texts = {"y": "Sung in 1971.", "p": "Some 5.3% paid.", "n": "There were five of them."}
    olds = {"y": "1971", "p": "5.3%", "n": "five"}
    asks = [Question(name, "What is it?", {name: 1}, (olds[name],)) for name in texts]
    changes = choose_substitutions(asks, {name: name for name in texts}, texts, pool, 9)
    new = {change.id: change.new for change in changes}
    assert set(new) == {"y", "p", "n"}
    assert new["y"] in {row[0] for row in near}
    assert new["p"] in {"5.1%", "7.9%", "1.2%"}  # the nearest of its format
    assert new["n"] in {row[2] for row in near}


def test_the_old_answer_stands_nowhere_any_more_however_it_was_spaced() -> None:
    text = substituted(TEXT, chosen())
    assert "Holm" not in text and "1901" not in text and "1788" in text
    assert text.count("Oslo") == 2 and "1905" in text


def test_whole_words_the_longest_way_of_writing_first_and_letters_of_patterns_as_they_are() -> None:
    change = Substitution("1", "a", ("A.B", "A.B Smith"), r"C\1", 2)
    assert substituted("AxB, A.B Smith, A.Bs; A.B!", [change]) == r"AxB, C\1, A.Bs; C\1!"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("Who led it?", "Ada Holm"), ("Who paid?", "Rosa Vidal"), True),
        (("Who led it?", "Ada Holm"), ("Who won the cup?", "Alta United"), False),
        (("Which team won?", "Alta Blues"), ("Which club lost?", "Borg Rovers"), True),
        (("Which team won?", "Alta Blues"), ("Which city burnt?", "Borg Bay"), False),
        (("When?", "3 May 1911"), ("When?", "4 June 1788"), True),
        (("When?", "May 1911"), ("When?", "1788"), False),
        (("How many?", "18%"), ("How many?", "25%"), True),
        (("How many?", "2,000"), ("Which year?", "1186"), False),
        (
            ("The keeper who came late joined which club?", "Alta Blues"),
            ("Which team?", "Bo Town"),
            True,
        ),
    ],
)
def test_kinds_of_answers(one: tuple[str, str], other: tuple[str, str], alike: bool) -> None:
    assert answer_kind(*one) is not None
    assert (answer_kind(*one) == answer_kind(*other)) is alike


def test_whose_it_is_names_no_country() -> None:
    assert answer_kind("Which country owned it?", "Denmark") == "country"
    assert answer_kind("Which country owned it?", "Danish") is None


def test_a_name_whose_like_are_of_another_kind_takes_no_part() -> None:
    """A club answered "who" too, and a person "which team": their nearest names tell."""
    people, teams = ("Ada Holm", "Bo Lind", "Eva Orte"), ("Alta Blues", "Borg Rovers", "Kil Town")
    misled = {"Who won?": "Moss Rangers", "Which team fell?": "Finn Dahl"}
    asked = [Question("1", "Who was the mayor?", {"a": 1}, ("Ada Holm",))]
    pool = [Question(name, "Who came?", {}, (name,)) for name in people]
    pool += [Question(name, "Which team came?", {}, (name,)) for name in teams]
    pool += [Question(text, text, {}, (name,)) for text, name in misled.items()]
    near = {name: [1.0, 0.1 * n] for n, name in enumerate((*people, "Finn Dahl"))}
    near |= {name: [0.1 * n, 1.0] for n, name in enumerate((*teams, "Moss Rangers"))}
    drawn = {
        choose_substitutions(asked, {"1": "a"}, {"a": "Ada Holm came."}, pool, 1, seed, embed)[
            0
        ].new
        for seed in range(20)
        for embed in (lambda names: np.array([near[name] for name in names]),)
    }
    assert drawn == {"Bo Lind", "Eva Orte"}
    blind = {
        choose_substitutions(asked, {"1": "a"}, {"a": "Ada Holm came."}, pool, 1, seed)[0].new
        for seed in range(20)
    }
    assert "Moss Rangers" in blind


def test_what_is_no_single_thing_of_a_known_kind_stays() -> None:
    text = "Bo Lind, Eva Orte and the University of Arvik met in Arvik. 12 came, 12 left."
    asked = [
        Question("two", "Who met?", {"a": 1}, ("Bo Lind", "Eva Orte")),  # two people
        Question("part", "In which town did they meet?", {"a": 1}, ("Arvik",)),  # of a longer name
        Question("twice", "How many people came?", {"a": 1}, ("12",)),  # counts two things
        Question("what", "What did they found?", {"a": 1}, ("Eva Orte",)),  # of no known kind
    ]
    pool = [
        Question("p", "Who was it?", {}, ("Rosa Vidal",)),
        Question("q", "In which town was it?", {}, ("Lima",)),
        Question("r", "How many were there?", {}, ("34",)),
    ]
    assert choose_substitutions(asked, {q.id: "a" for q in asked}, {"a": text}, pool, 9) == []


def test_a_person_is_called_by_the_new_surname_too() -> None:
    change = Substitution("1", "a", ("Ada Holm",), "Rosa Vidal", 1)
    text = "Ada Holm came. later Holm left; Bo Holm and Holmes stayed."
    expected = "Rosa Vidal came. later Vidal left; Bo Holm and Holmes stayed."
    assert substituted(text, [change]) == expected
