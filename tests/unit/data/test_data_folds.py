"""Folds: every row is tested once, and never by a model that saw it or its group."""

from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.group_split import make_folds
from tailorbird.data.near_duplicates import text_key
from tailorbird.errors import UserError
from tailorbird.records import Example, Split


def split_of(examples: list[Example], task: str = "classification") -> Split:
    labels = tuple(sorted({str(e.label) for e in examples}))
    third = len(examples) // 3
    parts = (examples[third:], examples[:5], examples[5:third])
    return Split(*map(tuple, parts), labels, task=task)  # type: ignore[arg-type]


rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)), min_size=40, max_size=120
).filter(lambda picks: all(len(set(column)) >= 6 for column in zip(*picks, strict=True)))


@settings(max_examples=50, deadline=None)
@given(picks=rows, count=st.integers(2, 5), seed=st.integers(0, 99), by_group=st.booleans())
def test_every_row_is_tested_once(
    picks: list[tuple[int, int]], count: int, seed: int, by_group: bool
) -> None:
    examples = [
        Example(f"text {t}", None, n + 1, group=f"g{g}" if by_group else "", values=(float(t),))
        for n, (t, g) in enumerate(picks)
    ]
    split = split_of(examples, "regression")
    folds = make_folds(split, count, validation_share=0.2, seed=seed)
    tested = [e for fold in folds for e in fold.test]
    assert sorted(e.row for e in tested) == list(range(1, len(picks) + 1))
    for fold in folds:
        parts = (fold.train, fold.validation, fold.test)
        assert sorted(e.row for part in parts for e in part) == list(range(1, len(picks) + 1))
        keys = [{e.group if by_group else text_key(e.text) for e in part} for part in parts]
        assert all(keys)
        assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert folds == make_folds(split, count, validation_share=0.2, seed=seed)


def test_folds_are_stratified() -> None:
    """100 rows of a and 50 of b in 5 folds: 20 and 10 in each."""
    examples = [Example(f"text {i}", "aab"[i % 3], i + 1) for i in range(150)]
    for fold in make_folds(split_of(examples), 5, validation_share=0.15, seed=1):
        assert Counter(e.label for e in fold.test) == {"a": 20, "b": 10}
        assert abs(len(fold.validation) - 18) <= 1


def test_given_validation_rows_stay() -> None:
    examples = [Example(f"text {i}", "ab"[i % 2], i + 1) for i in range(60)]
    split = split_of(examples)
    folds = make_folds(split, 3, validation_share=0.2, seed=1, given_validation=True)
    assert all(fold.validation == split.validation for fold in folds)
    tested = {e.row for fold in folds for e in fold.test}
    assert tested == {e.row for e in (*split.train, *split.test)}


def test_a_class_in_one_group() -> None:
    examples = [Example(f"text {i}", "ab"[i % 2], i + 1, group=f"g{i % 9}") for i in range(60)]
    rare = [Example(f"rare {i}", "rare", 61 + i, group="alone") for i in range(5)]
    with pytest.raises(UserError, match="too small for 3 folds: all rows of 'rare'"):
        make_folds(split_of([*examples, *rare]), 3, validation_share=0.2, seed=1)
    with pytest.raises(UserError, match="9 different groups, too few for 10 parts"):
        make_folds(split_of(examples), 10, validation_share=0.2, seed=1)
