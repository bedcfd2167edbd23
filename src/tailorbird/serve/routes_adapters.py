"""Routes that load and unload runs while others are served, in vLLM's format."""

import asyncio
import gc
from functools import partial
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.request_bodies import LoadBody, UnloadBody
from tailorbird.serve.request_execution import registry_of
from tailorbird.serve.served_models import open_run
from tailorbird.serve.supervised_queue import in_own_thread

router = APIRouter()
_TAKEN = "InvalidUserInput"


@router.post("/v1/load_lora_adapter")
async def load(body: LoadBody, request: Request) -> Response:
    """Load a run from the folder `serve.adapters` and serve it under a name.

    `lora_path` is the run's folder, relative to `serve.adapters`; the run may be of any method and
    task. With `load_inplace` it replaces the model of this name, which serves until the new one is
    loaded. If the run cannot be loaded, nothing changes. Returns a line of text. Errors: 400 if
    there is no such run, it is damaged, or the name is in use; 403 if `serve.adapters` is not set.
    """
    registry = registry_of(request)
    place = _place(registry, body.lora_path)
    if body.lora_name in registry.entries and not body.load_inplace:
        raise refuse("this name is in use: set load_inplace, or unload it", "lora_name", _TAKEN)
    async with registry.opening:
        opening = in_own_thread(partial(open_run, place, registry.weights))
        model = await asyncio.wrap_future(opening)
        registry.add(body.lora_name, model)
        gc.freeze()  # see `uvicorn_server.serve`
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@router.post("/v1/unload_lora_adapter")
async def unload(body: UnloadBody, request: Request) -> Response:
    """Stop serving a model; its pending requests are still answered.

    Returns a line of text. Errors: 403 if `serve.adapters` is not set, 404 unknown model.
    """
    registry = registry_of(request)
    _root(registry)
    registry.remove(body.lora_name)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def _root(registry: ModelRegistry) -> Path:
    root = registry.limits.adapters
    if root is None:
        raise RequestFault(403, "loading runs is disabled: serve.adapters names no folder")
    return Path(root).expanduser().resolve()


def _place(registry: ModelRegistry, folder: str) -> Path:
    """Return a folder below the allowed one, with links resolved."""
    root = _root(registry)
    try:
        place = (root / folder).resolve()
        there = place.is_relative_to(root) and place != root and place.is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        raise refuse("there is no such run below serve.adapters", "lora_path")
    return place
