"""Finds likely label errors with out-of-fold models, and writes a file for correcting them."""

from collections import Counter
from dataclasses import asdict

import numpy as np

from tailorbird import log
from tailorbird.arms.split_embeddings import split_vectors
from tailorbird.config import Config
from tailorbird.data.message_words import rows, shorten
from tailorbird.metrics.confident_learning import Doubt, calibrated, label_errors
from tailorbird.records import TASKS, Example, ExamplesOnDisk, Finding, Split
from tailorbird.runs.checked_files import csv_text
from tailorbird.runs.folder import LABEL_ERRORS, RunFolder
from tailorbird.tasks.registry import head_task

DOUBTS = "cache/label_errors.json"
"""The findings, saved for the report."""

FOLDS = 5
LEAST_MARGIN = 0.8
"""Between the suggested class and the label; `benchmarks/label_errors.py` measures what smaller
margins would find, and how much of that in vain."""
_FEWEST, _MOST = 50, 20_000
_MOST_WEIGHTS = 100_000
_SAMPLES = 5


def look_for_label_errors(run: RunFolder, split: Split, config: Config) -> None:
    """Write `label_errors.csv` for a classification run, and log the findings.

    Each row is scored by a logistic regression on embeddings, fitted on the other four fifths of
    all rows.
    """
    if not TASKS[split.task].one_label or not config.evaluate.label_errors:
        return
    if isinstance(split.train, ExamplesOnDisk):  # rows and vectors of all would be held
        return
    examples = (*split.train, *split.validation, *split.test)
    if not _FEWEST <= len(examples) <= _MOST:
        return
    vectors = split_vectors(config, split, run)
    every = np.concatenate([vectors.train, vectors.validation, vectors.test])
    if every.shape[1] * len(split.labels) > _MOST_WEIGHTS:
        return
    task = head_task(split.task)
    targets = task.truths(examples, task.target(split))
    probabilities = out_of_fold(every, targets, len(split.labels))
    doubts = label_errors(probabilities, targets, LEAST_MARGIN)
    right = float((probabilities.argmax(axis=1) == targets).mean())
    if not doubts:
        return
    sizes = (len(split.train), len(split.validation), len(split.test))
    parts = np.repeat(["train", "validation", "test"], sizes)
    run.write(LABEL_ERRORS, _table(doubts, examples, parts, split.labels))
    finding = _finding(doubts, examples, split.labels, right)
    run.write_json(DOUBTS, asdict(finding))
    log.warn(finding.message.replace(LABEL_ERRORS, str(run.file(LABEL_ERRORS))))


def out_of_fold(vectors: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """Return calibrated out-of-fold probabilities ``[n, classes]``."""
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    probabilities = np.zeros((len(targets), classes))
    most = max(Counter(targets.tolist()).values())
    cut = StratifiedKFold(min(FOLDS, most), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is acceptable, and so is a fit that has nearly
        # converged.
        warnings.simplefilter("ignore")
        for fitting, rest in cut.split(vectors, targets):
            model = LogisticRegression(C=10, max_iter=200).fit(vectors[fitting], targets[fitting])
            probabilities[np.ix_(rest, model.classes_)] = model.predict_proba(vectors[rest])
    return calibrated(probabilities, targets)


def _table(
    doubts: list[Doubt], examples: tuple[Example, ...], parts: np.ndarray, labels: tuple[str, ...]
) -> str:
    table = [
        [
            parts[doubt.example],
            examples[doubt.example].row,
            examples[doubt.example].label,
            labels[doubt.suggested],
            f"{doubt.margin:.3f}",
            examples[doubt.example].text,
        ]
        for doubt in doubts
    ]
    return csv_text(["part", "row", "label", "suggested", "margin", "text"], table)


def _finding(
    doubts: list[Doubt], examples: tuple[Example, ...], labels: tuple[str, ...], right: float
) -> Finding:
    one = len(doubts) == 1
    labelled = "has a label" if one else "have labels"
    return Finding(
        code="label_errors",
        level="warning",
        message=(
            f"{rows(len(doubts))} of {len(examples):,} {labelled} that may be wrong: a model "
            f"that did not see {'it' if one else 'them'} (and agrees with {100 * right:.0f} % of "
            f"all labels) confidently predicts another one. Look at {'it' if one else 'them'} in "
            f"{LABEL_ERRORS}."
        ),
        count=len(doubts),
        samples=tuple(
            f"row {examples[d.example].row}: {examples[d.example].label!r}, likely "
            f"{labels[d.suggested]!r}: {shorten(examples[d.example].text)}"
            for d in doubts[:_SAMPLES]
        ),
    )
