"""Whatever bytes a training file holds: rows, or one fault of the user's, within its time."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tailorbird.data.read import read_examples
from tailorbird.errors import UserError

Draw = Callable[[st.SearchStrategy[Any]], Any]

MOST_SECONDS = 10
"""Of one file on a busy machine; alone all but the first take milliseconds."""

ROWS = [
    {"text": 'A fine, "quoted" day; isn\'t it?', "label": "good"},
    {"text": "Ein Tag\nmit Regen in Görlitz", "label": "bad"},
    {"text": "日本語のテキスト", "label": "good"},
]
TURNS = [
    {
        "messages": [
            {"role": "user", "content": "When?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "clock", "arguments": {"zone": "UTC"}}}],
            },
            {"role": "tool", "content": "12"},
            {"role": "assistant", "content": "At noon.", "weight": 1, "thinking": "12?"},
        ],
        "tools": [{"type": "function", "function": {"name": "clock", "parameters": {"zone": "x"}}}],
        "loss_mask": [0, 1, 0, 1],
        "source": 7,
    }
]
WORDS = [{"tokens": ["In", "Rome"], "labels": ["O", "B-LOC"]}]
PAIRS = [{"instruction": "Add.", "input": "1 2", "output": "3", "history": [["a", "b"]]}]
NUMBERS = [{"text": f"row {i}", "label": f"1.{i}00,5"} for i in range(4)]
TABLES = [ROWS, TURNS, WORDS, PAIRS, NUMBERS]


def _csv(rows: list[dict[str, Any]], by: str) -> bytes:
    import csv

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=by)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()})
    return buffer.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow

    table = pyarrow.Table.from_pylist(rows)
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _list(rows: list[Any]) -> bytes:
    return json.dumps(rows, indent=1).encode()


CONLL = b"# a comment\nEU B-ORG\nrejects O\n\nRome\tB-LOC\n"
PROSE = "# A title\n\nA paragraph of words.\n\n\n\nAnother; it has – dashes.\n".encode("cp1252")
WRITTEN: dict[str, list[bytes]] = {
    ".csv": [_csv(rows, by) for rows in (ROWS, NUMBERS, PAIRS) for by in ",;"],
    ".tsv": [_csv(ROWS, "\t")],
    ".jsonl": [_lines(rows) for rows in TABLES],
    ".json": [_list(rows) for rows in TABLES],
    ".parquet": [_parquet(rows) for rows in TABLES],
    ".arrow": [_arrow(rows) for rows in TABLES],
    ".conll": [CONLL],
    ".txt": [PROSE],
    ".jsonl.gz": [gzip.compress(_lines(rows), mtime=0) for rows in TABLES],
}
WRITTEN[""] = [data for files in WRITTEN.values() for data in files]

JUNK = [
    *(b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\x1b[2J", b"\xe2\x80\xa8"),
    *(b'"', b"'", b"\r", b"\n\n", b"\t", b",", b";", b",,,,", b" ", b"-DOCSTART- O\n"),
    *(b"{", b"[", b"}", b"]", b":", b"\\u", b"\\ud83d", b"null", b"NaN", b"-Infinity", b"1e999"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 1500),
]
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["\ud83d", "", " ", "0", "[]", "{}", "[{", "user", "assistant", 10**400])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "a", "\ud83d", ""]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in nested lists and objects: the holder and the key."""
    keys = value.items() if isinstance(value, dict) else enumerate(value)
    here = [(value, key) for key, _ in keys] if isinstance(value, dict | list) else []
    inner = [place for holder, key in here if isinstance(holder[key], dict | list)
             for place in _places(holder[key])]  # fmt: skip
    return here + inner


def _changed(draw: Draw, data: bytes) -> bytes:
    """Return the bytes with a few cuts, repeats and insertions."""
    for _ in range(draw(st.integers(1, 4))):
        at, upto = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        way = draw(st.integers(0, 3))
        if way == 0:
            data = data[:at]
        elif way == 1:
            data = data[:at] + data[upto:]
        elif way == 2:
            data = data[:upto] + data[at:]
        else:
            more = draw(st.sampled_from(JUNK) | st.binary(max_size=4))
            data = data[:at] + more + data[at + draw(st.integers(0, 2)) :]
    return data


def _recoded(draw: Draw, kind: str) -> bytes:
    """Return a file of text in another encoding, which may have its mark."""
    codecs = ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1251", "shift_jis", "latin-1"]
    text = draw(st.sampled_from(WRITTEN[kind])).decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(codecs)), "replace")


def _other_values(draw: Draw, kind: str) -> bytes:
    """Return rows with values of other kinds at random places."""
    rows = json.loads(json.dumps(draw(st.sampled_from(TABLES))))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_places(rows) or [([0], 0)]))
        if isinstance(holder, dict) and draw(st.booleans()):
            holder[draw(st.sampled_from(["weight", "loss_mask", "\ud83d", "", "mask"]))] = draw(
                _VALUES
            )
        else:
            holder[key] = draw(_VALUES)
    return (_list if kind == ".json" else _lines)(rows) if _is_utf8(rows) else _escaped(rows, kind)


def _is_utf8(rows: Any) -> bool:
    return not any(
        "\ud800" <= letter <= "\udfff" for letter in json.dumps(rows, ensure_ascii=False)
    )


def _escaped(rows: list[Any], kind: str) -> bytes:
    return json.dumps(rows).encode() if kind == ".json" else b"\n".join(
        json.dumps(row).encode() for row in rows
    )  # fmt: skip


@st.composite
def files(draw: Draw, kind: str) -> bytes:
    """Return what a file of the kind may hold: nearly right, or not at all."""
    way = draw(st.integers(0, 5))
    if way == 0:
        return bytes(draw(st.binary(max_size=300)))
    if way == 1 and kind in (".jsonl", ".json", ""):
        return _other_values(draw, kind)
    if way == 2 and kind in (".csv", ".tsv", ".jsonl", ".json", ".conll", ""):
        return _recoded(draw, kind if kind else ".csv")
    if way == 3 and kind == ".jsonl.gz":
        return gzip.compress(_changed(draw, _lines(draw(st.sampled_from(TABLES)))), mtime=0)
    return _changed(draw, draw(st.sampled_from(WRITTEN[kind])))


TASKS = ("auto", "classification", "multilabel", "regression", "tokens", "generation", "text")


def _read(folder: Path, kind: str, data: bytes, task: Any) -> None:
    path = folder / f"file{kind}"
    path.write_bytes(data)
    try:
        loaded = read_examples(path, task=task)
    except UserError as error:
        told = str(error)
        assert str(path) in told, told
        assert "fix:" in told
        assert len(told) < 5000
        assert told.encode("utf-8", "backslashreplace").decode()
        return
    assert loaded.examples
    for example in loaded.examples:
        (example.text + (example.label or "")).encode()
        json.dumps([m.extra for m in example.messages], ensure_ascii=False, default=str).encode()


def _read_all(folder: Path, kind: str, most: int) -> None:
    @settings(
        max_examples=most,
        deadline=1000 * MOST_SECONDS,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(files(kind), st.sampled_from(TASKS))
    def each(data: bytes, task: str) -> None:
        _read(folder, kind, data, task)

    each()


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_was_written_is_read(kind: str, tmp_path: Path) -> None:
    """All but what has no kind that its bytes tell: CoNLL, prose and Arrow streams."""
    for number, data in enumerate(WRITTEN[kind]):
        path = tmp_path / f"{number}{kind}"
        path.write_bytes(data)
        if kind or data[:1] in b"[{P\x1ft":
            assert read_examples(path, task="auto").examples, (kind, data)


@pytest.mark.parametrize("kind", WRITTEN)
def test_any_bytes_are_rows_or_a_fault(kind: str, tmp_path: Path) -> None:
    _read_all(tmp_path, kind, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITTEN)
def test_any_bytes_are_rows_or_a_fault_of_many(kind: str, tmp_path: Path) -> None:
    _read_all(tmp_path, kind, 1000)
