"""Conversations and texts as token ids, with the trained tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.data.disk_rows import Rows, row_lengths
from tailorbird.records import Finding, Piece

_SAMPLES = 4
# Attention pads a group to one length; more waste than this starts a new group.
_WASTE = 0.15


@dataclass(frozen=True)
class Tokens:
    """Tokenised sequences for a generative model.

    Attributes:
        ids: One int32 array of token ids per sequence, including the chat template's tokens; in
            memory or on disk, as are `trained` and `prompts`.
        trained: One bool array per sequence, as long as its ids: whether the model is trained to
            generate this token. A sequence's first token never is, since nothing precedes it.
        prompts: One int32 array per sequence: the ids up to the last answer, including the
            template's opening of it: the prompt for generation. Empty for plain text.
        rows: ``[n]`` the example of each sequence: a conversation makes one sequence, a long plain
            text several, a dropped example none.
        samples: A few decoded sequences, for people.
    """

    ids: Rows
    trained: Rows
    prompts: Rows
    rows: np.ndarray
    samples: tuple[tuple[Piece, ...], ...] = ()
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: np.ndarray) -> "Tokens":
        """Return the sequences at `indices`."""
        return Tokens(
            [self.ids[i] for i in indices],
            [self.trained[i] for i in indices],
            [self.prompts[i] for i in indices] if len(self.prompts) else [],
            self.rows[indices],
        )

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens per sequence."""
        return row_lengths(self.ids)

    @property
    def weights(self) -> np.ndarray:
        """``[n]`` trained tokens per sequence."""
        return np.asarray([int(row.sum()) for row in self.trained], dtype=np.int64)


def sample_pieces(
    ids: Sequence[np.ndarray], trained: Sequence[np.ndarray], tokenizer: Any
) -> tuple[tuple[Piece, ...], ...]:
    """Return the first few sequences, decoded."""
    pairs = zip(ids[:_SAMPLES], trained[:_SAMPLES], strict=True)
    return tuple(_pieces(row, mask, tokenizer) for row, mask in pairs)


def _pieces(ids: np.ndarray, trained: np.ndarray, tokenizer: Any) -> tuple[Piece, ...]:
    """Return one sequence cut where training begins and ends.

    Each cut is found by decoding everything before it: a part decoded alone may lose the space
    before its first word.
    """
    cuts = [*(np.flatnonzero(trained[1:] != trained[:-1]) + 1).tolist(), len(ids)]
    pieces: list[Piece] = []
    whole = ""
    start = 0
    for cut in cuts:
        upto = tokenizer.decode(ids[:cut].tolist(), clean_up_tokenization_spaces=False)
        pieces.append(Piece(upto[len(whole) :], bool(trained[start])))
        whole, start = upto, cut
    return tuple(pieces)


@dataclass(frozen=True)
class PackedBatch:
    """Several sequences in one row of ``total`` tokens, the longest first.

    Attributes:
        ids: ``[total]`` token ids; virtual tokens are 0 here.
        positions: ``[total]`` each token's position within its own sequence.
        slots: ``[sequences * virtual]`` places of the virtual tokens.
        starts: ``[sequences + 1]`` start of each sequence, and the total.
        predicting: ``[targets]`` places whose next token is trained.
        targets: ``[targets]`` the ids of those next tokens.
        owners: ``[targets]`` the sequence of each (an index into the packed ones).
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
    """Concatenate the sequences `indices` of `tokens`.

    Args:
        virtual: The number of virtual tokens before each one (prompt tuning).
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
    """Return runs of sequences, longest first, that are cheap to pad to one length."""
    groups: list[tuple[int, int]] = []
    first, total = 0, 0
    for i, length in enumerate(lengths.tolist()):
        total += length
        # Work grows with the square of the length, so the longest sets the bound.
        if total < (1 - _WASTE) * int(lengths[first]) * (i + 1 - first):
            groups.append((first, i))
            first, total = i, length
    groups.append((first, len(lengths)))
    return tuple(groups)


def token_groups(lengths: np.ndarray, indices: np.ndarray, most: int) -> list[np.ndarray]:
    """Split `indices` into runs of at most `most` tokens (a longer sequence is alone)."""
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
