"""Rows that stay in a file are the same by number and in order, in threads and forked processes."""

import copy
import gc
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.records import Example
from tailorbird.runs.examples_file import ExamplesFile, write_examples

ROWS = [Example(f"größe {i}\u2028" + "z" * (i % 7), label=str(i), row=i + 1) for i in range(200)]


@pytest.fixture
def file(tmp_path: Path) -> ExamplesFile:
    with write_examples(tmp_path / "rows.jsonl") as write:
        for row in ROWS:
            write(row)
    return ExamplesFile(tmp_path / "rows.jsonl", len(ROWS))


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_rows_by_number_are_the_rows_in_order(file: ExamplesFile) -> None:
    assert [*file] == [file[i] for i in range(len(file))] == ROWS
    assert (file[-1], file[7:3:-2]) == (ROWS[-1], [ROWS[7], ROWS[5]])
    for copied in (copy.deepcopy(file), pickle.loads(pickle.dumps(file))):
        assert copied[9] == ROWS[9]
    with pytest.raises(IndexError):
        file[len(ROWS)]


def test_threads_and_a_forked_process_read_at_the_same_time(file: ExamplesFile) -> None:
    assert file[0] == ROWS[0]
    order = [i * 37 % len(ROWS) for i in range(4 * len(ROWS))]
    child = os.fork()
    if not child:
        os._exit(int([file[i] for i in order] != [ROWS[i] for i in order]))
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(file.__getitem__, order)] == [ROWS[i] for i in order]
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_the_file_is_opened_once_and_closed_with_the_rows(file: ExamplesFile) -> None:
    before, path = open_files(), file.path
    again = ExamplesFile(path, len(ROWS))
    assert [again[i] for i in range(50)] == ROWS[:50]
    assert open_files() == before + 1
    del again
    assert open_files() == before


def test_a_file_with_fewer_lines_is_named(file: ExamplesFile) -> None:
    short = ExamplesFile(file.path, len(ROWS) + 1)
    for read in (lambda: short[0], lambda: [*short]):
        with pytest.raises(UserError, match="200 lines of 201"):
            read()
