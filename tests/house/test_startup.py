"""Nothing heavy is imported before it is needed."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

Python = Callable[..., CompletedProcess[str]]

HEAVY = {
    "accelerate",
    "bitsandbytes",
    "datasketch",
    "matplotlib",
    "pandas",
    "peft",
    "pyarrow",
    "scipy",
    "sklearn",
    "tensorboard",
    "torch",
    "transformers",
}
SHOW_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def heavy_after(python: Python, *names: str) -> list[str]:
    """Return the heavy packages in a fresh interpreter that imported ``names``."""
    ran = python("-c", "".join(f"import {name}\n" for name in names) + SHOW_MODULES)
    assert ran.returncode == 0, ran.stderr
    return sorted(HEAVY & {name.partition(".")[0] for name in json.loads(ran.stdout)})


def test_the_check_sees_what_is_imported(python: Python) -> None:
    assert "scipy" in heavy_after(python, "scipy.stats")


def test_import_of_the_package(python: Python) -> None:
    assert heavy_after(python, "tailorbird") == []


def test_help(python: Python) -> None:
    ran = python("-X", "importtime", "-m", "tailorbird.cli.main", "--help")
    assert ran.returncode == 0, "\n".join(ran.stderr.splitlines()[-5:])
    assert "compare" in ran.stdout
    timed = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in timed}
    assert "tailorbird" in names, "no import was seen"
    assert sorted(HEAVY & names) == []


@pytest.mark.parametrize("room", ["metrics", "report"])
def test_rooms_without_torch(room: str, python: Python, sources: list[Any]) -> None:
    names = [source.name for source in sources if source.room == room]
    assert not {"torch", "transformers"} & set(heavy_after(python, *names))


def test_scores_load_only_numpy(python: Python, sources: list[Any]) -> None:
    names = [source.name for source in sources if source.room == "metrics"]
    assert heavy_after(python, *names) == []
