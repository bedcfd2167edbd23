"""A user's metric: found, called, and every way it can fail told."""

from pathlib import Path

import numpy as np
import pytest

from tailorbird.errors import UserError
from tailorbird.metrics.custom_metric import is_custom, load_custom


def write(folder: Path, code: str) -> str:
    (folder / "mine.py").write_text(code, encoding="utf-8")
    return f"{folder / 'mine.py'}:score"


def test_it_is_called_in_order(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR = 10\n")
    asked = write(
        tmp_path,
        "from dataclasses import dataclass\nfrom beside import FACTOR\n"
        "@dataclass\nclass Row:\n    n: int\n"
        "def score(output, reference, prompt):\n"
        "    return FACTOR * Row(len(output)).n + len(reference) + len(prompt) / 10\n",
    )
    metric = load_custom(asked)
    assert metric.name == "score"
    np.testing.assert_allclose(metric.score(["abc", ""], ["x", "xy"], ["p", "ppp"]), [31.1, 2.3])


@pytest.mark.parametrize("value", ["True", "numpy.float32(1)", "numpy.array(1)", "1"])
def test_any_number_is_a_number(value: str, tmp_path: Path) -> None:
    asked = write(tmp_path, f"import numpy\ndef score(o, r, p): return {value}\n")
    assert load_custom(asked).score(["o"], ["r"], ["p"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def score(o, r, p): return float('nan')", "returned 'nan' on row 7"),
        ("def score(o, r, p): return None", "returned 'None' on row 7"),
        ("def score(o, r, p): return '1'", "on row 7"),
        ("import numpy\ndef score(o, r, p): return numpy.ones(2)", "on row 7"),
        ("def score(o, r, p): return 1 / 0", "failed on row 7: ZeroDivisionError"),
        ("def score(o): return 1", "failed on row 7: TypeError"),
    ],
)
def test_what_it_returns_is_checked(code: str, words: str, tmp_path: Path) -> None:
    metric = load_custom(write(tmp_path, code))
    with pytest.raises(UserError, match=words):
        metric.score(["o"], ["r"], ["p"], rows=[7])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def scores(): pass", r"no function 'score' \(did you mean 'scores'\?\)"),
        ("score = 3", "no function 'score'"),
        ("def score(:", "line 1 cannot be run: SyntaxError"),
        ("import not_there_at_all", "cannot be run: ModuleNotFoundError"),
    ],
)
def test_files_that_do_not_hold_it(code: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        load_custom(write(tmp_path, code))


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    asked = write(tmp_path, "def score(o, r, p): return 1")
    with pytest.raises(UserError, match=r"does not exist \(did you mean 'mine.py'\?\)"):
        load_custom(asked.replace("mine", "mime"))
    for wrong in ("mine.py", "mine.txt:score", "mine.py:", "mine.py:a b"):
        with pytest.raises(UserError, match="FILE.py:FUNCTION"):
            load_custom(wrong)
    with pytest.raises(UserError, match="a score of that name"):
        load_custom(asked.replace(":score", ":token_f1"))


def test_what_names_a_file() -> None:
    assert [is_custom(a) for a in ("auto", "token_f1", "m.py:f", "m.py")] == [
        False,
        False,
        True,
        True,
    ]
