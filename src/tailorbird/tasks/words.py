"""What is computed for a label per word; the table that names it is in `tasks/table.py`.

Outputs are ``[words, labels]``, sentence after sentence; truths ``[words, 2]`` hold the number of
the sentence and the class id of each word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailorbird.metrics import entities
from tailorbird.metrics import labels as single
from tailorbird.metrics.bootstrap import compare_sums
from tailorbird.records import ArmReport, ClassScore, Comparison, Example, Target
from tailorbird.tasks.worst import worst

Runs = Sequence[np.ndarray]


def named(ids: np.ndarray, truth: np.ndarray, target: Target) -> list[list[str]]:
    """Return the labels of each sentence."""
    cuts = np.flatnonzero(np.diff(truth[:, 0])) + 1
    names = np.asarray(target.labels, dtype=object)
    return [list(part) for part in np.split(names[ids], cuts)]


def features(outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
    """Return what each sentence adds to the counts; see `entities.counts`."""
    said, there = (named(ids, truth, target) for ids in (outputs.argmax(axis=1), truth[:, 1]))
    types = entities.types_of(target.labels)
    return entities.counts_of(said, there, types, entities.marked(target.labels))


def quality(outputs: np.ndarray, truth: np.ndarray, target: Target) -> tuple[float, float]:
    """Return entity F1, and minus the mean loss of a word."""
    sums = features(outputs, truth, target).sum(axis=0)[:, None]
    return float(entities.entity_f1(sums)[0]), -single.log_loss(outputs, truth[:, 1])


def losses(outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
    """Return each sentence's mean loss per word, in nats."""
    each = single.losses(outputs, truth[:, 1])
    _, places = np.unique(truth[:, 0], return_inverse=True)
    mean: np.ndarray = np.bincount(places, weights=each) / np.bincount(places)
    return mean


def per_type(runs: Runs, truth: np.ndarray, targets: Sequence[Target]) -> tuple[ClassScore, ...]:
    """Return how each type of entity fared."""
    types = entities.types_of(targets[0].labels)
    return entities.type_scores([features(run, truth, targets[0]) for run in runs], types)


def compare(
    best: str,
    arms: Mapping[str, Runs],
    truth: np.ndarray,
    targets: Mapping[str, Sequence[Target]],
) -> tuple[Comparison, ...]:
    """Return the best arm against each other one, by entity F1."""
    counts = {
        name: np.mean([features(run, truth, targets[name][0]) for run in runs], axis=0)
        for name, runs in arms.items()
    }
    return compare_sums(best, counts, entities.entity_f1)


def row(outputs: np.ndarray, target: Target) -> dict[str, Any]:
    """Return each word's label and its probability."""
    best = outputs.argmax(axis=1)
    return {
        "predicted": [target.labels[int(i)] for i in best],
        "confidence": [round(float(x), 6) for x in outputs.max(axis=1)],
    }


def look(
    report: ArmReport,
    outputs: np.ndarray,
    truth: np.ndarray,
    examples: Sequence[Example],
    target: Target,
) -> ArmReport:
    """Return the sentences with a wrong word, the highest loss first."""
    said = named(outputs.argmax(axis=1), truth, target)
    each = losses(outputs, truth, target)
    errors = worst(
        examples,
        each,
        lambda i: said[i] != list(examples[i].labels),
        lambda i: shown(examples[i].words, examples[i].labels, target),
        lambda i: shown(examples[i].words, said[i], target),
    )
    return replace(report, errors=errors)


def shown(words: Sequence[str], labels: Sequence[str], target: Target) -> str:
    """Write a sentence's entities: ``Angela Merkel (PER); Berlin (LOC)``."""
    if not entities.marked(target.labels):
        return " ".join(f"{word}/{label}" for word, label in zip(words, labels, strict=True))
    found = entities.entities(labels)
    told = [f"{' '.join(words[e.first : e.last + 1])} ({e.type})" for e in found]
    return "; ".join(told) or "no entity"
