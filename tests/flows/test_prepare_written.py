"""Preparing files of written answers and plain text: the task, the default model, the siblings."""

import json
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config import Config
from tailorbird.flows.prepare import prepare, read_and_check, with_default_model
from tailorbird.runs.folder import RunFolder


def config(train: Path, **data: Any) -> Config:
    return Config.model_validate({"data": {"train": str(train)} | data})


def write(path: Path, count: int = 20, start: int = 0) -> Path:
    rows = [
        {"prompt": f"Question {i}", "completion": f"Answer {i}"}
        for i in range(start, start + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pairs_are_read_said_split_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = config(write(tmp_path / "a.jsonl"), system="Be kind.")
    folder = RunFolder(tmp_path / "run")
    first = prepare(asked, folder)
    said = capsys.readouterr().err
    assert "read as prompt and completion: 20 conversations, 20 answers to train on" in said
    assert "13 training, 3 validation and 4 test conversations (validation (15 %)" in said
    assert "classes" not in said
    assert first.split.task == "generation"
    assert [m.role for m in first.split.train[0].messages] == ["system", "user", "assistant"]
    assert first.columns == {"text": "prompt", "label": "completion"}
    assert prepare(asked, folder) == first


def test_the_default_model_is_one_that_can_write_unless_one_was_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = config(write(tmp_path / "a.jsonl"))
    split = read_and_check(asked).split
    assert with_default_model(asked, split).model.name == "builtin:tutor"
    assert "model: builtin:tutor" in capsys.readouterr().err
    named = asked.model_copy(update={"model": type(asked.model)(name="builtin:minilm")})
    assert with_default_model(named, split) is named
    labels = tmp_path / "l.csv"
    labels.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    asked = config(labels)
    assert with_default_model(asked, read_and_check(asked).split) is asked


def test_siblings_are_proposed_and_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "pairs_train.jsonl")
    test = write(tmp_path / "pairs_test.jsonl", 5, 100)
    split = read_and_check(config(train)).split
    said = capsys.readouterr().err
    assert f"--test {test}" in said
    assert "--validation" not in said
    assert {e.row for e in split.test} <= set(range(1, 21))
    assert not any("Question 100" in e.text for e in split.test)
    split = read_and_check(config(train, test=str(test))).split
    assert "is beside" not in capsys.readouterr().err
    assert len(split.test) == 5


def test_the_bundled_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).resolve().parents[2] / "examples" / "tutor"
    files = {part: str(folder / f"pairs_{part}.jsonl") for part in ("validation", "test")}
    split = read_and_check(config(folder / "pairs_train.jsonl", **files)).split
    assert (split.task, split.how) == ("generation", "given files")
    assert (len(split.validation), len(split.test)) == (180, 300)


def test_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": f"Story {i}"}) + "\n" for i in range(20)))
    split = read_and_check(config(path)).split
    assert (split.task, split.labels) == ("text", ())
    assert "read as plain text (continued pre-training): 20 texts" in capsys.readouterr().err
