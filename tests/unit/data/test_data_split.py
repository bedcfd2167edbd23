"""Splitting: nothing lost, nothing doubled, every class in every part, no text in two."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import train_test_split

from tailorbird.data.near_duplicates import text_key
from tailorbird.data.read import Loaded
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.records import Example, Finding, Split

PARTS = ("train", "validation", "test")


def loaded(labels: list[str], texts: list[str] | None = None, name: str = "train.csv") -> Loaded:
    texts = texts or [f"text number {i}" for i in range(len(labels))]
    examples = tuple(
        Example(text, label, row)
        for row, (text, label) in enumerate(zip(texts, labels, strict=True), 1)
    )
    return Loaded(examples, {"text": "text", "label": "label"}, path=Path(name))


def cut(train: Loaded, validation: float = 0.1, test: float = 0.2, seed: int = 13) -> Split:
    return make_split(train, None, None, validation_share=validation, test_share=test, seed=seed)


def rows(split: Split, part: str) -> list[int]:
    return [e.row for e in getattr(split, part)]


# Interleaved labels with three rows each or more.
labelled = st.lists(st.integers(3, 30), min_size=2, max_size=6).flatmap(
    lambda sizes: st.permutations([f"c{i}" for i, size in enumerate(sizes) for _ in range(size)])
)
share = st.floats(0.05, 0.3)


@settings(max_examples=100, deadline=None)
@given(labels=labelled, validation=share, test=share, seed=st.integers(0, 2**32))
def test_nothing_lost_or_doubled_and_stratified_within_one(
    labels: list[str], validation: float, test: float, seed: int
) -> None:
    split = cut(loaded(labels), validation, test, seed)
    every = [row for part in PARTS for row in rows(split, part)]
    assert sorted(every) == list(range(1, len(labels) + 1))
    sizes = Counter(labels)
    for part, asked in (("validation", validation), ("test", test)):
        counts = Counter(e.label for e in getattr(split, part))
        for label, size in sizes.items():
            assert counts[label] >= 1
            assert abs(counts[label] - size * asked) <= 1
    assert set(Counter(e.label for e in split.train)) == set(sizes)
    assert split.labels == tuple(sorted(sizes))
    for part in PARTS:
        assert rows(split, part) == sorted(rows(split, part)), "the file's order is kept"


@settings(max_examples=100, deadline=None)
@given(
    picks=st.lists(
        st.tuples(
            st.integers(0, 25), st.sampled_from(["", " ", "  "]), st.booleans(), st.booleans()
        ),
        min_size=20,
        max_size=120,
    ),
    seed=st.integers(0, 1000),
)
def test_the_same_text_stays_in_one_part(
    picks: list[tuple[int, str, bool, bool]], seed: int
) -> None:
    """Repeats in other case, spacing and even with other labels."""
    texts = [
        (f"{space}Text {space}{i}").upper() if upper else f"{space}Text {space}{i}"
        for i, space, upper, _ in picks
    ]
    labels = ["ab"[(i + (odd and i % 5 == 0)) % 2] for i, _, _, odd in picks]
    try:
        split = cut(loaded(labels, texts), seed=seed)
    except UserError as error:
        assert "different texts" in error.problem or "nothing to classify" in error.problem
        return
    keys = [{text_key(e.text) for e in getattr(split, part)} for part in PARTS]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert sum(len(getattr(split, part)) for part in PARTS) == len(picks)
    for part in PARTS:
        assert {e.label for e in getattr(split, part)} == {"a", "b"}


@settings(max_examples=40, deadline=None)
@given(labels=labelled, test=share)
def test_counts_agree_with_scikit_learn(labels: list[str], test: float) -> None:
    count = round(len(labels) * test)
    classes = len(set(labels))
    if not classes <= count <= len(labels) - classes:
        return
    _, theirs = train_test_split(labels, test_size=count, stratify=labels, random_state=0)
    given_validation = loaded(labels[:1], ["another text"], "dev.csv")
    split = make_split(
        loaded(labels), given_validation, None, validation_share=0.1, test_share=test, seed=1
    )
    ours = Counter(e.label for e in split.test)
    for label, number in Counter(theirs).items():
        assert abs(ours[label] - number) <= 1


def test_the_seed_decides_and_nothing_else() -> None:
    train = loaded(["a", "b", "c"] * 40)
    assert cut(train, seed=1) == cut(train, seed=1)
    assert cut(train, seed=1) != cut(train, seed=2)


def test_another_class_leaves_the_cut_of_the_others_as_it_was() -> None:
    labels = ["a", "b"] * 50
    before = cut(loaded(labels))
    after = cut(loaded([*labels, *["zzz"] * 50]))
    for part in PARTS:
        assert [row for row in rows(after, part) if row <= 100] == rows(before, part)


def test_exact_counts_by_hand() -> None:
    """100 and 50 rows: 10 % and 20 % of each."""
    split = cut(loaded(["a"] * 100 + ["b"] * 50))
    assert Counter(e.label for e in split.validation) == {"a": 10, "b": 5}
    assert Counter(e.label for e in split.test) == {"a": 20, "b": 10}
    assert split.how == (
        "validation (10 %) and test (20 %) split off the training rows, stratified by label, "
        "seed 13"
    )


def test_remainders_add_up_by_hand() -> None:
    """Four classes of 14 rows: 10 % is 1.4 of each and 5.6 of all, so two of them give 2."""
    split = cut(loaded(["a", "b", "c", "d"] * 14))
    assert Counter(e.label for e in split.validation) == {"a": 2, "b": 2, "c": 1, "d": 1}
    assert len(split.test) == 11
    split = cut(loaded(["a"] * 21 + ["b"] * 9))
    assert Counter(e.label for e in split.validation) == {"a": 2, "b": 1}


def test_given_parts_are_used_as_they_are() -> None:
    train = loaded(["a", "b"] * 10)
    dev, test = loaded(["b", "a"], ["x", "y"], "dev.csv"), loaded(["a"], ["z"], "test.csv")
    split = make_split(train, dev, test, validation_share=0.1, test_share=0.1, seed=1)
    assert (split.train, split.validation, split.test) == (
        train.examples,
        dev.examples,
        test.examples,
    )
    assert split.how == "given files"
    split = make_split(train, None, test, validation_share=0.1, test_share=0.1, seed=1)
    assert split.test == test.examples
    assert len(split.validation) == 2
    assert "validation (10 %) split off" in split.how
    assert split.how.endswith("test as given")


def test_findings_of_the_files_travel_on() -> None:
    finding = Finding("missing_label", "warning", "gone", 3)
    train = loaded(["a", "b"] * 10)
    train = Loaded(train.examples, train.columns, findings=(finding,), path=train.path)
    assert cut(train).findings == (finding,)


def test_three_rows_of_a_class_give_one_to_each_part() -> None:
    split = cut(loaded(["a"] * 50 + ["rare"] * 3))
    for part in PARTS:
        assert Counter(e.label for e in getattr(split, part))["rare"] == 1


def test_a_large_group_of_repeats_leaves_every_part_its_class() -> None:
    texts = ["same"] * 30 + ["one", "two"] + [f"other {i}" for i in range(20)]
    split = cut(loaded(["a"] * 32 + ["b"] * 20, texts))
    for part in PARTS:
        assert {e.label for e in getattr(split, part)} == {"a", "b"}
    assert sum(e.text == "same" for e in split.train) == 30


def test_training_keeps_a_class_whose_texts_would_all_fit_elsewhere() -> None:
    texts = ["one", "one", "two", "two", "three", "three", *[f"other {i}" for i in range(12)]]
    split = cut(loaded(["a"] * 6 + ["b"] * 12, texts), validation=0.16, test=0.67)
    for part in PARTS:
        assert Counter(e.label for e in getattr(split, part))["a"] == 2


def test_texts_with_several_labels_stay_in_training() -> None:
    texts = [f"t{i}" for i in range(40)] + [f"both {i // 2}" for i in range(40)]
    split = cut(loaded(["a", "b"] * 40, texts))
    assert sum("both" in e.text for e in split.train) == 40


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_shares_that_are_none(bad: float) -> None:
    with pytest.raises(UserError, match="data.test_share=") as caught:
        cut(loaded(["a", "b"] * 10), test=bad)
    assert "--test" in caught.value.fix


def test_shares_that_leave_nothing() -> None:
    with pytest.raises(UserError, match="leave nothing to train on"):
        cut(loaded(["a", "b"] * 10), validation=0.5, test=0.5)


def test_a_share_is_not_looked_at_where_the_part_is_given() -> None:
    train, test = loaded(["a", "b"] * 10), loaded(["a"], ["z"])
    split = make_split(train, test, test, validation_share=9, test_share=9, seed=1)
    assert split.train == train.examples


def test_two_rows_of_a_class_are_enough_if_the_test_is_given() -> None:
    train = loaded(["a"] * 20 + ["rare"] * 2)
    split = make_split(
        train, None, loaded(["a"], ["z"]), validation_share=0.1, test_share=0.1, seed=1
    )
    assert Counter(e.label for e in split.validation)["rare"] == 1
    assert Counter(e.label for e in split.train)["rare"] == 1


def test_one_row_of_a_class_is_enough_if_all_is_given() -> None:
    train, other = loaded(["a"] * 5 + ["rare"]), loaded(["a"], ["z"])
    split = make_split(train, other, other, validation_share=0.1, test_share=0.1, seed=1)
    assert split.labels == ("a", "rare")
