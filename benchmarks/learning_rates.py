"""Validation accuracy of a method by learning rate: where the defaults come from.

Runs `tailor tune` once per rate on SST-2 (or --data) and prints one JSON line: the best validation
accuracy of each. The test scores are not looked at.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say

RATES = {
    "full": (5e-5, 1e-4, 2e-4),
    "adapter": (5e-4, 1e-3, 2e-3),
    "lora": (2e-4, 5e-4, 1e-3, 2e-3),
    "qlora": (2e-4, 5e-4, 1e-3),
    "prompt": (1e-2, 3e-2, 1e-1),
}


def main() -> None:
    """Train each method at each of its rates."""
    asked = parser(__doc__)
    asked.add_argument(
        "--data", type=Path, default=DATA / "sst2", help="train.csv, dev.csv, test.csv"
    )
    asked.add_argument("--methods", default=",".join(RATES))
    asked.add_argument("--model", default="builtin:minilm")
    given = asked.parse_args()
    found = {
        method: {f"{rate:g}": _accuracy(method, rate, given) for rate in RATES[method]}
        for method in given.methods.split(",")
    }
    emit("learning_rates", {"model": given.model, "validation_accuracy": found})


def _accuracy(method: str, rate: float, given: Any) -> float:
    files = [str(data_file(given.data, f"{part}.csv")) for part in ("train", "dev", "test")]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        command = [
            sys.executable, "-m", "tailorbird.cli.main", "tune", files[0], "--validation", files[1],
            "--test", files[2], "--method", method, "--model", given.model, "--output", str(output),
            "--set", f"train.learning_rate={rate}", "--json",
        ]  # fmt: skip
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            say(f"error: {' '.join(command)} failed")
            sys.exit(1)
        arm = json.loads((output / "report.json").read_text())["arms"][0]
    best = max(point["validation_accuracy"] for point in arm["curve"])
    say(f"{method} at {rate:g}: {best:.4f}")
    return round(best, 4)


if __name__ == "__main__":
    main()
