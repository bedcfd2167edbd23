"""What answers without looking at the text: read from a run's folder, or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailorbird.arms.constant import ConstantSource
from tailorbird.errors import UserError
from tailorbird.records import Target
from tailorbird.runs.folder import MODEL, RunFolder

LABELS = Target("classification", ("no", "yes"))
WORDS = Target("tokens", ("LOC", "O"))


def saved(folder: Path, plain: Any) -> RunFolder:
    (folder / MODEL).mkdir(exist_ok=True)
    (folder / MODEL / "majority.json").write_text(json.dumps(plain))
    return RunFolder(folder)


def test_shares_and_words(tmp_path: Path) -> None:
    shares = ConstantSource(saved(tmp_path, {"no": 0.25, "yes": 0.75}), LABELS)
    np.testing.assert_array_equal(shares.probabilities(["a", "b"]), [[0.25, 0.75]] * 2)
    known = {"other": "O", "words": {"Paris": "LOC"}}
    words = ConstantSource(saved(tmp_path, known), WORDS)
    assert words.probabilities([("in", "Paris")]).argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("plain", "target"),
    [
        ({"no": 0.5}, LABELS),
        ({"yes": 0.5, "no": 0.5}, LABELS),
        ({"no": "much", "yes": 0.5}, LABELS),
        ({"no": 10**400, "yes": 0.5}, LABELS),
        ({"no": float("nan"), "yes": 0.5}, LABELS),
        ([0.5, 0.5], LABELS),
        ({"other": "O"}, WORDS),
        ({"other": "PER", "words": {}}, WORDS),
        ({"other": "O", "words": {"Paris": ["LOC"]}}, WORDS),
        ({"other": "O", "words": ["Paris"]}, WORDS),
    ],
)
def test_what_is_none_is_the_files_fault(tmp_path: Path, plain: Any, target: Target) -> None:
    with pytest.raises(UserError, match=r"majority\.json"):
        ConstantSource(saved(tmp_path, plain), target)
