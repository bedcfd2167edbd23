"""Written answers, learnt: every method against the untouched model on the bundled tutor's hints.

Runs `tailor compare` on examples/tutor's pairs of programs and hints (or takes a finished run with
--run) and prints one JSON line: each arm's test score with its interval, its difference from the
base model with a paired test, Holm-corrected, its perplexity, time and memory, and how long the
whole took.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import emit, parser, say

PAIRS = Path(__file__).resolve().parent.parent / "examples" / "tutor"


def main() -> None:
    """Compare, and set every arm against the base model."""
    asked = parser(__doc__)
    asked.add_argument("--model", default="builtin:tutor")
    asked.add_argument("--run", type=Path, default=None, help="a finished comparison")
    asked.add_argument("--keep", type=Path, default=None, help="where to leave the run")
    given = asked.parse_args()
    if given.run is not None:
        emit("tutor_hints", _against_base(given.run))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = given.keep or Path(folder) / "run"
        seconds = _compare(given.model, run)
        emit("tutor_hints", {"wall_seconds": round(seconds, 1)} | _against_base(run))


def _compare(model: str, run: Path) -> float:
    files = [str(PAIRS / f"pairs_{part}.jsonl") for part in ("train", "validation", "test")]
    command = [
        sys.executable, "-m", "tailorbird.cli.main", "compare", files[0], "--validation", files[1],
        "--test", files[2], "--model", model, "--output", str(run),
    ]  # fmt: skip
    started = time.monotonic()
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        say(f"error: {' '.join(command)} failed")
        sys.exit(1)
    return time.monotonic() - started


def _against_base(run: Path) -> dict[str, Any]:
    from tailorbird.metrics.significance import compare
    from tailorbird.runs.folder import RunFolder
    from tailorbird.tasks.generative_scoring import headline_values, load_values

    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    name = report["headline"]
    arms = [arm for arm in report["arms"] if arm["status"] == "ok"]
    values = {
        arm["name"]: headline_values(load_values(RunFolder(run / arm["run"])), name) for arm in arms
    }
    found = {c.b: c for c in compare(values, pairs=[("base", n) for n in values if n != "base"])}
    told = {}
    for arm in arms:
        score = arm["test"][name]
        line = {key: round(score[key], 4) for key in ("value", "low", "high")}
        line["perplexity"] = _round(arm["test"].get("perplexity", {}).get("value"))
        line["train_seconds"] = _round(arm["cost"]["train_seconds"])
        line["peak_memory_mb"] = round((arm["cost"]["peak_memory_bytes"] or 0) / 1e6)
        if arm["name"] in found:
            pair = found[arm["name"]]
            line["over_base"] = round(-pair.difference.value, 4)
            line["p_holm"] = float(f"{pair.p_holm:.2g}")
        told[arm["name"]] = line
    return {"headline": name, "model": report["model"], "arms": told}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


if __name__ == "__main__":
    main()
