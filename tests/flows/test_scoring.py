"""What a report says of parts of the test."""

from dataclasses import replace

import numpy as np

from tailorbird.flows.scoring import score_arm
from tailorbird.records import ArmReport, Example, Split, Target


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
