"""Routes of the playground: its files, a run's evidence, disagreements of two runs."""

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.errors import UserError
from tailorbird.runs.checked_files import read_rows
from tailorbird.runs.finished_run import read_report
from tailorbird.runs.folder import PREDICTIONS, REPORT, RunFolder
from tailorbird.serve.error_responses import RequestFault
from tailorbird.serve.model_registry import head_of, writer_of
from tailorbird.serve.request_execution import registry_of

router = APIRouter()
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGE = files("tailorbird.serve") / "playground"
_FILES = {entry.name for entry in _PAGE.iterdir()}
MOST_ROWS = 50
"""The most listed examples on which two runs disagree."""


def _file(name: str) -> Response:
    if name not in _FILES:
        raise RequestFault(404, "there is no such file")
    kind = _KINDS[name.rpartition(".")[2]]
    headers = {"cache-control": "no-cache"}
    return Response((_PAGE / name).read_bytes(), media_type=kind, headers=headers)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Return the playground."""
    return _file("index.html")


@router.get("/playground/{name}", include_in_schema=False)
async def page_file(name: str) -> Response:
    """Return one of the playground's files."""
    return _file(name)


@router.get("/v1/evidence/{name:path}")
async def evidence(name: str, request: Request) -> Response:
    """Return a run's test score with its 95 % interval, its calibration, and its cost.

    `calibration` has, for each range of confidence, the mean confidence, the accuracy and the
    number of test examples. Cost is the seconds of training and the milliseconds per prediction.
    404 if no run has this name.
    """
    registry = registry_of(request)
    entry = registry.entries.get(name)
    model = None if entry is None else head_of(entry) or writer_of(entry)
    folder = None if model is None else model.folder
    if folder is None:
        raise RequestFault(404, "there is no run of this name", "name", "no_run")
    return JSONResponse(await asyncio.to_thread(evidence_of, folder))


@router.get("/v1/disagreements")
async def disagree(first: str, second: str, request: Request) -> Response:
    """List the test examples for which two runs of one comparison predict different labels.

    Returns the number of differences (`total`), the number of examples, and up to 50 differences
    with text, true label and both predictions, highest confidence first. Errors: 400 if the two
    were not tested on the same examples, 404 unknown model.
    """
    folders = []
    for name in (first, second):
        _, model = registry_of(request).pick(name, head_of, "of labels")
        folders.append(model.folder)
    return JSONResponse(await asyncio.to_thread(disagreements, *folders))


# --- what a run's folder says of it ---------------------------------------------------------


def evidence_of(arm: Path) -> dict[str, Any]:
    """Return an arm's headline score with its interval, calibration and costs.

    Raises:
        UserError: Its report is missing or damaged.
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

    Examples with the most confident predictions come first.

    Raises:
        UserError: The arms were tested on different examples.
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
