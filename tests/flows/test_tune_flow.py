"""`tailor tune`, `evaluate` and `predict` from end to end, in processes of their own."""

import csv
import io
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from terminal import FAST, PATIENCE, Tailor, command, environment

import tiny

FILES = (
    "config.yaml",
    "report.json",
    "report.html",
    "README.md",
    "model",
    "journal.jsonl",
    "predictions.jsonl",
    "environment.json",
)
METRICS = {"accuracy", "macro_f1"}


def check_report(report: dict[str, Any], kind: str) -> None:
    """Check what `docs` and other programs rely on in report.json."""
    assert list(report)[:2] == ["schema_version", "kind"]
    assert (report["schema_version"], report["kind"]) == (1, kind)
    old = {"best", "recommended", "tied_with", "reason"}
    assert set(report["verdict"]) == old | {"open", "margin", "luck", "effective"}
    assert report["data"]["labels"] == list(tiny.LABELS)
    for arm in report["arms"]:
        assert arm["status"] in ("ok", "failed", "skipped")
        if arm["status"] != "ok":
            assert arm["why"]
            continue
        assert set(arm["test"]) >= METRICS
        for score in arm["test"].values():
            assert set(score) == {"value", "low", "high"}
            assert score["low"] <= score["value"] <= score["high"]
        accuracy = arm["test"]["accuracy"]
        assert accuracy["low"] < accuracy["high"], "a dozen texts leave room for doubt"
        assert set(arm["cost"]) == {
            "train_seconds",
            "search_seconds",
            "examples_per_second",
            "tokens_per_second",
            "peak_memory_bytes",
            "trainable_parameters",
            "total_parameters",
            "artifact_bytes",
            "predict_ms_per_example",
        }


@pytest.fixture(scope="session", params=["full", "adapter", "lora", "qlora", "prompt"])
def each(
    request: pytest.FixtureRequest,
    tailor: Tailor,
    data: Path,
    tiny_encoder: Path,
    tuned: tuple[Path, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, dict[str, Any]]:
    """Return a method, its finished run, and the JSON that `tailor tune` printed."""
    if request.param == "lora":
        return "lora", *tuned
    run = tmp_path_factory.mktemp("each") / request.param
    asked = [data, "--model", tiny_encoder, "--method", request.param, "--epochs", "1"]
    done = tailor("tune", *asked, *FAST, "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    return request.param, run, json.loads(done.stdout)


def test_tune_leaves_a_whole_run(each: tuple[str, Path, dict[str, Any]]) -> None:
    method, run, report = each
    check_report(report, "tune")
    assert report == json.loads((run / "report.json").read_text())
    assert [arm["name"] for arm in report["arms"]] == [method]
    for name in FILES:
        assert (run / name).exists(), name
    assert not (run / "checkpoints").exists()
    assert not [p for p in run.rglob("*") if p.name.endswith((".part", ".old", ".lock"))]
    assert (run / "model" / "tokenizer.json").is_file()
    assert "<html" in (run / "report.html").read_text()
    assert (run / "README.md").read_text().startswith("---\n")
    assert yaml.safe_load((run / "config.yaml").read_text())["method"]["name"] == method
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert {row["event"] for row in journal} == {"step", "validation"}
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"]


def test_the_saved_model_predicts_as_the_trained_one_did(
    each: tuple[str, Path, dict[str, Any]],
) -> None:
    _, _, report = each
    check = report["arms"][0]["reload"]
    assert check["identical"] is True, check
    assert check["examples"] == report["data"]["counts"]["test"]


def test_the_scores_are_those_of_the_predictions(each: tuple[str, Path, dict[str, Any]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    _, run, report = each
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == report["data"]["counts"]["test"]
    truth, found = [r["label"] for r in rows], [r["predicted"] for r in rows]
    scores = report["arms"][0]["test"]
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(truth, found))
    assert scores["macro_f1"]["value"] == pytest.approx(f1_score(truth, found, average="macro"))
    originals = dict(tiny.rows())
    assert all(originals[row["text"]] == row["label"] for row in rows)


def test_words_go_to_stderr_and_the_table_to_stdout(
    tailor: Tailor, tuned: tuple[Path, dict[str, Any]]
) -> None:
    run, _ = tuned
    done = tailor("evaluate", run)
    assert done.returncode == 0, done.stderr
    assert "lora" in done.stdout
    assert "report.html" in done.stderr
    assert "report.html" not in done.stdout


# --- evaluate --------------------------------------------------------------------------------


def test_evaluate_a_run_prints_its_own_report(
    tailor: Tailor, tuned: tuple[Path, dict[str, Any]]
) -> None:
    run, report = tuned
    done = tailor("evaluate", run, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == report


def test_evaluate_looks_at_the_folder_before_the_data(
    tailor: Tailor, tuned: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = tailor("evaluate", tuned[0], tmp_path / "none.csv", "--output", tmp_path)
    assert done.returncode == 2
    assert "notes.txt" in done.stderr


def test_evaluate_other_data(
    tailor: Tailor, tuned: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    run, _ = tuned
    done = tailor("evaluate", run, data, "--output", tmp_path / "scores", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    check_report(report, "tune")
    assert report["data"]["counts"]["test"] == 60
    rows = (tmp_path / "scores" / "predictions.jsonl").read_text().splitlines()
    right = sum(json.loads(r)["label"] == json.loads(r)["predicted"] for r in rows)
    assert report["arms"][0]["test"]["accuracy"]["value"] == pytest.approx(right / 60)
    assert (tmp_path / "scores" / "report.html").is_file()
    assert json.loads((tmp_path / "scores" / "report.json").read_text()) == report


# --- predict ---------------------------------------------------------------------------------


def test_predict_one_text(tailor: Tailor, tuned: tuple[Path, dict[str, Any]]) -> None:
    run, _ = tuned
    done = tailor("predict", run, "the moon again")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0].split()[0]
    assert first in tiny.LABELS
    done = tailor("predict", run, "the moon again", "--json")
    (answer,) = json.loads(done.stdout)["predictions"]
    assert (answer["text"], answer["label"]) == ("the moon again", first)
    assert set(answer["probabilities"]) == set(tiny.LABELS)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["confidence"] == max(answer["probabilities"].values())


def test_predict_a_file_keeps_its_columns_and_order(
    tailor: Tailor, tuned: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = tuned
    rows = [{"id": str(i), "text": text, "label": "?"} for i, (text, _) in enumerate(tiny.rows())]
    with (tmp_path / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    done = tailor("predict", run, tmp_path / "new.csv")
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(r["id"], r["text"], r["label"]) for r in found] == [
        (r["id"], r["text"], r["label"]) for r in rows
    ]
    assert all(r["predicted"] in tiny.LABELS for r in found)
    done = tailor("predict", run, tmp_path / "new.csv", "-o", tmp_path / "answers.csv")
    assert done.stdout == ""
    with (tmp_path / "answers.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == found
    before = (tmp_path / "new.csv").read_bytes()
    done = tailor("predict", run, tmp_path / "new.csv", "-o", tmp_path / "new.csv")
    assert done.returncode == 2 and "is the file to be read" in done.stderr
    assert (tmp_path / "new.csv").read_bytes() == before


def test_a_file_is_predicted_some_rows_at_a_time(
    tuned: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.cli.predictions_csv import write_blocks
    from tailorbird.flows import predict

    run, _ = tuned
    rows = [{"text": text, **({"late": "x"} if n == 7 else {})} for n, (text, _) in
            enumerate(tiny.rows()[:8])]  # fmt: skip
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    written = []
    for size in (100, 3):
        monkeypatch.setattr(predict, "BLOCK", size)
        answers = predict.predict_file(run, tmp_path / "new.jsonl", "text")
        assert answers.count == 8 and answers.columns == ("text", "late")
        write_blocks(answers.blocks, answers.columns, tmp_path / "out.csv", raw=False)
        written.append(list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines())))
    for one, other in zip(*written, strict=True):
        assert {k: one[k] for k in ("text", "late", "predicted")} == {
            k: other[k] for k in ("text", "late", "predicted")
        }
        assert float(one["confidence"]) == pytest.approx(float(other["confidence"]), abs=1e-3)
    assert [row["late"] for row in written[0]] == [""] * 7 + ["x"]


def test_faults_of_a_later_block_are_told_before_anything_is_predicted(
    tuned: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.errors import UserError
    from tailorbird.flows import predict

    run, _ = tuned
    (tmp_path / "new.csv").write_text("text\n" + "good\n" * 5 + "   \n")
    monkeypatch.setattr(predict, "BLOCK", 2)
    monkeypatch.setattr(predict, "load", None)  # the model is not even loaded
    with pytest.raises(UserError, match="7"):
        predict.predict_file(run, tmp_path / "new.csv", "text")


def test_predict_lines_of_stdin(tailor: Tailor, tuned: tuple[Path, dict[str, Any]]) -> None:
    run, _ = tuned
    done = tailor("predict", run, stdin="the moon again\nrice with onions again\n")
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["text"] for row in found] == ["the moon again", "rice with onions again"]


def test_the_reader_of_stdout_may_go_away(tuned: tuple[Path, dict[str, Any]]) -> None:
    run, _ = tuned
    lines = "the moon again\n" * 3000
    process = subprocess.Popen(
        command("predict", run),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(lines, timeout=120 * PATIENCE)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# --- the Python API --------------------------------------------------------------------------


def test_the_python_api_is_the_same_thing(
    tuned: tuple[Path, dict[str, Any]], data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    import tailorbird

    run, printed = tuned
    again = tailorbird.tune(
        data,
        model=tiny_encoder,
        method="lora",
        epochs=2,
        output=tmp_path / "run",
        train__tensorboard=False,
        train__batch_size=16,
        model__precision="fp32",
    )
    theirs = {name: score["value"] for name, score in printed["arms"][0]["test"].items()}
    assert {name: score.value for name, score in again.arms[0].test.items()} == theirs
    texts = [text for text, _ in tiny.rows()]
    one, two = tailorbird.load(run), tailorbird.load(str(tmp_path / "run"))
    np.testing.assert_array_equal(one.probabilities(texts), two.probabilities(texts))
    answers = one.predict(texts[:3])
    assert [a.label for a in answers] == [
        one.labels[i] for i in one.probabilities(texts)[:3].argmax(1)
    ]
    assert json.loads(json.dumps(tailorbird.evaluate(run).to_json())) == printed
    assert one.predict([]) == []
    with pytest.raises(tailorbird.UserError, match="did you mean 'train.learning_rate'"):
        tailorbird.tune(data, train__lerning_rate=1)
    with pytest.raises(tailorbird.UserError, match="learns only by training"):
        one.add(["a text"], ["food"])


# --- stopping and going on -------------------------------------------------------------------


def wait_for(
    ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 150
) -> None:
    end = time.monotonic() + seconds * PATIENCE
    while not ready():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "it never came that far"
        time.sleep(0.05)


def start(*arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.fixture(scope="module")
def stopped(
    data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Any], str]:
    """Return a run that Ctrl-C ended midway, its command, and its last words."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    asked = ["tune", data, "--model", tiny_encoder, "--method", "lora", "--epochs", "100"]
    asked += [*FAST, "--set", "train.patience=999", "--output", run]
    process = start(*asked)
    wait_for(lambda: lines_of(run / "journal.jsonl") > 10, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100 * PATIENCE)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    return run, asked, err


def test_ctrl_c_says_how_to_go_on_and_leaves_a_resumable_run(
    stopped: tuple[Path, list[Any], str], tailor: Tailor, tmp_path: Path
) -> None:
    run, asked, words = stopped
    assert "--resume" in words
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    before = lines_of(copy / "journal.jsonl")
    done = tailor(*asked[:-1], copy, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert "continuing after step" in done.stderr
    check_report(json.loads(done.stdout), "tune")
    rows = [json.loads(line) for line in (copy / "journal.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row["event"] == "step"]
    assert steps == list(range(1, 301)), "100 epochs of 39 examples in batches of 16"
    assert len(rows) > before


def test_an_unfinished_run_is_no_answer(
    stopped: tuple[Path, list[Any], str], tailor: Tailor
) -> None:
    done = tailor("predict", stopped[0], "a text")
    assert done.returncode == 2
    assert "is not finished" in done.stderr


def test_a_truncated_checkpoint_is_told(
    stopped: tuple[Path, list[Any], str], tailor: Tailor, tmp_path: Path
) -> None:
    run, asked, _ = stopped
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (state,) = copy.glob("checkpoints/step-*/state.pt")
    state.write_bytes(state.read_bytes()[:200])
    done = tailor(*asked[:-1], copy, "--resume")
    assert done.returncode == 0, done.stderr
    assert "state.pt was changed after it was written" in done.stderr
    assert "starting from the beginning" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_process_may_not_write_to_the_same_run(
    data: Path, tiny_encoder: Path, tailor: Tailor, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    long = ["--epochs", "30000", "--set", "train.patience=30000"]
    asked = ["tune", data, "--model", tiny_encoder, *long, *FAST, "--output", run]
    process = start(*asked)
    try:
        wait_for(lambda: (run / "config.yaml").is_file(), process)
        done = tailor(*asked, "--resume")
        assert done.returncode == 2
        assert "in use by another tailor process" in done.stderr
        done = tailor(*asked)
        assert done.returncode == 2
        assert "is in use" in done.stderr
    finally:
        process.kill()
        process.communicate()
    # The system lets go of the lock when its holder dies.
    done = tailor("predict", run, "a text")
    assert "is not finished" in done.stderr


def test_resuming_a_finished_run_changes_nothing(
    tuned: tuple[Path, dict[str, Any]],
    data: Path,
    tiny_encoder: Path,
    tailor: Tailor,
    tmp_path: Path,
) -> None:
    run = Path(shutil.copytree(tuned[0], tmp_path / "run"))
    before = (run / "model" / "adapter_model.safetensors").read_bytes()
    stamp = (run / "journal.jsonl").read_bytes()
    done = tailor("tune", data, "--resume", "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    assert (run / "model" / "adapter_model.safetensors").read_bytes() == before
    assert (run / "journal.jsonl").read_bytes() == stamp
    assert json.loads(done.stdout)["arms"][0]["test"] == tuned[1]["arms"][0]["test"]


def test_a_second_terminal_shares_a_search_by_the_folder_alone(
    data: Path, tiny_encoder: Path, tailor: Tailor, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ["--model", tiny_encoder, "--search", "4", "--epochs", "2", *FAST]
    first = start("tune", data, *asked, "--output", run, "--json")
    wait_for(lambda: (run / "search" / "plan.json").is_file(), first)
    second = tailor("tune", "--resume", "--output", run, "--json")
    told, words = first.communicate(timeout=200 * PATIENCE)
    assert first.returncode == 0, words
    assert second.returncode == 0, second.stderr
    assert json.loads(told)["arms"] == json.loads(second.stdout)["arms"]
    trials = json.loads(told)["arms"][0]["search"]["trials"]
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
