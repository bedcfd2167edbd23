"""Reading: every kind of file gives the same examples, and what is assumed is said."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.raw_rows import MAX_CELL_CHARACTERS
from tailorbird.data.read import Loaded, read_examples, read_parts, read_table
from tailorbird.data.sources import Source
from tailorbird.errors import UserError

ROWS = [
    ("plain", "a"),
    ('says "hi", and\nleaves', "b"),
    ("semi;colon\tand tab", "a"),
    ("Grüße, 你好 🙂 \u2028 end", "b"),
    ("'quoted'", "ä label, with comma"),
]


def write_csv(path: Path, rows: list[tuple[str, str]], **dialect: Any) -> Path:
    with path.open("w", newline="", encoding=dialect.pop("encoding", "utf-8")) as file:
        csv.writer(file, **dialect).writerows([("text", "label"), *rows])
    return path


def write(folder: Path, kind: str, rows: list[tuple[str, str]]) -> Path:
    path = folder / f"data.{kind}"
    objects = [{"text": text, "label": label} for text, label in rows]
    if kind in ("csv", "tsv"):
        return write_csv(path, rows, delimiter="," if kind == "csv" else "\t")
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), path)
    elif kind == "json":
        path.write_text(json.dumps(objects), encoding="utf-8")
    else:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in objects)
        path.write_text("".join(lines), encoding="utf-8")
    return path


def pairs(loaded: Loaded) -> list[tuple[str, str | None]]:
    return [(e.text, e.label) for e in loaded.examples]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"])
def test_every_kind_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    loaded = read_examples(write(tmp_path, kind, ROWS))
    assert pairs(loaded) == ROWS
    assert [e.row for e in loaded.examples] == [1, 2, 3, 4, 5]
    assert loaded.columns == {"text": "text", "label": "label"}
    assert loaded.findings == ()


# What csv.writer can write and a reader can tell apart; labels are stripped by design.
text = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], whitelist_characters="\n\t"), min_size=1
).filter(str.strip)
label = st.text(st.characters(whitelist_categories=["L", "N", "P"]), min_size=1).filter(
    lambda s: s.casefold() not in {"nan", "<na>", "#n/a", "null"}
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(text, label), min_size=1, max_size=20),
    kind=st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_is_written_is_read(
    rows: list[tuple[str, str]],
    kind: str,
    quoting: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("data")
    path = write(folder, kind, rows)
    if kind == "csv":
        path = write_csv(path, rows, quoting=quoting)
    assert pairs(read_examples(path)) == rows


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_blank_lines_and_byte_order_mark(line_end: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = ["text,label", "one,a", "", "two,b", "   ", "three,a", ""]
    path.write_bytes(b"\xef\xbb\xbf" + line_end.join(lines).encode())
    loaded = read_examples(path)
    assert pairs(loaded) == [("one", "a"), ("two", "b"), ("three", "a")]
    assert read_table(path).places == (2, 4, 6)


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_delimiters_in_csv_are_found_and_said(
    delimiter: str, name: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "data.csv", ROWS, delimiter=delimiter)
    loaded = read_examples(path)
    assert pairs(loaded) == ROWS
    assert any(name in note for note in loaded.notes)


def test_a_single_column_of_texts_with_semicolons_is_one_column(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text\nfirst; second\nthird\n")
    assert pairs(read_examples(path, need_label=False)) == [
        ("first; second", None),
        ("third", None),
    ]


def test_quotes_in_a_tsv_written_without_quoting_are_characters(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    path.write_text('text\tlabel\n"Opened only\ta\nplain\tb\nand closed"\ta\n"Yes" she said\tb\n')
    loaded = read_examples(path)
    assert [e.text for e in loaded.examples] == [
        '"Opened only',
        "plain",
        'and closed"',
        '"Yes" she said',
    ]
    assert any("plain characters" in note for note in loaded.notes)


def test_quotes_in_a_tsv_written_with_quoting_are_not(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    path.write_text('text\tlabel\n"says ""hi"""\ta\nplain\tb\n')
    loaded = read_examples(path)
    assert [e.text for e in loaded.examples] == ['says "hi"', "plain"]
    assert not any("plain characters" in note for note in loaded.notes)


def test_one_file_under_two_names_is_one_file(tmp_path: Path) -> None:
    train, alias = write_csv(tmp_path / "train.csv", ROWS), tmp_path / "test.csv"
    alias.symlink_to(train)
    with pytest.raises(UserError, match="same file is given as training and as test"):
        read_parts(train, test=alias)


def test_a_file_that_is_all_wrong_is_told_in_a_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("not json\n" * 1000)
    with pytest.raises(UserError, match="^5 problems"):
        read_examples(path)


def test_numbers_become_labels_as_a_person_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    labels = [1, 2.0, 0.5, True, "3.0", " x "]
    path.write_text(
        "".join(json.dumps({"text": i, "label": x}) + "\n" for i, x in enumerate(labels))
    )
    loaded = read_examples(path)
    assert [e.label for e in loaded.examples] == ["1", "2", "0.5", "true", "3.0", "x"]
    assert [e.text for e in loaded.examples] == list("012345")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0], ["1", "0"]),
        ([1.0, 0.0], ["1", "0"]),
        ([Decimal("1.50"), Decimal("2.25")], ["1.50", "2.25"]),
        ([True, False], ["true", "false"]),
    ],
)
def test_parquet_types(values: list[Any], expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": values}), path)
    assert [e.label for e in read_examples(path).examples] == expected


def test_parquet_dictionary_columns(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    coded = pyarrow.array(["x", "y", "x"]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b", "c"], "label": coded}), path)
    assert [e.label for e in read_examples(path).examples] == ["x", "y", "x"]


def test_csv_labels_stay_as_they_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text,label\na,1.0\nb,007\nc,None\nd,none\n")
    assert [e.label for e in read_examples(path).examples] == ["1.0", "007", "None", "none"]


def test_missing_rows_are_dropped_only_if_asked_and_then_said(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text,label\na,x\n,y\nb,\nc,NaN\nd,y\n")
    with pytest.raises(UserError, match="--drop-missing"):
        read_examples(path)
    loaded = read_examples(path, drop_missing=True)
    assert [(e.text, e.row) for e in loaded.examples] == [("a", 1), ("d", 5)]
    assert [(f.code, f.count, f.level) for f in loaded.findings] == [
        ("missing_text", 1, "warning"),
        ("missing_label", 2, "warning"),
    ]
    assert "lines 4, 5" in loaded.findings[1].message


def test_labels_are_optional_for_prediction(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("review,label\na,x\nb,\n")
    loaded = read_examples(path, need_label=False)
    assert pairs(loaded) == [("a", "x"), ("b", None)]
    path.write_text("anything\na\nb\n")
    loaded = read_examples(path, need_label=False)
    assert pairs(loaded) == [("a", None), ("b", None)]
    assert loaded.columns == {"text": "anything"}


def test_the_largest_cell_is_read_and_one_more_character_is_not(tmp_path: Path) -> None:
    csv.field_size_limit(1000)
    longest = "x" * MAX_CELL_CHARACTERS
    for kind in ("csv", "jsonl", "parquet"):
        loaded = read_examples(write(tmp_path, kind, [(longest, "a"), ("b", "c")]))
        assert len(loaded.examples[0].text) == MAX_CELL_CHARACTERS
        with pytest.raises(UserError, match=r"1,000,000 characters"):
            read_examples(write(tmp_path, kind, [("b", "c"), (longest + "x", "a")]))
    assert csv.field_size_limit(131_072) == 1000, "a global setting of the csv module"


def test_unreadable_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", ROWS)
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        with pytest.raises(UserError, match="no permission"):
            read_table(path)
    else:
        pytest.skip("this user may read everything")


def test_parts_follow_the_columns_of_the_training_file(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("title,body,genre\n" + "".join(f"t{i},b{i},g{i % 2}\n" for i in range(6)))
    test.write_text("genre,body,title\ng0,b,t\n")
    read, none, tested = read_parts(train, test=test, text="body", label="genre")
    assert none is None
    assert tested is not None
    assert (read.examples[0].text, tested.examples[0].text) == ("b0", "b")
    # Two usual names for a label: undecided alone, clear beside a training file.
    train.write_text("text,intent\na,x\nb,y\n")
    test.write_text("text,intent,category\na,x,1\nb,y,2\n")
    with pytest.raises(UserError, match="which column is the label"):
        read_examples(test)
    _, _, tested = read_parts(train, test=test)
    assert tested is not None
    assert tested.columns == {"text": "text", "label": "intent"}


def test_importing_the_room_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, tailorbird.data.read, tailorbird.data.split, tailorbird.data.check;"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'sklearn', 'datasketch', 'numpy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Bytes made of what these formats are made of get further than random ones.
fragments = st.sampled_from(
    [
        *(b'"', b",", b"\n", b"\r", b"\t", b";", b"{", b"}", b"[", b"]", b":", b"\\", b"\0", b" "),
        *(b'"text"', b'"label"', b"text,label\n", b"PAR1", b"\xff", b"\xc3\xa9", b"null", b"NaN"),
        *(b"1e999", b"-1", b"\\ud800", b'{"text": "a", "label": "b"}\n', b"a,b\n", b"\xef\xbb\xbf"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    content=st.lists(fragments, max_size=25).map(b"".join) | st.binary(max_size=200),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet"]),
)
def test_any_bytes_are_examples_or_a_user_error_with_a_fix(
    content: bytes, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"data{ending}"
    path.write_bytes(content)
    for need_label in (True, False):
        try:
            loaded = read_examples(path, need_label=need_label)
        except UserError as error:
            assert str(path) in str(error)
            assert "fix: " in str(error)
        else:
            assert all(e.text.strip() for e in loaded.examples)
            assert all(e.label for e in loaded.examples) or not need_label


def test_near_duplicates_are_groups_without_a_column(tmp_path: Path) -> None:
    rows = [f"the parcel with number {i} was left at the wrong door of our house" for i in range(2)]
    text = "text,label\n" + "".join(f"{row},x\n" for row in [*rows, "something else"])
    (tmp_path / "rows.csv").write_text(text)
    examples = read_examples(Source(str(tmp_path / "rows.csv"), group="near-duplicates")).examples
    a, b, other = (example.group for example in examples)
    assert a == b != other
    assert all((a, other))
