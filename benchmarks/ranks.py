"""Examples per second of one process with all threads, and of several with a thread each.

`tailor tune` trains on the bundled example with one process of N threads and with N processes of
one, in turns; the figure is what the run's own report says of training, validation and starting
left out. `seconds` is all of the command. Prints one JSON line.

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

from harness import emit, parser, say

DATA = Path(__file__).resolve().parent.parent / "examples" / "tutor"


def main() -> None:
    """Measure both ways, in turns."""
    options = parser(__doc__)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--methods", nargs="+", default=["lora", "full"])
    options.add_argument("--epochs", type=float, default=1.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--set", nargs="*", default=[], help="more settings of the runs")
    options.add_argument("--smoke", action="store_true", help="one short round")
    args = options.parse_args()
    if args.smoke:
        args.methods, args.epochs, args.rounds = ["lora"], 0.05, 1
    load = round(os.getloadavg()[0], 2)
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for turn in range(args.rounds):
        for method in args.methods:
            for count in (1, args.processes):
                result = _tune(method, count, args)
                rates.setdefault((method, count), []).append(result)
                say(f"round {turn + 1}, {method}, {count} processes: {result[0]:.1f} examples/s")
    rows = [
        {
            "method": method,
            "processes": count,
            "threads_each": args.processes // count,
            "examples_per_second": round(median(rate for rate, _ in results), 1),
            "seconds": round(median(seconds for _, seconds in results), 1),
        }
        for (method, count), results in rates.items()
    ]
    emit("ranks", {"rows": rows, "rounds": args.rounds, "load_at_start": load})


def _tune(method: str, count: int, args: argparse.Namespace) -> tuple[float, float]:
    """Return examples per second of training, and the seconds that all of it took."""
    threads = args.processes
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "tailorbird.cli.main", "tune", str(DATA / "train.csv")),
            *("--method", method, "--processes", str(count), "--output", f"{folder}/run", "--json"),
            *("--set", f"train.epochs={args.epochs}"),
            *("--set", "evaluate.label_errors=false"),
            *(word for pair in args.set for word in ("--set", pair)),
        ]
        started = time.monotonic()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(done.stderr.decode()[-2000:])
    return json.loads(done.stdout)["arms"][0]["cost"]["examples_per_second"], seconds


if __name__ == "__main__":
    main()
