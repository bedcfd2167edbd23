"""`tailor plan`: from a configuration or from data to a table, offline, nothing written."""

import json
from pathlib import Path

import pytest
import typer.testing

from tailorbird.cli.main import app
from tailorbird.errors import UserError
from tiny import write_csv

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
