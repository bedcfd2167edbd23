"""Sequences decoded for people, the trained parts told from the rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailorbird.records import Piece

_SHOWN = 4


def shown_pieces(
    ids: Sequence[np.ndarray], trained: Sequence[np.ndarray], tokenizer: Any
) -> tuple[tuple[Piece, ...], ...]:
    """Return the first few sequences as the model reads them."""
    pairs = zip(ids[:_SHOWN], trained[:_SHOWN], strict=True)
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
