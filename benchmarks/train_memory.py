"""Peak memory of `tailor tune` with training rows left on disk, by the rows of the file.

Files of 30 words a row and a label are trained on for a few steps in fresh processes, with
`data.on_disk`; with --in-memory also without it. Prints one JSON line; exits with 1 when the
largest file on disk takes 1.1 times the memory of the smallest.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import emit, parser, run_watched, say
from predict_memory import make

MOST = 1.1
JUDGED = ("validation", "test")
TAILOR = [sys.executable, "-m", "tailorbird.cli.main"]


def main() -> None:
    """Make the files and train on them."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options.add_argument("--steps", type=int, default=4)
    options.add_argument("--in-memory", action="store_true", help="measure that as well")
    options.add_argument("--model", default="builtin:minilm")
    options.add_argument(
        "--folder", type=Path, help="where to make the files; default: a temporary"
    )
    args: argparse.Namespace = options.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        place = Path(scratch)
        for seed, name in enumerate(JUDGED, 2):
            make(place / f"{name}.csv", 40, seed)
        sizes = [
            train(place, rows, on_disk, args.steps, args.model)
            for on_disk in ((True, False) if args.in_memory else (True,))
            for rows in sorted(args.rows)
        ]
    emit("train_memory", {"sizes": sizes})
    disk = [size["peak_mb"] for size in sizes if size["on_disk"]]
    sys.exit(disk[-1] > MOST * disk[0])


def train(place: Path, rows: int, on_disk: bool, steps: int, model: str) -> dict[str, float]:
    """Train on a file of so many rows in a fresh process; return what it cost."""
    path, output = place / "rows.csv", place / f"run-{rows}-{on_disk}"
    make(path, rows)
    settings = {
        "data.on_disk": str(on_disk).lower(),
        "train.batch_size": "32",
        "train.head_start": "false",
        "evaluate.label_errors": "false",
    }
    command = [
        *(*TAILOR, "tune", str(path), "--method", "lora", "--model", model),
        *(word for name in JUDGED for word in (f"--{name}", str(place / f"{name}.csv"))),
        *("--epochs", str(steps * 32 / rows), "--output", str(output)),
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
    ]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    seconds, peak = run_watched(command, **quiet)
    result = {
        "rows": rows,
        "on_disk": on_disk,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
        "seconds": round(seconds, 1),
    }
    say(str(result))
    return result


if __name__ == "__main__":
    main()
