"""Which examples go together, and the arrays they become."""

import numpy as np

from tailorbird.data.encode import Encoded

_WINDOW_BATCHES = 50


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
    """Return batches for prediction: longest first, at most `max_tokens` with padding."""
    batches: list[np.ndarray] = []
    current: list[int] = []
    width = 0
    for index in np.argsort(-lengths, kind="stable"):
        width = width or int(lengths[index])
        if current and (len(current) >= max_examples or (len(current) + 1) * width > max_tokens):
            batches.append(np.asarray(current))
            current, width = [], int(lengths[index])
        current.append(int(index))
    if current:
        batches.append(np.asarray(current))
    return batches


def collate(encoded: Encoded, indices: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Return ``input_ids`` and ``attention_mask`` ``[batch, seq]``, padded on the right."""
    # Widths in steps of 8: fewer shapes, each of which costs a compiled kernel and its memory.
    width = -(-int(encoded.lengths[indices].max()) // 8) * 8
    ids = np.full((len(indices), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(indices), width), dtype=np.int64)
    for row, index in enumerate(indices):
        length = int(encoded.lengths[index])
        ids[row, :length] = encoded.ids[index]
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}
