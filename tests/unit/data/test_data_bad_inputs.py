"""Every case of the shared table, through reading, splitting and checking."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from bad_inputs import BAD_FILES, GOOD, BadFile
from tailorbird.data.check import check_split
from tailorbird.data.read import read_parts
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.records import Split


def prepare(arguments: list[str]) -> Split:
    parser = ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--text")
    parser.add_argument("--label")
    parser.add_argument("--overlap", default="drop")
    parser.add_argument("--drop-missing", action="store_true")
    asked = vars(parser.parse_args(arguments))
    overlap = asked.pop("overlap")
    parts = read_parts(asked.pop("train"), **asked, task="auto")
    split = make_split(*parts, validation_share=0.1, test_share=0.2, seed=13)
    return check_split(split, overlap=overlap)


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda case: case.name)
def test_fault_is_named_and_has_a_fix(
    case: BadFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = case.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        prepare(arguments)
    message = str(caught.value)
    for fragment in case.expect:
        assert fragment in message
    problems = 1 if "problems:" not in message else int(message.split()[0])
    assert message.count("\n  fix: ") == problems
    assert len(message) < 2000, "a message a person reads"


def test_the_table_is_large_and_its_names_differ() -> None:
    assert len(BAD_FILES) >= 30
    assert len({case.name for case in BAD_FILES}) == len(BAD_FILES)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(GOOD)
    split = prepare([str(path)])
    assert [len(split.train), len(split.validation), len(split.test)] == [14, 2, 4]
