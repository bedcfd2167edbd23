"""The table that `make bench` ends with."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what `benchmarks/all.py` defines."""
    monkeypatch.syspath_prepend(FOLDER)
    try:
        return runpy.run_path(str(FOLDER / "all.py"))
    finally:
        sys.modules.pop("harness", None)


def row(table: str, words: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if words in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_figures_are_held_against_their_aims(bench: dict[str, Any]) -> None:
    store = {"query_p50_ms": 9.7, "query_p95_ms": 23.0, "ingest_chunks_per_second": 10_400}
    machine = {"processor": "P", "cores": 2, "packages": {"torch": "9.9"}, "load_at_end": 0.5}
    lines = {
        "store_speed": {"sizes": [store], "machine": machine},
        "kill_index": {"problems": ["lost one", "and another"]},
    }
    table = bench["table"](lines)
    assert row(table, "100,000 chunks, median")[1:4] == ["9.7 ms", "<= 10 ms", "reached"]
    assert row(table, "100,000 chunks, 95 %")[1:4] == ["23 ms", "<= 20 ms", "missed"]
    assert row(table, "intake")[1:4] == ["10,400", ">= 10,000", "reached"]
    assert row(table, "recall@10 at 100,000")[1:4] == ["not run here", ">= 0.98", ""]
    assert row(table, "lost in kills")[1:4] == ["2", "<= 0", "missed"]
    assert "P, 2 cores, torch 9.9, load 0.5" in table


def test_every_row_has_a_script_that_is_there(bench: dict[str, Any]) -> None:
    commands = bench["COMMANDS"]
    assert {r.benchmark for r in bench["ROWS"]} == set(commands)
    assert all((FOLDER / command.split()[0]).is_file() for command in commands.values())
