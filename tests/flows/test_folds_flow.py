"""`tailor tune --folds`: every row tested once, resumed by fold; and doubted labels on the way."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import accuracy_score
from terminal import FAST, Tailor

import tiny


@pytest.fixture(scope="module")
def folded(
    inside: Tailor, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """Return a finished run of two folds, what it printed, and the labels that were changed."""
    place = tmp_path_factory.mktemp("folds")
    rows = tiny.rows()
    wrong = {rows[i][0]: "sport" if rows[i][1] == "food" else "food" for i in (4, 31)}
    data = tiny.write_csv(place / "a.csv", [(text, wrong.get(text, label)) for text, label in rows])
    asked = [data, "--model", tiny_encoder, "--folds", 2, "--epochs", 1, *FAST]
    asked += ["--set", "rag.embedder=builtin:minilm"]
    done = inside("tune", *asked, "--output", place / "run", "--json")
    assert done.returncode == 0, done.stderr
    return place / "run", json.loads(done.stdout), wrong


def test_every_row_is_tested_once(folded: tuple[Path, dict[str, Any], dict[str, str]]) -> None:
    run, report, wrong = folded
    (arm,) = report["arms"]
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert sorted(row["row"] for row in rows) == list(range(1, 61))
    own = dict(tiny.rows()) | wrong
    assert all(own[row["text"]] == row["label"] for row in rows)
    truth, found = [r["label"] for r in rows], [r["predicted"] for r in rows]
    score = arm["test"]["accuracy"]
    assert score["value"] == pytest.approx(accuracy_score(truth, found))
    assert score["low"] < score["value"] < score["high"]
    assert report["data"]["counts"]["test"] == 60
    assert sum(map(sum, arm["confusion"])) == 60
    assert any("2 folds, test accuracy of each" in note for note in arm["notes"])
    assert arm["reload"]["identical"], arm["reload"]


def test_planted_label_errors_are_listed(
    folded: tuple[Path, dict[str, Any], dict[str, str]],
) -> None:
    run, report, wrong = folded
    with (run / "label_errors.csv").open(encoding="utf-8") as file:
        listed = {row["text"]: row for row in csv.DictReader(file)}
    assert set(wrong) <= set(listed)
    originals = dict(tiny.rows())
    assert all(listed[text]["suggested"] == originals[text] for text in wrong)
    assert all(listed[text]["label"] == label for text, label in wrong.items())
    (finding,) = [f for f in report["data"]["findings"] if f["code"] == "label_errors"]
    assert finding["count"] == len(listed) < 12
    assert "label_errors.csv" in (run / "report.html").read_text(encoding="utf-8")


def test_a_fold_that_is_done_is_not_done_again(
    folded: tuple[Path, dict[str, Any], dict[str, str]], inside: Tailor
) -> None:
    run, report, _ = folded
    first, second = run / "arms" / "lora", run / "arms" / "lora" / "folds" / "2"
    before = (first / "journal.jsonl").stat().st_mtime_ns
    (run / "report.json").unlink()
    (second / "arm.json").unlink()
    done = inside("tune", "--resume", "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    assert "fold 1 of 2: already done" in done.stderr
    assert "fold 2 of 2\n" in done.stderr
    assert (first / "journal.jsonl").stat().st_mtime_ns == before
    again = json.loads(done.stdout)
    assert again["arms"][0]["test"] == report["arms"][0]["test"]


def test_a_run_of_folds_predicts(
    folded: tuple[Path, dict[str, Any], dict[str, str]], inside: Tailor
) -> None:
    run, _, _ = folded
    done = inside("predict", run, "the moon again", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["label"] in tiny.LABELS


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--test", "t.csv"], "every row is tested in its fold"),
        (["--time", "when"], "a model trained on later rows"),
        (["--search", "3"], "search without --folds first"),
    ],
)
def test_what_folds_exclude(
    more: list[str], said: str, data: Path, inside: Tailor, tmp_path: Path
) -> None:
    done = inside("tune", data, "--folds", "3", *more, "--output", tmp_path / "run")
    assert done.returncode == 2
    assert said in done.stderr
