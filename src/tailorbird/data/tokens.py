"""Conversations and texts as token ids, and which of the tokens are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.records import Finding, Piece

_SAMPLES = 4


@dataclass(frozen=True)
class Tokens:
    """Tokenised sequences for a model that writes.

    Attributes:
        ids: One int32 array of token ids per sequence, the chat template's tokens included.
        trained: One bool array per sequence, as long as its ids: whether the model is trained to
            write this token. The first token of a sequence never is: nothing stands before it.
        prompts: One int32 array per sequence: the ids up to where the last answer begins, the
            template's opening of it included; what the model is given to generate. Empty for
            plain text.
        rows: ``[n]`` which example each sequence came from: a conversation makes one sequence, a
            long plain text several, a dropped example none.
        samples: A few sequences decoded, for people.
        findings: What was cut, dropped or odd.
    """

    ids: list[np.ndarray]
    trained: list[np.ndarray]
    prompts: list[np.ndarray]
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
            [self.prompts[i] for i in indices] if self.prompts else [],
            self.rows[indices],
        )

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens per sequence."""
        return np.asarray([len(row) for row in self.ids], dtype=np.int64)

    @property
    def weights(self) -> np.ndarray:
        """``[n]`` trained tokens per sequence."""
        return np.asarray([int(row.sum()) for row in self.trained], dtype=np.int64)


def sample_pieces(
    ids: Sequence[np.ndarray], trained: Sequence[np.ndarray], tokenizer: Any
) -> tuple[tuple[Piece, ...], ...]:
    """Return the first few sequences as the model reads them."""
    pairs = zip(ids[:_SAMPLES], trained[:_SAMPLES], strict=True)
    return tuple(_pieces(row, mask, tokenizer) for row, mask in pairs)


def _pieces(ids: np.ndarray, trained: np.ndarray, tokenizer: Any) -> tuple[Piece, ...]:
    """Return one sequence cut where training begins and ends.

    Each cut is found by decoding all up to it: a part decoded alone may lose the space before
    its first word.
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
