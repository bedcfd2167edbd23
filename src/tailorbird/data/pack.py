"""Sequences laid end to end, without padding, and what each token is to predict."""

from dataclasses import dataclass

import numpy as np

from tailorbird.data.tokens import Tokens

# Attention pads the documents of a group to one length; more waste than this starts a new group.
_WASTE = 0.15


@dataclass(frozen=True)
class PackedBatch:
    """Several sequences in one row of ``total`` tokens, the longest first.

    Attributes:
        ids: ``[total]`` token ids; virtual tokens are 0 here.
        positions: ``[total]`` each token's place within its own sequence.
        slots: ``[sequences * virtual]`` where the virtual tokens stand.
        starts: ``[sequences + 1]`` where each sequence begins, and the total.
        predicting: ``[targets]`` places whose next token is trained.
        targets: ``[targets]`` the ids to be written there.
        owners: ``[targets]`` which sequence (an index into what was packed) each belongs to.
        groups: Runs of sequences of similar length: ``(first, past the last)``.
    """

    ids: np.ndarray
    positions: np.ndarray
    slots: np.ndarray
    starts: np.ndarray
    predicting: np.ndarray
    targets: np.ndarray
    owners: np.ndarray
    groups: tuple[tuple[int, int], ...]


def pack(tokens: Tokens, indices: np.ndarray, virtual: int = 0) -> PackedBatch:
    """Lay the sequences `indices` of `tokens` end to end.

    Args:
        tokens: The sequences.
        indices: ``[n]`` which of them.
        virtual: How many virtual tokens stand before each one (prompt tuning).
    """
    lengths = np.asarray([len(tokens.ids[i]) for i in indices]) + virtual
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    gap = np.zeros(virtual, dtype=np.int32)
    unseen = np.zeros(virtual, dtype=bool)
    ids = np.concatenate([x for k in order for x in (gap, tokens.ids[indices[k]])])
    trained = np.concatenate([x for k in order for x in (unseen, tokens.trained[indices[k]])])
    places = np.arange(len(ids))
    first = np.repeat(starts[:-1], lengths)
    targets = np.flatnonzero(trained)
    return PackedBatch(
        ids=ids.astype(np.int64),
        positions=places - first,
        slots=np.flatnonzero(places - first < virtual),
        starts=starts,
        predicting=targets - 1,
        targets=ids[targets].astype(np.int64),
        owners=np.repeat(order, lengths)[targets],
        groups=_groups(lengths),
    )


def _groups(lengths: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return runs of sequences, longest first, that can be padded to one length cheaply."""
    groups: list[tuple[int, int]] = []
    first, total = 0, 0
    for i, length in enumerate(lengths.tolist()):
        total += length
        # Work grows with the square of the length, hence the longest sets the bound.
        if total < (1 - _WASTE) * int(lengths[first]) * (i + 1 - first):
            groups.append((first, i))
            first, total = i, length
    groups.append((first, len(lengths)))
    return tuple(groups)


def token_groups(lengths: np.ndarray, indices: np.ndarray, most: int) -> list[np.ndarray]:
    """Cut `indices` into runs of at most `most` tokens (a longer sequence goes alone).

    Args:
        lengths: ``[n]`` tokens of every sequence.
        indices: Which sequences to deal out, in this order.
        most: Tokens per run.
    """
    groups: list[np.ndarray] = []
    first, total = 0, 0
    for i, index in enumerate(indices):
        total += int(lengths[index])
        if total > most and i > first:
            groups.append(indices[first:i])
            first, total = i, int(lengths[index])
    if len(indices):
        groups.append(indices[first:])
    return groups
