"""What every benchmark needs: its data, the machine, its one line."""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def say(words: str) -> None:
    """Tell the person how far it is; stdout holds the result alone."""
    print(words, file=sys.stderr, flush=True)


def emit(name: str, result: dict[str, Any]) -> None:
    """Print the result as one JSON line."""
    print(json.dumps({"benchmark": name, **result, "machine": machine()}), flush=True)


def tailor(*arguments: str) -> str:
    """Run the command and return what it printed, or end where it failed."""
    command = [sys.executable, "-m", "tailorbird.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        stop(f"tailor {' '.join(arguments)} failed", "see its words above")
    return done.stdout


def tuned_example(run: Path, method: str, *settings: str) -> Path:
    """Train a method on the bundled example for one epoch; return the run's folder."""
    from tailorbird.data.bundled import tutor_folder

    folder = tutor_folder()
    if folder is None:
        stop("the bundled example is not installed", "install from a clone")
    tailor(
        "tune", str(folder / "train.csv"), "--method", method, "--epochs", "1",
        "--output", str(run), "--set", "train.tensorboard=false", *settings,
    )  # fmt: skip
    return run


def stop(problem: str, fix: str) -> NoReturn:
    """End with the exit code of a user's fault."""
    say(f"error: {problem}\n  fix: {fix}")
    sys.exit(2)


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    from tailorbird.runs.environment import describe

    facts = describe()
    return {
        "processor": facts["machine"]["processor"],
        "cores": facts["machine"]["cores"],
        "python": platform.python_version(),
        "packages": facts["packages"],
        "load_at_end": round(os.getloadavg()[0], 2),
    }


def data_file(folder: Path, name: str) -> Path:
    """Return a file of the benchmark's data, or end with a clear word."""
    path = folder / name
    if not path.is_file():
        stop(
            f"there is no {path}",
            f"give the folder that holds {name} (columns text,label) with --data FOLDER",
        )
    return path


def read_rows(path: Path, count: int | None = None) -> list[tuple[str, str]]:
    """Return the first `count` (text, label) rows."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    return rows[:count]


def fresh(script: str, *arguments: str) -> Any:
    """Run `script` in a fresh process and return the JSON it printed."""
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        say(f"error: {' '.join(arguments)} ended with exit code {done.returncode}")
        sys.exit(1)
    return json.loads(done.stdout.splitlines()[-1])


def run_watched(command: list[str], **streams: Any) -> tuple[float, int]:
    """Run a command; return its seconds and the most bytes that it had resident (wait4)."""
    started = time.perf_counter()
    process = subprocess.Popen(command, **streams)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def middle(values: list[float], digits: int = 2) -> float:
    """Return the median, rounded."""
    return round(median(values), digits)
