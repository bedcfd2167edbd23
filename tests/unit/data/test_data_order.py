"""From examples to padded batches: every example once, its own label, its own length."""

import numpy as np
from hypothesis import given, settings, strategies as st

from tailorbird.data.encode import Encoded, collate, shuffled_batches, token_batches


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    size=st.integers(1, 40),
    seed=st.integers(0, 999),
    epoch=st.integers(0, 5),
)
def test_an_epoch_keeps_every_example_with_its_label(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    # An example's ids and label tell which one it is.
    ids = [np.full(n, i + 1, dtype=np.int32) for i, n in enumerate(lengths)]
    targets = np.arange(len(lengths)) * 7 % 5
    counts = np.asarray(lengths, dtype=np.int64)
    encoded = Encoded(ids, counts, targets, counts)
    for batches in (
        shuffled_batches(counts, size, seed, epoch),
        token_batches(counts, max_tokens=size * 8),
    ):
        seen = []
        for batch in batches:
            made = collate(encoded, batch, pad_id=0)
            for row, index in enumerate(batch):
                kept = made["input_ids"][row][made["attention_mask"][row] == 1]
                assert kept.tolist() == [index + 1] * lengths[index]
                assert made["attention_mask"][row].sum() == lengths[index]
                assert encoded.targets is not None
                assert encoded.targets[index] == index * 7 % 5
                seen.append(int(index))
            assert made["input_ids"].sum() == sum((int(i) + 1) * lengths[int(i)] for i in batch), (
                "padding is nothing but padding"
            )
        assert sorted(seen) == list(range(len(lengths)))
