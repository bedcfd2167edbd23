"""Texts into token ids, once, before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples.

    Attributes:
        ids: One int32 array of token ids per example, special tokens included.
        lengths: ``[n]`` their lengths.
        targets: ``[n]`` class ids, or None when labels are unknown.
        full_lengths: ``[n]`` lengths before truncation.
    """

    ids: list[np.ndarray]
    lengths: np.ndarray
    targets: np.ndarray | None
    full_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def truncated(self) -> int:
        """How many examples were cut."""
        return int((self.full_lengths > self.lengths).sum())


def encode(
    texts: Sequence[str],
    tokenizer: Any,
    max_length: int,
    targets: Sequence[int] | None = None,
) -> Encoded:
    """Tokenise `texts`, cutting each to `max_length` tokens (special tokens kept)."""
    ids: list[np.ndarray] = []
    full: list[int] = []
    for start in range(0, len(texts), 1000):
        part = list(texts[start : start + 1000])
        whole = tokenizer(part, add_special_tokens=True, truncation=False, verbose=False)
        for text, row in zip(part, whole["input_ids"], strict=True):
            full.append(len(row))
            if len(row) > max_length:
                row = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
            # A decoder's tokenizer may add nothing: an empty row has no token to read a label off.
            ids.append(np.asarray(row or [tokenizer.pad_token_id], dtype=np.int32))
    lengths = np.asarray([len(row) for row in ids], dtype=np.int64)
    classes = None if targets is None else np.asarray(targets, dtype=np.int64)
    return Encoded(ids, lengths, classes, np.asarray(full, dtype=np.int64))
