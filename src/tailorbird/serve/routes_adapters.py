"""Routes that load and unload runs while others are served, in vLLM's format."""

import asyncio
import gc
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field, StrictBool
from starlette.responses import PlainTextResponse, Response

from tailorbird.serve.app import registry_of
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.request_bodies import Body, Name
from tailorbird.serve.supervised_queue import in_own_thread

router = APIRouter()
_TAKEN = "InvalidUserInput"


class LoadBody(Body):
    """`POST /v1/load_lora_adapter`."""

    lora_name: Name
    lora_path: Annotated[str, Field(min_length=1, max_length=1000)]
    load_inplace: StrictBool | None = None


class UnloadBody(Body):
    """`POST /v1/unload_lora_adapter`."""

    lora_name: Name


@router.post("/v1/load_lora_adapter")
async def load(body: LoadBody, request: Request) -> Response:
    """Open a run below `serve.adapters` under a name; in place of what has it only if asked.

    What cannot be opened changes nothing: the one before goes on answering until the new one can.
    """
    registry = registry_of(request)
    place = _place(registry, body.lora_path)
    if body.lora_name in registry.entries and not body.load_inplace:
        raise refuse("this name is in use: set load_inplace, or unload it", "lora_name", _TAKEN)
    async with registry.opening:
        model = await asyncio.wrap_future(in_own_thread(partial(registry.open_run, place)))
        registry.add(body.lora_name, model)
        gc.freeze()  # see `server.serve`
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@router.post("/v1/unload_lora_adapter")
async def unload(body: UnloadBody, request: Request) -> Response:
    """Take a run out; what was asked of it is still answered."""
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
