"""Rows whose cells, names or quotation marks are not as they should be: kept, and told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.documents.read_result import Notes, ReadOptions, Unreadable
from tailorbird.documents.readers import RESERVED, read_file
from tailorbird.knowledge.filter import _BUILT_IN
from tailorbird.records import Document

Read = Callable[[str, str | bytes], tuple[list[Document], Notes]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(name: str, content: str | bytes) -> tuple[list[Document], Notes]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_file(path, name, ReadOptions())

    return of


def test_cells_beyond_the_header_join_the_last(read: Read) -> None:
    documents, notes = read("a.csv", "id,text\n1,first the oars, then the sail\n2,none\n3,x,,\n")
    assert [d.text for d in documents] == ["first the oars, then the sail", "none", "x"]
    assert notes == ["more cells than columns: the surplus is joined to 'text' in line 2"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "tag,tag,tag (2)\nred,blue,green\n"),
        ("a.tsv", "tag\ttag\ttag (2)\nred\tblue\tgreen\n"),
        ("a.jsonl", '{"tag": "red", "tag": "blue", "tag (2)": "green"}\n'),
        ("a.json", '[{"tag": "red", "tag": "blue", "tag (2)": "green"}]'),
    ],
)
def test_a_name_twice_keeps_both_values(read: Read, name: str, content: str) -> None:
    (document,), notes = read(name, content)
    assert document.text == "tag: red\ntag (3): blue\ntag (2): green"
    assert len(notes) == 1 and "'tag'" in notes[0] and "numbered" in notes[0]


@pytest.mark.parametrize(
    ("content", "texts", "line"),
    [
        ('id,text\n1,"never closed\n2,fine\n3,good\n', ['"never closed', "fine", "good"], "2"),
        ('id,text\n1,"one" or two\n2,"a, b"\n', ['"one" or two', "a, b"], "2"),
        # The mark that would close it opens another text.
        ('id,text\n1,"lost\n2,"found"\n3,x\n', ['"lost', "found", "x"], "2"),
    ],
)
def test_a_mark_that_is_not_closed_takes_no_other_row(
    read: Read, content: str, texts: list[str], line: str
) -> None:
    documents, notes = read("a.csv", content)
    assert [d.text for d in documents] == texts
    assert len(notes) == 1 and notes[0].endswith(f"in line {line}")


def test_rows_within_a_text_are_told(read: Read) -> None:
    content = 'id,text\n1,"open\n2,b\n3,c\n4,d"\n5,e\n'
    documents, notes = read("a.csv", content)
    assert [d.text for d in documents] == ["open\n2,b\n3,c\n4,d", "e"]
    assert "is a quotation mark missing in line 2?" in notes[0]
    _, notes = read("b.csv", 'id,text\n1,"a letter\nof several, long, lines\nends here"\n')
    assert notes == []


def test_json_without_a_text_column_is_an_outline(read: Read) -> None:
    """Also if one of its names is empty, which is not that of the text."""
    (document,), _ = read("a.json", '{"": "hello", "b": {"c": 1}}')
    assert document.text.split() == ["hello", "b", "c:", "1"]


def test_a_row_whose_text_is_empty(read: Read) -> None:
    documents, notes = read("a.csv", "id,title,text\n1,Key?,Mat\n2,Plants? Jo does,\n3,,\n")
    assert [d.text for d in documents] == ["Mat", "title: Plants? Jo does"]
    assert notes == [
        "no text in 'text', the other columns are read: row 2",
        "no words, left out: row 3",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,kind,source,page\nThe lake is deep,letter,Ann,7\n"),
        ("a.jsonl", '{"text": "x", "kind": "letter", "source": "Ann", "page": 7}\n'),
        ("a.md", "---\nkind: letter\nsource: Ann\npage: 7\n---\n# Lake\n\nDeep.\n"),
    ],
)
def test_a_column_called_like_one_of_ours_is_kept(read: Read, name: str, content: str) -> None:
    (document,), notes = read(name, content)
    own = {n: v for n, v in document.metadata.items() if n.startswith("own_")}
    assert own == {"own_kind": "letter", "own_source": "Ann", "own_page": 7}
    assert document.metadata["kind"] != "letter"
    assert len(notes) == 3 and all("reserved" in note for note in notes)


def test_every_name_that_filters_take_for_themselves_is_reserved() -> None:
    assert set(RESERVED) >= _BUILT_IN


def test_parquet_and_arrow(tmp_path: Path) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    table: Any = pyarrow.table(
        {"id": ["a", "b"], "text": ["Otters dive.", "Kelp grows."], "year": [2021, None]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    pyarrow.feather.write_feather(table, str(tmp_path / "x.feather"))
    for name in ("x.parquet", "x.feather"):
        documents, notes = read_file(tmp_path / name, name, ReadOptions())
        assert [(d.source, d.text) for d in documents] == [
            (f"{name}#a", "Otters dive."),
            (f"{name}#b", "Kelp grows."),
        ]
        assert documents[0].metadata["year"] == 2021 and notes == []
    (tmp_path / "y.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-20])
    with pytest.raises(Unreadable, match="cannot be read as Parquet"):
        read_file(tmp_path / "y.parquet", "y.parquet", ReadOptions())


@pytest.mark.parametrize("depth", [300, 960, 990, 100_000])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_deep_json_is_read_or_refused(read: Read, name: str, depth: int) -> None:
    content = json.dumps({"text": "x"}) + "\n" + '{"a":' + "[" * depth + "]" * depth + "}\n"
    try:
        documents, notes = read(name, content if name.endswith("l") else content[14:])
    except Unreadable as error:
        assert "deep" in str(error) or "no text" in str(error)
    else:
        assert documents[0].text
