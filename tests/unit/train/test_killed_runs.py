"""Runs ended by SIGKILL wherever they happen to be, and gone on with: the same weights, bit by bit.

Each process is forked from one that has imported torch and touched nothing else, so a kill costs
little more than what it destroys.
"""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tailorbird.runs.folder import CHECKPOINTS, JOURNAL

METHODS = ("full", "adapter", "lora", "qlora", "prompt")
DONE = "done.safetensors"
PATIENCE_SECONDS = 240.0
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def launch() -> Any:
    """Return a function that starts a training in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kill_target"])

    def start(*arguments: Any) -> Any:
        import kill_target

        process = context.Process(target=kill_target.run, args=arguments)
        process.start()
        return process

    return start


def lines(place: Path) -> int:
    journal = place / JOURNAL
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def finish(launch: Any, place: Path, *arguments: Any) -> dict[str, torch.Tensor]:
    process = launch(str(place), *arguments)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    return load_file(place / DONE)


def kill_at(launch: Any, line: int, delay: float, place: Path, *arguments: Any) -> bool:
    """Kill a run soon after it wrote a line of its journal; False if it was done before."""
    process = launch(str(place), *arguments)
    end = time.monotonic() + PATIENCE_SECONDS
    while process.is_alive() and lines(place) < line:
        assert time.monotonic() < end
        time.sleep(0.001)
    time.sleep(delay)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive and process.exitcode == -9


def check(launch: Any, place: Path, kills: int, seed: int, *arguments: Any) -> int:
    """Compare a run killed several times with one never killed; return how many kills hit it."""
    whole = finish(launch, place / "whole", *arguments)
    total = lines(place / "whole")
    assert total > 15
    draw = random.Random(seed)
    hits = 0
    for line in sorted(draw.sample(range(2, total), kills)):
        hits += kill_at(launch, line, draw.random() * 0.05, place / "killed", *arguments)
    resumed = finish(launch, place / "killed", *arguments)
    assert set(resumed) == set(whole)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert (place / "killed" / JOURNAL).read_text() == (place / "whole" / JOURNAL).read_text()
    assert len(list((place / "killed" / CHECKPOINTS).glob("step-*"))) == 2
    return hits


@pytest.mark.parametrize("method", ("full", "qlora"))
def test_a_killed_run_ends_with_the_same_weights(
    launch: Any, method: str, models: Any, tmp_path: Path
) -> None:
    """Labels and written answers; the slow test below does both for every method."""
    writes = method == "qlora"
    model = models("llama" if writes else "bert")
    assert check(launch, tmp_path, 2, 5, str(model), method, writes, {}) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("writes", [False, True], ids=["labels", "written"])
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_over_the_five_methods(
    launch: Any, method: str, writes: bool, models: Any, tmp_path: Path
) -> None:
    """Four kills each: 40 in all, of which at least half hit a run that is not done yet."""
    model = models("llama" if writes else "bert")
    hits = check(launch, tmp_path, 4, len(method) + writes, str(model), method, writes, {})
    assert hits >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": "adamw8bit"},
        {"optimizer": "sgd", "schedule": "cosine"},
        {"optimizer": "adagrad"},
        {"layer_decay": 0.8, "optimizer": "adam"},
    ],
    ids=str,
)
def test_every_optimizer_survives(
    launch: Any, more: dict[str, Any], tiny_encoder: Path, tmp_path: Path
) -> None:
    assert check(launch, tmp_path, 3, 11, str(tiny_encoder), "full", False, more) >= 1
