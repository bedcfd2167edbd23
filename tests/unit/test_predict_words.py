"""What `predict` takes for a file, and what its table looks like."""

from pathlib import Path
from typing import Any

import pytest

from tailorbird.cli.predictions_csv import write_blocks
from tailorbird.errors import UserError
from tailorbird.flows.predict import named_file


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text\ngood\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text('{"text": "good"}\n')
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "notes.md", "book.xlsx", "letter.docx", "a picture.png", "main.py"):
        (tmp_path / name).write_text("some words\n")
    (tmp_path / "gone").symlink_to("nowhere")
    return tmp_path


def test_rows_are_read(place: Path) -> None:
    assert named_file("rows.csv") == Path("rows.csv")
    assert named_file(str(place / "data")) == place / "data"
    (place / "data" / "rows.jsonl").rename(place / "data" / "train.jsonl")
    (place / "data" / "test.jsonl").write_text('{"text": "bad"}\n')
    with pytest.raises(UserError, match="data#test"):
        named_file("data")
    assert named_file("data#test") == Path("data#test")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("notes.txt", "tailor predict RUN < notes.txt"),
        ("notes.md", "a text per line"),
        ("book.xlsx", "files in .xlsx cannot be read"),
        ("./letter.docx", "files in .docx cannot be read"),
        ("a picture.png", "files in .png cannot be read"),
        ("main.py", "files in .py cannot be read"),
        ("empty", "no file of data"),
        ("gone", "gone"),
        ("missing.csv", "does not exist"),
        ("missing.docx", "does not exist"),
        ("missing.txt", "echo TEXT"),
        ("./missing", "does not exist"),
        ("/nowhere/at/all", "does not exist"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_other_files_are_refused_and_never_labelled(name: str, told: str, place: Path) -> None:
    with pytest.raises(UserError) as refusal:
        named_file(name)
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ["good", "read notes.txt today", "https://example.org/a.html", "and/or", "/help", "node.js",
     "e.g.", "", "a\nb.csv", "x" * 5000, "what?", "3.5", "issue #4"],
)  # fmt: skip
def test_words_are_words(text: str, place: Path) -> None:
    assert named_file(text) is None


def test_a_files_own_columns_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "text": "-good",
        "predicted": "mine",
        "confidence": "high",
        "p(a)": "1",
        "new_predicted": 2,
    }
    answer: dict[str, Any] = {"text": "-good", "label": "=a", "confidence": 0.75, "row": row}
    answer["probabilities"] = {"a": 0.75}
    write_blocks([[answer]], (), tmp_path / "out.csv", raw=False)
    head, line = (tmp_path / "out.csv").read_text().splitlines()
    assert head == (
        "text,predicted,confidence,p(a),new_predicted,new_new_predicted,new_confidence,new_p(a)"
    )
    assert line == "'-good,mine,high,1,2,'=a,0.750000,0.750000"
    assert "new_confidence (the file has confidence)" in capsys.readouterr().err
    write_blocks([[answer]], (), tmp_path / "out.csv", raw=True)
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("-good,mine,high,1,2,=a,")


@pytest.mark.parametrize(
    ("answer", "head"),
    [
        ({"values": {"value": 1.5}}, "predicted"),
        ({"values": {"x": 1, "y": 2}}, "predicted(x),predicted(y)"),
        ({"labels": ["a"], "probabilities": {"a": 0.5}}, "predicted,p(a)"),
    ],
)
def test_numbers_and_several_labels(answer: dict[str, Any], head: str, tmp_path: Path) -> None:
    write_blocks([[{"text": "t", **answer}]], (), tmp_path / "out.csv", raw=False)
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == f"text,{head}"
    written = {"prompt": "p", "text": "said", "row": {"answer": "mine", "question": "p"}}
    write_blocks([[written]], (), tmp_path / "out.csv", raw=False)
    table = (tmp_path / "out.csv").read_text()
    assert table == "answer,question,new_answer\nmine,p,said\n"
