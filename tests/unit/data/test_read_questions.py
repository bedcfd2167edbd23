"""Questions and judgements from their files."""

import json
from pathlib import Path

import pytest

from tailorbird.data.questions import read_paragraphs, read_qrels, read_questions
from tailorbird.errors import UserError

SQUAD = {
    "data": [
        {
            "title": "Moon",
            "paragraphs": [
                {
                    "context": "The moon is 384,400 km away.",
                    "qas": [
                        {
                            "id": "a1",
                            "question": "How far is the moon?",
                            "answers": [{"text": "384,400 km"}, {"text": "384,400 km"}],
                        }
                    ],
                }
            ],
        }
    ]
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_beir_layout(tmp_path: Path) -> None:
    queries = write(
        tmp_path / "queries.jsonl",
        '{"_id": "1", "text": "one?"}\n{"_id": "2", "text": "two?"}\n{"_id": "3", "text": "x"}\n',
    )
    qrels = write(tmp_path / "t.tsv", "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n3\td9\t1\n")
    found = read_questions(queries, qrels)
    assert [(q.id, q.text, q.judged) for q in found] == [
        ("1", "one?", {"d1": 2, "d2": 0}),
        ("3", "x", {"d9": 1}),
    ]


def test_qrels_of_trec_eval(tmp_path: Path) -> None:
    path = write(tmp_path / "qrels.txt", "1 0 d1 1\n1 0 d2 3\n")
    assert read_qrels(path) == {"1": {"d1": 1, "d2": 3}}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_questions_that_name_their_sources(tmp_path: Path, suffix: str) -> None:
    text = (
        "question,answer,source\nWhy?,Because.,a.md\n"
        if suffix == "csv"
        else json.dumps({"question": "Why?", "answer": "Because.", "source": ["a.md"]})
    )
    found = read_questions(write(tmp_path / f"q.{suffix}", text))
    assert [(q.id, q.text, q.judged, q.answers) for q in found] == [
        ("1", "Why?", {"a.md": 1}, ("Because.",))
    ]


def test_squad(tmp_path: Path) -> None:
    path = write(tmp_path / "squad.json", json.dumps(SQUAD))
    assert [(p.id, p.title, p.text) for p in read_paragraphs(path)] == [
        ("0-0", "Moon", "The moon is 384,400 km away.")
    ]
    assert [(q.id, q.judged, q.answers) for q in read_questions(path)] == [
        ("a1", {"0-0": 1}, ("384,400 km",))
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("q.jsonl", "not json", "line 1 is not valid JSON"),
        ("q.csv", "name,source\na,b\n", "no question"),
        ("q.csv", "question\nWhy?\n", "no question of"),
        ("q.jsonl", "[1]", "line 1 holds a list, not an object"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_questions(write(tmp_path / name, text))


def test_bad_judgements_and_missing_files_are_named(tmp_path: Path) -> None:
    bad = write(tmp_path / "q.tsv", "query-id\tcorpus-id\tscore\n1\td1\tmany\n2\td2\n")
    with pytest.raises(UserError, match=r"2 problems[\s\S]*q.tsv:2[\s\S]*q.tsv:3"):
        read_qrels(bad)
    with pytest.raises(UserError, match="there is no"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="not SQuAD"):
        read_paragraphs(write(tmp_path / "x.json", "{}"))
