"""Which turns are trained, as marked by several tools in a turn or in a column of its row."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailorbird.records import Message

_TRAINED = (
    *("weight", "weights", "loss_weight", "loss_weights", "loss_scale", "loss", "compute_loss"),
    *("train", "training", "trainable", "train_on", "train_mask", "trained", "is_trained"),
    *("loss_mask", "loss_masks", "assistant_mask", "assistant_masks", "completion_mask"),
)
_MASKED = ("masked", "mask_loss", "ignore_loss", "no_loss", "no_train")
_DOUBTFUL = ("mask", "train_detail")
MARKS = (*_TRAINED, *_MASKED, *_DOUBTFUL)
"""OpenAI's ``weight``, axolotl's ``train``, verl's ``loss_mask``, torchtune's ``masked`` ..."""

_NOTHING = (None, "")
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


class Unusable(Exception):  # noqa: N818 - not raised to the user: gathered per kind
    """An unusable row: the kind of fault, and its words."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind, self.words = kind, words


def is_trained(turn: Mapping[str, Any]) -> bool:
    """Whether a turn is trained: unless one of its marks says that it is not.

    Example:
        >>> is_trained({"role": "assistant", "content": "Well.", "weight": "0"})
        False

    Raises:
        Unusable: A mark is neither yes nor no.
    """
    folded = [(str(key).strip().casefold(), mark) for key, mark in turn.items()]
    return all([_flag(k, mark) for k, mark in folded if k in MARKS and mark not in _NOTHING])


def with_marks(messages: list[Message], row: Mapping[str, Any]) -> list[Message]:
    """Return the turns, with those that a column masks marked as untrained.

    A column has a mark for each turn, or one for each of the assistant's.

    Raises:
        Unusable: It has another number of marks, or a mark is neither yes nor no.
    """
    for name in MARKS:
        marks = _mark_list(name, row.get(name))
        if marks is None:
            continue
        places: Sequence[int] = range(len(messages))
        if len(marks) != len(messages):
            places = [k for k, m in enumerate(messages) if m.role == "assistant"]
        if len(marks) != len(places):
            raise Unusable(
                "marks", f"{name!r} with {len(marks):,} values for {len(messages):,} turns"
            )
        for place, mark in zip(places, marks, strict=True):
            if mark not in _NOTHING and not _flag(name, mark):
                messages[place] = replace(messages[place], trained=False)
    return messages


def _mark_list(name: str, cell: Any) -> list[Any] | None:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        marks = json.loads(cell) if isinstance(cell, str) else cell
    except (ValueError, RecursionError):
        marks = cell
    if not isinstance(marks, list):
        raise Unusable("marks", f"{name!r} of {cell!r:.40} instead of a list of marks")
    return marks


def _flag(name: str, value: Any) -> bool:
    """Return whether a mark's turn is trained."""
    if name in _DOUBTFUL:
        raise Unusable(
            "marks", f"turns marked by {name!r}, which tools interpret in different ways"
        )
    plain = _FLAGS.get(value.strip().casefold(), value) if isinstance(value, str) else value
    try:
        number = float(plain)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number) or number < 0:
        raise Unusable("marks", f"{name!r} of {value!r:.40}, which is neither yes nor no")
    return bool(number) != (name in _MASKED)
