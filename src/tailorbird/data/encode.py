"""Encodes texts as token ids, once, before training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.data.disk_rows import Rows, blocks, rows_for
from tailorbird.data.message_words import rows
from tailorbird.records import Example, ExamplesOnDisk, Finding

Text = str | tuple[str, ...]
"""A model's input: a text, a pair of texts, or the words to label."""
_WINDOW_BATCHES = 50
# Padding to few widths, since each shape costs compiled kernels and their memory.
_WIDTH_STEP = 8


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples.

    Attributes:
        ids: One int32 array of token ids per example, including special tokens; in memory or on
            disk, as are `segments`, `firsts` and `seconds`.
        lengths: ``[n]`` their lengths.
        targets: Class ids ``[n]`` or numbers ``[n, outputs]``; None if unknown.
        full_lengths: ``[n]`` lengths before truncation; for separately encoded pairs, the longer
            one.
        segments: The text of the pair that each token belongs to, if the model uses token types.
        firsts: For labelled words, the place of each word's first token, -1 for truncated words.
        seconds: For separately encoded pairs, the token ids of each second text; `lengths` are then
            twice the longer one's, the size of both in a padded batch.
    """

    ids: Rows
    lengths: np.ndarray
    targets: np.ndarray | None
    full_lengths: np.ndarray
    segments: Rows | None = None
    firsts: Rows | None = None
    seconds: Rows | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> "Encoded":
        """Return the first examples, without targets."""
        segments = None if self.segments is None else self.segments[:count]
        firsts = None if self.firsts is None else self.firsts[:count]
        seconds = None if self.seconds is None else self.seconds[:count]
        lengths = self.lengths[:count], self.full_lengths[:count]
        return Encoded(self.ids[:count], lengths[0], None, lengths[1], segments, firsts, seconds)


def encode_blocks(
    examples: Sequence[Example], encode_block: Callable[[Sequence[Example]], Encoded]
) -> Encoded:
    """Tokenise examples; those on disk in blocks, whose tokens go to disk.

    Args:
        examples: The examples.
        encode_block: Tokenises a block.
    """
    if not isinstance(examples, ExamplesOnDisk):
        return encode_block(examples)
    arrays: dict[str, Rows] = {}
    numbers: dict[str, list[np.ndarray]] = {}
    for block in blocks(examples):
        encoded = encode_block(block)
        for name in ("ids", "segments", "firsts", "seconds"):
            for row in getattr(encoded, name) or ():
                arrays.setdefault(name, rows_for(examples, row.dtype)).append(row)
        for name in ("lengths", "targets", "full_lengths"):
            numbers.setdefault(name, []).append(getattr(encoded, name))
    return Encoded(**arrays, **{n: np.concatenate(each) for n, each in numbers.items()})  # type: ignore[arg-type]


def as_read(example: Example) -> Text:
    """Return the model's input for an example."""
    return example.words or example.pair or example.text


def encode(
    texts: Sequence[Text],
    tokenizer: Any,
    max_length: int,
    targets: Sequence[int] | np.ndarray | None = None,
    segments: bool = False,
) -> Encoded:
    """Tokenise `texts`, truncating each to `max_length` tokens (special tokens are kept).

    In a pair that is too long, the longer text is truncated.
    """
    ids: list[np.ndarray] = []
    full: list[int] = []
    types: list[np.ndarray] = []
    for start in range(0, len(texts), 1000):
        part = [_arguments(text, tokenizer) for text in texts[start : start + 1000]]
        columns = [list(column) for column in zip(*part, strict=True)]
        whole = tokenizer(*columns, add_special_tokens=True, truncation=False, verbose=False)
        for i, (arguments, row) in enumerate(zip(part, whole["input_ids"], strict=True)):
            full.append(len(row))
            kinds = whole["token_type_ids"][i] if segments and "token_type_ids" in whole else []
            if len(row) > max_length:
                cut = tokenizer(*arguments, truncation=True, max_length=max_length)
                row, kinds = cut["input_ids"], cut.get("token_type_ids", []) if kinds else []
            # A decoder's tokenizer may add no special token, and an empty row has no token to
            # classify at.
            ids.append(np.asarray(row or [tokenizer.pad_token_id], dtype=np.int32))
            types.append(np.asarray(kinds, dtype=np.int32))
    lengths = np.asarray([len(row) for row in ids], dtype=np.int64)
    truth = None if targets is None else np.asarray(targets)
    segment_ids = types if types and all(len(kinds) for kinds in types) else None
    return Encoded(ids, lengths, truth, np.asarray(full, dtype=np.int64), segment_ids)


def encode_apart(
    pairs: Sequence[Text],
    tokenizer: Any,
    max_length: int,
    targets: Sequence[int] | np.ndarray | None = None,
) -> Encoded:
    """Tokenise both texts of each pair separately; see `encode`."""
    first = encode([pair[0] for pair in pairs], tokenizer, max_length, targets)
    second = encode([pair[1] for pair in pairs], tokenizer, max_length)
    lengths = 2 * np.maximum(first.lengths, second.lengths)
    full = np.maximum(first.full_lengths, second.full_lengths)
    return Encoded(first.ids, lengths, first.targets, full, seconds=second.ids)


def words_of(text: Text) -> tuple[str, ...]:
    """Return the words to label: as given, or split at whitespace."""
    return tuple(text.split()) if isinstance(text, str) else text


def encode_words(
    texts: Sequence[Text],
    tokenizer: Any,
    max_length: int,
    targets: Sequence[int] | np.ndarray | None = None,
) -> Encoded:
    """Tokenise words joined by spaces, and locate each word's first token."""
    joined = [" ".join(words_of(text)) for text in texts]
    plain = encode(joined, tokenizer, max_length)
    firsts: list[np.ndarray] = []
    for start in range(0, len(joined), 1000):
        part = joined[start : start + 1000]
        spans = tokenizer(part, truncation=True, max_length=max_length, return_offsets_mapping=True)
        for text, offsets in zip(texts[start : start + 1000], spans["offset_mapping"], strict=True):
            firsts.append(_first_tokens(words_of(text), offsets))
    truth = None if targets is None else np.asarray(targets)
    return Encoded(plain.ids, plain.lengths, truth, plain.full_lengths, None, firsts)


def _first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the place of each word's first token; -1 if it has none."""
    places = np.full(len(words), -1, dtype=np.int64)
    token, begin = 0, 0
    for i, word in enumerate(words):
        end = begin + len(word)
        # Special tokens have empty spans; others may begin with the space before the word.
        while token < len(offsets) and offsets[token][1] <= begin:
            token += 1
        if token < len(offsets) and offsets[token][0] < end:
            places[i] = token
        begin = end + 1
    return places


def _arguments(text: Text, tokenizer: Any) -> tuple[str, ...]:
    """Return the tokenizer's arguments; a line break separates a pair if no special token does."""
    if isinstance(text, str):
        return (text,)
    between = tokenizer.num_special_tokens_to_add(pair=True)
    if between > tokenizer.num_special_tokens_to_add(pair=False):
        return text
    return text[0], "\n" + text[1]


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return one epoch's batches of indices: random, but of similar length within a batch.

    The shuffled order is cut into windows of 50 batches, each sorted by length and cut into
    batches, which are shuffled: little padding, and changing neighbours in each epoch. It depends
    on (seed, epoch) only, so a resumed run has the same batches.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    window = batch_size * _WINDOW_BATCHES
    batches: list[np.ndarray] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches.extend(part[i : i + batch_size] for i in range(0, len(part), batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def token_batches(
    lengths: np.ndarray, max_tokens: int, max_examples: int = 256
) -> list[np.ndarray]:
    """Return batches for prediction: longest first, at most `max_tokens` with padding.

    Examples of the same padded width are batched together, and all but a width's last batch have
    the same size: few shapes, for each of which the machine keeps compiled kernels in memory.
    """
    batches: list[np.ndarray] = []
    widths = padded_widths(lengths)
    for width in sorted(set(widths.tolist()), reverse=True):
        same = np.flatnonzero(widths == width)
        size = max(1, min(max_examples, max_tokens // width))
        batches.extend(same[i : i + size] for i in range(0, len(same), size))
    return batches


def padded_widths(lengths: np.ndarray) -> np.ndarray:
    """Return the padded widths of texts with these lengths: multiples of 8."""
    widths: np.ndarray = -(-lengths // _WIDTH_STEP) * _WIDTH_STEP
    return widths


def collate(encoded: Encoded, indices: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Return ``input_ids`` and ``attention_mask`` ``[batch, seq]``, padded on the right.

    For pairs with token types, ``token_type_ids`` as well. Separately encoded pairs have two rows
    each, ``[2 * batch, seq]``.
    """
    rows = [encoded.ids[index] for index in indices]
    if encoded.seconds is not None:
        rows = [text for index in indices for text in (encoded.ids[index], encoded.seconds[index])]
    width = int(padded_widths(np.asarray([len(row) for row in rows])).max())
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    arrays = {"input_ids": ids, "attention_mask": mask}
    if encoded.segments is not None:
        arrays["token_type_ids"] = np.zeros((len(indices), width), dtype=np.int64)
        for row, index in enumerate(indices):
            kinds = encoded.segments[index]
            arrays["token_type_ids"][row, : len(kinds)] = kinds
    return arrays


def truncation_finding(lengths: Sequence[int] | np.ndarray, limit: int) -> Finding | None:
    """Return how many texts exceed the model's input length, or None if none does.

    Args:
        lengths: Tokens of each text.
        limit: The maximum number of tokens.
    """
    cut = int((np.asarray(lengths) > limit).sum())
    if not cut:
        return None
    share = cut / len(lengths)
    return Finding(
        "truncation",
        "warning" if share >= 0.01 else "info",
        f"{rows(cut)} of {len(lengths):,} ({100 * share:.1f} %) longer than {limit:,} tokens: "
        f"the rest is cut off. The longest has {max(lengths):,}; data.max_length sets the limit.",
        cut,
    )
