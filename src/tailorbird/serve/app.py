"""The application: all routes, and their error responses."""

import asyncio
import contextlib
import ctypes
import json
import sys
from collections.abc import AsyncIterator, Awaitable
from itertools import count
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tailorbird.errors import UserError
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.error_responses import RequestFault, of_user_error, of_validation
from tailorbird.serve.middleware import LOOPBACK, Guard
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.version import __version__

_WATCH_SECONDS = 0.5
_TRIM_EVERY = 10
_TEI = frozenset({"/predict"})
Outcome = TypeVar("Outcome")


def make_app(registry: ModelRegistry, keys: Keys) -> FastAPI:
    """Return the application that serves a registry.

    Args:
        registry: The opened models and knowledge bases.
        keys: The API keys.
    """
    from tailorbird.serve import (
        routes_adapters,
        routes_knowledge,
        routes_labels,
        routes_openai,
        routes_page,
        routes_rank,
    )

    limits = registry.limits

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(registry))
        try:
            yield
        finally:
            watching.cancel()
            registry.close()

    app = FastAPI(
        title="tailorbird", version=__version__, lifespan=life, docs_url=None, redoc_url=None
    )
    app.state.registry = registry
    app.add_middleware(
        Guard,
        keys=keys,
        counters=registry.counters,
        body_bytes=int(limits.request_mb * 2**20),
        document_bytes=int(registry.config.index.max_file_mb * 2**20),
        local=limits.host in LOOPBACK,
    )
    _tell_faults(app)
    _health(app, registry)
    rooms = (
        *(routes_openai, routes_labels, routes_rank),
        *(routes_knowledge, routes_adapters, routes_page),
    )
    for routes in rooms:
        app.include_router(routes.router)
    return app


def registry_of(request: Request) -> ModelRegistry:
    """Return the served models and knowledge bases."""
    registry: ModelRegistry = request.app.state.registry
    return registry


async def unless_disconnected(request: Request, work: Awaitable[Outcome]) -> Outcome:
    """Return the result of `work`, which is cancelled if the client disconnects.

    The body must have been read.
    """
    task = asyncio.ensure_future(work)
    departure = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestFault(499, "the client disconnected", code="client_left")
        return task.result()
    finally:
        for one in (task, departure):
            one.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


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


def _tell_faults(app: FastAPI) -> None:
    def answer(request: Request, fault: RequestFault) -> Response:
        tei = fault.tei or request.url.path in _TEI or getattr(request.state, "tei", False)
        if tei and fault.status == 400 and fault.code != "empty":
            fault.status = 422  # TEI's status of all other faults
        return JSONResponse(fault.body(tei), fault.status, fault.headers)

    @app.exception_handler(RequestFault)
    async def refused(request: Request, fault: RequestFault) -> Response:
        return answer(request, fault)

    @app.exception_handler(UserError)
    async def user_fault(request: Request, error: UserError) -> Response:
        return answer(request, of_user_error(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, of_validation(error.errors(), _fields(request)))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        words = {
            400: ("the body must be a JSON object in UTF-8 (application/json)", "invalid_json"),
            404: ("there is no such route", None),
            405: ("this route takes another method", None),
        }
        message, code = words.get(error.status_code, (str(error.detail), None))
        fault = RequestFault(error.status_code, message, code=code)
        response = answer(request, fault)
        response.headers.update(error.headers or {})
        return response


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


def _health(app: FastAPI, registry: ModelRegistry) -> None:
    def state(ok: bool, words: str) -> Response:
        return JSONResponse({"status": "ok" if ok else words}, 200 if ok else 503)

    @app.get("/livez")
    async def livez() -> Response:
        """Whether every worker works: by its signs of life while something waits."""
        return state(registry.healthy, "a worker has stalled")

    @app.get("/readyz")
    @app.get("/health")
    async def readyz() -> Response:
        """Whether new requests are taken; `/health` is vLLM's and TEI's name for it."""
        return state(registry.healthy and not registry.closing, "not accepting requests")

    @app.get("/version")
    async def version() -> dict[str, str]:
        """The version of tailorbird."""
        return {"version": __version__}

    @app.get("/metrics")
    async def metrics() -> Response:
        """All counters, as Prometheus reads them."""
        return PlainTextResponse(
            registry.counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def event(data: Any) -> str:
    """Return one event of a stream: JSON, or a plain word."""
    if not isinstance(data, str):
        data = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n"
