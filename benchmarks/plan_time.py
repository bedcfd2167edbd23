"""How wrong the planned time is: seconds of one epoch by `tailor plan DATA`, against real training.

A cell is a model, a method and data: the bundled example and rows of two public sets. `tailor plan`
measures a few steps on a model of the same shapes with random weights, with texts as long as the
shorter and the longer half of the data are on average; then `tailor tune` trains the real model on
the same data for one epoch, and reports the seconds from the loaded model to the last step,
validations included. Both are the commands that a person types. They come one after the other, so
that what else the machine does weighs on both.

Cells that are done are kept in --results, so that a run that was stopped goes on. Prints one JSON
line.
"""

import csv
import json
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import DATA, emit, parser, read_rows, say, stop, tailor

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "tutor"
# Data, model, method, training rows, settings.
CELLS: tuple[tuple[str, str, str, int, tuple[str, ...]], ...] = (
    ("sst2", "builtin:minilm", "lora", 1200, ()),
    ("sst2", "builtin:minilm", "full", 1200, ()),
    ("sst2", "builtin:minilm", "qlora", 400, ()),
    ("banking77", "builtin:minilm", "prompt", 1200, ()),
    ("banking77", "builtin:minilm", "adapter", 1200, ("train.batch_size=8",)),
    ("bugs", "builtin:minilm", "lora", 600, ()),
    ("bugs", "builtin:minilm", "full", 600, ("train.gradient_checkpointing=true",)),
    ("hints", "builtin:tutor", "lora", 600, ()),
    ("hints", "builtin:tutor", "full", 600, ()),
    ("hints", "builtin:tutor", "prompt", 600, ()),
    ("hints", "builtin:smollm2", "lora", 40, ()),
    ("hints", "builtin:smollm2", "adapter", 40, ()),
)


def main() -> None:
    """Plan and train every cell that is not done, and judge all of them."""
    options = parser(__doc__)
    options.add_argument("--results", type=Path, default=Path("plan_time.jsonl"))
    options.add_argument("--smoke", action="store_true", help="a tenth of the rows")
    arguments = options.parse_args()
    if not DATA.is_dir():
        stop("the public sets are not there", f"put them in {DATA}")
    lines = arguments.results.read_text().splitlines() if arguments.results.is_file() else []
    results = {line["cell"]: line for line in map(json.loads, lines)}
    for data, model, method, rows, settings in CELLS:
        cell = " ".join((data, model, method, *settings))
        if cell in results:
            continue
        results[cell] = {"cell": cell} | _seconds(
            data, model, method, max(100, rows // 10) if arguments.smoke else rows, settings
        )
        with arguments.results.open("a") as file:
            file.write(json.dumps(results[cell]) + "\n")
        off = results[cell]["planned"] / results[cell]["trained"] - 1
        say(f"{cell}: {results[cell]['trained']:.1f} s, planned {100 * off:+.0f} %")
    emit("plan_time", judge(list(results.values())))


def judge(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the planned seconds are from those of training."""
    off = {r["cell"]: r["planned"] / r["trained"] - 1 for r in results}
    size = np.abs(list(off.values()))
    return {
        "cells": len(size),
        "median_error_percent": round(100 * median(size.tolist()), 1),
        "within_25_percent": round(float((size <= 0.25).mean()), 2),
        "seconds_of_planning": round(median(r["planning"] for r in results), 1),
        "by_cell_percent": {name: round(100 * value) for name, value in off.items()},
    }


def _seconds(
    data: str, model: str, method: str, rows: int, settings: tuple[str, ...]
) -> dict[str, Any]:
    """Return the planned and the real seconds of an epoch, validations included."""
    import time

    with tempfile.TemporaryDirectory() as folder:
        file, labels = _data(data, rows, Path(folder))
        words = [str(file), *labels, "--model", model]
        for setting in ("train.epochs=1", "train.tensorboard=false", *settings):
            words += ["--set", setting]
        began = time.perf_counter()
        plan = json.loads(tailor("plan", *words, "--methods", method, "--json"))
        planning = time.perf_counter() - began
        run = ["--method", method, "--output", f"{folder}/run", "--json"]
        (arm,) = json.loads(tailor("tune", *words, *run))["arms"]
    return {
        "planned": plan["time"][0]["seconds"],
        "trained": arm["cost"]["train_seconds"],
        "planning": planning,
    }


def _data(name: str, rows: int, folder: Path) -> tuple[Path, list[str]]:
    """Write so many rows of a set, and return the file and the options that name its columns."""
    if name == "hints":
        lines = (EXAMPLE / "pairs_train.jsonl").read_text("utf-8").splitlines()
        file = folder / "hints.jsonl"
        file.write_text("\n".join(_some(lines, rows)) + "\n", encoding="utf-8")
        return file, []
    if name == "bugs":
        pairs = read_rows(EXAMPLE / "train.csv")
    else:
        with (DATA / name / "train.csv").open(encoding="utf-8", newline="") as source:
            pairs = [(r["text"], r.get("label") or r["category"]) for r in csv.DictReader(source)]
    pairs = _some(pairs, rows)
    # A class needs a row in each of the three parts.
    counts = Counter(label for _, label in pairs)
    pairs = [pair for pair in pairs if counts[pair[1]] >= 3]
    file = folder / f"{name}.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([("text", "label"), *pairs])
    return file, ["--text", "text", "--label", "label"]


def _some(rows: list[Any], count: int) -> list[Any]:
    order = np.random.default_rng(3).permutation(len(rows))[:count]
    return [rows[i] for i in order]


if __name__ == "__main__":
    main()
