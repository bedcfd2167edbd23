"""What a run's folder says of it: how good it was on its test, and where two runs disagree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailorbird.errors import UserError
from tailorbird.runs.files import read_rows
from tailorbird.runs.folder import PREDICTIONS, REPORT, RunFolder
from tailorbird.runs.read_run import read_report

MOST_ROWS = 50


def evidence_of(arm: Path) -> dict[str, Any]:
    """Return an arm's headline score with its interval, calibration and costs.

    Raises:
        UserError: There is no report of it, or it is damaged.
    """
    folder = arm if (arm / REPORT).is_file() else arm.parent.parent
    report = read_report(RunFolder(folder))
    names = [a for a in report.arms if a.name == arm.name] if folder != arm else report.arms[:1]
    if not names:
        raise UserError(f"the report has no arm {arm.name}", "compare again")
    entry = names[0]
    score = entry.test.get(report.headline)
    return {
        "headline": report.headline,
        "score": score and {"value": score.value, "low": score.low, "high": score.high},
        "calibration": [
            {"confidence": b.confidence, "accuracy": b.accuracy, "count": b.count}
            for b in entry.calibration
        ],
        "ms_per_example": entry.cost.predict_ms_per_example,
        "train_seconds": entry.cost.train_seconds,
    }


def disagreements(first: Path, second: Path) -> dict[str, Any]:
    """Return the test examples on which two arms of one comparison disagree.

    Those come first that one of them is surest of.

    Raises:
        UserError: They were not tested on the same examples.
    """
    one, other = dict(_rows(first)), dict(_rows(second))
    shared = [key for key in one if key in other and one[key]["text"] == other[key]["text"]]
    if not shared:
        raise UserError("these two were not tested on the same examples", "compare them first")
    apart = [key for key in shared if one[key]["predicted"] != other[key]["predicted"]]
    apart.sort(key=lambda key: -max(_confidence(one[key]), _confidence(other[key])))
    data = [
        {
            "text": one[key]["text"], "label": _words(one[key]["label"]),
            "first": _words(one[key]["predicted"]), "second": _words(other[key]["predicted"]),
        }
        for key in apart[:MOST_ROWS]
    ]  # fmt: skip
    return {"total": len(apart), "examples": len(shared), "data": data}


def _rows(arm: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    path = arm / PREDICTIONS
    if not path.is_file():
        raise UserError("a run has no predictions of its test", "compare or evaluate it")
    for row in read_rows(path, dict[str, Any]):
        if {"row", "text", "label", "predicted"} <= set(row):
            yield row["row"], row


def _confidence(row: dict[str, Any]) -> float:
    value = row.get("confidence")
    return float(value) if isinstance(value, int | float) else 0.0


def _words(label: Any) -> str:
    return ", ".join(map(str, label)) if isinstance(label, list) else str(label)
