"""The playground's files, and what it asks besides: evidence, disagreements, corrections."""

import asyncio
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.serve.app import catalogue_of
from tailorbird.serve.catalogue import head_of, writer_of
from tailorbird.serve.corrections import Corrections
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.request_bodies import Body, Name, Words
from tailorbird.serve.routes_labels import need_labels
from tailorbird.serve.run_evidence import disagreements, evidence_of

router = APIRouter()
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGE = files("tailorbird.serve") / "page"
_FILES = {entry.name for entry in _PAGE.iterdir()}


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
    catalogue = catalogue_of(request)
    entry = catalogue.entries.get(name)
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
        _, model = catalogue_of(request).pick(name, head_of, "of labels")
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
    entry, model = catalogue_of(request).pick(body.model, head_of, "of labels")
    need_labels(model, ("classification", "multilabel"))
    if body.label not in model.labels:
        raise refuse("this is none of the run's labels", "label")
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
