"""Scores of token classification: labels per word, scored by whole entities.

Labels such as ``B-PER`` and ``I-PER`` mark entities; their extent follows the rules of CoNLL-2000's
evaluation, as in seqeval's default mode: an ``I-`` after another type or after ``O`` begins an
entity too. With labels without such marks (parts of speech) each word is an entity.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tailorbird.metrics.classification import Counts, divide, scores_of_counts
from tailorbird.metrics.classification_intervals import macro_f1_score
from tailorbird.metrics.intervals import Floats, Groups, Weighted, design_effect, scores_of
from tailorbird.records import ClassScore, Score

OUTSIDE = "O"
_MARKED = re.compile(r"([BIESLU])-(.+)", re.S)
_LAST = {"L": "E", "U": "S"}


class Entity(NamedTuple):
    """An entity of a sentence: its type, and its first and last word, counted from 0."""

    type: str
    first: int
    last: int


def have_entity_marks(labels: Sequence[str]) -> bool:
    """Return whether labels mark entities (``B-``, ``I-``, ``O`` ...) rather than single words."""
    inside = [label for label in labels if label != OUTSIDE]
    return bool(inside) and all(_MARKED.fullmatch(label) for label in inside)


def types_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the entity types in the labels, sorted."""
    return tuple(sorted({_parts(label, have_entity_marks(labels))[1] for label in labels} - {""}))


def entities(labels: Sequence[str], *, have_marks: bool = True) -> list[Entity]:
    """Return the entities of one sentence."""
    spans: list[Entity] = []
    mark, kind, first = OUTSIDE, "", 0
    for place, label in enumerate([*labels, OUTSIDE]):
        now, its_kind = _parts(label, have_marks) if place < len(labels) else (OUTSIDE, "")
        if mark != OUTSIDE and _ends(mark, now, kind != its_kind):
            spans.append(Entity(kind, first, place - 1))
        if now != OUTSIDE and _begins(mark, now, kind != its_kind):
            first = place
        mark, kind = now, its_kind
    return spans


def _parts(label: str, have_marks: bool) -> tuple[str, str]:
    if have_marks:
        match = _MARKED.fullmatch(label)
        if match is None:
            return OUTSIDE, ""
        return _LAST.get(match.group(1), match.group(1)), match.group(2)
    return "S", label


def _ends(mark: str, now: str, changed: bool) -> bool:
    return mark in "ES" or now in "BSO" or changed


def _begins(mark: str, now: str, changed: bool) -> bool:
    return now in "BS" or mark in "ESO" or changed


def counts_of(
    predictions: Sequence[Sequence[str]],
    truth: Sequence[Sequence[str]],
    types: Sequence[str],
    have_marks: bool,
) -> Floats:
    """Return each sentence's contribution to the counts ``[n, 3 * types + 2]``.

    Per type the true entities, the predicted ones, and both; then words, and correct words.
    """
    index = {name: i for i, name in enumerate(types)}
    rows = np.zeros((len(truth), 3 * len(types) + 2))
    for row, ours, theirs in zip(rows, predictions, truth, strict=True):
        predicted, is_there = (set(entities(x, have_marks=have_marks)) for x in (ours, theirs))
        for part, group in enumerate((is_there, predicted, predicted & is_there)):
            for entity in group:
                row[part * len(types) + index[entity.type]] += 1
        row[-2] = len(theirs)
        row[-1] = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return rows


def entity_f1(sums: Floats) -> Floats:
    """Return F1 over all entities ``[draws]`` from sums of `counts_of`: seqeval's micro average."""
    there, predicted, both = (part.sum(axis=0) for part in np.split(sums[:-2], 3))
    return divide(2 * both, there + predicted)


def score_all(runs: Sequence[Floats], groups: Groups | None = None) -> dict[str, Score]:
    """Return every score with its 95 % interval."""
    scores = scores_of([_scorer(run) for run in runs], len(runs[0]), groups)
    counted = _mean_counts(runs)
    right = np.mean([divide(run[:, -1], run[:, -2]) for run in runs], axis=0)
    correlations = np.eye(len(counted.target))
    effect = design_effect(right, groups)
    return scores | {"macro_f1": macro_f1_score(counted, scores["macro_f1"], correlations, effect)}


def _scorer(features: Floats) -> Weighted:
    def score(weights: Floats) -> Mapping[str, Floats]:
        sums = features.T @ weights
        each = np.split(sums[:-2], 3)
        there, predicted, both = (part.sum(axis=0) for part in each)
        occurs = (each[0] + each[1] > 0).sum(axis=0).astype(np.float64)
        return {
            "entity_f1": entity_f1(sums),
            "macro_f1": divide(divide(2 * each[2], each[0] + each[1]).sum(axis=0), occurs),
            "entity_precision": divide(both, predicted),
            "entity_recall": divide(both, there),
            "word_accuracy": divide(sums[-1], sums[-2]),
        }

    return score


def type_scores(runs: Sequence[Floats], types: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return the scores of each entity type, from the mean counts over seeds."""
    return scores_of_counts(_mean_counts(runs), types)


def _mean_counts(runs: Sequence[Floats]) -> Counts:
    return Counts(*np.split(np.mean([run[:, :-2].sum(axis=0) for run in runs], axis=0), 3))
