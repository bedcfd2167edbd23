"""`tailor compare` from end to end, in processes of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from terminal import FAST, PATIENCE, Tailor, environment
from test_tune_flow import check_report, lines_of, start, wait_for

import tiny
from tailorbird import load

SOME = "majority,rag,probe,lora,rag+best"


@pytest.fixture(scope="module")
def compared(
    tailor: Tailor, data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return a finished comparison and the JSON it printed."""
    run = tmp_path_factory.mktemp("compared") / "run"
    asked = [data, "--model", tiny_encoder, "--methods", SOME, *FAST]
    asked += ["--set", "train.epochs=2", "--output", run]
    done = tailor("compare", *asked, "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["name"]: arm for arm in report["arms"]}


def test_compare_reports_every_arm(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    check_report(report, "compare")
    assert report == json.loads((run / "report.json").read_text())
    arms = by_name(report)
    assert set(arms) == {"majority", "rag", "probe", "lora", "rag+lora"}
    for name, arm in arms.items():
        assert arm["status"] == "ok", (name, arm["why"])
        assert arm["reload"]["identical"] is True, (name, arm["reload"])
        assert (run / arm["run"] / "model").is_dir()
        assert (run / arm["run"] / "predictions.jsonl").is_file()
    for name in ("config.yaml", "report.html", "environment.json"):
        assert (run / name).is_file()


def test_the_majority_is_what_it_says(compared: tuple[Path, dict[str, Any]]) -> None:
    _, report = compared
    counts = {name: parts["test"] for name, parts in report["data"]["class_counts"].items()}
    share = max(counts.values()) / sum(counts.values())
    assert by_name(report)["majority"]["test"]["accuracy"]["value"] <= share + 1e-9


def test_neighbours_and_probe_find_separable_classes(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    arms = by_name(compared[1])
    assert arms["rag"]["test"]["accuracy"]["value"] >= 0.9
    assert arms["probe"]["test"]["accuracy"]["value"] >= 0.9
    assert compared[1]["verdict"]["recommended"] in arms


def test_the_mix_is_the_weighted_sum(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    weight = by_name(report)["rag+lora"]["settings"]["weight"]
    found = {
        name: np.load(run / "arms" / name / "probabilities.npz")["test"]
        for name in ("rag", "lora", "rag+lora")
    }
    expected = (1 - weight) * found["lora"] + weight * found["rag"]
    np.testing.assert_allclose(found["rag+lora"], expected, atol=1e-6)


def test_every_arm_saw_the_same_test(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    texts = [
        [
            json.loads(line)["text"]
            for line in (run / arm["run"] / "predictions.jsonl").read_text().splitlines()
        ]
        for arm in report["arms"]
    ]
    assert all(other == texts[0] for other in texts)


def test_a_comparisons_folder_predicts_with_what_it_recommends(
    compared: tuple[Path, dict[str, Any]], tailor: Tailor
) -> None:
    run, report = compared
    whole = tailor("predict", run, "the moon again", "--json")
    assert whole.returncode == 0, whole.stderr
    arm = tailor(
        "predict", run / "arms" / report["verdict"]["recommended"], "the moon again", "--json"
    )
    assert json.loads(whole.stdout)["predictions"] == json.loads(arm.stdout)["predictions"]


def test_an_arm_can_be_evaluated_alone(
    compared: tuple[Path, dict[str, Any]], tailor: Tailor
) -> None:
    run, report = compared
    done = tailor("evaluate", run / "arms" / "lora", "--json")
    assert done.returncode == 0, done.stderr
    (arm,) = json.loads(done.stdout)["arms"]
    assert arm["test"] == by_name(report)["lora"]["test"]


def test_examples_added_to_a_retrieval_run_count_and_stay(
    compared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    import shutil

    import tailorbird

    place = Path(shutil.copytree(compared[0] / "arms" / "rag", tmp_path / "rag"))
    predictor = tailorbird.load(place)
    text = "the tariff on steel was raised by parliament"
    assert predictor.predict([text])[0].label in tiny.LABELS
    predictor.add([text] * 3, ["politics"] * 3)
    assert predictor.predict([text])[0].label == "politics"
    assert predictor.predict([text])[0].neighbours[0].label == "politics"
    predictor.save()
    again = tailorbird.load(place).predict([text, "the moon again"])
    assert [a.label for a in again] == ["politics", "space"]


def test_a_finished_comparison_is_not_run_again_and_takes_a_curve(
    compared: tuple[Path, dict[str, Any]], tailor: Tailor, data: Path
) -> None:
    run, report = compared

    def stamps() -> dict[Path, int]:
        files = [p for p in run.glob("arms/*/model/*") if p.name != "README.md"]
        return {p: p.stat().st_mtime_ns for p in files}

    before = stamps()
    assert len(before) > 5
    done = tailor("compare", data, "--resume", "--output", run, "--curve", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already done") == 5
    assert stamps() == before
    longer = json.loads(done.stdout)
    arms = by_name(longer)
    assert {n: a["test"] for n, a in arms.items()} == {
        n: a["test"] for n, a in by_name(report).items()
    }
    assert report["learning_curve"] is None
    curve = longer["learning_curve"]
    rows = report["data"]["counts"]["train"]
    assert curve["arm"] == "probe" and curve["metric"] == "accuracy"
    assert [score["rows"] for score in curve["scores"]] == [round(rows / 4), round(rows / 2), rows]
    # The comparison's own training is the curve's last; the others had parts of its rows.
    assert curve["scores"][-1]["runs"] == [arms["probe"]["test"]["accuracy"]["value"]]
    parts = sorted(run.glob("curve/*/job.json"))
    assert [p.parent.name.split("-")[1] for p in parts] == [f"{round(rows / 4)}"] * 3 + [
        f"{round(rows / 2)}"
    ] * 3
    job = json.loads(parts[0].read_text())
    assert len(set(job["rows"])) == round(rows / 4)
    assert "More labels?" in (run / "report.html").read_text()


def test_an_arm_that_fails_leaves_the_others(tailor: Tailor, data: Path, tmp_path: Path) -> None:
    """A family that bottleneck adapters do not know: the arm fails, and says what to do."""
    import transformers

    from tailorbird.models.builtin import resolve

    config = transformers.FNetConfig(
        vocab_size=30522, hidden_size=32, intermediate_size=64, num_hidden_layers=1, pad_token_id=0
    )
    transformers.FNetModel(config).save_pretrained(tmp_path / "fnet")
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    tokenizer.save_pretrained(tmp_path / "fnet")
    asked = ["--model", tmp_path / "fnet", "--methods", "majority,adapter,rag+best"]
    done = tailor("compare", data, *asked, *FAST, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    arms = by_name(json.loads(done.stdout))
    assert arms["majority"]["status"] == "ok"
    assert arms["adapter"]["status"] == "failed"
    assert "do not support the layers of FNet" in arms["adapter"]["why"]
    assert arms["rag+best"]["status"] == "skipped"
    assert "adapter" in (tmp_path / "run" / "report.html").read_text()
    assert "Traceback" not in done.stderr


def test_what_does_not_fit_the_budget_is_skipped(
    tailor: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    asked = ["--model", tiny_encoder, "--methods", "majority,lora", "--budget", "0.01"]
    asked += [*FAST, "--set", "train.epochs=500", "--output", tmp_path / "run", "--json"]
    done = tailor("compare", data, *asked)
    assert done.returncode == 0, done.stderr
    arms = by_name(json.loads(done.stdout))
    assert arms["lora"]["status"] == "skipped"
    assert "budget" in arms["lora"]["why"]


@pytest.fixture(scope="module")
def raced(
    inside: Tailor, data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Any], Any]:
    """Return a comparison with --seeds auto, what was asked for, and how it went.

    Twelve test rows settle nothing, so both arms stay in question; two trainings are the most here.
    """
    run = tmp_path_factory.mktemp("raced") / "run"
    asked = ["compare", data, "--model", tiny_encoder, "--methods", "majority,adapter,lora", *FAST]
    asked += ["--set", "train.epochs=1", "--seeds", "auto", "--output", run, "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tailorbird.flows.compare.MOST_TRAININGS", 2)
        return run, asked, inside(*asked)


def test_arms_in_question_are_trained_again(raced: tuple[Path, list[Any], Any]) -> None:
    run, _, done = raced
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("undecided, so trained again: adapter, lora") == 1
    report = json.loads(done.stdout)
    check_report(report, "compare")
    for name in ("adapter", "lora"):
        arm = by_name(report)[name]
        assert [seed["seed"] for seed in arm["seeds"]] == [1, 2]
        mean = np.mean([seed["test"]["accuracy"] for seed in arm["seeds"]])
        assert arm["test"]["accuracy"]["value"] == pytest.approx(mean)
        a, b = (np.load(file)["test"] for file in (run / "arms" / name).rglob("probabilities.npz"))
        assert not np.array_equal(a, b)
    assert len(by_name(report)["majority"]["seeds"]) < 2


def test_the_saved_model_is_the_best_on_validation(raced: tuple[Path, list[Any], Any]) -> None:
    run, _, done = raced
    for name in ("adapter", "lora"):
        arm = by_name(json.loads(done.stdout))[name]
        order = [
            (seed["validation"]["accuracy"], -seed["validation"]["log_loss"], seed["seed"])
            for seed in arm["seeds"]
        ]
        best, other = (each[-1] for each in sorted(order, reverse=True))
        own = json.loads((run / "arms" / name / "arm.json").read_text())
        assert own["seeds"][0]["seed"] == best
        assert own["test"] == arm["model_test"]
        assert [p.name for p in (run / "arms" / name / "seeds").iterdir()] == [str(other)]
        assert f"those of seed {best}, the best on validation" in " ".join(arm["notes"])


def test_a_race_that_was_ended_goes_on(
    raced: tuple[Path, list[Any], Any], inside: Tailor, tmp_path: Path
) -> None:
    """The first round of a race is there and half of the second."""
    import shutil

    run, asked, done = raced
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    lost = next((copy / "arms" / "lora" / "seeds").iterdir())
    shutil.rmtree(lost)
    (copy / "report.json").unlink()
    asked = [copy if item == run else item for item in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tailorbird.flows.compare.MOST_TRAININGS", 2)
        again = inside(*asked, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already done") == 4
    before, after = by_name(json.loads(done.stdout)), by_name(json.loads(again.stdout))
    for name, arm in before.items():
        assert after[name]["test"] == arm["test"]
        assert after[name]["seeds"] == arm["seeds"]


@pytest.mark.parametrize(
    "how",
    [
        "killed",
        pytest.param("Ctrl-C", marks=pytest.mark.slow),
        pytest.param("terminated", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_comparison_goes_on(
    how: str, tailor: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ["compare", data, "--model", tiny_encoder, "--methods", "majority,lora", *FAST]
    asked += ["--set", "train.epochs=80", "--set", "train.patience=999", "--output", run]
    process = start(*asked)
    wait_for(lambda: lines_of(run / "arms" / "lora" / "journal.jsonl") > 5, process)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:  # the command alone; its arm holds our pipes open for as long as it lives
        os.kill(process.pid, signal.SIGKILL if how == "killed" else signal.SIGTERM)
    out, err = process.communicate(timeout=120 * PATIENCE)
    assert out == ""
    assert "Traceback" not in err
    if how != "killed":
        assert process.returncode == 130, err
        assert "--resume" in err
    assert not (run / "report.json").exists()
    done = tailor(*asked, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert "majority: already done" in done.stderr
    if how != "killed":
        assert "continuing after step" in done.stderr
    report = json.loads(done.stdout)
    check_report(report, "compare")
    assert {arm["status"] for arm in report["arms"]} == {"ok"}
    rows = (run / "arms" / "lora" / "journal.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows if '"event": "step"' in row]
    assert steps == list(range(1, 241))


@pytest.mark.slow
def test_the_python_api_compares(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    import tailorbird

    report = tailorbird.compare(data, methods=("majority", "rag"), output=tmp_path / "run")
    assert [arm.name for arm in report.arms] == ["majority", "rag"]
    assert all(arm.status == "ok" for arm in report.arms), [arm.why for arm in report.arms]
    assert tailorbird.load(tmp_path / "run").predict(["the moon again"])[0].label == "space"


def test_the_time_to_come_is_that_of_the_arms_before() -> None:
    from tailorbird.flows.compare import time_left

    # 100 s for a whole of 1 + 1; 1.2 + 1.5 are to come.
    told = time_left(["qlora", "full"], {"adapter": 60.0, "lora": 40.0})
    assert told == "about 2 min 15 s left: qlora, full"
    longest = time_left(["lora", "prompt", "qlora", "full"], {"adapter": 6000.0})
    assert len(longest) <= 80  # fits a terminal's line


def test_a_text_is_predicted_without_what_trains(compared: tuple[Path, dict[str, Any]]) -> None:
    run, _ = compared
    code = (
        "import json, sys; from tailorbird.cli.main import run\n"
        "for arm in sys.argv[1:]:\n"
        "    sys.argv = ['tailor', 'predict', arm, 'i read about the moon', '--json']\n"
        "    try: run()\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "    print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    names = ("majority", "probe", "rag", "lora", "rag+lora")
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(run / "arms" / name) for name in names)],
        env=environment(), capture_output=True, text=True, timeout=120 * PATIENCE, check=False,
    )  # fmt: skip
    lines = list(map(json.loads, done.stdout.splitlines()))
    assert len(lines) == 2 * len(names), done.stderr
    heavy = {"torch", "transformers", "peft", "scipy", "sklearn", "pandas", "pyarrow", "lancedb"}
    for name, answer, loaded in zip(names, lines[::2], lines[1::2], strict=True):
        assert heavy.isdisjoint(loaded), name
        with load(run / "arms" / name) as predictor:
            (usual,) = predictor.predict(["i read about the moon"])
        shares = answer["predictions"][0]["probabilities"]
        assert shares == pytest.approx(usual.probabilities, abs=0.02), name
