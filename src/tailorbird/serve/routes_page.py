"""Routes of the playground: its files, evidence, disagreements, corrections."""

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.errors import UserError
from tailorbird.runs.files import read_rows
from tailorbird.runs.folder import PREDICTIONS, REPORT, RunFolder
from tailorbird.runs.read_run import read_report
from tailorbird.serve.app import registry_of
from tailorbird.serve.corrections import Corrections
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.model_registry import head_of, writer_of
from tailorbird.serve.request_bodies import Body, Name, Words
from tailorbird.serve.routes_labels import need_labels

router = APIRouter()
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGE = files("tailorbird.serve") / "page"
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
    """Say how good a run was on its test, how well calibrated, and what it cost."""
    registry = registry_of(request)
    entry = registry.entries.get(name)
    model = None if entry is None else head_of(entry) or writer_of(entry)
    folder = None if model is None else model.folder
    if folder is None:
        raise RequestFault(404, "there is no run of this name", "name", "no_run")
    return JSONResponse(await asyncio.to_thread(evidence_of, folder))


@router.get("/v1/disagreements")
async def disagree(first: str, second: str, request: Request) -> Response:
    """List the test examples on which two runs disagree, those first that one is surest of."""
    folders = []
    for name in (first, second):
        _, model = registry_of(request).pick(name, head_of, "of labels")
        folders.append(model.folder)
    return JSONResponse(await asyncio.to_thread(disagreements, *folders))


class CorrectionBody(Body):
    """`POST /v1/corrections`."""

    model: Name
    text: Words
    label: Words


def _corrections(request: Request) -> Corrections:
    state = request.app.state
    if not hasattr(state, "corrections"):
        state.corrections = Corrections()
    corrections: Corrections = state.corrections
    return corrections


@router.post("/v1/corrections")
async def correct(body: CorrectionBody, request: Request) -> Response:
    """Take what is right of a text.

    A retrieval arm knows it from the next request on; for others it is kept as training data.
    """
    entry, model = registry_of(request).pick(body.model, head_of, "of labels")
    need_labels(model, ("classification", "multilabel"))
    if body.label not in model.labels:
        raise refuse("this is not a label of the run", "label")
    if not body.text.strip():
        raise refuse("the text is empty", "text", "empty")
    outcome: dict[str, Any] = await asyncio.to_thread(
        _corrections(request).add, entry.name, model, body.text, body.label
    )
    return JSONResponse(outcome)


@router.delete("/v1/corrections/{identity}")
async def undo(identity: str, request: Request) -> Response:
    """Take a correction back."""
    await asyncio.to_thread(_corrections(request).undo, identity)
    return JSONResponse({"id": identity, "deleted": True})


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
