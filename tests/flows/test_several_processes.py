"""`tailor tune` by several processes, as a person starts it: --processes and torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TAILOR = [sys.executable, "-m", "tailorbird.cli.main"]
LAUNCHER = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("-m", "tailorbird.cli.main"),
]


def command(start: list[str], data: Path, model: Path, output: Path, *more: str) -> list[str]:
    settings = ("model.precision=fp32", "train.dropout=0", "method.dropout=0", "train.epochs=3")
    return [
        *(*start, "tune", str(data), "--model", str(model), "--output", str(output), "--json"),
        *(word for setting in settings for word in ("--set", setting)),
        *more,
    ]


def report(words: list[str]) -> tuple[dict[str, Any], str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_launcher_and_processes_give_the_report_of_one(
    tiny_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    reports = {}
    for name, start, more in (
        ("one", TAILOR, ()),
        ("two", TAILOR, ("--processes", "2")),
        ("launched", LAUNCHER, ()),
    ):
        result, words = report(command(start, tiny_csv, tiny_encoder, tmp_path / name, *more))
        (arm,) = result["arms"]
        reports[name] = arm
        assert words.count("run folder:") == 1, "one process speaks"
        assert any("by 2 processes" in note for note in arm["notes"]) == (name != "one")
    first = reports.pop("one")
    for arm in reports.values():
        for metric, score in first["test"].items():
            assert arm["test"][metric]["value"] == pytest.approx(score["value"], abs=1e-6)
        losses = [point["validation_loss"] for point in arm["curve"]]
        expected = [point["validation_loss"] for point in first["curve"]]
        assert losses == pytest.approx(expected, abs=1e-4)


def test_ctrl_c_at_the_launcher_leaves_a_run_that_one_process_ends(
    tiny_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "run"
    words = command(LAUNCHER, tiny_csv, tiny_encoder, place, "--set", "train.epochs=500")
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal, end = place / "journal.jsonl", time.monotonic() + 300
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 5):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert "stopped after step" in told
    assert list((place / "checkpoints").glob("step-*"))


def test_other_verbs_refuse_a_launcher(tiny_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    done = subprocess.run(
        [*TAILOR, "compare", str(tiny_csv)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "runs in one process" in done.stderr and "train.processes" in done.stderr
