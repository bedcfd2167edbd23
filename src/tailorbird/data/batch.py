"""Which examples go together, and the arrays they become."""

import numpy as np

from tailorbird.data.encode import Encoded

_WINDOW_BATCHES = 50
# Fewer shapes, each of which costs compiled kernels and their memory.
_WIDTH_STEP = 8


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return one epoch's batches of indices: random, yet of similar length within a batch.

    The order is shuffled, cut into windows of 50 batches, sorted by length within a window, cut
    into batches, and the batches are shuffled: hardly any padding, and neighbours still change
    from epoch to epoch. A function of (seed, epoch) only, so a resumed run sees the same batches.
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

    Examples of the same padded width go together and all batches of a width but the last have the
    same size: few shapes, for each of which the machine keeps compiled kernels in memory.
    """
    batches: list[np.ndarray] = []
    widths = padded_widths(lengths)
    for width in sorted(set(widths.tolist()), reverse=True):
        same = np.flatnonzero(widths == width)
        size = max(1, min(max_examples, max_tokens // width))
        batches.extend(same[i : i + size] for i in range(0, len(same), size))
    return batches


def padded_widths(lengths: np.ndarray) -> np.ndarray:
    """Return the widths that texts of these lengths are padded to: multiples of 8."""
    widths: np.ndarray = -(-lengths // _WIDTH_STEP) * _WIDTH_STEP
    return widths


def collate(encoded: Encoded, indices: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Return ``input_ids`` and ``attention_mask`` ``[batch, seq]``, padded on the right.

    Of pairs whose model takes token types, ``token_type_ids`` as well. Of pairs that are
    read one by one, both have two rows for each, ``[2 * batch, seq]``.
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
