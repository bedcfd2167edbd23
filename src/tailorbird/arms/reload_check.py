"""What a fresh process sees: does each saved model predict what the trained one did?

`python -m tailorbird.arms.reload_check OUT RUN TRUST ARM_FOLDER ...` writes one JSON object to OUT:
``{"reload": {folder: ReloadCheck}, "nearest": {test index: [Neighbour, ...]}}``.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird import log
from tailorbird.arms.label_errors import look_for_label_errors
from tailorbird.arms.load import load, run_config
from tailorbird.arms.process import TRUST
from tailorbird.arms.vectors import CHECKED, split_vectors
from tailorbird.config import Config
from tailorbird.data.encode import as_read
from tailorbird.rag.neighbours import Memory
from tailorbird.records import KINDS, ReloadCheck, Split
from tailorbird.runs.folder import ARM, RunFolder
from tailorbird.runs.split import load_split
from tailorbird.tasks import head_task
from tailorbird.tasks.job import read_task
from tailorbird.tasks.scoring import load_probabilities

if TYPE_CHECKING:
    from tailorbird.arms.load_writing import Writer

# What float32 rounding may differ by where a sum is taken in another order.
_ROUNDING = 1e-6
# The same for the mean loss of an answer, in nats per token: attention's sums run in the order of
# the batch.
_ROUNDING_LOSS = 1e-4
_NEAREST = 3
# Embedding more texts only to show neighbours of errors would take minutes.
_MOST_SEARCHED = 20_000


def main(out: str, run: str, trust: str, *arms: str) -> int:
    """Write what a fresh process sees of a run to the file `out`; return the exit code."""
    log.quiet_libraries()
    seen = _look(RunFolder(run), arms, trust == TRUST)
    Path(out).write_text(json.dumps(seen), encoding="utf-8")
    return 0


def _look(run: RunFolder, arms: Sequence[str], trust: bool) -> dict[str, Any]:
    """Check every arm and find what resembles the examples that any of them got wrong."""
    split, _, _ = load_split(run)
    check = _check if split.task in KINDS else _check_written
    checks = {arm: asdict(check(RunFolder(arm), split, trust)) for arm in arms}
    config = run_config(run, trust=trust)
    look_for_label_errors(run, split, config)
    return {"reload": checks, "nearest": _nearest(run, arms, split, config)}


def _check(arm: RunFolder, split: Split, trust: bool) -> ReloadCheck:
    """Load a saved arm and predict the first test examples again."""
    texts = [as_read(example) for example in split.test[:CHECKED]]
    try:
        saved = load_probabilities(arm)["check"]
        run = load(arm.path, trust=trust)
        again = run.probabilities(texts)
    except Exception as error:
        return ReloadCheck(False, 0, float("nan"), f"{type(error).__name__}: {error}")
    apart = np.abs(again - saved)
    if run.target.deviation:
        apart = apart / np.maximum(1.0, np.abs(saved))  # values have any size
    difference = float(apart.max())
    changed = head_task(split.task).changed(again, saved, run.target)
    why = f"{changed} predicted labels changed" if changed else ""
    return ReloadCheck(difference <= _ROUNDING and not changed, len(texts), difference, why)


def _check_written(arm: RunFolder, split: Split, trust: bool) -> ReloadCheck:
    """Load a saved arm, answer the first questions again, and read the first answers again."""
    from tailorbird.arms.load_writing import Writer

    try:
        writer = Writer(arm, trust=trust)
        saved = read_task(arm).check
        examples = {example.row: example for example in split.test}
        found = writer.check([examples[row] for row in saved.rows])
        difference = _difference_in_losses(arm, writer, split)
    except Exception as error:
        return ReloadCheck(False, 0, float("nan"), f"{type(error).__name__}: {error}")
    changed = sum(a != b for a, b in zip(found, saved.texts, strict=True))
    why = f"{changed} answers changed" if changed else ""
    return ReloadCheck(
        difference <= _ROUNDING_LOSS and not changed, len(saved.texts), difference, why
    )


def _difference_in_losses(arm: RunFolder, writer: "Writer", split: Split) -> float:
    """Return by how much a loaded arm's losses differ from those it was saved with, per token.

    Of the first test sequences of a trained arm; 0 for arms whose prompts hold other examples.
    """
    from tailorbird.tasks.paper import encode_test
    from tailorbird.tasks.written import ANSWERED_AGAIN, load_values

    if writer.shows_examples:
        return 0.0
    a = writer.answering
    encoded = encode_test(split, a.tokenizer, a.limit, a.config)
    first = encoded.take(np.arange(min(ANSWERED_AGAIN, len(encoded))))
    again, saved = a.losses(first), load_values(arm)
    differences = np.abs(again.loss_sums - saved["test/loss_sums"][: len(first)])
    return float((differences / np.maximum(1, again.counts)).max())


def _nearest(
    run: RunFolder, arms: Sequence[str], split: Split, config: Config
) -> dict[int, list[dict[str, Any]]]:
    if split.task in ("text", "tokens") or len(split.train) > _MOST_SEARCHED:
        return {}
    shown = "errors" if split.task in KINDS else "worst"
    single = split.task == "classification"
    wrong = _wrong(arms, split) if single else _worst(arms, split, shown)
    if not wrong:
        return {}
    vectors = split_vectors(config, split, run)
    # Only looked at: the neighbours do not vote here.
    memory = Memory(vectors.train, split.train, ())
    return {
        i: [asdict(n) for n in memory.neighbours(vectors.test[i], _NEAREST)] for i in sorted(wrong)
    }


def _worst(arms: Sequence[str], split: Split, shown: str) -> set[int]:
    """Return the test examples that any arm answered worst, by index."""
    index = {example.row: i for i, example in enumerate(split.test)}
    rows = {answer["row"] for arm in arms for answer in RunFolder(arm).read_json(ARM)[shown]}
    return {index[row] for row in rows}


def _wrong(arms: Sequence[str], split: Split) -> set[int]:
    """Return the test examples that any arm got wrong, by index."""
    targets = [split.labels.index(str(example.label)) for example in split.test]
    wrong: set[int] = set()
    for arm in arms:
        predicted = load_probabilities(RunFolder(arm))["test"].argmax(1)
        wrong |= {int(i) for i in np.flatnonzero(predicted != np.asarray(targets))}
    return wrong


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
