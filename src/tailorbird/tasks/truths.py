"""Examples to what is right for them, as arrays."""

from collections.abc import Sequence

import numpy as np

from tailorbird.records import Example, Split, Target


def target_of(split: Split) -> Target:
    """Return what a head has to put out for this split."""
    pairs = bool(split.train and split.train[0].pair)
    if split.task != "regression":
        return Target(split.task, split.labels, pairs=pairs)
    values = np.asarray([e.values for e in split.train], dtype=np.float64)
    spread = values.std(axis=0)
    spread[spread == 0] = 1.0
    mean, deviation = tuple(values.mean(axis=0).tolist()), tuple(spread.tolist())
    return Target(split.task, split.labels, mean, deviation, pairs=pairs)


def truths(examples: Sequence[Example], target: Target) -> np.ndarray:
    """Return what is right for each example, or for each word.

    Returns:
        Of token classification the number of the sentence and the class id of each word
        ``[words, 2]``.
        Of classification class ids ``[n]``, of multi-label 0 and 1 ``[n, labels]``, of regression
        the values in their own units ``[n, targets]``.
    """
    if target.task == "regression":
        values = [e.values for e in examples]
        return np.asarray(values, dtype=np.float64).reshape(len(examples), len(target.labels))
    index = {label: i for i, label in enumerate(target.labels)}
    if target.task == "tokens":
        pairs = [(i, index[label]) for i, e in enumerate(examples) for label in e.labels]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    if target.task == "classification":
        return np.asarray([index[str(e.label)] for e in examples], dtype=np.int64)
    given = np.zeros((len(examples), len(index)), dtype=np.float32)
    for row, example in zip(given, examples, strict=True):
        row[[index[label] for label in example.labels]] = 1.0
    return given


def learnt(examples: Sequence[Example], target: Target) -> np.ndarray:
    """Return what a head learns to put out: `truths`, of regression standardised."""
    found = truths(examples, target)
    if target.task == "tokens":
        return np.asarray(found[:, 1])
    if target.task != "regression":
        return found
    scaled: np.ndarray = (found - np.asarray(target.mean)) / np.asarray(target.deviation)
    return scaled.astype(np.float32)
