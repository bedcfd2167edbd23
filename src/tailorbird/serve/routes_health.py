"""Routes for probes and monitoring."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tailorbird.serve.request_execution import registry_of
from tailorbird.version import __version__

router = APIRouter()


def _state(ok: bool, problem: str) -> Response:
    return JSONResponse({"status": "ok" if ok else problem}, 200 if ok else 503)


@router.get("/livez")
async def livez(request: Request) -> Response:
    """Report whether all worker threads are alive.

    Status 503 from the moment a worker ends or makes no progress on a batch for
    `serve.stall_seconds`, until its replacement has computed a batch.
    """
    return _state(registry_of(request).healthy, "a worker has stalled")


@router.get("/readyz")
@router.get("/health")
async def readyz(request: Request) -> Response:
    """Report whether the server accepts new requests; status 503 if not.

    `/health` is the same route under the name that vLLM and TEI use.
    """
    registry = registry_of(request)
    return _state(registry.healthy and not registry.closing, "not accepting requests")


@router.get("/version")
async def version() -> dict[str, str]:
    """Return the version of tailorbird."""
    return {"version": __version__}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return all counters in Prometheus' text format."""
    return PlainTextResponse(
        registry_of(request).counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
