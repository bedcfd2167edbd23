"""The run folder: whole files or none, one writer, and words for what goes wrong."""

import errno
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from tailorbird.errors import UserError
from tailorbird.records import Example, Finding, Split
from tailorbird.runs import folder as folders
from tailorbird.runs.atomic import check_space, write_atomically, writing
from tailorbird.runs.environment import describe, peak_memory_bytes
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.runs.saved_split import has_split, load_split, save_split

# --- whole or not at all ---------------------------------------------------------------------


def test_a_kill_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    run.write("a.txt", "old")

    class Killed(BaseException):
        pass

    def killed(_: int) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "fsync", killed)
        run.write("a.txt", "new" * 1000)
    assert (tmp_path / "a.txt").read_text() == "old"
    run.write("a.txt", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_run_of_which_nothing_came_leaves_no_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.start(resume=False)
    with pytest.raises(ZeroDivisionError), run.locked(forget=True):
        raise ZeroDivisionError
    assert not run.path.exists()
    run.start(resume=False)
    with pytest.raises(ZeroDivisionError), run.locked(forget=True):
        run.write("kept.txt", "kept")
        raise ZeroDivisionError
    assert [p.name for p in run.path.iterdir()] == ["kept.txt"]


def test_a_folder_takes_its_name_only_when_it_is_full(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.new_folder("model") as part:
        (part / "weights").write_text("old")
    with pytest.raises(ZeroDivisionError), run.new_folder("model") as part:
        (part / "weights").write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "model" / "weights").read_text() == "old"
    with run.new_folder("model") as part:
        assert list(part.iterdir()) == [], "nothing of the failed try is left"
        (part / "weights").write_text("new")
    assert (tmp_path / "model" / "weights").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert run.size_bytes("model") == 3


def test_rows_are_read_up_to_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_rows("rows.jsonl", [{"a": "é"}, {"a": 2}, {"a": 3}])
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"a": ')
    assert run.read_rows("rows.jsonl") == [{"a": "é"}, {"a": 2}, {"a": 3}]
    assert run.read_rows("nothing.jsonl") == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(UserError, match="report.json is damaged"):
        RunFolder(tmp_path).read_json("report.json")


def test_missing_json_says_what_is_there_instead(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(UserError, match="has no report.json") as caught:
        run.read_json("report.json")
    assert "tailor tune" in caught.value.fix
    run.write(CONFIG, "")
    with pytest.raises(UserError) as caught:
        run.read_json("report.json")
    assert "--resume" in caught.value.fix
    with pytest.raises(UserError) as caught:
        RunFolder(tmp_path / "no").read_json("report.json")
    assert "no such folder" in caught.value.fix


# --- one run, one writer ---------------------------------------------------------------------


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new" / "deep").start(resume=False)
    assert (tmp_path / "new" / "deep").is_dir()
    RunFolder(tmp_path / "new" / "deep").start(resume=False)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="other files .*notes.txt"):
        RunFolder(tmp_path).start(resume=False)
    with pytest.raises(UserError, match="holds no run to resume"):
        RunFolder(tmp_path).start(resume=True)
    (tmp_path / CONFIG).write_text("")
    with pytest.raises(UserError, match="it holds a run") as caught:
        RunFolder(tmp_path).start(resume=False)
    assert "--resume" in caught.value.fix
    RunFolder(tmp_path).start(resume=True)
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "notes.txt").start(resume=False)


def _hold(path: str, held: Any, go: Any) -> None:
    with RunFolder(path).locked():
        held.set()
        go.wait(60)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, go))
    other.start()
    assert held.wait(60)
    second = RunFolder(tmp_path).locked()
    with pytest.raises(UserError, match="in use by another tailor process"), second:
        pytest.fail("two writers")
    other.kill()  # even SIGKILL frees the lock
    other.join(60)
    with RunFolder(tmp_path).locked():
        RunFolder(tmp_path).write("a.txt", "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_lock_left_by_a_kill_is_no_content(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("")
    RunFolder(tmp_path).start(resume=False)


# --- the disk --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left"),
        (RuntimeError("I/O error: File too large (os error 27)"), "no space left"),
        (RuntimeError("I/O error: Permission denied (os error 13)"), "Permission denied"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 6"), "no space"),
    ],
)
def test_faults_of_the_disk_become_words(error: Exception, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught, writing(tmp_path / "weights"):
        raise error
    assert words in str(caught.value)
    assert str(tmp_path / "weights") in str(caught.value)
    assert "--output" in caught.value.fix


def test_a_folder_that_could_not_be_filled_takes_no_room(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.new_folder("model") as folder:
        (folder / "weights").write_bytes(b"good")
    with pytest.raises(UserError, match="no space left"), run.new_folder("model") as folder:
        (folder / "weights").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == [
        "model",
        "model/weights",
    ]
    assert (tmp_path / "model" / "weights").read_bytes() == b"good"


def test_faults_of_ours_stay_ours(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(UserError, match="mine"), writing(tmp_path):
        raise UserError("mine")


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "a.txt", b"")


def test_space_is_asked_for_beforehand(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(UserError, match="no space left for the run"):
        check_space(tmp_path / "not" / "yet", 10**18)


# --- what is kept ----------------------------------------------------------------------------


def test_a_split_reads_back_as_it_was(tmp_path: Path) -> None:
    parts = [tuple(Example(f"text\n{p} “{i}”", "ab"[i % 2], i) for i in range(4)) for p in "xyz"]
    finding = Finding("overlap", "warning", "a message", 2, ("one", "two"))
    split = Split(*parts, labels=("a", "b"), how="given files", findings=(finding,))
    run = RunFolder(tmp_path)
    assert not has_split(run)
    save_split(run, split, "train.csv", {"text": "t", "label": "l"})
    assert has_split(run)
    assert load_split(run) == (split, "train.csv", {"text": "t", "label": "l"})


def test_a_split_cut_off_by_a_kill_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    split = Split((Example("a", "x"),), (), (), ("x",))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        save_split(run, split, "train.csv", {})
    assert not has_split(run)


def test_the_environment_is_told_in_plain_values() -> None:
    import importlib.metadata

    facts = describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert facts["machine"]["memory_bytes"] > 10**8


def test_peak_memory_is_in_bytes() -> None:
    import psutil

    now = psutil.Process().memory_info().rss
    assert now * 0.5 < peak_memory_bytes() < now * 50


def test_the_names_of_files_do_not_collide() -> None:
    names = [getattr(folders, name) for name in dir(folders) if name.isupper()]
    assert len(names) == len(set(names))


def test_a_seed_takes_the_place_of_the_first(tmp_path: Path) -> None:
    arm = RunFolder(tmp_path / "lora")
    for place, word in (("", "one"), ("seeds/2/", "two"), ("seeds/3/", "three")):
        arm.write(f"{place}arm.json", word)
        arm.write(f"{place}model/weights", word)
    arm.write("search/plan.json", "of the arm")
    arm.exchange_seed("1", "3")
    assert (arm.file("search") / "plan.json").read_text() == "of the arm"
    arm.file("search/plan.json").unlink()
    files = {
        str(p.relative_to(arm.path)): p.read_text() for p in arm.path.rglob("*") if p.is_file()
    }
    words = {"": "three", "seeds/1/": "one", "seeds/2/": "two"}
    assert files == {
        f"{place}{name}": word for place, word in words.items()
        for name in ("arm.json", "model/weights")
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["lora"]
