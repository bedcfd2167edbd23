"""The command `tailor` in processes of its own, and runs that several tests look at."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from terminal import FAST, PATIENCE, Tailor, command, environment


@pytest.fixture(scope="session")
def tailor() -> Tailor:
    """Return a function that runs the real command and gives back code, stdout and stderr."""

    def run(*arguments: Any, cwd: Path | None = None, stdin: str = "", **env: str) -> Any:
        return subprocess.run(
            command(*arguments),
            cwd=cwd,
            input=stdin,
            env=environment(**env),
            capture_output=True,
            text=True,
            timeout=280 * PATIENCE,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def inside() -> Iterator[Tailor]:
    """Return what `tailor` returns, of the command run within this process, arms and all.

    Each process takes seconds to import what it needs.
    """
    from tailorbird.arms import arm_process as child, fork_server as runner
    from tailorbird.arms.question_arms import question_arm_process as asking
    from tailorbird.cli.main import run as verb

    def run(*arguments: Any, stdin: str = "") -> Any:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["tailor", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            try:
                verb()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())

    real = runner.ForkServer.run
    with runner.ForkServer() as shared, pytest.MonkeyPatch.context() as patch:

        def process(_: Any, module: str, *arguments: str) -> int:
            """Run arms here, and let what looks at saved models be as fresh as ever."""
            if module == runner.ARM:
                return child.main(*arguments)
            if module == asking.__name__:
                return asking.main(*arguments)
            return real(shared, module, *arguments)

        patch.setattr(runner.ForkServer, "run", process)
        yield run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the 60 separable rows as a file."""
    from tiny import write_csv

    return write_csv(tmp_path_factory.mktemp("data") / "tiny.csv")


@pytest.fixture(scope="session")
def tuned(
    tailor: Tailor, data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return a finished run of `tailor tune --method lora`, and the JSON it printed."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    arguments = [data, "--model", tiny_encoder, "--method", "lora", "--epochs", "2"]
    done = tailor("tune", *arguments, *FAST, "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)
