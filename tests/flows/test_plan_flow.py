"""`tailor plan`: from a configuration or from data to a table, offline, nothing written."""

import json
from pathlib import Path

import pytest
import typer.testing

from tailorbird.cli.main import app
from tailorbird.errors import UserError
from tiny import rows, write_csv

SHAPES = Path(__file__).parents[1] / "unit" / "planning" / "shapes"


def run(*words: str) -> str:
    result = typer.testing.CliRunner().invoke(app, ["plan", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_data_sets_the_lengths(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "train.csv")
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    flags = ("--device", "8GB", "--methods", "lora,prompt", "--json")
    plan = json.loads(run(str(data), "--model", str(tiny_encoder), *flags))
    assert sorted(tmp_path.iterdir()) == before, "a plan leaves nothing behind"
    assert plan["workload"]["longest_tokens"] < 30 and plan["task"] == "classification"
    assert [memory["method"] for memory in plan["memory"]] == ["prompt", "lora"][::-1]
    for memory in plan["memory"]:
        total = sum(term["bytes"] for term in memory["terms"])
        assert total == max(memory["phases"].values())
    devices = {fit["device"] for fit in plan["fits"]}
    assert {"8GB", "12GB", "16GB", "24GB", "48GB", "80GB"} <= devices
    assert all(fit["fits"] for fit in plan["fits"])


def test_table_of_a_configuration() -> None:
    file = str(SHAPES / "bert-base.json")
    words = run("--model", file, "--methods", "lora", "--device", "2GB", "--set",
                "train.batch_size=8")  # fmt: skip
    for name in ("frozen weights", "optimizer", "activations", "allocator", "together", "80GB"):
        assert name in words, name
    assert "accelerate estimate-memory" in words


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--methods", "lora,loar"), "no method 'loar'.*did you mean 'lora'"),
        (("--device", "h10"), "is no device.*did you mean 'h100'"),
        (("--task", "generation"), "is none that writes answers"),
    ],
)
def test_faults_are_told(flags: tuple[str, ...], message: str, tiny_encoder: Path) -> None:
    if "--task" in flags:
        tiny_encoder = SHAPES / "modernbert-base.json"
    with pytest.raises(UserError, match=message):
        run("--model", str(tiny_encoder), *flags)


def test_curve_time_and_page(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailorbird.planning.training_time._SECONDS", 0.05)
    data = write_csv(tmp_path / "train.csv", rows())
    place = tmp_path / "plan"
    flags = ("--methods", "lora", "--curve", "--output", str(place), "--json")
    plan = json.loads(run(str(data), "--model", str(tiny_encoder), *flags))
    curve = plan["curve"]
    assert curve["arm"] == "probe" and curve["metric"] == "accuracy"
    sizes = [score["rows"] for score in curve["scores"]]
    assert sizes[-1] == plan["workload"]["examples"] and len(sizes) >= 3
    assert [len(score["runs"]) for score in curve["scores"]] == [3] * (len(sizes) - 1) + [1]
    assert [gain["more"] for gain in curve["gains"]][-1] == sizes[-1]
    assert plan["time"][0]["method"] == "lora" and plan["time"][0]["seconds"] > 0
    page = (place / "report.html").read_text()
    assert "More labels?" in page and "<svg" in page and "an epoch" in page
    # What was trained is not trained again, and the data may be gone.
    before = {p: p.stat().st_mtime_ns for p in place.rglob("arm.json")}
    again = json.loads(run(str(data), "--model", str(tiny_encoder), *flags, "--resume"))
    assert again["curve"] == curve
    assert before == {p: p.stat().st_mtime_ns for p in place.rglob("arm.json")}


@pytest.mark.parametrize(
    ("count", "flags", "message"),
    [
        (24, ("--curve",), "too few for a learning curve"),
        (60, ("--curve", "--arm", "prob"), "no arm 'prob'.*did you mean 'probe'"),
        (0, ("--curve",), "--curve needs data"),
        (60, ("--resume",), "--resume needs to know which run"),
    ],
)
def test_faults_of_a_curve(
    count: int, flags: tuple[str, ...], message: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    data = [str(write_csv(tmp_path / "train.csv", rows()[:count]))] if count else []
    with pytest.raises(UserError, match=message):
        run(*data, "--model", str(tiny_encoder), "--methods", "lora", "--no-time", *flags)
