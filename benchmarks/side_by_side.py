"""Seconds of a comparison whose arms run one after the other, and of one whose arms run at once.

`tailor compare` on the bundled example, with one arm at a time on all threads, and with --jobs N
and a part of the threads each, in turns. The scores must be the same, as far as threads leave the
last bits. Prints one JSON line.

Run it on an idle machine: `load_at_start` in the JSON tells what was running besides.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from harness import emit, parser, say

DATA = Path(__file__).resolve().parent.parent / "examples" / "tutor"


def main() -> None:
    """Measure both ways, in turns."""
    options = parser(__doc__)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--methods", default="majority,rag,probe,adapter,lora,prompt")
    options.add_argument("--epochs", type=float, default=1.0)
    options.add_argument("--rounds", type=int, default=1)
    args = options.parse_args()
    load = round(os.getloadavg()[0], 2)
    results: dict[int, list[tuple[float, dict[str, float]]]] = {1: [], args.jobs: []}
    for turn in range(args.rounds):
        for jobs, runs in results.items():
            runs.append(_compare(jobs, args))
            say(f"round {turn + 1}, --jobs {jobs}: {runs[-1][0]:.0f} s")
    rows = [
        {
            "jobs": jobs,
            "threads_each": max(1, args.threads // jobs),
            "seconds": round(median(seconds for seconds, _ in runs), 1),
            "scores": runs[0][1],
        }
        for jobs, runs in results.items()
    ]
    emit("side_by_side", {"rows": rows, "rounds": args.rounds, "load_at_start": load})


def _compare(jobs: int, args: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Return the seconds of a comparison, and the score of each arm on test."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "tailorbird.cli.main", "compare", str(DATA / "train.csv")),
            *("--methods", args.methods, "--seeds", "1", "--jobs", str(jobs)),
            *("--output", f"{folder}/run", "--json", "--set", f"train.epochs={args.epochs}"),
            *("--set", "evaluate.label_errors=false"),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        started = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(done.stderr.decode()[-2000:])
    report: dict[str, Any] = json.loads(done.stdout)
    arms = {arm["name"]: arm["test"][report["headline"]]["value"] for arm in report["arms"]}
    return seconds, arms


if __name__ == "__main__":
    main()
