"""What may be named as data: several files, packed ones, folders, sets on the hub."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.read import read_examples, read_parts
from tailorbird.data.reservoir import Reservoir
from tailorbird.data.sources import Source, parts_of, splits_of
from tailorbird.data.split_files import split_files
from tailorbird.data.table_files import read_table
from tailorbird.errors import UserError

FEATURES = {"text": {"dtype": "string", "_type": "Value"},
            "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}  # fmt: skip


def lines(*pairs: tuple[str, str]) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in pairs)


def texts(*names: Path | str, **more: Any) -> list[str]:
    source = Source(",".join(map(str, names)), **more)
    return [e.text for e in read_examples(source).examples]


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)],
)
def test_packed_files_are_read_as_they_are(
    ending: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """In one piece, and as two that were packed one after the other, as logs often are."""
    body = lines(("Grüße, 你好".replace(",", ""), "a"), ("two", "b")).encode()
    path = tmp_path / f"data.csv{ending}"
    path.write_bytes(pack(body) + pack(b"three,a\n"))
    assert texts(path) == ["Grüße 你好", "two", "three"]
    table = tmp_path / f"data.tsv{ending}"
    table.write_bytes(pack(b"text\tlabel\none, two\ta\n"))
    assert texts(table) == ["one, two"]


@pytest.mark.parametrize("size", [1, 2, 3, 1_000_003])
def test_characters_that_two_chunks_share(size: int, tmp_path: Path) -> None:
    """Files are checked a mebibyte at a time; a letter of two bytes may lie across the border."""
    text = "x" * (2**20 - 23 - size) + "ä" * size
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in (
        "first", text[: 900_000], text[900_000:])), encoding="utf-8")  # fmt: skip
    found = [row[0] for row in read_table(path).rows]
    assert found == ["first", text[:900_000], text[900_000:]]
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"\xff\n")
    with pytest.raises(UserError, match=f"line 3 .byte {len(whole) - 3:,}, value 0xff"):
        read_table(path)


def test_several_files_are_one(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.jsonl.gz"
    a.write_text(lines(("one", "x"), ("two", "y")))
    b.write_bytes(gzip.compress(b'{"label": "x", "text": "three", "id": 7}\n'))
    loaded = read_examples(f"{a},{b}")
    assert [(e.text, e.label, e.row) for e in loaded.examples] == [
        ("one", "x", 1),
        ("two", "y", 2),
        ("three", "x", 3),
    ]
    assert any("a.csv has no column 'id'" in note for note in loaded.notes)
    assert texts(tmp_path / "*.csv") == ["one", "two"]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.csv").write_text(lines(("four", "z")))
    assert texts(tmp_path / "**" / "*.csv") == ["one", "two", "four"]


def test_a_file_with_a_comma_in_its_name_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a,b.csv"
    path.write_text(lines(("one", "x")))
    assert texts(path) == ["one"]


def test_faults_of_several_files_name_file_and_line(tmp_path: Path) -> None:
    for name, rest in (("a", "two,\n"), ("b", "three,\nfour,y\n")):
        (tmp_path / f"{name}.csv").write_text(lines(("one", "x")) + rest)
    with pytest.raises(UserError) as caught:
        texts(tmp_path / "a.csv", tmp_path / "b.csv")
    assert "2 of 5 rows: lines 3 of a.csv, 3 of b.csv" in caught.value.problem
    (tmp_path / "a.csv").write_text("text,label\na,b,c\n")
    (tmp_path / "b.csv").write_bytes(b"text,label\n\x81\x8d\x90 \xfe\xb5\xa6,a\n")
    with pytest.raises(UserError, match="2 problems"):
        texts(tmp_path / "a.csv", tmp_path / "b.csv")


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 200), most=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_sample_keeps_order_and_size(count: int, most: int, seed: int) -> None:
    kept: Reservoir[int] = Reservoir("x", most, seed)
    for number in range(count):
        kept.add(number)
    found = kept.rows()
    assert len(found) == min(count, most)
    assert found == sorted(set(found))


def test_a_sample_is_fair() -> None:
    """Each of 20 rows in 4,000 draws of 5: 1,000 times, by binomial's deviation 27."""
    seen = [0] * 20
    for seed in range(4000):
        kept: Reservoir[int] = Reservoir("x", 5, seed)
        for number in range(20):
            kept.add(number)
        for number in kept.rows():
            seen[number] += 1
    assert max(abs(count - 1000) for count in seen) < 5 * 27.4


def test_rows_beyond_the_limit_are_drawn_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(lines(*((f"t{i}", "ab"[i % 2]) for i in range(1000))))
    loaded = read_examples(Source(str(path), most=50, seed=3))
    assert [e.row for e in loaded.examples] == list(range(1, 51))
    numbers = [int(e.text[1:]) for e in loaded.examples]
    assert numbers == sorted(numbers) and numbers[-1] > 500
    assert any("50 of 1,000 rows are used, drawn at random" in note for note in loaded.notes)
    assert texts(path, most=50, seed=3) == [e.text for e in loaded.examples]
    assert texts(path, most=50, seed=4) != [e.text for e in loaded.examples]


_READ_WITH_LITTLE_MEMORY = """
import sys
from tailorbird.data import reservoir as kept
from tailorbird.data.sources import Source
from tailorbird.data.table_files import read_table
from tailorbird.errors import UserError

kept.free_bytes = lambda: 120_000_000
try:
    read_table(sys.argv[1])
except UserError as error:
    limit = int(error.fix.rpartition("=")[2])
    print(error.problem)
    print(limit, len(read_table(Source(sys.argv[1], most=limit)).rows))
"""


def test_reading_ends_before_the_memory_does(tmp_path: Path) -> None:
    """With 120 MB free, a file whose rows take more is refused with the limit to set.

    In a process of its own: one that has given back much memory grows by nothing when it reads.
    """
    path = tmp_path / "a.jsonl"
    row = json.dumps({"text": "word " * 600, "label": "a"}) + "\n"
    path.write_text(row * 40_000)
    said = subprocess.run(
        [sys.executable, "-c", _READ_WITH_LITTLE_MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    told, numbers = said.stdout.splitlines()
    assert "half of the free memory" in told
    limit, read = map(int, numbers.split())
    assert 1000 < limit < 30_000
    assert read == limit


def save(folder: Path, labels: list[int], kind: str = "arrow") -> None:
    """Write what datasets' `save_to_disk` does: Arrow streams and a list of them."""
    folder.mkdir(parents=True)
    told = json.dumps({"info": {"features": FEATURES}}).encode()
    schema = pyarrow.schema(
        [("text", pyarrow.string()), ("label", pyarrow.int64())], {b"huggingface": told}
    )
    columns = {"text": [f"{folder.name} {i}" for i in range(len(labels))], "label": labels}
    table = pyarrow.table(columns, schema=schema)
    if kind == "parquet":
        pyarrow.parquet.write_table(table, folder / "0000.parquet")
        return
    names = []
    for number, part in enumerate((table[: len(labels) // 2], table[len(labels) // 2 :])):
        names.append(f"data-0000{number}-of-00002.arrow")
        path = str(folder / names[-1])
        with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


def test_folders_that_datasets_saved(tmp_path: Path) -> None:
    saved = tmp_path / "reviews"
    for split in ("train", "test"):
        save(saved / split, [0, 1, 1, 0, 1])
    (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    train, none, test = read_parts(saved)
    assert none is None and test is not None
    assert [e.label for e in train.examples] == ["neg", "pos", "pos", "neg", "pos"]
    assert [e.text for e in test.examples] == [f"test {i}" for i in range(5)]
    assert texts(f"{saved}#test") == [e.text for e in test.examples]
    assert texts(saved / "train") == [e.text for e in train.examples]
    with pytest.raises(UserError, match="has several splits: train, test"):
        read_examples(saved)
    with pytest.raises(UserError, match="no split 'tset'.*did you mean 'test'"):
        read_examples(f"{saved}#tset")
    (saved / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match="incomplete: data-00001-of-00002.arrow is missing"):
        read_parts(saved)


def test_minus_one_is_no_label(tmp_path: Path) -> None:
    save(tmp_path / "a", [-1, 1, 0], "parquet")
    loaded = read_examples(tmp_path / "a", need_label=False)
    assert [e.label for e in loaded.examples] == [None, "pos", "neg"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.csv", "dev.csv", "test.csv"], {"train": 1, "validation": 1, "test": 1}),
        (["a/train/1.csv", "a/train/2.csv", "b/valid/1.csv"], {"train": 2, "validation": 1}),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
          "data/extra-00000-of-00001.parquet"], {"train": 2, "extra": 1}),
        (["my_train_file.jsonl", "eval-1.jsonl", "README.md"], {"train": 1, "test": 1}),
        (["training.csv.gz", "contest.csv.gz"], {"train": 1}),
        (["one.csv", "two.csv", "notes.txt", ".hidden.csv", "__pycache__/x.csv"], {"": 2}),
        (["book.txt", "more.md"], None),
        (["chapter1.txt", "chapter2.txt"], {"": 2}),
    ],
)  # fmt: skip
def test_names_tell_the_split(names: list[str], splits: dict[str, int] | None) -> None:
    if splits is None:
        with pytest.raises(UserError, match="several kinds: .md, .txt"):
            split_files("here", names, "", None)
        return
    found = split_files("here", names, "", None)
    assert {split: len(files) for split, files in found.items()} == splits


CARD = """---
configs:
- config_name: small
  data_files:
  - split: train
    path: small/*.csv
  - split: test
    path: [small/held/a.csv, small/held/b.csv]
- config_name: large
  data_dir: big
  data_files: "**/*.csv"
---
# A card
"""


def test_a_card_tells_the_splits() -> None:
    names = ["small/1.csv", "small/held/a.csv", "small/held/b.csv", "big/x/1.csv", "big/2.csv"]
    with pytest.raises(UserError, match="2 subsets: small, large") as caught:
        split_files("here", names, CARD, None)
    assert caught.value.fix.endswith("here:small")
    assert split_files("here", names, CARD, "small") == {
        "train": ("small/1.csv",),
        "test": ("small/held/a.csv", "small/held/b.csv"),
    }
    assert split_files("here", names, CARD, "large") == {"train": ("big/2.csv", "big/x/1.csv")}
    with pytest.raises(UserError, match="no subset 'smal'.*did you mean 'small'"):
        split_files("here", names, CARD, "smal")
    with pytest.raises(UserError, match="names 'small/held/a.csv', but there is no such file"):
        split_files("here", ["small/1.csv"], CARD, "small")


def test_folders_mean_what_they_mean_to_datasets(tmp_path: Path) -> None:
    """Against Hugging Face's own library, where it is installed."""
    pytest.importorskip("datasets")
    from datasets.data_files import get_data_patterns

    layouts = [
        ["train.csv", "dev.csv", "test.csv"],
        ["a/train/1.csv", "a/train/2.csv", "b/valid/1.csv"],
        ["data/train-00000-of-00001.csv", "data/extra-00000-of-00001.csv"],
        ["my_train_file.csv", "eval-1.csv"],
        ["training.csv", "contest.csv"],
        ["one.csv", "two.csv"],
        ["x.train.csv", "test2.csv", "val 3.csv"],
    ]
    for number, names in enumerate(layouts):
        folder = tmp_path / str(number)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(lines(("a", "b")))
        theirs = {str(split) for split in get_data_patterns(str(folder))}
        ours = splits_of(str(folder))
        assert {split or "train" for split in ours} == theirs, names


class Answers(BaseHTTPRequestHandler):
    """What the hub says of the sets in `files`."""

    files: dict[str, dict[str, bytes]]

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].replace("%2F", "/").strip("/")
        name = "/".join(path.removeprefix("api/").split("/")[1:3])
        if name not in self.files:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
            return
        there = self.files[name]
        if path.startswith("api/") and "/tree/" in path:
            listed = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40}
                      for n, d in there.items()]  # fmt: skip
            self.reply(200, json.dumps(listed).encode(), {}, body)
        elif path.startswith("api/"):
            told = {"id": name, "sha": "1" * 40, "siblings": [{"rfilename": n} for n in there]}
            self.reply(200, json.dumps(told).encode(), {}, body)
        else:
            data = there[path.split("/resolve/")[1].split("/", 1)[1]]
            tags = {"ETag": f'"{len(data):040x}"', "X-Repo-Commit": "1" * 40}
            self.reply(200, data, tags, body)

    def reply(self, code: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A server on this machine that answers as the hub does, and the environment to find it."""
    files: dict[str, dict[str, bytes]] = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (Answers,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    yield {"files": files, "environment": environment}
    server.shutdown()


READ = """
import sys, json
from tailorbird.data.read import read_parts
from tailorbird.errors import UserError
try:
    parts = read_parts(sys.argv[1])
    print(json.dumps([p and [[e.text, e.label] for e in p.examples] for p in parts]))
except UserError as error:
    print(error)
"""


def read_by_hub(name: str, environment: dict[str, str]) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", READ, name],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_sets_on_the_hub(hub: dict[str, Any]) -> None:
    hub["files"]["someone/reviews"] = {
        "README.md": b"---\nlicense: mit\n---\n# Reviews\n",
        "data/train.csv": lines(("one", "a"), ("two", "b")).encode(),
        "data/test.csv": lines(("three", "a")).encode(),
        "large.bin": b"not needed",
    }
    environment = hub["environment"]
    expected = [[["one", "a"], ["two", "b"]], None, [["three", "a"]]]
    assert json.loads(read_by_hub("someone/reviews", environment)) == expected
    assert not list(Path(environment["HF_HOME"]).rglob("large.bin"))
    # Without network, what was fetched before.
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    assert json.loads(read_by_hub("someone/reviews", offline)) == expected
    gone = environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert json.loads(read_by_hub("someone/reviews", gone)) == expected
    assert "no such public data set" in read_by_hub("someone/nothing", environment)
    said = read_by_hub("someone/else", gone)
    assert "the Hugging Face hub cannot be reached" in said and "fix: " in said


def test_parts_of_a_source(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text(lines((name, "a")))
    folder = str(tmp_path)
    assert parts_of(folder) == {
        "training": f"{folder}#train",
        "validation": f"{folder}#validation",
    }
    assert parts_of(f"{folder}#train") == {"training": f"{folder}#train"}
