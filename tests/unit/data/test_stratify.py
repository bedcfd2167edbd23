"""Several labels, words' labels and numbers: each part has its share of them all."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import train_test_split

from tailorbird.data.group_split import make_folds
from tailorbird.data.read import Loaded
from tailorbird.data.split import Boundary, make_split
from tailorbird.records import Example, Split, TaskName

PARTS = ("train", "validation", "test")


def loaded(examples: list[Example], task: TaskName = "multilabel") -> Loaded:
    columns = {"text": "text", "label": "label"}
    targets = ("value",) if task == "regression" else ()
    return Loaded(tuple(examples), columns, path=Path("a.csv"), task=task, targets=targets)


def labelled(sets: list[str], groups: int = 0) -> list[Example]:
    """Return a row for each set, a letter a label."""
    of = [f"g{i % groups}" if groups else "" for i in range(len(sets))]
    return [
        Example(f"text {i}", row, i + 1, labels=tuple(row), group=of[i])
        for i, row in enumerate(sets)
    ]


def cut(train: Loaded, validation: float = 0.1, test: float = 0.1, seed: int = 13) -> Split:
    by = Boundary(group="user") if train.examples[0].group else Boundary()
    shares = {"validation_share": validation, "test_share": test}
    return make_split(train, None, None, **shares, seed=seed, by=by)


def count(examples: tuple[Example, ...]) -> Counter[str]:
    return Counter(label for e in examples for label in e.labels)


def rows(split: Split) -> list[int]:
    return sorted(e.row for part in PARTS for e in getattr(split, part))


# Labels of which some are in most rows and some in hardly any, or in none.
sets = st.tuples(
    st.lists(st.sampled_from([0.03, 0.1, 0.3, 0.6, 0.9]), min_size=2, max_size=6),
    st.integers(12, 150),
    st.integers(0, 2**32 - 1),
).map(
    lambda drawn: [
        "".join("abcdef"[i] for i in np.flatnonzero(row < drawn[0]))
        for row in np.random.default_rng(drawn[2]).random((drawn[1], len(drawn[0])))
    ]
)
share = st.floats(0.05, 0.3)


@settings(max_examples=150, deadline=None)
@given(sets=sets, validation=share, test=share, seed=st.integers(0, 2**32))
def test_every_label_has_its_share_in_every_part(
    sets: list[str], validation: float, test: float, seed: int
) -> None:
    train = loaded(labelled(sets))
    split = cut(train, validation, test, seed)
    assert rows(split) == list(range(1, len(sets) + 1))
    totals = Counter("".join(sets))
    asked = {"train": 1 - validation - test, "validation": validation, "test": test}
    for part in PARTS:
        found = count(getattr(split, part))
        assert abs(len(getattr(split, part)) - asked[part] * len(sets)) < 3
        for label, total in totals.items():
            assert abs(found[label] - asked[part] * total) < 4
            assert found[label] or asked[part] * total < 2
    assert set(count(split.train)) == set(totals), "each label can be learnt"
    assert split == cut(train, validation, test, seed), "a seed gives the same cut again"


@settings(max_examples=50, deadline=None)
@given(sets=sets.filter(lambda s: len(s) >= 30), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_label_has_its_share_in_every_fold(sets: list[str], folds: int, seed: int) -> None:
    split = cut(loaded(labelled(sets)), seed=seed)
    made = make_folds(split, folds, validation_share=0.2, seed=seed)
    assert sorted(e.row for fold in made for e in fold.test) == list(range(1, len(sets) + 1))
    totals = Counter("".join(sets))
    for fold in made:
        assert rows(fold) == list(range(1, len(sets) + 1))
        found = count(fold.test)
        for label, total in totals.items():
            assert abs(found[label] - total / folds) < 4
            assert found[label] or total < folds


@settings(max_examples=50, deadline=None)
@given(sets=sets, groups=st.integers(3, 12), seed=st.integers(0, 99))
def test_groups_win(sets: list[str], groups: int, seed: int) -> None:
    split = cut(loaded(labelled(sets, groups)), seed=seed)
    assert rows(split) == list(range(1, len(sets) + 1))
    found = [{e.group for e in getattr(split, part)} for part in PARTS]
    assert all(found)
    assert sum(map(len, found)) == len(set().union(*found)) == groups


def test_many_small_groups_come_near_the_shares_of_every_label() -> None:
    """600 rows in 150 groups; a label of 30 rows among those of 300 and 200."""
    sets = ["a" * (i % 2) + "b" * (i % 3 == 0) + "c" * (i % 20 == 7) for i in range(600)]
    examples = labelled(sets, groups=150)
    totals = count(tuple(examples))
    assert totals == {"a": 300, "b": 200, "c": 30}
    split = cut(loaded(examples), 0.2, 0.2)
    for part, asked in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        found = count(getattr(split, part))
        for label, total in totals.items():
            assert found[label] / total == pytest.approx(asked, abs=0.04), (part, label)


def test_shares_by_hand_and_what_is_said() -> None:
    """60 rows of a, 20 of a and b, 20 of b: a tenth of each label, and of all rows."""
    split = cut(loaded(labelled(["a"] * 60 + ["ab"] * 20 + ["b"] * 20)))
    for part, each in (("train", 8), ("validation", 1), ("test", 1)):
        assert count(getattr(split, part)) == {"a": 8 * each, "b": 4 * each}
        assert len(getattr(split, part)) == 10 * each
    assert split.how.endswith("split off the training rows, stratified by label, seed 13")


def test_a_rare_label_is_in_every_part_where_a_random_cut_often_leaves_it_out() -> None:
    examples = labelled(["ab" if i % 50 else "abz" for i in range(250)])
    everywhere = lost = 0
    for seed in range(20):
        split = cut(loaded(examples), seed=seed)
        everywhere += all(count(getattr(split, part))["z"] for part in PARTS)
        _, test = train_test_split(examples, test_size=0.1, random_state=seed)
        lost += not count(tuple(test))["z"]
    assert everywhere == 20
    assert lost >= 5


def test_two_rows_train_and_test_and_a_single_one_trains() -> None:
    split = cut(loaded(labelled(["a"] * 98 + ["ay", "ay", "az"])))
    assert (count(split.train)["y"], count(split.test)["y"]) == (1, 1)
    assert count(split.train)["z"] == 1


def test_hundreds_of_rare_labels_do_not_fill_the_test() -> None:
    """Each in three rows: one for each part would be a third of all rows."""
    sets = [(f"tag {i // 3}", "ab"[i % 2]) for i in range(900)]
    examples = [Example(f"text {i}", "", i + 1, labels=row) for i, row in enumerate(sets)]
    split = cut(loaded(examples))
    assert [len(getattr(split, part)) for part in PARTS] == pytest.approx([720, 90, 90], abs=10)
    assert len(count(split.train)) == 302


def test_the_same_text_stays_in_one_part() -> None:
    examples = [
        Example(f"Text {i % 40}" if i % 3 else f"text  {i % 40}", "", i, labels=("a",) * (i % 2))
        for i in range(100)
    ]
    split = cut(loaded(examples))
    keys = [{e.text.lower().split()[1] for e in getattr(split, part)} for part in PARTS]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 40


def test_sentences_are_dealt_by_the_labels_of_their_words() -> None:
    """Ten sentences of a hundred name a place: eight train, one validates, one tests."""
    examples = [
        Example(f"s {i}", "", i, words=("in", "x"), labels=("O", "B-LOC" if i % 10 == 3 else "O"))
        for i in range(100)
    ]
    split = cut(loaded(examples, "tokens"))
    found = [sum("B-LOC" in e.labels for e in getattr(split, part)) for part in PARTS]
    assert found == [8, 1, 1]
    assert "stratified by label" in split.how


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(100, 400))
def test_numbers_of_every_size_are_in_every_part(seed: int, size: int) -> None:
    """Of a skewed target: the tenths between the quantiles of all rows, as numpy counts them."""
    values = np.random.default_rng(seed).lognormal(0, 2, size)
    examples = [Example(f"t {i}", "", i, values=(float(v),)) for i, v in enumerate(values)]
    split = cut(loaded(examples, "regression"), 0.2, 0.2, seed)
    edges = np.quantile(values, np.linspace(0, 1, 11))
    for part, asked in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        of_part = [e.values[0] for e in getattr(split, part)]
        found, _ = np.histogram(of_part, edges)
        assert np.abs(found - asked * size / 10).max() < 3, (part, found)
    assert "stratified by value" in split.how


def test_the_few_numbers_unlike_the_others_are_in_every_part() -> None:
    """Of 200 rows 190 have the same value, as every quantile between tenths: ten are above it."""
    for sign in (1.0, -1.0):
        numbers = [0.0 if i % 20 != 7 else sign * i for i in range(200)]
        examples = [Example(f"t {i}", "", i, values=(v,)) for i, v in enumerate(numbers)]
        split = cut(loaded(examples, "regression"))
        found = [sum(e.values[0] != 0 for e in getattr(split, part)) for part in PARTS]
        assert found == [8, 1, 1]
