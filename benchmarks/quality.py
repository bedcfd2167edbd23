"""Quality of every arm of `tailor compare` on public data sets, with 95 % intervals.

SST-2 and BANKING77 (one label: accuracy), STS-B (pairs, regression: Spearman), GoEmotions (several
labels: macro-F1) and PubMedQA (pairs, one label). Runs the command on each data set with its own
test file and, where there is one, its own validation file, and reads report.json. Prints one JSON
line, with the bar that an arm should reach where there is one. Runs take long: SST-2 and BANKING77
about an hour on 2 cores, all of them several. `--keep FOLDER` keeps the run folders, and a second
call goes on where the first one ended.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say


@dataclass(frozen=True)
class Set:
    """A data set: its files, the columns where they must be named, and what arms should reach."""

    train: str
    validation: str | None
    test: str | None
    columns: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    bars: tuple[tuple[str, float], ...] = ()


SETS = {
    "sst2": Set("train.csv", "dev.csv", "test.csv"),
    "banking77": Set("train.csv", None, "test.csv"),
    "stsb": Set(
        "sts-train.tsv",
        "sts-dev.tsv",
        "sts-test.tsv",
        ("--text", "6,7", "--label", "5"),
        ("spearman", "pearson", "r2"),
        (("full", 0.84), ("lora", 0.83), ("adapter", 0.83)),
    ),
    "goemotions": Set(
        "train.tsv",
        "dev.tsv",
        "test.tsv",
        ("--text", "1", "--label", "2"),
        ("macro_f1", "micro_f1"),
        (("best", 0.42),),
    ),
    "pubmedqa": Set(
        "ori_pqal.json",
        None,
        None,
        ("--text", "QUESTION,CONTEXTS", "--label", "final_decision"),
    ),
}
DEFAULT = "sst2,banking77"


def main() -> None:
    """Compare on every set."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA, help="folder with sst2/, stsb/ ...")
    asked.add_argument("--sets", default=DEFAULT, help=f"of {', '.join(SETS)}")
    asked.add_argument("--methods", help="arms, as for tailor compare; default: all")
    asked.add_argument("--model", default="builtin:minilm")
    asked.add_argument("--seeds", default="auto", help="as for tailor compare")
    asked.add_argument("--set", action="append", default=[], dest="settings", help="as for tailor")
    asked.add_argument("--keep", type=Path, help="where to keep the run folders")
    given = asked.parse_args()
    names = given.sets.split(",")
    if unknown := set(names) - set(SETS):
        asked.error(f"--sets knows {', '.join(SETS)}, not {', '.join(sorted(unknown))}")
    for name in names:
        every = SETS[name]
        for file in filter(None, (every.train, every.validation, every.test)):
            data_file(given.data / name, file)
    with tempfile.TemporaryDirectory() as folder:
        place = given.keep or Path(folder)
        found = {name: _compare(name, place / name, given) for name in names}
    emit("quality", {"model": given.model, "seeds": given.seeds, "sets": found})


def _compare(name: str, output: Path, given: Any) -> dict[str, Any]:
    report = output / "report.json"
    if not report.is_file():
        of, place = SETS[name], given.data / name
        command = [sys.executable, "-m", "tailorbird.cli.main", "compare", str(place / of.train)]
        command += ["--model", given.model, "--seeds", given.seeds]
        command += ["--output", str(output), "--json", *of.columns]
        command += ["--test", str(place / of.test)] if of.test else []
        command += ["--validation", str(place / of.validation)] if of.validation else []
        command += ["--methods", given.methods] if given.methods else []
        command += [word for setting in given.settings for word in ("--set", setting)]
        if (output / "config.yaml").is_file():
            command.append("--resume")
        say(f"{name}: {' '.join(command[1:])}")
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if code:
            say(f"error: the comparison ended with exit code {code}")
            sys.exit(1)
    return _read(json.loads(report.read_text(encoding="utf-8")), SETS[name])


def _read(report: dict[str, Any], of: Set) -> dict[str, Any]:
    first = of.metrics[0]
    arms = {
        arm["name"]: {
            first: round(100 * score["value"], 2),
            "low": round(100 * score["low"], 2),
            "high": round(100 * score["high"], 2),
            **{m: round(100 * arm["test"][m]["value"], 2) for m in of.metrics[1:]},
            "trainings": max(1, len(arm["seeds"])),
            "made_in_seconds": round(arm["cost"]["train_seconds"] or 0.0, 1),
            "reload_identical": (arm["reload"] or {}).get("identical"),
        }
        for arm in report["arms"]
        if (score := arm["test"].get(first))
    }
    missing = {a["name"]: a["why"] for a in report["arms"] if a["status"] != "ok"}
    return {
        "rows": report["data"]["counts"],
        "arms": arms,
        "missing": missing,
        "best": report["verdict"]["best"],
        "recommended": report["verdict"]["recommended"],
        "reason": report["verdict"]["reason"],
        "bars": _bars(report, of),
        "seconds": report["seconds"],
    }


def _bars(report: dict[str, Any], of: Set) -> dict[str, dict[str, Any]]:
    """Return what arms should reach, and whether they did."""
    found = {a["name"]: a["test"][of.metrics[0]]["value"] for a in report["arms"] if a["test"]}
    found |= {"best": max(found.values())} if found else {}
    return {
        arm: {"bar": bar, of.metrics[0]: round(found[arm], 4), "reached": found[arm] >= bar}
        for arm, bar in of.bars
        if arm in found
    }


if __name__ == "__main__":
    main()
