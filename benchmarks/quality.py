"""Accuracy of every arm of `tailor compare` on SST-2 and BANKING77, with 95 % intervals.

Runs the command on each data set with its own test file (SST-2: its own validation file too) and
reads report.json. Prints one JSON line. Runs take long: with the defaults about an hour on 2
cores. `--keep FOLDER` keeps the run folders, and a second call goes on where the first one ended.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say

SETS = {"sst2": ("train.csv", "dev.csv", "test.csv"), "banking77": ("train.csv", None, "test.csv")}


def main() -> None:
    """Compare on every set."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA, help="folder with sst2/, banking77/")
    asked.add_argument("--sets", default=",".join(SETS))
    asked.add_argument("--methods", help="arms, as for tailor compare; default: all")
    asked.add_argument("--model", default="builtin:minilm")
    asked.add_argument("--seeds", type=int, default=1)
    asked.add_argument("--set", action="append", default=[], dest="settings", help="as for tailor")
    asked.add_argument("--keep", type=Path, help="where to keep the run folders")
    given = asked.parse_args()
    names = given.sets.split(",")
    if unknown := set(names) - set(SETS):
        asked.error(f"--sets knows {', '.join(SETS)}, not {', '.join(sorted(unknown))}")
    for name in names:
        for file in filter(None, SETS[name]):
            data_file(given.data / name, file)
    with tempfile.TemporaryDirectory() as folder:
        place = given.keep or Path(folder)
        found = {name: _compare(name, place / name, given) for name in names}
    emit("quality", {"model": given.model, "seeds": given.seeds, "sets": found})


def _compare(name: str, output: Path, given: Any) -> dict[str, Any]:
    report = output / "report.json"
    if not report.is_file():
        train, validation, test = (given.data / name / f if f else None for f in SETS[name])
        command = [sys.executable, "-m", "tailorbird.cli.main", "compare", str(train)]
        command += ["--test", str(test), "--model", given.model, "--seeds", str(given.seeds)]
        command += ["--output", str(output), "--json"]
        command += ["--validation", str(validation)] if validation else []
        command += ["--methods", given.methods] if given.methods else []
        command += [word for setting in given.settings for word in ("--set", setting)]
        if (output / "config.yaml").is_file():
            command.append("--resume")
        say(f"{name}: {' '.join(command[1:])}")
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if code:
            say(f"error: the comparison ended with exit code {code}")
            sys.exit(1)
    return _read(json.loads(report.read_text(encoding="utf-8")))


def _read(report: dict[str, Any]) -> dict[str, Any]:
    arms = {
        arm["name"]: {
            "accuracy": round(100 * score["value"], 2),
            "low": round(100 * score["low"], 2),
            "high": round(100 * score["high"], 2),
            "macro_f1": round(100 * arm["test"]["macro_f1"]["value"], 2),
            "made_in_seconds": round(arm["cost"]["train_seconds"] or 0.0, 1),
            "reload_identical": (arm["reload"] or {}).get("identical"),
        }
        for arm in report["arms"]
        if (score := arm["test"].get("accuracy"))
    }
    missing = {a["name"]: a["why"] for a in report["arms"] if a["status"] != "ok"}
    return {
        "rows": report["data"]["counts"],
        "arms": arms,
        "missing": missing,
        "best": report["verdict"]["best"],
        "recommended": report["verdict"]["recommended"],
        "seconds": report["seconds"],
    }


if __name__ == "__main__":
    main()
