"""Output replaces no device, follows no link, and is no formula to a spreadsheet."""

import csv
import io
import os
import threading
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.runs.atomic import output_file, part_file, write_atomically
from tailorbird.runs.checked_files import csv_text
from tailorbird.runs.folder import LOCK, RunFolder


def write_output(path: Path, data: bytes) -> None:
    with output_file(path) as file:
        file.write(data)


def test_what_fails_midway_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(ZeroDivisionError), output_file(tmp_path / "out.csv") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert (tmp_path / "out.csv").read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv"]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"answers")
    reader.join(5)
    assert heard == [b"answers"] and pipe.is_fifo()


@pytest.mark.parametrize("place", ["/proc/self/fd/{}", "/dev/fd/{}", "/proc/thread-self/fd/{}"])
def test_a_link_to_an_open_stream_of_ours_is_followed(place: str, tmp_path: Path) -> None:
    ends = os.pipe()
    link = tmp_path / "out"
    link.symlink_to(place.format(ends[1]))
    write_output(link, b"answers")
    assert os.read(ends[0], 100) == b"answers" and link.is_symlink()
    for end in ends:
        os.close(end)


def test_a_stream_into_a_file_is_appended_to(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.write(b"before ")
        file.flush()
        write_output(Path(f"/dev/fd/{file.fileno()}"), b"answers")
    assert (tmp_path / "log").read_bytes() == b"before answers"


def test_other_links_are_replaced(tmp_path: Path) -> None:
    mine, pipe = tmp_path / "mine", tmp_path / "pipe"
    mine.write_text("mine")
    os.mkfifo(pipe)
    for target in (mine, pipe, tmp_path / "nowhere"):
        link = tmp_path / "out.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_output(link, b"answers")
        assert link.read_bytes() == b"answers" and not link.is_symlink()
    assert mine.read_text() == "mine" and pipe.is_fifo()


def test_nothing_is_written_through_links_laid_in_the_way(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for name in (".a.csv.part", "a.csv", ".model.part", ".model.old", LOCK):
        run.file(name).symlink_to(mine)
    write_atomically(run.file("a.csv"), b"new")
    assert run.file("a.csv").read_bytes() == b"new"
    with run.new_folder("model") as part:
        (part / "weights").write_text("w")
    with run.new_folder("model") as part:
        (part / "weights").write_text("w")
    with pytest.raises(UserError, match="cannot be written"), run.locked():
        pass
    assert mine.read_text() == "mine"
    assert (run.path / "model" / "weights").read_text() == "w"


def test_part_files_are_new_and_as_open_as_others(tmp_path: Path) -> None:
    first, second = part_file(tmp_path / "a"), part_file(tmp_path / "a")
    assert first != second and first.parent == tmp_path
    plain = tmp_path / "plain"
    plain.touch()
    assert first.stat().st_mode == plain.stat().st_mode
    assert len(part_file(tmp_path / ("long" * 60)).name) < 255


def test_cells_that_a_spreadsheet_would_run_are_words() -> None:
    risky = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1"]
    risky += ["\uff1d1", "-good", "+1-555-1234"]
    plain = ["-3.5", "+2", "-1e-5", "-3,5", "-12 %", ".5", "-", "--", "a=b", "x@y", "", "'=1"]
    text = csv_text(["=head", "n"], [[cell, -1.5] for cell in risky + plain])
    (head, *rows) = csv.reader(io.StringIO(text, newline=""))
    assert head == ["'=head", "n"]
    assert [row[0] for row in rows] == [f"'{cell}" for cell in risky] + plain
    assert {row[1] for row in rows} == {"-1.5"}
    raw = csv.reader(io.StringIO(csv_text(["a"], [[cell] for cell in risky], raw=True), newline=""))
    assert [cell for (cell,) in raw] == ["a", *risky]
