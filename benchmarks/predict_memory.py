"""Peak memory of `tailor predict FILE -o CSV` by the rows of the file.

A run is made whose only arm answers with the most frequent label, so that what is measured is
reading, answering and writing and no model. Files of 30 words a row, an id and a label are answered
in fresh processes. Prints one JSON line; exits with 1 when the largest file takes 1.5 times the
memory of the smallest.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import emit, parser, run_watched, say

MOST = 1.5
TAILOR = [sys.executable, "-m", "tailorbird.cli.main"]


def main() -> None:
    """Make the run and the files, and answer them."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000, 2_000_000])
    options.add_argument(
        "--folder", type=Path, help="where to make the files; default: a temporary"
    )
    args: argparse.Namespace = options.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        place = Path(scratch)
        make(place / "train.csv", 200)
        start = [*TAILOR, "compare", str(place / "train.csv"), "--methods", "majority"]
        subprocess.run([*start, "--output", str(place / "run")], check=True, capture_output=True)
        sizes = [answer(place, rows) for rows in sorted(args.rows)]
    emit("predict_memory", {"sizes": sizes})
    sys.exit(sizes[-1]["peak_mb"] > MOST * sizes[0]["peak_mb"])


def make(path: Path, rows: int, seed: int = 1) -> None:
    """Write a file of labelled rows."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(5000)]
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,label\n")
        for row in range(rows):
            file.write(f"{row},{' '.join(draw.choices(words, k=30))},c{row % 4}\n")


def answer(place: Path, rows: int) -> dict[str, float]:
    """Answer a file of so many rows in a fresh process; return what it cost."""
    path, output = place / "rows.csv", place / "answers.csv"
    make(path, rows)
    command = [*TAILOR, "predict", str(place / "run/arms/majority"), str(path), "-o", str(output)]
    seconds, peak = run_watched(command, stderr=subprocess.DEVNULL)
    with output.open(encoding="utf-8") as file:
        count = sum(1 for _ in file) - 1
    if count != rows:
        raise SystemExit(f"{count} answers to {rows} rows")
    result = {
        "rows": rows,
        "file_mb": round(path.stat().st_size / 1e6),
        "peak_mb": round(peak / 1e6),
        "seconds": round(seconds, 1),
    }
    say(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
