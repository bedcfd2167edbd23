"""Reloads each saved model in a fresh process and compares its predictions with the saved ones.

`python -m tailorbird.arms.reload_check OUT RUN TRUST ARM_FOLDER ...` writes one JSON object to OUT:
``{"reload": {folder: ReloadCheck}, "nearest": {test index: [Neighbour, ...]}}``.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.arms.fork_server import TRUST
from tailorbird.arms.label_errors import look_for_label_errors
from tailorbird.arms.saved_arm import open_arm
from tailorbird.arms.split_embeddings import split_vectors
from tailorbird.config import Config
from tailorbird.rag.labelled_vectors import LabelledVectors
from tailorbird.records import ExamplesOnDisk, ReloadCheck, Split
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import ARM, RunFolder
from tailorbird.runs.saved_split import load_split
from tailorbird.tasks.registry import get_task

_NEAREST = 3
# Embedding more texts only to show neighbours of errors would take minutes.
_MOST_SEARCHED = 20_000


def main(out: str, run: str, trust: str, *arms: str) -> int:
    """Write the results of the checks to the file `out`; return the exit code."""
    log.quiet_libraries()
    checks = _run_checks(RunFolder(run), arms, trust == TRUST)
    Path(out).write_text(json.dumps(checks), encoding="utf-8")
    return 0


def _run_checks(run: RunFolder, arms: Sequence[str], trust: bool) -> dict[str, Any]:
    """Check every arm, and find training examples similar to the misclassified ones."""
    split, _, _ = load_split(run)
    checks = {arm: asdict(_check(RunFolder(arm), split, trust)) for arm in arms}
    config = run_config(run, trust=trust)
    look_for_label_errors(run, split, config)
    return {"reload": checks, "nearest": _nearest(run, arms, split, config)}


def _check(arm: RunFolder, split: Split, trust: bool) -> ReloadCheck:
    """Load a saved arm and repeat the predictions saved with it."""
    try:
        with open_arm(arm, trust=trust) as predictor:
            return get_task(split.task).reload_check(predictor, arm, split)
    except Exception as error:
        return ReloadCheck(False, 0, float("nan"), f"{type(error).__name__}: {error}")


def _nearest(
    run: RunFolder, arms: Sequence[str], split: Split, config: Config
) -> dict[int, list[dict[str, Any]]]:
    task = get_task(split.task)
    if not task.resembles or len(split.train) > _MOST_SEARCHED:
        return {}
    if isinstance(split.train, ExamplesOnDisk):  # vectors of all of them would be held
        return {}
    folders = map(RunFolder, arms)
    wrong = {i for f in folders for i in task.worst_rows(f.read_json(ARM), f, split)}
    if not wrong:
        return {}
    vectors = split_vectors(config, split, run)
    # The neighbours are only shown; they do not vote here.
    memory = LabelledVectors(vectors.train, split.train, ())
    return {
        i: [asdict(n) for n in memory.neighbours(vectors.test[i], _NEAREST)] for i in sorted(wrong)
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
