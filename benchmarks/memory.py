"""Peak memory of every method: what the report says against what the system measured.

Runs `tailor tune` on the first 1,500 rows of SST-2 for one epoch, one method after the other, and
reads the peak of the process from the system when it has ended (wait4, which is what
/usr/bin/time -v prints). Prints one JSON line: both peaks by method, their difference, and the
methods in order.

The system's figure covers all of the command, with the fresh process that loads the saved model
again at the end; the report's covers training and scoring.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, read_rows, run_watched, say

METHODS = "full,adapter,lora,qlora,prompt"


def main() -> None:
    """Run every method and compare the figures."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "sst2", help="folder with train.csv")
    asked.add_argument("--rows", type=int, default=1500)
    asked.add_argument("--methods", default=METHODS)
    asked.add_argument("--model", default="builtin:minilm")
    asked.add_argument("--epochs", type=float, default=1.0)
    given = asked.parse_args()
    rows = read_rows(data_file(given.data, "train.csv"), given.rows)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rows.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        found = {m: _peaks(m, table, Path(folder) / m, given) for m in given.methods.split(",")}
    order = sorted(found, key=lambda method: found[method]["system_mb"])
    emit(
        "memory",
        {"model": given.model, "rows": len(rows), "methods": found, "least_to_most": order},
    )


def _peaks(method: str, table: Path, output: Path, given: Any) -> dict[str, float]:
    command = [
        sys.executable, "-m", "tailorbird.cli.main", "tune", str(table), "--method", method,
        "--model", given.model, "--epochs", str(given.epochs), "--output", str(output), "--json",
    ]  # fmt: skip
    seconds, system = run_watched(command, stdout=subprocess.DEVNULL)
    cost = json.loads((output / "report.json").read_text())["arms"][0]["cost"]
    reported = cost["peak_memory_bytes"]
    say(f"{method}: system {system / 1e6:.0f} MB, report {reported / 1e6:.0f} MB")
    return {
        "system_mb": round(system / 1e6, 1),
        "report_mb": round(reported / 1e6, 1),
        "difference_percent": round(100 * (reported - system) / system, 2),
        "trainable_parameters": cost["trainable_parameters"],
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
