"""How many threads are used, and what the processes that we start import."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import joblib
import psutil
import pytest

from tailorbird import processes


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    processes.choose_threads.cache_clear()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    processes.choose_threads.cache_clear()


def _machine(
    monkeypatch: pytest.MonkeyPatch, shares: list[float], usable: int, own: set[int] | None = None
) -> None:
    """Pretend that others use these shares of the cores (percent), and a quota leaves `usable`."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: shares)
    monkeypatch.setattr(joblib, "cpu_count", lambda: usable)
    affinity = own or set(range(len(shares)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)


@pytest.mark.parametrize(
    ("shares", "usable", "threads"),
    [
        ([0.0, 0.0], 2, 2),
        ([20.0, 10.0], 2, 2),
        ([100.0, 10.0], 2, 1),
        ([100.0, 100.0], 2, 1),  # one at least
        ([0.0] * 64, 4, 4),  # a container's quota on a large machine
        ([100.0] * 32 + [0.0] * 32, 4, 4),  # the quota is free all the same
        ([100.0] * 62 + [0.0] * 2, 4, 2),
    ],
)
def test_threads_are_the_cores_that_are_left(
    monkeypatch: pytest.MonkeyPatch, shares: list[float], usable: int, threads: int
) -> None:
    _machine(monkeypatch, shares, usable)
    assert processes.choose_threads().count == threads


def test_only_our_own_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, [100.0, 100.0, 0.0, 0.0], 2, own={2, 3})
    assert processes.choose_threads().count == 2


@pytest.mark.parametrize("number", ["3", "3,1"])
def test_the_number_that_a_person_set_is_taken(
    monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    _machine(monkeypatch, [0.0, 0.0], 2)
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    assert processes.choose_threads().count == 3
    assert processes.computing()["OMP_NUM_THREADS"] == "3"


def test_processes_that_compute_for_us_take_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, [100.0, 0.0, 0.0, 0.0], 4)
    assert processes.computing()["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(("own", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_passively_unless_the_person_says_otherwise(
    own: str | None, policy: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if own:
        environment["OMP_WAIT_POLICY"] = own
    code = "import os, tailorbird; print(os.environ['OMP_WAIT_POLICY'])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [policy]


WHAT_RUNS = """
import subprocess, sys
from tailorbird.processes import python
print(subprocess.run(python("own_module", "x", "y"), stdout=subprocess.PIPE, text=True).stdout)
"""


@pytest.mark.parametrize("how", ["-c", "-m"])
def test_modules_of_the_working_folder_are_not_imported(tmp_path: Path, how: str) -> None:
    """Neither when we were started by a command, nor when Python itself put the folder first."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own_module.py").write_text(
        "import sys\nimport colorsys\nprint(colorsys.__file__, __name__, sys.argv[1:])\n"
    )
    working = tmp_path / "working"
    working.mkdir()
    (working / "colorsys.py").write_text("raise SystemExit('the wrong file')\n")
    (working / "starter.py").write_text(WHAT_RUNS)
    ran = subprocess.run(
        [sys.executable, how, "starter" if how == "-m" else WHAT_RUNS],
        env=os.environ | {"PYTHONPATH": str(elsewhere)},
        cwd=working,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split()[1:] == ["__main__", "['x',", "'y']"], ran.stderr
    assert not ran.stdout.startswith(str(working))
