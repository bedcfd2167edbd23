"""How wrong the planned time is: `tailor plan`'s seconds against those of real training.

Every cell is a model, a method and a length. The plan measures a few steps on a model of the same
shapes with random weights; then the model itself is trained for one epoch by the run's own loop on
random tokens, in the same process, and its seconds are compared. Cells run
one after the other, plan and training of each in turn, so that what else the machine does weighs on
both. Prints one JSON line.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from harness import emit, parser, say

CELLS = (
    ("builtin:minilm", "lora", 32, 480),
    ("builtin:minilm", "full", 32, 480),
    ("builtin:minilm", "prompt", 32, 480),
    ("builtin:minilm", "adapter", 128, 160),
    ("builtin:tutor", "lora", 128, 160),
    ("builtin:tutor", "full", 128, 160),
    ("builtin:smollm2", "lora", 128, 32),
    ("builtin:smollm2", "qlora", 128, 32),
)


def main() -> None:
    """Plan and train every cell, and judge all of them."""
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=2)
    repeats = options.parse_args().repeats
    off: dict[str, list[float]] = {}
    for _ in range(repeats):
        for cell in CELLS:
            planned, taken = _seconds(*cell)
            off.setdefault(" ".join(map(str, cell)), []).append(planned / taken - 1)
            say(f"{cell}: {taken:.1f} s, planned {100 * (planned / taken - 1):+.0f} %")
    each = [abs(value) for values in off.values() for value in values]
    emit(
        "plan_time",
        {
            "cells": len(each),
            "median_error_percent": round(100 * median(each), 1),
            "within_25_percent": round(float(np.mean(np.asarray(each) <= 0.25)), 2),
            "by_cell_percent": {n: [round(100 * v) for v in vs] for n, vs in off.items()},
        },
    )


def _seconds(name: str, method: str, length: int, rows: int) -> tuple[float, float]:
    """Return the planned and the real seconds of an epoch, validations included."""
    from tailorbird.config import Config
    from tailorbird.planning.device_fit import Planner
    from tailorbird.planning.devices import place_of
    from tailorbird.planning.model_shape import read_shape
    from tailorbird.planning.time_probe import synthetic_job
    from tailorbird.planning.training_time import plan_time
    from tailorbird.planning.workload import Work
    from tailorbird.records import Target
    from tailorbird.train.loop import train

    config = Config.model_validate(
        {
            "model": {"name": name}, "method": {"name": method},
            "train": {"batch_size": 16, "epochs": 1, "tensorboard": False},
        }
    )  # fmt: skip
    target = Target("classification", ("0", "1")) if name == "builtin:minilm" else None
    work = Work(target, length, rows=rows, mean_length=float(length), validation=rows)
    shape, place = read_shape(config.model), place_of(None)
    planner = Planner(shape, config, work)
    plan = plan_time(planner, planner.memory(method, place), place, None)  # type: ignore[arg-type]
    assert plan is not None
    with tempfile.TemporaryDirectory() as folder:
        model, job = synthetic_job(config, work, place.device, Path(folder))
        began = time.perf_counter()
        train(model, replace(job, settings=replace(job.settings, patience=10)))
        return plan.seconds, time.perf_counter() - began


if __name__ == "__main__":
    main()
