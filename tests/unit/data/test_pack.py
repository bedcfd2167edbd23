"""Sequences laid end to end: nothing is lost, and every target stands behind what predicts it."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.tokens import PackedBatch, Tokens, pack, token_groups


@st.composite
def sequences(draw: st.DrawFn) -> Tokens:
    """Draw up to twelve sequences; every token of the lot has an id of its own, from 1."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    flags = draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths)))
    ends = np.cumsum(lengths)
    ids = [np.arange(e - n, e, dtype=np.int32) + 1 for n, e in zip(lengths, ends, strict=True)]
    trained = [np.asarray(flags[e - n : e]) for n, e in zip(lengths, ends, strict=True)]
    for row in trained:
        row[0] = False  # as `Tokens` promises
    return Tokens(ids, trained, [], np.arange(len(ids)))


VIRTUAL = st.sampled_from([0, 0, 1, 5])


def chosen(tokens: Tokens, random: "np.random.Generator") -> np.ndarray:
    """Return some of the sequences in any order."""
    order = random.permutation(len(tokens))
    return order[: int(random.integers(1, len(tokens) + 1))]


def of_sequence(packed: PackedBatch, number: int) -> slice:
    """Return where the `number`-th sequence of the row lies."""
    return slice(int(packed.starts[number]), int(packed.starts[number + 1]))


@given(sequences(), st.integers(0, 99), VIRTUAL)
@settings(max_examples=150, deadline=None)
def test_no_token_is_lost_or_doubled(tokens: Tokens, seed: int, virtual: int) -> None:
    indices = chosen(tokens, np.random.default_rng(seed))
    packed = pack(tokens, indices, virtual)
    found = [
        tuple(packed.ids[of_sequence(packed, k)][virtual:].tolist()) for k in range(len(indices))
    ]
    assert sorted(found) == sorted(tuple(tokens.ids[i].tolist()) for i in indices)
    assert len(packed.ids) == sum(len(tokens.ids[i]) + virtual for i in indices)


@given(sequences(), st.integers(0, 99), VIRTUAL)
@settings(max_examples=150, deadline=None)
def test_every_target_is_predicted_from_the_place_before_it(
    tokens: Tokens, seed: int, virtual: int
) -> None:
    indices = chosen(tokens, np.random.default_rng(seed))
    packed = pack(tokens, indices, virtual)
    # Ids are unique: a target's id says which token of which sequence it is.
    wanted = {
        int(tokens.ids[i][at]): (place, int(tokens.ids[i][at - 1]))
        for place, i in enumerate(indices)
        for at in np.flatnonzero(tokens.trained[i])
    }
    assert sorted(packed.targets.tolist()) == sorted(wanted)
    for at, target, owner in zip(packed.predicting, packed.targets, packed.owners, strict=True):
        place, before = wanted[int(target)]
        assert int(packed.ids[at]) == before
        assert int(packed.ids[at + 1]) == int(target)
        assert int(owner) == place
        # Both lie in one sequence: the one before it is not another text's end.
        assert packed.positions[at + 1] == packed.positions[at] + 1


@given(sequences(), st.integers(0, 99), VIRTUAL)
@settings(max_examples=150, deadline=None)
def test_positions_and_virtual_tokens_begin_each_sequence(
    tokens: Tokens, seed: int, virtual: int
) -> None:
    indices = chosen(tokens, np.random.default_rng(seed))
    packed = pack(tokens, indices, virtual)
    slots = []
    for k in range(len(indices)):
        part = of_sequence(packed, k)
        assert packed.positions[part].tolist() == list(range(part.stop - part.start))
        slots += range(part.start, part.start + virtual)
        assert (packed.ids[part][:virtual] == 0).all()
    assert packed.slots.tolist() == slots
    lengths = np.diff(packed.starts)
    assert (lengths[:-1] >= lengths[1:]).all(), "the longest first"


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_groups_hold_every_sequence_once_and_waste_little(lengths: list[int]) -> None:
    ids = [np.ones(n, dtype=np.int32) for n in lengths]
    trained = [np.zeros(n, dtype=bool) for n in lengths]
    packed = pack(Tokens(ids, trained, [], np.arange(len(ids))), np.arange(len(ids)))
    assert packed.groups[0][0] == 0
    assert packed.groups[-1][1] == len(lengths)
    assert all(a[1] == b[0] for a, b in zip(packed.groups, packed.groups[1:], strict=False))
    sizes = np.diff(packed.starts)
    for first, past in packed.groups:
        assert past > first
        padded = sizes[first] * (past - first)
        assert sizes[first:past].sum() >= 0.85 * padded, "more than 15 % of it is padding"


def test_a_row_written_out_by_hand() -> None:
    """Two sequences, the second longer, two virtual tokens before each."""
    tokens = Tokens(
        ids=[np.asarray([7, 8], np.int32), np.asarray([1, 2, 3], np.int32)],
        trained=[np.asarray([False, True]), np.asarray([False, False, True])],
        prompts=[],
        rows=np.arange(2),
    )
    packed = pack(tokens, np.asarray([0, 1]), virtual=2)
    assert packed.ids.tolist() == [0, 0, 1, 2, 3, 0, 0, 7, 8]
    assert packed.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert packed.slots.tolist() == [0, 1, 5, 6]
    assert packed.starts.tolist() == [0, 5, 9]
    assert packed.predicting.tolist() == [3, 7]
    assert packed.targets.tolist() == [3, 8]
    assert packed.owners.tolist() == [1, 0]


# --- what goes through a model at once -------------------------------------------------------


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=100).map(np.asarray),
    st.integers(1, 1000),
    st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_runs_of_tokens_keep_the_order_and_the_bound(
    lengths: np.ndarray, most: int, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(lengths))
    groups = token_groups(lengths, order, most)
    assert np.concatenate(groups).tolist() == order.tolist()
    for group in groups:
        assert len(group) == 1 or lengths[group].sum() <= most
    # No run could have taken the first of the next one: they are as few as this order allows.
    for group, after in zip(groups, groups[1:], strict=False):
        assert lengths[group].sum() + lengths[after[0]] > most


@pytest.mark.parametrize("most", [1, 10])
def test_nothing_makes_no_runs(most: int) -> None:
    assert token_groups(np.asarray([3, 4]), np.zeros(0, dtype=np.int64), most) == []
