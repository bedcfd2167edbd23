"""Refusals and failures of requests, in OpenAI's or TEI's error format."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tailorbird.errors import UserError, did_you_mean

# Fields that OpenAI's clients may send; unsupported ones are refused by name.
_KNOWN = frozenset(
    (
        *("audio", "best_of", "dimensions", "echo", "filters", "function_call", "functions"),
        *("logit_bias", "logprobs", "max_chunks_per_doc", "max_tokens_per_doc", "min_p"),
        *("modalities", "parallel_tool_calls", "prediction", "prompt_cache_options"),
        *("rank_fields", "ranking_options", "raw_scores", "reasoning_effort", "response_format"),
        *("rewrite_query", "suffix", "tool_choice", "tools", "top_k", "top_logprobs"),
        *("truncation_direction", "use_activation", "verbosity", "web_search_options"),
    )
)
TEI_PATHS = frozenset({"/predict"})
"""The routes whose errors have TEI's format; `/rerank` has it when `texts` are sent."""
_TEI_KINDS = {400: "empty", 429: "overloaded", 503: "unhealthy"}
_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 405: "invalid_request_error", 413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error", 503: "service_unavailable_error", 504: "timeout_error",
}  # fmt: skip


class RequestFault(Exception):  # noqa: N818 - an answer to a client
    """A refused or failed request.

    Args:
        status: HTTP status.
        message: The problem and its fix; never repeats the client's input.
        param: The field at fault.
        code: A short stable name.
        retry_seconds: Time after which a retry may succeed.

    Attributes:
        tei: Whether the request was in the format of text-embeddings-inference.
    """

    tei = False

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_seconds = retry_seconds

    @property
    def headers(self) -> dict[str, str]:
        """Return ``Retry-After`` in seconds and milliseconds, or that a retry is pointless."""
        if self.retry_seconds is not None:
            wait = min(max(self.retry_seconds, 0.05), 120)
            return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(int(1000 * wait))}
        return {"x-should-retry": "false"} if self.status == 504 else {}

    def body(self, tei: bool = False) -> dict[str, Any]:
        """Return the body in OpenAI's format, or in that of text-embeddings-inference."""
        if tei:
            kind = _TEI_KINDS.get(self.status, "validation" if self.status < 500 else "backend")
            return {"error": self.message, "error_type": kind}
        kind = _KINDS.get(self.status, "server_error")
        return {
            "error": {
                "message": self.message, "type": kind, "param": self.param, "code": self.code,
            }
        }  # fmt: skip


def refuse(message: str, param: str | None = None, code: str | None = None) -> RequestFault:
    """Return a refusal with status 400."""
    return RequestFault(400, message, param, code)


def no_model(served: Iterable[str]) -> RequestFault:
    """Return the error for an unknown model."""
    names = ", ".join(sorted(served)) or "none"
    message = f"there is no such model here; there are: {names}"
    return RequestFault(404, message, "model", "model_not_found")


def of_validation(errors: Iterable[Mapping[str, Any]], fields: Iterable[str]) -> RequestFault:
    """Return the refusal of an invalid body; nothing of the body is repeated.

    Args:
        errors: Pydantic's.
        fields: The route's field names, of which the nearest is suggested.
    """
    # If a route accepts several formats, the one with the fewest errors was meant.
    shapes: dict[str, list[Mapping[str, Any]]] = {}
    for one in errors:
        shape = next((str(part) for part in one["loc"] if str(part).endswith("Body")), "")
        shapes.setdefault(shape, []).append(one)
    shape, group = min(shapes.items(), key=lambda pair: len(pair[1]))
    fault = _of_shape(group, set(fields))
    fault.tei = shape.startswith("Tei")
    return fault


def _of_shape(group: Sequence[Mapping[str, Any]], known_fields: set[str]) -> RequestFault:
    """Return the refusal of a body of one format."""
    # An invalid value of the right type says more than the mismatch of another type.
    error = next((one for one in group if not str(one["type"]).endswith("_type")), group[0])
    place = [p for p in error["loc"] if p != "body" and not str(p).endswith("Body")]
    name = str(place[0]) if place else ""
    if error["type"] == "extra_forbidden":
        last = str(place[-1])
        if last in _KNOWN:
            return refuse(f"{last} is not supported here; leave it out", last, "unsupported")
        near = did_you_mean(last, known_fields)
        return refuse(f"a field is not known to this route{near}", code="unknown_field")
    if error["type"] == "json_invalid" or not place:
        return refuse("the body must be a JSON object (application/json)", code="invalid_json")
    param = name if name in known_fields else None
    where = ".".join(str(p) for p in place if isinstance(p, int) or p in known_fields)
    message = re.sub(r"^Value error, |, input: .*", "", str(error["msg"]))
    return refuse(f"{where or 'a field'}: {message}", param, str(error["type"]))


def as_fault(error: RequestFault | UserError) -> RequestFault:
    """Return an error as a refusal: a `UserError` with status 400 and its text on one line."""
    if isinstance(error, RequestFault):
        return error
    fix = f" (fix: {error.fix})" if error.fix else ""
    return refuse(" ".join(f"{error.problem}{fix}".split()))
