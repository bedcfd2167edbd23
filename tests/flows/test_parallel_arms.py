"""Arms side by side: how many at once, within which memory, and the same report as one by one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.arms import parallel_arms
from tailorbird.arms.fork_server import ARM
from tailorbird.arms.parallel_arms import NEED, NEEDS, Scheduler
from tailorbird.config import Config
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.compare import _ArmRunner
from tailorbird.flows.prepare import Prepared
from tailorbird.records import ArmReport, Split
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.registry import get_task

TAILOR = [sys.executable, "-m", "tailorbird.cli.main"]


class ToyNest:
    """Does "work" of a given length in the thread that asks, and notes who ran beside it."""

    running: set[str] = set()
    beside: list[frozenset[str]] = []
    needs: dict[str, int] = {}
    guard = threading.Lock()

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def start(self) -> None: ...

    def send(self, number: int) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, module: str, *arguments: str) -> int:
        place = Path(arguments[-1])
        if module == NEEDS:
            (place / NEED).write_text(json.dumps({"bytes": self.needs.get(place.name, 0)}))
            return 0
        with self.guard:
            self.running.add(place.name)
            self.beside.append(frozenset(self.running))
        time.sleep(0.1)
        with self.guard:
            self.running.remove(place.name)
        return int(place.name) if place.name.isdecimal() else 0


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(parallel_arms, "ForkServer", ToyNest)
    monkeypatch.setattr(parallel_arms, "cores", lambda: 3)
    monkeypatch.setattr(parallel_arms, "_gpus", lambda: [])
    ToyNest.beside, ToyNest.needs = [], {}
    yield


def run_all(count: int, jobs: int, place: Path) -> list[int]:
    places = [place / str(number) for number in range(count)]
    for one in places:
        one.mkdir()
    with Scheduler(jobs) as scheduler:
        return scheduler.map(lambda one: scheduler.run(ARM, str(place), str(one)), places)


@pytest.mark.parametrize(("jobs", "most"), [(1, 1), (2, 2), (8, 3)])
def test_no_more_at_once_than_asked_for_and_than_cores(
    jobs: int, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all(6, jobs, tmp_path) == list(range(6)), "in the items' order"
    assert max(map(len, ToyNest.beside)) == most
    assert ("--jobs 8, but 3 cores" in capsys.readouterr().err) == (jobs == 8)


def test_each_has_its_part_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from tailorbird.processes import Threads

    monkeypatch.setattr(parallel_arms, "choose_threads", lambda: Threads(3, "3"))
    with Scheduler(3) as scheduler:
        assert [runner.environment["OMP_NUM_THREADS"] for runner in scheduler._runners] == ["1"] * 3
    monkeypatch.setattr(parallel_arms, "_gpus", lambda: ["0", "2"])
    with Scheduler(3) as scheduler:
        assert [runner.environment["CUDA_VISIBLE_DEVICES"] for runner in scheduler._runners] == [
            "0",
            "2",
        ]


def test_what_does_not_fit_beside_others_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tailorbird.runs.memory_limit import MemoryLimit

    monkeypatch.setattr(parallel_arms, "memory_limit", lambda: MemoryLimit(100 << 30, "here", True))
    # Two of 60 never at once; one of 30 beside either; one of 200 alone, and it is not refused.
    ToyNest.needs = {"0": 60 << 30, "1": 60 << 30, "2": 30 << 30, "3": 200 << 30}
    assert run_all(4, 3, tmp_path) == [0, 1, 2, 3]
    assert any(len(names) == 2 for names in ToyNest.beside)
    for names in ToyNest.beside:
        assert not {"0", "1"} <= names
        assert "3" not in names or names == {"3"}
    assert "waits for memory" in capsys.readouterr().err


def test_nothing_starts_after_ctrl_c(tmp_path: Path) -> None:
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted):
        run_all(40, 2, tmp_path)
    timer.join()
    assert len(ToyNest.beside) < 10


def test_arms_of_questions_refuse_to_run_at_once() -> None:
    from tailorbird.config import Config
    from tailorbird.flows.questions.compare import compare_questions

    with pytest.raises(UserError, match="--jobs and --ray are for labelled data"):
        compare_questions(Config.model_validate({"compare": {"jobs": 2}}))
    with pytest.raises(UserError, match="--curve is for labelled data"):
        compare_questions(Config.model_validate({"compare": {"curve": "auto"}}))


class ToyBench(_ArmRunner):
    """Trains nothing; of "full" the third seed fails."""

    def _run(self, name: str, seed: int, place: RunFolder) -> ArmReport:
        own = self.folder.path / f"{name}-{seed}"
        own.mkdir()
        self.runner.run(ARM, str(self.folder.path), str(own))
        return ArmReport(name, "failed" if (name, seed) == ("full", 3) else "ok", f"seed {seed}")

    def _say_mean(self, name: str) -> None: ...


@pytest.mark.parametrize(("jobs", "most"), [(1, 1), (3, 3)])
def test_other_seeds_are_trained_side_by_side_and_count_in_their_order(
    jobs: int, most: int, tmp_path: Path
) -> None:
    split = Split((), (), (), ("a", "b"))
    with Scheduler(jobs) as runner:
        bench = ToyBench(Config(), Prepared(Config(), split, "", {}), RunFolder(tmp_path), runner)
        bench.task, bench.deadline = get_task(split.task), None
        for name in ("majority", "lora", "full"):
            bench._counts(name, *bench._train(name, 0))
        ToyNest.beside.clear()
        bench._train_seeds(4)
    assert max(map(len, ToyNest.beside)) == most
    seeds = {name: [report.why for report, _ in each] for name, each in bench.trainings.items()}
    assert seeds == {
        "majority": ["seed 1"],
        "lora": ["seed 1", "seed 2", "seed 3", "seed 4"],
        "full": ["seed 1", "seed 2"],
    }
    assert bench.ends["full"].why == "seed 3"


# --- whole comparisons ------------------------------------------------------------------------


def compare(data: Path, model: Path, output: Path, *more: str) -> dict[str, Any]:
    words = [
        *(*TAILOR, "compare", str(data), "--model", str(model), "--output", str(output), "--json"),
        *("--methods", "majority,probe,lora,rag,rag+best", "--seeds", "2"),
        *("--set", "train.epochs=2", "--set", "evaluate.label_errors=false", *more),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=900, env=environment
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def scores(report: dict[str, Any]) -> list[Any]:
    return [(arm["name"], arm["status"], arm["test"]) for arm in report["arms"]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_at_once_give_the_report_of_one_after_the_other(
    tiny_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    one = compare(tiny_csv, tiny_encoder, tmp_path / "one")
    two = compare(tiny_csv, tiny_encoder, tmp_path / "two", "--jobs", "2")
    assert scores(two) == scores(one)
    assert two["verdict"]["best"] == one["verdict"]["best"]
