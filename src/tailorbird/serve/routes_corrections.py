"""Routes of corrected labels: used at once by retrieval runs, else saved as training data."""

import asyncio
import json
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.runs.folder import CORRECTIONS
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.request_bodies import CorrectionBody
from tailorbird.serve.routes_predictions import pick_labels
from tailorbird.serve.served_models import HeadModel

router = APIRouter()
MOST = 1000
"""The number of corrections that can be undone."""


@router.post("/v1/corrections")
async def correct(body: CorrectionBody, request: Request) -> Response:
    """Save the right label of a text.

    A retrieval run uses it from the next request until the server stops; any other run appends it
    to `corrections.jsonl` in its folder, as a row for the next training. `learnt` and `message` say
    which; `id` undoes it. Errors: 400 if the label is not one of the run's or the text is empty,
    404 unknown model, 409 if the run's folder cannot be written.
    """
    entry, model = pick_labels(request, body.model, "classification", "multilabel")
    if body.label not in model.labels:
        raise refuse("this is not a label of the run", "label")
    if not body.text.strip():
        raise refuse("the text is empty", "text", "empty")
    add = request.app.state.corrections.add
    return JSONResponse(await asyncio.to_thread(add, entry.name, model, body.text, body.label))


@router.delete("/v1/corrections/{identity}")
async def undo(identity: str, request: Request) -> Response:
    """Undo a correction; 404 if there is none of this id, or it is already undone."""
    await asyncio.to_thread(request.app.state.corrections.undo, identity)
    return JSONResponse({"id": identity, "deleted": True})


@dataclass(frozen=True)
class _Correction:
    model: HeadModel
    line: str
    text: str
    label: str


class Corrections:
    """The corrections since the server's start, each with its undo."""

    def __init__(self) -> None:
        self._all: dict[str, _Correction] = {}
        self._guard = threading.Lock()

    def add(self, name: str, model: HeadModel, text: str, label: str) -> dict[str, Any]:
        """Apply or save a text's correct label; return which.

        Raises:
            RequestFault: The run's folder cannot be written.
        """
        identity = uuid.uuid4().hex
        line = json.dumps({"text": text, "label": label, "id": identity}, ensure_ascii=False)
        with self._guard:
            if model.learn is not None:
                model.learn(text, label)
                message = f"{name} uses this correction until the server stops."
            else:
                _append(model.folder / CORRECTIONS, line)
                message = (
                    f"{name} learns only by training: the correction is saved in its "
                    f"{CORRECTIONS} for the next training."
                )
            self._all[identity] = _Correction(model, line, text, label)
            while len(self._all) > MOST:
                del self._all[next(iter(self._all))]
        at_once = model.learn is not None
        return {"id": identity, "model": name, "learnt": at_once, "message": message}

    def undo(self, identity: str) -> None:
        """Undo a correction.

        Raises:
            RequestFault: It is unknown, or already undone.
        """
        with self._guard:
            correction = self._all.pop(identity, None)
            if correction is None:
                raise RequestFault(404, "there is no such correction", "id", "no_correction")
            model = correction.model
            if model.unlearn is not None:
                model.unlearn(correction.text, correction.label)
            else:
                _without(model.folder / CORRECTIONS, correction.line)


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        why = f"the run's folder cannot be written: {error.strerror}"
        raise RequestFault(409, why, code="read_only") from None


def _without(path: Path, line: str) -> None:
    rows = [row for row in path.read_text(encoding="utf-8").split("\n") if row]
    fresh = path.with_name(f".{path.name}.part")
    fresh.write_text("".join(f"{row}\n" for row in rows if row != line), encoding="utf-8")
    fresh.replace(path)
