"""Questions with answers from their files, and parted so that no test page was trained on."""

import json
from pathlib import Path

import pytest

from tailorbird.data.questions import PartSizes, is_squad, read_answers, split_questions
from tailorbird.errors import UserError
from tailorbird.records import Question


def made(count: int, pages: int = 12, answer: str = "answer {}") -> list[Question]:
    return [
        Question(str(i), f"What is thing {i}?", {f"page-{i % pages}.md": 1}, (answer.format(i),))
        for i in range(count)
    ]


def test_rows_of_both_kinds_say_answers_sources_and_that_there_is_none(tmp_path: Path) -> None:
    table = tmp_path / "q.csv"
    table.write_text(
        'question,answers,source,answerable\nWho?,"[""Ann"", ""Ann B.""]",a.md,true\n'
        "When?,1901,b.md,\nWhere?,,a.md,False\n"
    )
    lines = tmp_path / "q.jsonl"
    rows = [
        {"question": "Who?", "answers": ["Ann", "Ann B."], "source": "a.md", "answerable": True},
        {"question": "When?", "answers": ["1901"], "source": "b.md"},
        {"question": "Where?", "answers": [], "source": "a.md", "answerable": False},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_answers(table)
    assert found == read_answers(lines)
    assert [q.answers for q in found] == [("Ann", "Ann B."), ("1901",), ()]
    assert [q.answerable for q in found] == [True, True, False]


def test_squads_second_version_has_questions_without_an_answer(tmp_path: Path) -> None:
    asked = [
        {"id": "x", "question": "How far?", "answers": [{"text": "9 km"}]},
        {"id": "y", "question": "How old?", "answers": [], "is_impossible": True},
    ]
    paragraphs = [{"context": "It is 9 km.", "qas": asked}]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "Moon", "paragraphs": paragraphs}]}))
    found = read_answers(path)
    assert is_squad(path) and [q.answerable for q in found] == [True, False]
    assert found[0].document == "0 Moon" and found[0].judged == {"0-0": 1}


def test_a_question_without_an_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("question,answer\nWho?,Ann\nWhy is it so?,\n")
    with pytest.raises(UserError, match=r"1 of 2 questions have no answer.*Why is it so"):
        read_answers(path)


def test_no_page_is_in_two_parts_and_a_repeated_split_is_the_same() -> None:
    questions = made(120)
    split = split_questions(questions, "document", PartSizes(test=30))
    pages = [
        {page for q in part for page in q.judged}
        for part in (split.train, split.validation, split.test)
    ]
    assert len(split.test) == 30 and len(split.validation) == 12 and len(split.train) > 50
    assert not pages[0] & pages[1] and not pages[0] & pages[2] and not pages[1] & pages[2]
    assert split == split_questions(questions, "document", PartSizes(test=30))
    other = split_questions(questions, "document", PartSizes(test=30), seed=2)
    assert {q.id for q in other.test} != {q.id for q in split.test}


def test_paragraphs_of_one_page_may_part() -> None:
    questions = made(80, pages=1)
    split = split_questions(
        questions, "paragraph", PartSizes(test=20), paragraph=lambda q: f"part {int(q.id) % 16}"
    )
    groups = [{int(q.id) % 16 for q in part} for part in (split.train, split.test)]
    assert not groups[0] & groups[1]


def test_what_is_asked_twice_is_dropped_from_training_and_told() -> None:
    questions = made(120)
    first = split_questions(questions, "question", PartSizes(test=30))
    # The same words on a page of the other part.
    double = first.test[0]
    again = Question("new", double.text.upper(), {"elsewhere.md": 1}, ("x",))
    split = split_questions([*questions, again], "document", PartSizes(test=30))
    texts = [{q.text.lower() for q in part} for part in (split.train, split.test)]
    assert not texts[0] & texts[1]


def test_answers_that_training_has_too_are_counted() -> None:
    split = split_questions(made(120, answer="the same"), "document", PartSizes(test=30))
    assert split.shared_answers == 1.0
    assert split_questions(made(120), "document", PartSizes(test=30)).shared_answers == 0.0


@pytest.mark.parametrize(
    ("questions", "by", "words"),
    [
        (made(20), "document", "20 questions, but at least 50 are needed"),
        ([Question(str(i), f"{i}?", {}, ("x",)) for i in range(60)], "document", "no source"),
        (made(60, pages=2), "document", "2 documents; at least 3 are needed"),
        ([*made(60), Question("3", "again?", {"z": 1}, ("x",))], "document", "the same id"),
    ],
)
def test_what_cannot_be_parted_is_refused(questions: list[Question], by: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        split_questions(questions, by, PartSizes(test=20))  # type: ignore[arg-type]
