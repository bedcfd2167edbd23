"""Processor time of one short command: what a person pays before anything is computed.

Compares a few arms of builtin:minilm on the first rows of the bundled example, then predicts one
text with each arm, every time in a fresh process: seconds of processor time (user and system), the
median of interleaved rounds. Beside it: `import tailorbird`, `tailor --help`, passages found in a
knowledge base, and transformers' own pipeline with the fully fine-tuned arm. Prints one JSON line.
"""

import csv
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import emit, middle, parser, say, stop, tailor

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "tutor"
TRAINED = ("full", "adapter", "lora", "prompt")
PLAIN = ("majority", "rag", "probe")
_PIPELINE = (
    "import sys; from transformers import pipeline;"
    "print(pipeline('text-classification', sys.argv[1])(sys.argv[2]))"
)


def main() -> None:
    """Make the arms, and start every way in turns."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=72, help="of the example, to train on")
    options.add_argument("--rounds", type=int, default=3)
    choice = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        ways = _ways(Path(place), choice.rows)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(choice.rounds + 1):
            for name, command in ways.items():
                took = _processor_seconds(command)
                if round_:  # the first one writes what Python compiled
                    seconds[name].append(took)
            say(f"round {round_}/{choice.rounds}")
    medians = {name: middle(times) for name, times in seconds.items()}
    emit("start_up", {
        "processor_seconds": medians,
        "trained": max(medians[name] for name in TRAINED),
        "without_transformer": max(medians[name] for name in PLAIN),
    })  # fmt: skip


def _ways(place: Path, rows: int) -> dict[str, list[str]]:
    """Return the commands by name."""
    with (EXAMPLE / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    data, run, store = place / "rows.csv", place / "run", place / "store"
    with data.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines[:: max(1, len(lines) // rows)]])
    arms = (*PLAIN, *TRAINED)
    settings = ("--seeds", "1", "--set", "train.epochs=1", "--set", "train.tensorboard=false")
    tailor("compare", str(data), "--methods", ",".join(arms), *settings, "--output", str(run))
    tailor("index", str(EXAMPLE / "pages" / "pdb.md"), "--store", str(store))
    text, python = "xs = [1, 2]\nprint(xs[2])", sys.executable
    command = [python, "-m", "tailorbird.cli.main"]
    ways = {name: [*command, "predict", str(run / "arms" / name), text] for name in arms}
    return ways | {
        "import tailorbird": [python, "-c", "import tailorbird"],
        "tailor --help": [*command, "--help"],
        "passages": [*command, "ask", "a question", "--store", str(store), "--retrieve-only"],
        "transformers pipeline": [
            python, "-c", _PIPELINE, str(run / "arms" / "full" / "model"), text
        ],
    }  # fmt: skip


def _processor_seconds(command: list[str]) -> float:
    """Run a command and return its processor time, user and system."""
    environment: dict[str, Any] = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    child = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    if status:
        stop(f"{' '.join(command)} failed", "run it by itself")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
