"""How the tests type `tailor`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))
"""Factor on every waiting time, for machines with other work to do."""

Tailor = Callable[..., subprocess.CompletedProcess[str]]
"""Runs the command and gives back code, stdout and stderr."""

FAST = ["--set", "train.tensorboard=false", "--set", "train.batch_size=16"]
"""Settings that change no result a test looks at."""
FAST += ["--set", "model.precision=fp32"]  # on every machine: exports are compared to rounding

SRC = Path(__file__).resolve().parents[2] / "src"


def command(*arguments: Any) -> list[str]:
    """Return the command line of `tailor` in this interpreter."""
    return [sys.executable, "-m", "tailorbird.cli.main", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Return a plain terminal without colours, without network."""
    plain = {"PYTHONPATH": str(SRC), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    return os.environ | plain | {"HF_HUB_OFFLINE": "1"} | more
