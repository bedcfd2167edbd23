"""Cuts by group and by time: no group in two parts, no future before the past."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.read import Loaded, read_examples
from tailorbird.data.sources import Source
from tailorbird.data.split import Boundary, make_split
from tailorbird.errors import UserError
from tailorbird.records import Example, Split

PARTS = ("train", "validation", "test")
GROUP, TIME = Boundary(group="user"), Boundary(time="when")


def loaded(examples: list[Example], task: str = "classification", name: str = "a.csv") -> Loaded:
    columns = {"text": "text", "label": "label"}
    return Loaded(tuple(examples), columns, path=Path(name), task=task)  # type: ignore[arg-type]


def grouped(sizes: list[int], labels: str = "ab") -> list[Example]:
    """Return groups of these sizes, the labels in turn."""
    rows = [(f"g{g}", i) for g, size in enumerate(sizes) for i in range(size)]
    return [
        Example(f"text {n}", labels[n % len(labels)], n + 1, group=group)
        for n, (group, _) in enumerate(rows)
    ]


def cut(train: Loaded, by: Boundary, seed: int = 13, share: float = 0.2) -> Split:
    return make_split(train, None, None, validation_share=share, test_share=share, seed=seed, by=by)


def rows(split: Split) -> list[int]:
    return [e.row for part in PARTS for e in getattr(split, part)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40),
    seed=st.integers(0, 2**32),
    share=st.floats(0.05, 0.3),
    task=st.sampled_from(["generation", "text"]),
)
def test_groups_never_straddle_and_nothing_is_lost(
    sizes: list[int], seed: int, share: float, task: str
) -> None:
    train = loaded(grouped(sizes), task)
    split = cut(train, GROUP, seed, share)
    assert sorted(rows(split)) == list(range(1, sum(sizes) + 1))
    groups = [{e.group for e in getattr(split, part)} for part in PARTS]
    assert all(groups), "no part is empty"
    assert sum(map(len, groups)) == len(set().union(*groups)) == len(sizes)
    assert split == cut(train, GROUP, seed, share), "a seed gives the same cut again"
    for part in PARTS:
        found = [e.row for e in getattr(split, part)]
        assert found == sorted(found), "the file's order is kept"


def test_many_small_groups_come_near_the_shares_of_every_class() -> None:
    """100 groups of 1 to 5 rows, two of three of class a: shares within two points."""
    examples = grouped([1 + i % 5 for i in range(100)], "aab")
    split = cut(loaded(examples), GROUP)
    totals = Counter(e.label for e in examples)
    for part, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        counts = Counter(e.label for e in getattr(split, part))
        for label, total in totals.items():
            assert counts[label] / total == pytest.approx(share, abs=0.02)
    assert "whole groups of 'user'" in split.how


@pytest.mark.parametrize("task", ["generation", "multilabel"])
def test_large_groups_with_labels_of_their_own_do_not_all_train(task: str) -> None:
    """Ten groups of 20 rows and 100 of one, no label given twice: two large ones test."""
    examples = grouped([20] * 10 + [1] * 100)
    examples = [replace(e, label=f"own {e.row}", labels=(f"own {e.row}",)) for e in examples]
    split = cut(loaded(examples, task), GROUP)
    for part, rows_of, large in (("train", 180, 6), ("validation", 60, 2), ("test", 60, 2)):
        found = Counter(e.group for e in getattr(split, part))
        assert sum(found.values()) == rows_of
        assert sum(size == 20 for size in found.values()) == large


def test_one_large_group_goes_to_training() -> None:
    split = cut(loaded(grouped([200, *[2] * 30])), GROUP)
    assert {e.group for e in split.train} >= {"g0"}
    assert len(split.test) == len(split.validation) == 30


def test_too_few_groups_and_a_class_in_one_group_only() -> None:
    with pytest.raises(UserError, match="2 different groups, too few for 3 parts"):
        cut(loaded(grouped([5, 5])), GROUP)
    rare = [Example(f"rare {i}", "rare", 100 + i, group="g-rare") for i in range(9)]
    for seed in range(5):
        try:
            split = cut(loaded([*grouped([4] * 10), *rare]), GROUP, seed)
        except UserError as error:
            assert "no training row is left with the label 'rare'" in error.problem
        else:
            assert {e.label for e in split.train} == {"a", "b", "rare"}


def test_groups_of_a_given_test_file_leave_the_training_rows() -> None:
    train = loaded(grouped([4] * 10))
    test = loaded([Example("new", "a", 1, group="g3")], name="test.csv")
    split = make_split(train, None, test, validation_share=0.2, test_share=0.2, seed=1, by=GROUP)
    assert "g3" not in {e.group for e in (*split.train, *split.validation)}
    assert len(rows(split)) == 36 + 1
    assert sum(f.count for f in split.findings if f.code == "group_overlap") == 4


times = st.lists(st.integers(0, 25), min_size=6, max_size=80).filter(lambda t: len(set(t)) >= 3)


@settings(max_examples=80, deadline=None)
@given(whens=times, share=st.floats(0.05, 0.4))
def test_the_past_trains_and_the_future_tests(whens: list[int], share: float) -> None:
    examples = [Example(f"t{i}", None, i + 1, time=float(t)) for i, t in enumerate(whens)]
    split = cut(loaded(examples, "text"), TIME, share=share)
    assert sorted(rows(split)) == list(range(1, len(whens) + 1))
    spans = [[e.time for e in getattr(split, part)] for part in PARTS]
    assert max(spans[0]) < min(spans[1]) <= max(spans[1]) < min(spans[2])


def test_shares_of_different_times_are_exact() -> None:
    """100 rows at 100 times: the last 20 are the test, the 20 before them validation."""
    order = [37 * i % 100 for i in range(100)]
    examples = [Example(f"t{i}", "ab"[i % 2], i + 1, time=float(t)) for i, t in enumerate(order)]
    split = cut(loaded(examples), TIME)
    assert sorted(e.time for e in split.test) == list(range(80, 100))
    assert sorted(e.time for e in split.validation) == list(range(60, 80))
    assert "the latest by 'when'" in split.how


def test_a_class_that_only_the_future_has() -> None:
    examples = [Example(f"t{i}", "ab"[i >= 90], i + 1, time=float(i)) for i in range(100)]
    with pytest.raises(UserError, match="left with the label 'b'"):
        cut(loaded(examples), TIME)


def test_training_rows_later_than_a_given_test_are_told() -> None:
    train = loaded([Example(f"t{i}", "ab"[i % 2], i + 1, time=float(i)) for i in range(20)])
    test = loaded([Example("new", "a", 1, time=10.0)], name="test.csv")
    split = make_split(train, None, test, validation_share=0.2, test_share=0.2, seed=1, by=TIME)
    found = [f for f in split.findings if f.code == "time_overlap"]
    assert [f.count for f in found] == [6]


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["2024-05-31", "2023-01-02", "2024-06-01"], [1, 0, 2]),
        (["2024-05-31T14:30", "2024-05-31T14:30:30Z", "2024-05-31T16:00+02:00"], [2, 0, 1]),
        (["1717165800", "1717165799.5", "1e9"], [2, 1, 0]),
        (["2024", "1999", "2001"], [1, 2, 0]),
    ],
)
def test_times_are_read(cells: list[str], order: list[int], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"text {i},x,{cell}\n" for i, cell in enumerate(cells)]
    path.write_text("text,label,when\n" + "".join(lines))
    found = read_examples(Source(str(path), time="when")).examples
    assert sorted(range(len(cells)), key=lambda i: found[i].time or 0) == order


@pytest.mark.parametrize(
    ("line", "source", "said"),
    [
        ("a,x,soon", {"time": "when"}, "no date or number in 1 of 3 rows: line 4"),
        ("a,x,2024-01-01", {"time": "when"}, "holds both dates and numbers"),
        ("a,x,", {"group": "when"}, "no group in 1 of 3 rows: line 4"),
        ("a,x,1", {"group": "whom"}, "no column 'whom'"),
    ],
)
def test_columns_that_cannot_be_used(
    line: str, source: dict[str, str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text,label,when\none,x,5\ntwo,y,6\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_examples(Source(str(path), **source))
    assert said in caught.value.problem


def test_group_and_time_exclude_each_other() -> None:
    with pytest.raises(UserError, match="cannot both decide"):
        cut(loaded(grouped([5] * 5)), Boundary("user", "when"))
