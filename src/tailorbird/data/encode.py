"""Texts into token ids, once, before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.records import Example

Text = str | tuple[str, ...]
"""What a model reads: a text, or two of them as a pair."""


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples.

    Attributes:
        ids: One int32 array of token ids per example, special tokens included.
        lengths: ``[n]`` their lengths.
        targets: What the outputs should be, class ids ``[n]`` or numbers ``[n, outputs]``; None
            when unknown.
        full_lengths: ``[n]`` lengths before truncation.
        segments: Which of two texts each token is of, where the model is told; else None.
    """

    ids: list[np.ndarray]
    lengths: np.ndarray
    targets: np.ndarray | None
    full_lengths: np.ndarray
    segments: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def truncated(self) -> int:
        """How many examples were cut."""
        return int((self.full_lengths > self.lengths).sum())

    def first(self, count: int) -> "Encoded":
        """Return the first examples, without targets."""
        segments = None if self.segments is None else self.segments[:count]
        lengths = self.lengths[:count], self.full_lengths[:count]
        return Encoded(self.ids[:count], lengths[0], None, lengths[1], segments)


def as_read(example: Example) -> Text:
    """Return what a model reads of an example."""
    return example.pair or example.text


def encode(
    texts: Sequence[Text],
    tokenizer: Any,
    max_length: int,
    targets: Sequence[int] | np.ndarray | None = None,
    segments: bool = False,
) -> Encoded:
    """Tokenise `texts`, cutting each to `max_length` tokens (special tokens kept).

    Of a pair that is too long, the longer text is cut.

    Args:
        texts: Texts, or pairs.
        tokenizer: The model's.
        max_length: Tokens to keep.
        targets: What the outputs should be.
        segments: Whether the model is told which text of a pair a token is of.
    """
    ids: list[np.ndarray] = []
    full: list[int] = []
    types: list[np.ndarray] = []
    for start in range(0, len(texts), 1000):
        part = [_arguments(text, tokenizer) for text in texts[start : start + 1000]]
        columns = [list(column) for column in zip(*part, strict=True)]
        whole = tokenizer(*columns, add_special_tokens=True, truncation=False, verbose=False)
        for i, (given, row) in enumerate(zip(part, whole["input_ids"], strict=True)):
            full.append(len(row))
            kinds = whole["token_type_ids"][i] if segments and "token_type_ids" in whole else []
            if len(row) > max_length:
                cut = tokenizer(*given, truncation=True, max_length=max_length)
                row, kinds = cut["input_ids"], cut.get("token_type_ids", []) if kinds else []
            # A decoder's tokenizer may add nothing: an empty row has no token to read a label off.
            ids.append(np.asarray(row or [tokenizer.pad_token_id], dtype=np.int32))
            types.append(np.asarray(kinds, dtype=np.int32))
    lengths = np.asarray([len(row) for row in ids], dtype=np.int64)
    known = None if targets is None else np.asarray(targets)
    told = types if types and all(len(kinds) for kinds in types) else None
    return Encoded(ids, lengths, known, np.asarray(full, dtype=np.int64), told)


def _arguments(text: Text, tokenizer: Any) -> tuple[str, ...]:
    """Return what the tokenizer is given: of a pair both, told apart at least by a line break."""
    if isinstance(text, str):
        return (text,)
    between = tokenizer.num_special_tokens_to_add(pair=True)
    if between > tokenizer.num_special_tokens_to_add(pair=False):
        return text
    return text[0], "\n" + text[1]
