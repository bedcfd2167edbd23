"""The FastAPI application: routes, error responses, and the watch over the workers."""

import asyncio
import contextlib
import ctypes
import sys
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tailorbird.errors import UserError
from tailorbird.serve import (
    routes_adapters,
    routes_corrections,
    routes_health,
    routes_knowledge,
    routes_openai,
    routes_playground,
    routes_predictions,
    routes_rerank,
)
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.error_responses import TEI_PATHS, RequestFault, as_fault, of_validation
from tailorbird.serve.middleware import LOOPBACK, Guard
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.version import __version__

_WATCH_SECONDS = 0.5
_TRIM_EVERY = 10
_MESSAGES = {
    400: ("the body must be a JSON object in UTF-8 (application/json)", "invalid_json"),
    404: ("there is no such route", None),
    405: ("this route takes another method", None),
}
"""Messages and codes of Starlette's own errors."""
_ERRORS = {"4XX": "The request was refused", "5XX": "The server failed"}


def make_app(registry: ModelRegistry, keys: Keys) -> FastAPI:
    """Return the application that serves a registry.

    Args:
        registry: The opened models and knowledge bases.
        keys: The API keys.
    """
    limits = registry.limits

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(registry))
        try:
            yield
        finally:
            watching.cancel()
            registry.close()

    errors = (RequestFault, UserError, RequestValidationError, HTTPException)
    app = FastAPI(
        title="tailorbird", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        exception_handlers=dict.fromkeys(errors, _respond_to_error),
        responses={
            status: {"description": f'{what}: {{"error": {{"message", "type", "param", "code"}}}}.'}
            for status, what in _ERRORS.items()
        },
    )  # fmt: skip
    app.state.registry = registry
    app.state.corrections = routes_corrections.Corrections()
    app.add_middleware(
        Guard,
        keys=keys,
        counters=registry.counters,
        body_bytes=int(limits.request_mb * 2**20),
        document_bytes=int(registry.config.index.max_file_mb * 2**20),
        local=limits.host in LOOPBACK,
    )
    for routes in (
        *(routes_health, routes_openai, routes_predictions, routes_rerank),
        *(routes_knowledge, routes_adapters, routes_corrections, routes_playground),
    ):
        app.include_router(routes.router)
    return app


async def _watch(registry: ModelRegistry) -> None:
    for turn in count(1):
        await asyncio.sleep(_WATCH_SECONDS)
        registry.watch()
        if turn % _TRIM_EVERY == 0:
            await asyncio.to_thread(return_memory)


def return_memory() -> None:
    """Have glibc give back the holes that batches of many sizes leave between smaller things."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


async def _respond_to_error(request: Request, error: Any) -> Response:
    """Return the response to an error, in OpenAI's format, or in TEI's on TEI's routes."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestValidationError):
        fault = of_validation(error.errors(), _fields(request))
    elif isinstance(error, HTTPException):
        message, code = _MESSAGES.get(error.status_code, (str(error.detail), None))
        fault = RequestFault(error.status_code, message, code=code)
        headers = dict(error.headers or {})
    else:
        fault = as_fault(error)
    tei = fault.tei or request.url.path in TEI_PATHS or getattr(request.state, "tei", False)
    if tei and fault.status == 400 and fault.code != "empty":
        fault.status = 422  # TEI's status of all other faults
    return JSONResponse(fault.body(tei), fault.status, fault.headers | headers)


def _fields(request: Request) -> set[str]:
    """Return the names of all fields in the route's bodies."""
    field = getattr(request.scope.get("route"), "body_field", None)
    names: set[str] = set()
    types = [getattr(getattr(field, "field_info", None), "annotation", None)]
    while types:
        kind = types.pop()
        types += getattr(kind, "__args__", ())
        fields = getattr(kind, "model_fields", None)
        if isinstance(fields, dict) and not names.issuperset(fields):
            names |= set(fields)
            types += [info.annotation for info in fields.values()]
    return names
