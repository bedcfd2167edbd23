"""Checking: what is planted is found, counted and, where asked, removed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.sparse import csr_matrix

from tailorbird.data import leaks, near_duplicates
from tailorbird.data.check import check_split, summarise
from tailorbird.data.encode import truncation_finding
from tailorbird.data.message_words import shorten
from tailorbird.data.near_duplicates import NearTexts, text_key
from tailorbird.data.read import read_parts
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.records import Example, Finding, Split

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not here")

Row = tuple[str, str]
# Six different texts per class, none of them near another.
WORDS = ["apple", "bridge", "candle", "desert", "engine", "forest"]
CLEAN = [(f"{word} {word[::-1]} {label * 5}", label) for word in WORDS for label in ("x", "y")]


def part(rows: list[Row]) -> tuple[Example, ...]:
    return tuple(Example(text, label, i) for i, (text, label) in enumerate(rows, 1))


def split(
    train: list[Row], validation: list[Row] | None = None, test: list[Row] | None = None
) -> Split:
    labels = tuple(sorted({label for _, label in train}))
    return Split(part(train), part(validation or []), part(test or []), labels)


def found(checked: Split, code: str) -> list[Finding]:
    return [finding for finding in checked.findings if finding.code == code]


def test_clean_data_gives_no_finding() -> None:
    held_out = [("something else entirely", "x"), ("and yet another sentence", "y")]
    checked = check_split(split(CLEAN, [("a third one, to choose by", "x")], held_out))
    assert checked.findings == ()


def test_overlap_is_dropped_and_said() -> None:
    held_out = [
        ("APPLE  elppa xxxxx ", "x"),
        (" Bridge egdirb yyyyy", "y"),
        ("new words here", "x"),
    ]
    checked = check_split(split(CLEAN, test=held_out))
    assert [e.row for e in checked.train] == [2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
    assert len(checked.test) == 3
    (same,) = found(checked, "overlap")
    (spaced,) = found(checked, "overlap_spacing")
    assert (same.count, spaced.count) == (1, 1)
    assert same.samples == ("row 4: bridge egdirb yyyyy",)
    assert "dropped from the training rows" in same.message


def test_overlap_is_kept_if_asked() -> None:
    given = split(CLEAN, CLEAN[:1], CLEAN[1:3])
    checked = check_split(given, overlap="keep")
    assert (checked.train, checked.validation) == (given.train, given.validation)
    assert [f.count for f in found(checked, "overlap")] == [2, 1]
    assert all("kept" in f.message for f in found(checked, "overlap"))


def test_every_overlap_is_told_if_refused() -> None:
    with pytest.raises(UserError) as caught:
        check_split(split(CLEAN, CLEAN[:1], CLEAN[:3]), overlap="error")
    message = str(caught.value)
    assert "3 test texts also occur in 3 training rows" in message
    assert "1 test text also occurs in 1 validation row" in message
    assert message.count("fix:") == 3


def test_validation_rows_in_the_test_leave_the_validation() -> None:
    new = ("never seen before", "y")
    checked = check_split(split(CLEAN, [new, CLEAN[0]], [CLEAN[0], CLEAN[3]]))
    assert [e.text for e in checked.validation] == [new[0]]
    assert len(checked.train) == len(CLEAN) - 2


def test_repeated_rows_count_as_one_text() -> None:
    train = [*CLEAN, CLEAN[0], CLEAN[0]]
    (finding,) = found(check_split(split(train, test=[CLEAN[0]])), "overlap")
    assert finding.count == 1
    assert "1 test text also occurs in 3 training rows" in finding.message


text = st.sampled_from([f"{a}{space}{b}" for a in "aAbB" for space in (" ", "  ") for b in "cd"])


@settings(max_examples=100, deadline=None)
@given(
    train=st.lists(text, max_size=30), validation=st.lists(text, max_size=8), test=st.lists(text)
)
def test_after_dropping_no_text_stands_in_two_parts(
    train: list[str], validation: list[str], test: list[str]
) -> None:
    rows = [("kept x", "x"), ("kept y", "y"), *((t, "x") for t in train)]
    given = split(
        rows, [("kept v", "x"), *((t, "x") for t in validation)], [(t, "x") for t in test]
    )
    checked = check_split(given)
    squeezed = [
        {" ".join(e.text.lower().split()) for e in p}
        for p in (checked.train, checked.validation, checked.test)
    ]
    assert not squeezed[0] & (squeezed[1] | squeezed[2])
    assert not squeezed[1] & squeezed[2]
    assert checked.test == given.test
    judged = {" ".join(t.lower().split()) for t in (*validation, *test)}
    assert [e.row for e in checked.train] == [
        e.row for e in given.train if " ".join(e.text.lower().split()) not in judged
    ]


def test_contradictions_and_duplicates_are_told_and_kept() -> None:
    train = [*CLEAN, ("Apple ELPPA xxxxx", "y"), CLEAN[3], CLEAN[3]]
    checked = check_split(split(train))
    assert len(checked.train) == len(train)
    (contradiction,) = found(checked, "contradictory_labels")
    assert (contradiction.level, contradiction.count) == ("warning", 2)
    assert contradiction.samples == ("apple elppa xxxxx | row 1: x, row 13: y",)
    (duplicates,) = found(checked, "duplicates")
    assert duplicates.count == 2
    assert duplicates.samples == ("3 x bridge egdirb yyyyy",)


def test_rare_untested_and_uneven_classes() -> None:
    many = [(f"{i:b} {i * 7919} {i * 104729}", "many") for i in range(60)]
    few = [("one alone", "few"), ("and one more", "few")]
    checked = check_split(split(many + few, test=[("another thing", "many")]))
    (rare,) = found(checked, "rare_classes")
    assert rare.samples == ("few: 2",)
    (untested,) = found(checked, "untested_classes")
    assert untested.samples == ("few",)
    (uneven,) = found(checked, "imbalance")
    assert "30 times" in uneven.message
    assert "(60 to 2)" in uneven.message


def test_ten_to_one_is_not_told() -> None:
    train = [(str(i * 7919), "a") for i in range(50)] + [(f"b{i}", "b") for i in range(5)]
    assert check_split(split(train)).findings == ()


def test_long_texts_and_labels_that_look_alike() -> None:
    checked = check_split(
        split([*CLEAN, ("word " * 500, "x"), ("odd one", "X"), *[("o", "X")] * 4])
    )
    (long,) = found(checked, "long_texts")
    assert long.count == 1
    assert "2,500 characters" in long.samples[0]
    (alike,) = found(checked, "similar_labels")
    assert alike.samples == ("'X' / 'x'",)


def test_earlier_findings_stay_first() -> None:
    first = Finding("missing_text", "warning", "gone")
    given = split([*CLEAN, CLEAN[0]])
    given = Split(given.train, (), (), given.labels, findings=(first,))
    assert [f.code for f in check_split(given).findings] == ["missing_text", "duplicates"]


def test_near_duplicates_are_told_and_kept() -> None:
    long = "I have been waiting for my new card for more than two weeks now"
    train = [*CLEAN, (long + ".", "x")]
    checked = check_split(split(train, test=[(long + "!!", "x"), ("what is this about", "y")]))
    (finding,) = found(checked, "near_duplicates")
    assert (finding.count, finding.level) == (1, "warning")
    assert finding.samples == (f"{long}. | {long}!!",)
    assert len(checked.train) == len(train)
    assert "Compared" not in finding.message


def test_large_data_is_sampled_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_MOST_ROWS", 40)
    train = [
        (f"number {i * 7919} of {i * 104729} and a common ending", "xy"[i % 2]) for i in range(40)
    ]
    test = [(f"{t}.", label) for t, label in train]
    (finding,) = found(check_split(split(train, test=test)), "near_duplicates")
    assert "Compared 10 of 40 test rows with 40 of 40 training rows" in finding.message


def test_texts_that_are_all_alike_end_the_search_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_MOST_CANDIDATES", 100)
    texts = [f"Order {i:03} is late, please help me find out where it is" for i in range(60)]
    pairs, looked = NearTexts(texts).search([f"{text} now" for text in texts])
    assert 2 <= looked < 10
    assert [pair.query for pair in pairs] == list(range(looked))


def jaccard(a: str, b: str) -> float:
    """The overlap, computed otherwise than in the package."""
    a, b = (" ".join(t.lower().split()) for t in (a, b))
    one, two = ({t[i : i + 5] for i in range(len(t) - 4)} or {t} for t in (a, b))
    return len(one & two) / len(one | two)


words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


@settings(max_examples=50, deadline=None)
@given(left=st.lists(words, max_size=12), right=st.lists(words, max_size=12))
def test_near_pairs_are_the_nearest_above_the_threshold(left: list[str], right: list[str]) -> None:
    near_pairs, looked = NearTexts(right).search(left)
    assert looked == len(left)
    pairs = {pair.query: pair for pair in near_pairs}
    for i, mine in enumerate(left):
        best = max((jaccard(mine, other) for other in right if other != mine), default=0.0)
        # Right at the threshold MinHash may miss a pair; never does it invent one.
        if best >= 0.85:
            assert i in pairs
        if i in pairs:
            assert pairs[i].overlap == pytest.approx(jaccard(mine, right[pairs[i].indexed]))
            assert pairs[i].overlap >= 0.8
            assert right[pairs[i].indexed] != mine


@pytest.mark.parametrize(
    ("left", "right"),
    [([], ["a"]), (["a"], []), ([], []), (["a"], ["A"]), (["", " "], ["b", ""])],
)
def test_nothing_near(left: list[str], right: list[str]) -> None:
    assert NearTexts(right).search(left) == ([], len(left))


def test_truncation() -> None:
    assert truncation_finding([1, 2, 128], 128) is None
    assert truncation_finding([], 128) is None
    finding = truncation_finding([5] * 98 + [129, 300], 128)
    assert finding is not None
    assert (finding.code, finding.count, finding.level) == ("truncation", 2, "warning")
    assert "2 rows of 100 (2.0 %)" in finding.message
    assert "300" in finding.message
    rare = truncation_finding([5] * 999 + [129], 128)
    assert rare is not None
    assert rare.level == "info"


def test_summary() -> None:
    checked = check_split(split(CLEAN, CLEAN[:1], [("something new", "y")]))
    summary = summarise(checked, "mine.csv", {"text": "body", "label": "kind"})
    assert summary.counts == {"train": 11, "validation": 1, "test": 1}
    assert summary.class_counts == {
        "x": {"train": 5, "validation": 1, "test": 0},
        "y": {"train": 6, "validation": 0, "test": 1},
    }
    assert summary.findings == checked.findings
    assert (summary.source, summary.labels) == ("mine.csv", ("x", "y"))


def test_sameness() -> None:
    assert text_key(" Straße\u00a0 ﬁve Ａ\n") == text_key("STRASSE five a") == "strasse five a"
    assert text_key("a b") != text_key("ab")
    assert shorten("a\nb " + "c" * 90) == "a b " + "c" * 73 + "..."


def check_real(train: str, test: str, validation: str | None = None) -> tuple[Split, Split]:
    read = read_parts(
        DATA / train, validation=DATA / validation if validation else None, test=DATA / test
    )
    made = make_split(*read, validation_share=0.1, test_share=0.1, seed=13)
    return made, check_split(made)


@real
def test_sst2_shares_two_texts() -> None:
    made, checked = check_real("sst2/train.csv", "sst2/test.csv", "sst2/dev.csv")
    assert [len(p) for p in (made.train, made.validation, made.test)] == [6920, 872, 1821]
    (overlap,) = found(checked, "overlap")
    assert overlap.count == 2
    # One of the two stands twice in the training file.
    assert [e.row for e in made.train if e not in checked.train] == [941, 2422, 3849]
    assert not found(checked, "near_duplicates")


@real
def test_banking77_shares_six_texts_and_one_in_other_spacing() -> None:
    made, checked = check_real("banking77/train.csv", "banking77/test.csv")
    assert len(made.labels) == 77
    assert len(made.train) + len(made.validation) == 10_003
    counts = {
        code: sum(f.count for f in found(checked, code)) for code in ("overlap", "overlap_spacing")
    }
    assert counts == {"overlap": 6, "overlap_spacing": 1}


@real
def test_near_duplicates_of_banking77_agree_with_comparing_all() -> None:
    read, _, tested = read_parts(DATA / "banking77/train.csv", test=DATA / "banking77/test.csv")
    assert tested is not None
    right = [text_key(e.text) for e in read.examples]
    left = [text_key(e.text) for e in tested.examples]
    known: dict[str, int] = {}

    def matrix(texts: list[str]) -> csr_matrix:
        columns = [
            [
                known.setdefault(s, len(known))
                for s in {t[i : i + 5] for i in range(len(t) - 4)} or {t}
            ]
            for t in texts
        ]
        ends = np.cumsum([0, *map(len, columns)])
        ones = np.ones(ends[-1], np.int32)
        return csr_matrix((ones, np.concatenate(columns), ends), shape=(len(texts), 10**6))

    a, b = matrix(left), matrix(right)
    both = (a @ b.T).tocoo()
    union = np.diff(a.indptr)[both.row] + np.diff(b.indptr)[both.col] - both.data
    near = both.data / union >= 0.8
    expected = {
        i for i, j in zip(both.row[near], both.col[near], strict=True) if left[i] != right[j]
    }
    assert {pair.query for pair in NearTexts(right).search(left)[0]} == expected
    assert len(expected) == 96


COPIES = [f"the parcel with number {i} was left at the wrong door of our house" for i in range(3)]


def test_clusters_are_chains_of_near_texts() -> None:
    texts = ["what is this about", COPIES[0], "WHAT is this  about", COPIES[1], "alone", COPIES[2]]
    a, b, c, d, alone, f = near_duplicates.clusters(texts)
    assert a == c != "" and b == d == f != "" and a != b and alone == ""
    assert near_duplicates.clusters(["alone"]) == [""]


def test_near_test_rows_are_offered_as_groups() -> None:
    test = [(text, "x") for text in COPIES] + [("what is this about", "y")]
    (finding,) = found(check_split(split(CLEAN, test=test)), "near_groups")
    assert (finding.count, finding.level) == (3, "info")
    assert "in 1 group" in finding.message and "--group near-duplicates" in finding.message
    assert not found(check_split(split(CLEAN, test=test[2:])), "near_groups")
