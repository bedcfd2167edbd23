"""Training rows left on disk: the weights of rows in memory, and each row in one part."""

import csv
import json
import pickle
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tailorbird.config import Config
from tailorbird.config.schema import DataConfig
from tailorbird.data.disk_rows import RowsOnDisk, row_lengths
from tailorbird.data.near_duplicates import text_key
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows import split_on_disk
from tailorbird.flows.split_on_disk import stays_on_disk, stream_split
from tailorbird.flows.tune import tune
from tailorbird.records import Example, Split
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.memory_limit import MemoryLimit
from tailorbird.runs.saved_split import load_split, save_split

LABELS = ("red", "green", "blue")
SIZES = ((1, 60), (2, 9), (3, 9))
"""Number and rows of the training, validation and test file."""


def write_rows(path: Path, count: int, seed: int = 1) -> Path:
    """Write rows of different lengths, every third text twice (once in capitals)."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for number in range(count):
            label = LABELS[draw.randrange(3)]
            text = f"{label} thing {number} of {seed} " + "more " * draw.randrange(12)
            table.writerow([text, label])
            if number % 3 == 0:
                table.writerow([text.upper(), label])
    return path


def write_chats(path: Path, count: int, seed: int = 1) -> Path:
    draw = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            question = f"What is {number} and {seed} " + "then " * draw.randrange(8) + "?"
            file.write(json.dumps({"prompt": question, "response": f"It is {number}."}) + "\n")
    return path


def test_arrays_come_back_from_disk_as_they_went(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    arrays = [draw.integers(0, 1 << 30, size, dtype=np.int32) for size in (5, 0, 1, 3000, 7)]
    rows = RowsOnDisk(tmp_path, np.int32)
    for number, one in enumerate(arrays):
        rows.append(one)
        np.testing.assert_array_equal(rows[number], one)  # also while more is written
    assert len(rows) == 5 and rows.lengths.tolist() == [5, 0, 1, 3000, 7]
    assert row_lengths(rows).tolist() == row_lengths(arrays).tolist()
    for mine, theirs in zip(rows, arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(rows[3:][1], arrays[4])
    with pytest.raises(IndexError):
        rows[5]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def split_of(path: Path, place: Path, **options: Any) -> Split:
    folder = RunFolder(place)
    place.mkdir()
    split, columns = stream_split(DataConfig(train=str(path), **options), folder)
    save_split(folder, split, str(path), columns)
    again, _, _ = load_split(folder)
    assert list(again.train) == list(split.train)
    assert pickle.loads(pickle.dumps(again.train))[1] == split.train[1], "other ranks read it too"
    assert again.labels == split.labels and again.test == split.test
    return again


def texts(examples: Sequence[Example]) -> set[str]:
    return {text_key(example.text) for example in examples}


def test_every_row_is_in_one_part_and_rows_of_one_text_together(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", 600)
    split = split_of(path, tmp_path / "run")
    parts = (split.train, split.validation, split.test)
    rows = Counter(example.row for part in parts for example in part)
    assert rows == Counter(range(1, 801))
    keys = [texts(part) for part in parts]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert 0.15 < len(split.test) / 800 < 0.25 and 0.1 < len(split.validation) / 800 < 0.2
    assert split.labels == ("blue", "green", "red")
    same = split_of(path, tmp_path / "same")
    assert same.test == split.test
    other = split_of(path, tmp_path / "other", split_seed=14)
    assert texts(other.test) != texts(split.test)


def test_parts_that_are_judged_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_on_disk, "MOST_HELD_OUT", 20)
    split = split_of(write_rows(tmp_path / "rows.csv", 600), tmp_path / "run")
    assert 15 < len(split.test) <= 20 and 15 < len(split.validation) <= 20
    assert len(split.train) == 800 - len(split.test) - len(split.validation)
    assert len({example.row for example in split.train}) == len(split.train)
    assert not texts(split.train) & (texts(split.test) | texts(split.validation))


def test_given_parts_are_kept_out_of_the_training_rows(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.csv", 90)
    test = tmp_path / "test.csv"
    test.write_text("".join(train.read_text().splitlines(keepends=True)[:11]))
    split = split_of(train, tmp_path / "run", test=str(test))
    assert not texts(split.train) & texts(split.test)
    assert [finding.code for finding in split.findings] == ["on_disk", "overlap"]
    assert split.findings[1].count >= 10
    with pytest.raises(UserError, match="also occurs in validation or test"):
        split_of(train, tmp_path / "strict", test=str(test), overlap="error")


@pytest.mark.parametrize(
    ("content", "task", "message"),
    [
        ("text,label\nfirst,1.5\nsecond,2.5\n", "regression", "is for labels, answers and plain"),
        ("text,label\none,red\ntwo,blue\n", "auto", "no row is left for the"),
        ("text,label\n" + "".join(f"{n},red\n" for n in range(60)), "auto", "has the label 'red'"),
    ],
)
def test_what_cannot_stay_on_disk_is_refused(
    tmp_path: Path, content: str, task: str, message: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        split_of(path, tmp_path / "run", task=task)


def test_large_files_stay_on_disk_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "rows.csv", 90)
    assert not stays_on_disk(DataConfig(train=str(path)))
    assert stays_on_disk(DataConfig(train=str(path), on_disk=True))
    small = MemoryLimit(path.stat().st_size * 7, "of a small machine", True)
    monkeypatch.setattr(split_on_disk, "memory_limit", lambda: small)
    assert stays_on_disk(DataConfig(train=str(path)))
    assert "stay on disk (data.on_disk)" in capsys.readouterr().err
    assert not stays_on_disk(DataConfig(train=str(path), on_disk=False))
    assert not stays_on_disk(DataConfig(train=str(path), max_examples=10))
    with pytest.raises(UserError, match=r"data.on_disk and data.folds exclude each other"):
        stays_on_disk(DataConfig(train=str(path), on_disk=True, folds=3))


def trained(place: Path, files: Sequence[Path], model: Path, **data: Any) -> dict[str, Any]:
    """Return the weights of a short training."""
    parts = dict(zip(("train", "validation", "test"), map(str, files), strict=True))
    plain = {
        "data": parts | data,
        "model": {"name": str(model)},
        "method": {"name": "lora"},
        "train": {"epochs": 2, "checkpoint_every": 1, "tensorboard": False},
        "evaluate": {"label_errors": False, "examples": 4},
        "generate": {"max_new_tokens": 4},
    }
    tune(Config.model_validate(plain), RunFolder(place), resume=(place / "config.yaml").is_file())
    return dict(load_file(place / "model" / "adapter_model.safetensors"))


@pytest.mark.parametrize("kind", ["labels", "answers"])
def test_weights_are_those_of_rows_in_memory_also_after_a_stop(
    kind: str,
    tmp_path: Path,
    tiny_encoder: Path,
    tiny_decoder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tailorbird.data import disk_rows
    from tailorbird.train.resume_checkpoint import Checkpoints

    monkeypatch.setattr(disk_rows, "_BLOCK", 17)  # several blocks, the last one short
    monkeypatch.setattr(split_on_disk, "_BLOCK", 23)
    if kind == "labels":
        rows = [write_rows(tmp_path / f"{n}.csv", count, n) for n, count in SIZES]
        model = tiny_encoder
    else:
        rows = [write_chats(tmp_path / f"{n}.jsonl", count, n) for n, count in SIZES]
        model = tiny_decoder
    memory = trained(tmp_path / "memory", rows, model, on_disk=False)
    disk = trained(tmp_path / "disk", rows, model, on_disk=True)
    assert memory.keys() == disk.keys()
    for name, weights in memory.items():
        np.testing.assert_array_equal(weights, disk[name], err_msg=name)
    assert (tmp_path / "disk/data/train.jsonl").is_file()

    whole = Checkpoints.save

    def stopped(self: Checkpoints, model: Any, saved: Any) -> bool:
        done = whole(self, model, saved)
        if saved.state.step == 3:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Checkpoints, "save", stopped)
    with pytest.raises(Interrupted):
        trained(tmp_path / "stopped", rows, model, on_disk=True)
    monkeypatch.setattr(Checkpoints, "save", whole)
    resumed = trained(tmp_path / "stopped", rows, model, on_disk=True)
    for name, weights in memory.items():
        np.testing.assert_array_equal(weights, resumed[name], err_msg=name)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    split = split_of(write_rows(tmp_path / "rows.csv", 90), tmp_path / "run")
    path = tmp_path / "run/data/train.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert split.train[2].row == json.loads(lines[2])["row"]
    path.write_text("".join([*lines[:5], lines[5].replace("red", "pink"), "{\n", *lines[7:]]))
    with pytest.raises(UserError, match="train.jsonl is damaged"):
        list(load_split(RunFolder(tmp_path / "run"))[0].train)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="lines of"):
        list(split.train)
