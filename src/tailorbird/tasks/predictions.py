"""The predictions of a run: a label, a set of labels, numbers, labelled words or an answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailorbird.data.encode import Text
from tailorbird.errors import UserError, check_utf8
from tailorbird.records import TASKS, Neighbour, Target

_ALL_LABELS = 20


@dataclass(frozen=True, slots=True)
class Prediction:
    """A run's prediction for one text."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A multilabel run's prediction for one text.

    Attributes:
        labels: The labels that reach their threshold, the most likely first.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """A regression run's prediction for one text.

    Attributes:
        values: The number by target, in the data's own units.
    """

    values: dict[str, float]
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """A token-classification run's prediction for one text.

    Attributes:
        entities: Type, text, first and last word (from 0) of each entity.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    confidences: tuple[float, ...]
    entities: tuple[dict[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A run's answer to one prompt.

    Attributes:
        tokens: The number of generated tokens; 0 for a copied answer.
        ended: Whether it ended before `generate.max_new_tokens`.
    """

    text: str
    tokens: int = 0
    ended: bool = True
    neighbours: tuple[Neighbour, ...] = ()


Answer = Prediction | LabelSet | Value | Tagged


def top_probabilities(outputs: np.ndarray, labels: Sequence[str], few: int = 5) -> dict[str, float]:
    """Return the labels' probabilities, most likely first; of many labels only `few`."""
    order = np.argsort(-outputs, kind="stable")
    first = order[: len(labels) if len(labels) <= _ALL_LABELS else few]
    return {labels[int(i)]: round(float(outputs[i]), 6) for i in first}


def check_texts(texts: Sequence[Text], target: Target, name: str) -> None:
    """Check that inputs are pairs or single texts as the run reads them, in valid UTF-8.

    Raises:
        UserError: An input is not.
    """
    for number, text in enumerate(texts, 1):
        check_utf8(text, f"text {number}")
    if TASKS[target.task].per_word:
        return
    single = [text for text in texts if isinstance(text, str) or len(text) != 2]
    if target.pairs and single:
        raise UserError(
            f"{name} reads pairs of texts, but was given a single text",
            "give both: tailor predict RUN TEXT --pair TEXT, or in Python a tuple of two",
        )
    if not target.pairs and len(single) < len(texts):
        raise UserError(f"{name} reads single texts, but was given a pair", "give one text each")
