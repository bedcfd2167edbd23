"""The trainings of a learning curve: which rows they have, and what becomes of one that fails."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tailorbird.config import Config
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.learning_curve import CurvePlace, check_curve, curve_arm, learning_curve
from tailorbird.records import Example, Split
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.saved_split import save_split


def split_of(count: int, group: Callable[[int], str | None] = lambda row: None) -> Split:
    examples = tuple(
        Example(row=row, text=f"text {row}", label="ab"[row % 4 == 0], group=group(row))
        for row in range(count)
    )
    return Split(train=examples, validation=examples[:8], test=examples[:8], labels=("a", "b"))


class Runs:
    """Stands for a scheduler: keeps what it was to run, and ends each with one exit code."""

    jobs = 1

    def __init__(self, code: int) -> None:
        self.code, self.folders = code, list[Path]()

    def map(self, work: Callable[[int], RunFolder], items: range) -> list[RunFolder]:
        return [work(item) for item in items]

    def run(self, module: str, run: str, folder: str) -> int:
        self.folders.append(Path(folder))
        return self.code


def place(tmp_path: Path, split: Split, code: int) -> tuple[CurvePlace, Runs]:
    folder, runs = RunFolder(tmp_path / "run"), Runs(code)
    save_split(folder, split, "rows", {})
    return CurvePlace(folder, runs), runs  # type: ignore[arg-type]


def test_a_training_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    split = split_of(64)
    at, runs = place(tmp_path, split, -9)
    with pytest.raises(UserError, match="probe on 64 examples failed: the system ended it.*memory"):
        learning_curve(Config(), split, at, "probe")
    (folder,) = runs.folders
    assert len(json.loads((folder / "job.json").read_text())["rows"]) == 64


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    split = split_of(64)
    at, _ = place(tmp_path, split, Interrupted.exit_code)
    with pytest.raises(Interrupted):
        learning_curve(Config(), split, at, "probe")


def test_parts_keep_the_shares_and_whole_groups() -> None:
    from tailorbird.flows.learning_curve import _order

    plain = split_of(64)
    rows = _order(plain.train, "classification", 3)[:16]
    assert Counter(plain.train[row].label for row in rows) == {"a": 12, "b": 4}
    grouped = split_of(64, lambda row: f"group {row // 4}")
    rows = _order(grouped.train, "classification", 3)[:16]
    assert Counter(Counter(grouped.train[row].group for row in rows).values()) == {4: 4}


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("prob", 64, "no arm 'prob'.*did you mean 'probe'"),
        ("majority", 20, "20 training examples are too few for a learning curve: a quarter"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(name: str, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_curve(name, split_of(count))


def test_the_usual_arm_is_the_cheapest_that_suits() -> None:
    assert curve_arm("auto", "classification") == "probe"
    assert curve_arm("auto", "generation") == "lora"
