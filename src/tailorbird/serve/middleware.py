"""Checks before every route: key, origin, size of the body; and request counting."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from tailorbird import log
from tailorbird.errors import UserError
from tailorbird.serve.api_keys import Keys, key_in, scope_of
from tailorbird.serve.error_responses import TEI_PATHS, RequestFault, as_fault
from tailorbird.serve.prometheus import PrometheusCounters

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application that wraps another.

    Args:
        app: The wrapped application.
        keys: The API keys.
        counters: Counts requests.
        body_bytes: Most bytes of a body; of an uploaded document, `document_bytes`.
        document_bytes: See `body_bytes`.
        local: Whether the server listens on this machine only.
    """

    def __init__(
        self, app: Any, keys: Keys, counters: PrometheusCounters, body_bytes: int,
        document_bytes: int, local: bool,
    ) -> None:  # fmt: skip
        self.app, self.keys, self.counters, self.local = app, keys, counters, local
        self.body_bytes, self.document_bytes = body_bytes, document_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as GET; uvicorn sends no body after it
            scope = {**scope, "method": "GET"}
        began, status = time.perf_counter(), 499
        # Our own id, never the client's, which could collide with another.
        identity = f"req-{uuid.uuid4().hex}"
        started = False

        async def answer(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                MutableHeaders(scope=message).update(_HEADERS | {"x-request-id": identity})
            await send(message)

        try:
            self._let_in(scope)
            await self.app(scope, self._bounded(scope, receive), answer)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(error, RequestFault | UserError):
                fault = as_fault(error)
            else:
                log.warn(f"{identity} failed: {type(error).__name__}")
                fault = RequestFault(500, "internal server error", code="internal")
            if not started:
                await _error_response(fault, scope)(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.counters.request(route, status, time.perf_counter() - began)

    def _let_in(self, scope: Scope) -> None:
        """Check key, origin and encoding of a request.

        Raises:
            RequestFault: No key (401), a wrong key (401) or scope (403), too many requests (429),
                or a compressed body (415).
        """
        headers = Headers(scope=scope)
        self._check_origin(headers)
        self._check_key(scope, headers)
        if headers.get("content-encoding", "identity").lower() != "identity":
            why = "compressed bodies are not accepted: send it without content-encoding"
            raise RequestFault(415, why, code="content_encoding")

    def _check_key(self, scope: Scope, headers: Mapping[str, str]) -> None:
        if not self.keys.all():
            if not self.local:
                raise RequestFault(401, "the server has no key yet", code="no_keys")
            return
        key = self.keys.find(key_in(headers))
        if key is None:
            raise RequestFault(401, "a valid key is needed", code="invalid_api_key")
        need = scope_of(scope["method"], scope["path"])
        if not (key.may(need) or (need == "health" and key.may("ask"))):
            raise RequestFault(403, f"this key lacks the scope {need}", code="scope")
        if wait := self.keys.take(key):
            raise RequestFault(
                429, "this key exceeds its request limit", code="rate", retry_seconds=wait
            )

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse requests from other sites' pages, and host names that imitate this machine."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise RequestFault(403, "requests of other sites are refused", code="origin")
        if self.local and not self.keys.all() and urlsplit(f"//{host}").hostname not in LOOPBACK:
            raise RequestFault(403, "use the host localhost or 127.0.0.1", code="host")

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        put = scope["method"] == "PUT"
        most, size = self.document_bytes if put else self.body_bytes, 0

        async def read() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise HTTPException(413, f"the body is larger than {most:,} bytes")
            return message

        return read


def _error_response(fault: RequestFault, scope: Scope) -> JSONResponse:
    response = JSONResponse(fault.body(tei=scope["path"] in TEI_PATHS), fault.status, fault.headers)
    if fault.status == 401:
        # A browser prompts for the key, as the password of any user name.
        kind = "Basic" if "text/html" in Headers(scope=scope).get("accept", "") else "Bearer"
        response.headers["www-authenticate"] = f'{kind} realm="tailorbird"'
    return response
