"""Several labels, numbers and pairs through `tune`, `compare`, `evaluate` and `predict`."""

import ast
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from terminal import FAST, Tailor

import tiny
from tailorbird.models.onnx import OnnxClassifier

ASKED: dict[str, list[str]] = {
    "multilabel": ["--text", "text", "--label", "topics"],
    "regression": ["--text", "first,second", "--label", "alike"],
}
HEADLINES = {"multilabel": "macro_f1", "regression": "r2"}


def write(task: str, path: Path) -> Path:
    """Write rows whose labels follow from their words."""
    rows = tiny.rows()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if task == "multilabel":
            writer.writerow(["text", "topics"])
            for i, (text, label) in enumerate(rows):
                other, more = rows[(7 * i + i // 3) % len(rows)]
                both = "|".join(sorted({label, more}))
                writer.writerow([text, label] if i % 2 else [f"{text}, {other}", both])
        else:
            writer.writerow(["first", "second", "alike"])
            for i, (text, label) in enumerate(rows):
                other, more = rows[(7 * i + i // 3) % len(rows)]
                writer.writerow([text, other, 3.5 * (label == more) + i / 97])
    return path


@pytest.fixture(scope="module", params=list(ASKED))
def compared(
    request: pytest.FixtureRequest,
    inside: Tailor,
    tiny_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path, dict[str, Any]]:
    """Return a task, its data, a finished comparison and the JSON it printed."""
    task = request.param
    place = tmp_path_factory.mktemp(task)
    data = write(task, place / "data.csv")
    asked = [data, "--model", tiny_encoder, *ASKED[task], *FAST, "--set", "train.epochs=2"]
    blind = "majority" if task == "multilabel" else "mean"
    asked += ["--methods", f"{blind},rag,probe,lora,rag+best", "--output", place / "run"]
    done = inside("compare", *asked, "--json")
    assert done.returncode == 0, done.stderr
    assert "the task is" in done.stderr
    return task, data, place / "run", json.loads(done.stdout)


def test_every_arm_is_scored_and_loads_again(
    compared: tuple[str, Path, Path, dict[str, Any]],
) -> None:
    task, _, run, report = compared
    assert (report["data"]["task"], report["headline"]) == (task, HEADLINES[task])
    assert len(report["arms"]) == 5
    for arm in report["arms"]:
        assert arm["status"] == "ok", arm["why"]
        assert arm["reload"]["identical"] is True, (arm["name"], arm["reload"])
        for name, score in arm["test"].items():
            assert score["low"] <= score["value"] <= score["high"], name
        place = run / arm["run"]
        assert json.loads((place / "target.json").read_text())["task"] == task
        card = (place / "README.md").read_text()
        assert card.startswith("---\n")
        for code in re.findall(r"```python\n(.*?)```", card, re.S):
            ast.parse(code)
            assert ("deviation" in code) == (task == "regression"), code
            assert ("thresholds" in code) == (task == "multilabel" and arm["name"] == "lora"), code
    assert len(report["comparisons"]) == 10  # each of five with each other
    page = (run / "report.html").read_text()
    assert ("Predicted minus true alike" in page) == (task == "regression")
    assert ("Threshold</th>" in page) == (task == "multilabel")


def test_scores_are_those_of_the_predictions(
    compared: tuple[str, Path, Path, dict[str, Any]],
) -> None:
    task, _, run, report = compared
    for arm in report["arms"]:
        place = run / arm["run"]
        rows = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
        found = {name: score["value"] for name, score in arm["test"].items()}
        if task == "regression":
            truth, said = [r["label"] for r in rows], [r["predicted"] for r in rows]
            assert found["r2"] == pytest.approx(metrics.r2_score(truth, said), abs=1e-5)
            assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), abs=1e-5)
            expected = 0.0 if np.ptp(said) == 0 else stats.spearmanr(truth, said)[0]
            assert found["spearman"] == pytest.approx(expected, abs=1e-5)
            continue
        truth, said = (
            np.asarray([[label in row[key] for label in report["data"]["labels"]] for row in rows])
            for key in ("label", "predicted")
        )
        for average in ("micro", "macro"):
            expected = metrics.f1_score(truth, said, average=average, zero_division=0)
            assert found[f"{average}_f1"] == pytest.approx(expected)
        assert found["hamming"] == pytest.approx(metrics.hamming_loss(truth, said))


def test_neighbours_or_probe_beat_the_blind_arm(
    compared: tuple[str, Path, Path, dict[str, Any]],
) -> None:
    task, _, _, report = compared
    found = {arm["name"]: arm["test"][HEADLINES[task]]["value"] for arm in report["arms"]}
    blind = found.pop("majority", found.pop("mean", 0.0))
    assert max(found["probe"], found["rag"]) > blind + 0.1, found


def test_a_run_scores_and_answers_new_rows(
    compared: tuple[str, Path, Path, dict[str, Any]], inside: Tailor, tmp_path: Path
) -> None:
    task, data, run, report = compared
    scores = tmp_path / "scores"
    done = inside("evaluate", run / "arms" / "lora", data, "--output", scores, "--json")
    assert done.returncode == 0, done.stderr
    assert "By slice" in (scores / "report.html").read_text()
    scored = json.loads(done.stdout)
    assert scored["data"]["counts"]["test"] == 60
    (arm,) = scored["arms"]
    assert arm["test"].keys() == report["arms"][0]["test"].keys()
    done = inside("predict", run / "arms" / "lora", data)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 60
    if task == "multilabel":
        assert set(json.loads(rows[0]["predicted"])) <= set(tiny.LABELS)
        one = inside("predict", run / "arms" / "rag", "the moon again", "--json")
        (answer,) = json.loads(one.stdout)["predictions"]
        target = json.loads((run / "arms" / "rag" / "target.json").read_text())
        least = dict(zip(target["labels"], target["thresholds"], strict=True))
        given = [label for label, p in answer["probabilities"].items() if p >= least[label]]
        assert sorted(answer["labels"]) == sorted(given)
    else:
        said = np.asarray([float(row["predicted"]) for row in rows])
        truth = np.asarray([float(row["alike"]) for row in rows])
        expected = metrics.mean_absolute_error(truth, said)
        assert arm["test"]["mae"]["value"] == pytest.approx(expected, abs=1e-4)
        one = inside("predict", run / "arms" / "lora", "the moon", "--pair", "a comet")
        assert float(one.stdout.split()[0]) == pytest.approx(truth.mean(), abs=5)
        alone = inside("predict", run / "arms" / "lora", "the moon")
        assert alone.returncode == 2
        assert "--pair" in alone.stderr


_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("task", "method"),
    [
        ("multilabel", "prompt"),
        ("regression", "adapter"),
        *(
            pytest.param(*pair, marks=_SLOW)
            for pair in (
                ("multilabel", "full"),
                ("multilabel", "adapter"),
                ("multilabel", "qlora"),
                ("regression", "full"),
                ("regression", "qlora"),
                ("regression", "prompt"),
                ("bi-encoder", "lora"),
                ("bi-encoder", "prompt"),
            )
        ),
    ],
)
def test_every_method_takes_every_task(
    task: str, method: str, inside: Tailor, tiny_encoder: Path, tmp_path: Path
) -> None:
    apart = ["--set", "model.pairs=bi-encoder"] if task == "bi-encoder" else []
    task = "regression" if apart else task
    data = write(task, tmp_path / "data.csv")
    asked = [data, "--model", tiny_encoder, *ASKED[task], *FAST, "--epochs", "1", *apart]
    done = inside("tune", *asked, "--method", method, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    (arm,) = json.loads(done.stdout)["arms"]
    assert arm["reload"]["identical"] is True, arm["reload"]
    assert len(arm["curve"]) == 2
    assert arm["settings"].get("pairs", "").startswith("bi-") == bool(apart)


@pytest.mark.slow
def test_exports_answer_as_the_run_does(
    compared: tuple[str, Path, Path, dict[str, Any]], inside: Tailor, tmp_path: Path
) -> None:
    task, _, run, _ = compared
    asked = ["export", run / "arms" / "lora", "--merge", "--onnx", "--output", tmp_path / "out"]
    done = inside(*asked, "--json")
    assert done.returncode == 0, done.stderr
    forms = json.loads(done.stdout)["forms"]
    assert [(drift["form"], drift["figure"]) for drift in forms] == [
        ("onnx", HEADLINES[task]),
        ("merge", HEADLINES[task]),
    ]
    target = (run / "arms" / "lora" / "target.json").read_text()
    assert json.loads((tmp_path / "out" / "target.json").read_text()) == json.loads(target)
    for drift in forms:
        assert drift["most"] < 1e-3, drift
        assert drift["changed"] == 0
    # Which of two texts a token is of stands in no other input.
    names = ("input_ids", "attention_mask", *(["token_type_ids"] if task == "regression" else []))
    assert tuple(OnnxClassifier(tmp_path / "out" / "model.onnx").names) == names


@pytest.mark.slow
def test_a_decoder_reads_pairs(inside: Tailor, tiny_decoder: Path, tmp_path: Path) -> None:
    data = write("regression", tmp_path / "data.csv")
    asked = [data, "--model", tiny_decoder, *ASKED["regression"], *FAST, "--epochs", "1"]
    done = inside("tune", *asked, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arms"][0]["reload"]["identical"] is True


def test_a_bi_encoder_is_told_where_pairs_are_and_exported(
    inside: Tailor, tiny_encoder: Path, tmp_path: Path
) -> None:
    data, run = write("regression", tmp_path / "data.csv"), tmp_path / "run"
    asked = [data, "--model", tiny_encoder, *ASKED["regression"], *FAST, "--set", "train.epochs=1"]
    asked += ["--methods", "rag,lora,rag+best", "--set", "model.pairs=bi-encoder"]
    done = inside("compare", *asked, "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    assert "by a bi-encoder" in done.stderr
    for arm in json.loads(done.stdout)["arms"]:
        assert arm["reload"]["identical"] is True, (arm["name"], arm["reload"])
    assert json.loads((run / "arms/lora/target.json").read_text())["pooling"] == ["mean"]
    card = (run / "arms/lora/README.md").read_text()
    assert "library_name: tailorbird" in card
    assert 'predict([("a text", "another")])[0].values' in card
    asked = ["export", run / "arms" / "lora", "--merge", "--onnx", "--int8"]
    done = inside(*asked, "--json")
    assert done.returncode == 0, done.stderr
    for drift in json.loads(done.stdout)["forms"]:
        assert drift["most"] < (0.5 if drift["form"] == "int8" else 1e-3), drift
        if drift["form"] != "merge":
            assert OnnxClassifier(Path(drift["file"])).names == ["input_ids", "attention_mask"]


def test_a_bi_encoder_of_single_texts_is_refused(inside: Tailor, tmp_path: Path) -> None:
    data, run = write("multilabel", tmp_path / "data.csv"), tmp_path / "run"
    asked = [data, *ASKED["multilabel"], "--set", "model.pairs=bi-encoder", "--output", run]
    done = inside("tune", *asked)
    assert done.returncode == 2
    assert "is for pairs of texts, and these are single ones" in done.stderr
    assert not run.exists()


def test_a_loss_that_does_not_fit_is_told_before_anything_is_loaded(
    inside: Tailor, tmp_path: Path
) -> None:
    data = write("multilabel", tmp_path / "data.csv")
    asked = [data, *ASKED["multilabel"], "--set", "train.loss=mse", "--output", tmp_path / "run"]
    done = inside("tune", *asked)
    assert done.returncode == 2
    assert "train.loss=mse does not fit multilabel" in done.stderr
