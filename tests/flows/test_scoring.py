"""What a report says of parts of the test, and what outputs mean where several models made them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tailorbird.arms.registry import get_arm
from tailorbird.config import load_config
from tailorbird.flows.prepare import Prepared
from tailorbird.flows.tune import run_folds
from tailorbird.records import ArmReport, Example, Split, Target
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.head_scoring import load_target, save_target, score_arm
from tailorbird.tasks.registry import head_task


def test_slices_by_class_length_and_group() -> None:
    labels = ("a", "b")
    rows = [
        Example("long " * 30 if i % 2 else "short", labels[i // 2 % 2], i + 1) for i in range(160)
    ]
    rows = [replace(e, group="site 1" if i < 50 else "site 2") for i, e in enumerate(rows)]
    outputs = np.zeros((160, 2), dtype=np.float32)
    for i, row in enumerate(rows):
        right = labels.index(str(row.label))
        outputs[i, right if row.group == "site 2" or i % 3 else 1 - right] = 1.0
    split = Split((), tuple(rows), tuple(rows), labels)
    target = Target("classification", labels)
    report = score_arm(ArmReport("x", "ok"), outputs, outputs, split, 1, target)
    found = {part.name: part for part in report.slices}
    assert [name for name, part in found.items() if part.worse] == ["group: site 1"]
    assert found["group: site 1"].count == 50
    assert found["group: site 1"].loss == np.mean([i % 3 == 0 for i in range(50)])
    assert {"class: a", "class: b"} < found.keys()
    assert any(name.startswith("long texts (30 words") for name in found)


def test_a_run_with_one_threshold_for_all_labels_answers_as_it_did(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    plain = {"task": "multilabel", "labels": ["a", "b", "c"], "mean": [], "deviation": []}
    (tmp_path / "target.json").write_text(json.dumps(plain | {"threshold": 0.06, "pairs": False}))
    target = load_target(folder)
    assert target == Target("multilabel", ("a", "b", "c"), thresholds=(0.06, 0.06, 0.06))
    outputs = np.asarray([0.06, 0.05999, 0.7], dtype=np.float32)
    assert head_task("multilabel").row(outputs, target)["predicted"] == ["c", "a"]
    save_target(folder, target)
    assert load_target(folder) == target
    plain |= {"task": "classification", "threshold": 0.5}
    (tmp_path / "target.json").write_text(json.dumps(plain))
    assert load_target(folder) == Target("classification", ("a", "b", "c"))


def test_rows_of_a_fold_are_judged_by_its_own_thresholds(tmp_path: Path) -> None:
    sets = [("a",) * (i % 3 > 0) + ("b",) * (i % 4 == 0) + ("c",) * (i % 7 == 0) for i in range(90)]
    rows = tuple(Example(f"t {i}", ", ".join(own), i + 1, labels=own) for i, own in enumerate(sets))
    split = Split(rows[:60], rows[60:75], rows[75:], ("a", "b", "c"), task="multilabel")
    flags = {"data.folds": 2, "output": str(tmp_path)}
    config = load_config(flags=flags)
    columns, run = {"text": "text", "label": "label"}, RunFolder(tmp_path)
    prepared = Prepared(config, split, "rows", columns)
    _, _, places = run_folds(prepared, run, get_arm("constant").run)
    first = replace(load_target(places[0]), thresholds=(0.005, 0.95, 0.95))
    save_target(places[0], first)
    save_target(places[1], replace(first, thresholds=(0.95, 0.005, 0.95)))
    pooled, arm, _ = run_folds(prepared, run, get_arm("constant").run)
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    said = {row["row"]: row["predicted"] for row in map(json.loads, lines)}
    half = sum(1 for _ in pooled.split.test) // 2
    tested = [e.row for e in pooled.split.test]
    assert sorted(tested) == list(range(1, 91))
    assert [said[row] for row in tested] == [["a"]] * half + [["b"]] * half
    truth, given = (
        [[label in own for label in "abc"] for own in each]
        for each in ([e.labels for e in pooled.split.test], [said[row] for row in tested])
    )
    expected = metrics.f1_score(truth, given, average="macro", zero_division=0)
    assert arm.test["macro_f1"].value == pytest.approx(expected)
    assert arm.validation and arm.seeds == ()
    assert all(error.predicted in ("a", "b") for error in arm.errors)
