"""Data a user may hand over that cannot be used, and what the message must say about each.

The unit tests push every case through reading, splitting and checking; the command line's tests
through the verbs, where each must end with exit code 2 and one message.
"""

import gzip
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class BadFile:
    """One case.

    Attributes:
        name: The test's id.
        make: Writes files into a folder and returns what follows the verb on the command line,
            run from within that folder.
        expect: What the message must contain, all of it.
    """

    name: str
    make: Callable[[Path], list[str]]
    expect: tuple[str, ...]


def rows(labels: Sequence[str] = ("pos", "neg"), each: int = 10, start: int = 0) -> str:
    """Return CSV rows with different texts, without header."""
    return "".join(
        f"this is text {start + i} of {label},{label}\n" for label in labels for i in range(each)
    )


GOOD = "text,label\n" + rows()


def _file(content: str | bytes, name: str = "train.csv", *args: str) -> Callable[[Path], list[str]]:
    """Return a maker of one file."""

    def make(folder: Path) -> list[str]:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return [name, *args]

    return make


def _files(files: dict[str, str], *args: str) -> Callable[[Path], list[str]]:
    """Return a maker of several files; the first is the data."""

    def make(folder: Path) -> list[str]:
        for name, content in files.items():
            (folder / name).write_text(content)
        return [next(iter(files)), *args]

    return make


def _jsonl(*objects: Any) -> Callable[[Path], list[str]]:
    good = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(10)]
    return _file("".join(json.dumps(o) + "\n" for o in (*good, *objects)), "train.jsonl")


def _parquet(columns: dict[str, list[Any]]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "train.parquet")
        return ["train.parquet"]

    return make


def _cut_parquet(folder: Path) -> list[str]:
    _parquet({"text": ["a", "b"] * 50, "label": ["x", "y"] * 50})(folder)
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    return ["train.parquet"]


def _mistyped(folder: Path) -> list[str]:
    (folder / "train.csv").write_text(GOOD)
    return ["trian.csv"]


def _folder(*names: str) -> Callable[[Path], list[str]]:
    """Return a maker of a folder with files of these names."""

    def make(folder: Path) -> list[str]:
        (folder / "data").mkdir()
        for name in names:
            (folder / "data" / name).write_text(GOOD)
        return ["data"]

    return make


def _several(given: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "train.csv").write_text(GOOD)
        return [given]

    return make


_TEST = ("--test", "test.csv")
_TWO_TEXTS = "title,body,genre\n" + "".join(f"t{i},b{i},g{i % 2}\n" for i in range(9))

_FILES = [
    BadFile("missing file", _mistyped, ("trian.csv", "no such file", "did you mean 'train.csv'?")),
    BadFile("missing folder", lambda _: ["no/where.csv"], ("no/where.csv", "folder 'no' does not")),
    BadFile("folder without data", _folder("train.py"), ("data: there is no file of data",)),
    BadFile(
        "folder of several kinds",
        _folder("train.csv", "train.jsonl"),
        ("several kinds: .csv, .jsonl", "'data/*.csv'"),
    ),
    BadFile("no file matches", lambda _: ["*.csv"], ("*.csv: no file matches this pattern",)),
    BadFile(
        "one of several files is missing",
        _several("train.csv,trian.csv"),
        ("trian.csv", "no such file", "did you mean 'train.csv'?"),
    ),
    BadFile("unknown kind", _file(GOOD, "train.cvs"), (".cvs", "did you mean '.csv'?", ".parquet")),
    BadFile(
        "no ending", _file("a few words\nand more\n", "train"), ("train:", "no ending", ".jsonl")
    ),
    BadFile("empty csv", _file(""), ("train.csv", "empty")),
    BadFile("blank csv", _file(" \n\n  \n"), ("train.csv", "empty")),
    BadFile("empty jsonl", _file("", "train.jsonl"), ("train.jsonl", "empty")),
    BadFile("only a mark", _file(b"\xef\xbb\xbf"), ("train.csv", "empty")),
    BadFile("header only", _file("text,label\n"), ("train.csv", "'text', 'label'", "no row")),
    BadFile(
        "letters of no encoding",
        _file(GOOD.encode() + b"caf\x81\x8d\x90 \xfe\xb5\xa6\xd7,pos\n"),
        ("train.csv", "line 22", "0x81", "iconv -f", "train.csv"),
    ),
    BadFile(
        "damaged utf-8",
        _file("text,label\n“quoted” café über,pos\n".encode() + b"bro\x93ken,neg\n"),
        ("line 3 (byte 43, value 0x93)", "not UTF-8", "iconv -c"),
    ),
    BadFile("nul byte", _file(GOOD + "a\0b,pos\n"), ("NUL byte in line 22", "tr -d")),
    BadFile("excel as csv", _file(b"PK\x03\x04" + bytes(99)), ("an Excel", "save it as CSV")),
    BadFile(
        "gzip as jsonl",
        _file(gzip.compress(GOOD.encode()), "train.jsonl"),
        ("train.jsonl", "a gzip file", "gunzip"),
    ),
    BadFile(
        "cut gzip",
        _file(gzip.compress(GOOD.encode() * 9)[:-30], "train.csv.gz"),
        ("train.csv.gz: cannot be unpacked as gzip", "truncated"),
    ),
    BadFile("csv as zst", _file(GOOD, "train.csv.zst"), ("cannot be unpacked as zstd",)),
    BadFile("a file twice", _several("train.csv,./train.csv"), ("the same file is named twice",)),
    BadFile(
        "a set on the hub without network",
        lambda _: ["someone/reviews"],
        ("someone/reviews", "no such file or folder", "hub cannot be reached", "hf download"),
    ),
]

_DELIMITED = [
    BadFile(
        "too many fields",
        _file(GOOD + "one, two,pos\nthree, four, five,neg\n"),
        ("line 22 has 3 fields, more than the 2", "line 23", "quotation marks"),
    ),
    BadFile("too few fields", _file(GOOD + "no label here\n"), ("line 22 has 1 field, fewer",)),
    BadFile(
        "too many and too few",
        _file(GOOD + "a,b,c\nno label here\n"),
        ("2 problems", "line 22 has 3", "line 23 has 1"),
    ),
    BadFile(
        "unclosed quote",
        _file('text,label\n"never closed,pos\n' + rows()),
        ("opened in line 2", "never closed", "line 22", "close it"),
    ),
    BadFile(
        "quote in the middle",
        _file(GOOD + '"Yes" she said,pos\n'),
        ("line 22", "follows a closing quotation mark", "double"),
    ),
    BadFile(
        "ten megabytes in a cell",
        _file(GOOD + "x" * 10_000_000 + ",pos\n"),
        ("line 22", "1,000,000 characters", "never closed"),
    ),
    BadFile(
        "column twice", _file("text,label,text\na,b,c\n"), ("'text' occurs more than", "rename")
    ),
    BadFile(
        "no header",
        _file("I really liked this film a lot,pos\n" + rows()),
        ("header is missing", "I really liked", "text,label"),
    ),
    BadFile("tsv too many fields", _file("text\tlabel\na\tb\tc\n", "train.tsv"), ("line 2 has 3",)),
]

_COLUMNS = [
    BadFile(
        "undecided columns", _file(_TWO_TEXTS), ("'title', 'body', 'genre'", "--text NAME --label")
    ),
    BadFile(
        "mistyped label column",
        _file(GOOD, "train.csv", "--label", "lable"),
        ("no column 'lable'", "did you mean 'label'?", "--label takes one of: 'text', 'label'"),
    ),
    BadFile(
        "both columns wrong",
        _file(GOOD, "train.csv", "--text", "body", "--label", "genre"),
        ("2 problems", "'body'", "'genre'"),
    ),
    BadFile(
        "one column for both",
        _file(GOOD, "train.csv", "--text", "text", "--label", "text"),
        ("'text' is named as both",),
    ),
    BadFile(
        "texts only", _file("text\nhello\nbye\n"), ("'text' is the only column read", "no labels")
    ),
    BadFile(
        "test without labels",
        _files({"train.csv": GOOD, "test.csv": "text,number\na,1\nb,2\nc,3\n"}, *_TEST),
        ("test.csv", "which column is the label?", "'text', 'number'"),
    ),
]

_CELLS = [
    BadFile(
        "nan label",
        _file(GOOD + "what is this,NaN\n"),
        ("'label': no label", "1 of 21 rows", "line 22", "--drop-missing"),
    ),
    BadFile("empty label", _file(GOOD + "what is this,\n"), ("no label", "line 22")),
    BadFile("empty text", _file(GOOD + '" ",pos\n'), ("no text", "line 22", "--drop-missing")),
    BadFile(
        "many missing labels",
        _file(GOOD + "".join(f"t{i},\n" for i in range(8))),
        ("8 of 28 rows", "lines 22, 23, 24, 25, 26 and 3 more"),
    ),
    BadFile(
        "text and label missing",
        _file(GOOD + "what is this,\n,pos\n"),
        ("2 problems", "no text", "line 23", "no label", "line 22"),
    ),
    BadFile(
        "nothing left",
        _file("text,label\na,\n,b\n", "train.csv", "--drop-missing"),
        ("no row is left", "--label"),
    ),
    BadFile(
        "faults in two files",
        _files({"train.csv": GOOD + "a,\n", "test.csv": GOOD + "a,b,c\n"}, *_TEST),
        ("2 problems", "train.csv: column 'label'", "test.csv: line 22"),
    ),
]

_JSON = [
    BadFile(
        "broken json line",
        _file('{"text": "a", "label": "b"}\n{"text": "a"\n', "train.jsonl"),
        ("train.jsonl: line 2 is not valid JSON", "character 13"),
    ),
    BadFile("row is a list", _jsonl(["a", "b"]), ("line 11 holds a list", '{"text"')),
    BadFile("row is null", _jsonl(None), ("line 11 holds null",)),
    BadFile("label is null", _jsonl({"text": "a", "label": None}), ("no label", "line 11")),
    BadFile("label is absent", _jsonl({"text": "a"}), ("no label", "1 of 11 rows", "line 11")),
    BadFile("label is nan", _jsonl({"text": "a", "label": math.nan}), ("no label", "line 11")),
    BadFile(
        "several labels",
        _jsonl({"text": "a", "label": ["x", "y"]}),
        ("'label' holds a list", "line 11", "one row for each"),
    ),
    BadFile("text is an object", _jsonl({"text": {}, "label": "x"}), ("'text' holds", "line 11")),
    BadFile(
        "half an emoji", _jsonl({"text": "\ud83d", "label": "a"}), ("half a surrogate", "line 11")
    ),
    BadFile(
        "key twice",
        _file('{"text": "a", "label": "b", "text": "c"}\n', "train.jsonl"),
        ("line 1", "'text' occurs more than once"),
    ),
    BadFile("nested too deep", _file("[" * 100_000, "train.jsonl"), ("line 1", "nested too deep")),
    BadFile(
        "one object",
        _file('{"data": [{"text": "a", "label": "b"}]}', "train.json"),
        ("one object, not a list",),
    ),
    BadFile(
        "lines in a json file",
        _file('{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n', "train.json"),
        ("not valid JSON", "rename it train.jsonl"),
    ),
    BadFile("empty list", _file("[]", "train.json"), ("the list is empty",)),
    BadFile("empty objects", _file("{}\n{}\n", "train.jsonl"), ("no keys", '"label"')),
]

_PARQUET = [
    BadFile("cut parquet", _cut_parquet, ("train.parquet", "truncated", "again")),
    BadFile("csv as parquet", _file(GOOD, "train.parquet"), ("cannot be read as Parquet", "CSV")),
    BadFile("empty parquet", _file("", "train.parquet"), ("train.parquet", "empty")),
    BadFile("parquet without rows", _parquet({"text": [], "label": []}), ("no rows",)),
    BadFile(
        "parquet nan label",
        _parquet({"text": ["a", "b", "c"], "label": [1.0, math.nan, 2.0]}),
        ("no label", "1 of 3 rows", "row 2"),
    ),
    BadFile(
        "parquet bytes",
        _parquet({"text": [b"a", b"b"], "label": ["x", "y"]}),
        ("'text' holds bytes", "rows 1, 2", "UTF-8"),
    ),
]

_SPLITS = [
    BadFile("one row", _file("text,label\na,b\n"), ("train.csv", "only one row")),
    BadFile("one class", _file("text,label\n" + rows(["pos"])), ("every row", "'pos'", "--label")),
    BadFile(
        "two rows of a class",
        _file(GOOD + "rare one,rare\nrare two,rare\n"),
        ("'rare' (2)", "3 different texts", "--validation and --test"),
    ),
    BadFile(
        "one row of a class, test given",
        _files({"train.csv": GOOD + "rare one,rare\n", "test.csv": "text,label\na,pos\n"}, *_TEST),
        ("'rare' (1)", "2 different texts", "--validation"),
    ),
    BadFile(
        "one text many times",
        _file(GOOD + "Rare one,rare\nrare  ONE,rare\nrare one,rare\n"),
        ("'rare' (1)",),
    ),
    BadFile(
        "values as labels",
        _file("text,label\n" + "".join(f"text {i},{7 * i}\n" for i in range(30))),
        ("and 25 more", "values or ids", "--task regression"),
    ),
    BadFile(
        "unknown test label",
        _files({"train.csv": GOOD, "test.csv": "text,label\na,Pos\nb,neg\nc,blue\n"}, *_TEST),
        ("'Pos' (1 row) (did you mean 'pos'?)", "'blue'", "test.csv", "training rows"),
    ),
    BadFile(
        "unknown validation label",
        _files({"train.csv": GOOD, "dev.csv": "text,label\na,so\n"}, "--validation", "dev.csv"),
        ("dev.csv", "'so'", "validation"),
    ),
    BadFile(
        "same file twice",
        _file(GOOD, "train.csv", "--test", "./train.csv"),
        ("same file", "training", "test"),
    ),
]

_LEAKS = [
    BadFile(
        "overlap refused",
        _files(
            {"train.csv": GOOD, "test.csv": "text,label\n" + rows(["pos"], 1)},
            *_TEST,
            "--overlap",
            "error",
        ),
        ("1 test text also occurs", "this is text 0 of pos", "--overlap drop"),
    ),
    BadFile(
        "overlap empties a class",
        _files({"train.csv": GOOD, "test.csv": "text,label\n" + rows(["neg"])}, *_TEST),
        ("no training row with the label 'neg'", "--overlap keep"),
    ),
    BadFile(
        "validation is the test",
        _files(
            {
                "train.csv": GOOD,
                "test.csv": "text,label\na,pos\nb,neg\n",
                "dev.csv": "text,label\nB,neg\nA ,pos\n",
            },
            *_TEST,
            "--validation",
            "dev.csv",
        ),
        ("every validation row also occurs in the test rows",),
    ),
]

_HI, _HO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}


def _talks(*bad: list[Any]) -> Callable[[Path], list[str]]:
    """Return a maker of five good conversations and then these."""
    talks = [[_HI | {"content": f"Question {i}"}, _HO] for i in range(5)]
    return _file("".join(json.dumps({"messages": m}) + "\n" for m in (*talks, *bad)), "train.jsonl")


def _pairs(*more: str) -> str:
    pairs = [json.dumps({"prompt": f"Question {i}", "completion": "Ho"}) for i in range(5)]
    return "\n".join([*pairs, *more]) + "\n"


_WRITTEN = [
    BadFile(
        "unknown role",
        _talks([_HI, {"role": "asistant", "content": "x"}]),
        ("'asistant' (did you mean 'assistant'?)", "1 of 6 rows: line 6", "roles are"),
    ),
    BadFile("no answer turn", _talks([_HI], [_HI]), ("no answer", "lines 6, 7", "--drop-missing")),
    BadFile(
        "system message in the middle",
        _talks([_HI, {"role": "system", "content": "x"}, _HO]),
        ("a system message that is not the first", "line 6"),
    ),
    BadFile(
        "image in a message",
        _talks([_HI | {"content": [{"type": "image_url"}]}, _HO]),
        ("'image_url'", "line 6", "only text"),
    ),
    BadFile("nothing trained", _talks([_HI, _HO | {"weight": 0}]), ("weight above 0", "line 6")),
    BadFile(
        "arguments in broken json",
        _talks([_HI, _HO | {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]),
        ("broken JSON", "line 6", "OpenAI"),
    ),
    BadFile(
        "two columns of conversations",
        _file(json.dumps({"messages": [_HI, _HO], "chat": [_HI, _HO]}), "train.jsonl"),
        ("'messages', 'chat'", "--text"),
    ),
    BadFile(
        "empty completion",
        _file(_pairs('{"prompt": "a", "completion": ""}'), "train.jsonl"),
        ("column 'completion': no answer in 1 of 6 rows: line 6", "--drop-missing"),
    ),
    BadFile(
        "label or answer",
        _file('{"prompt": "a", "completion": "b", "category": "c"}', "train.jsonl"),
        ("'category'", "'completion'", "data.task=generation"),
    ),
    BadFile(
        "one prompt",
        _file('{"prompt": "a", "completion": "b"}', "train.jsonl"),
        ("1 different prompt", "--validation and --test"),
    ),
    BadFile(
        "every prompt is tested",
        _files({"train.jsonl": _pairs(), "test.jsonl": _pairs()}, "--test", "test.jsonl"),
        ("every training row also occurs", "--overlap keep"),
    ),
    BadFile(
        "test without answers",
        _files(
            {"train.jsonl": _pairs(), "test.jsonl": '{"prompt": "a"}\n'}, "--test", "test.jsonl"
        ),
        ("test.jsonl: which column is the answer?", "--label NAME"),
    ),
]

BAD_FILES = [
    *_FILES,
    *_DELIMITED,
    *_COLUMNS,
    *_CELLS,
    *_JSON,
    *_PARQUET,
    *_SPLITS,
    *_LEAKS,
    *_WRITTEN,
]
