"""What a fresh process sees: does each saved model predict what the trained one did?

`python -m tailorbird.flows.second_look RUN ARM_FOLDER ...` prints one JSON object on stdout:
``{"reload": {folder: ReloadCheck}, "nearest": {test index: [Neighbour, ...]}}``.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config import load_config
from tailorbird.flows.load import load
from tailorbird.flows.scoring import load_probabilities
from tailorbird.flows.vectors import CHECKED, split_vectors
from tailorbird.rag.memory import Memory
from tailorbird.records import ReloadCheck, Split
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.runs.split import load_split

# What float32 rounding may differ by where a sum is taken in another order.
_ROUNDING = 1e-6
_NEAREST = 3


def main(run: RunFolder, arms: list[str]) -> dict[str, Any]:
    """Check every arm and find what resembles the examples that any of them got wrong."""
    split, _, _ = load_split(run)
    checks = {arm: asdict(_check(RunFolder(arm), split)) for arm in arms}
    return {"reload": checks, "nearest": _nearest(run, arms, split)}


def _check(arm: RunFolder, split: Split) -> ReloadCheck:
    """Load a saved arm and predict the first test examples again."""
    texts = [example.text for example in split.test[:CHECKED]]
    try:
        saved = load_probabilities(arm)["check"]
        again = load(arm.path).probabilities(texts)
    except Exception as error:
        return ReloadCheck(False, 0, float("nan"), f"{type(error).__name__}: {error}")
    difference = float(np.abs(again - saved).max())
    changed = int((again.argmax(1) != saved.argmax(1)).sum())
    why = f"{changed} predicted labels changed" if changed else ""
    return ReloadCheck(difference <= _ROUNDING and not changed, len(texts), difference, why)


def _nearest(run: RunFolder, arms: list[str], split: Split) -> dict[int, list[dict[str, Any]]]:
    targets = [split.labels.index(str(example.label)) for example in split.test]
    wrong: set[int] = set()
    for arm in arms:
        predicted = load_probabilities(RunFolder(arm))["test"].argmax(1)
        wrong |= {int(i) for i in np.flatnonzero(predicted != np.asarray(targets))}
    if not wrong:
        return {}
    vectors = split_vectors(load_config(run.file(CONFIG)), split, run)
    memory = Memory(vectors.train, split.train, split.labels)
    return {
        i: [asdict(n) for n in memory.neighbours(vectors.test[i], _NEAREST)] for i in sorted(wrong)
    }


if __name__ == "__main__":
    log.quiet_libraries()
    json.dump(main(RunFolder(sys.argv[1]), sys.argv[2:]), sys.stdout)
