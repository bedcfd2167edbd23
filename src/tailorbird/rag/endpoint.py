"""An OpenAI-compatible server that writes answers: the only door to httpx.

Retries what may pass (429, 5xx, time-outs, a refused connection) with a growing pause, and never
once words have come: those have been shown, and a second try would tell them again.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.config.knowledge import AskConfig
from tailorbird.errors import UserError
from tailorbird.records import Message

if TYPE_CHECKING:
    import httpx2

_TRIES = 5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_CONTEXT_TOKENS = 8192
# Without the model's tokenizer a prompt can only be estimated: three bytes of UTF-8 make a token
# at most in nearly every vocabulary's English (four is usual), and a turn adds a few of its own.
_BYTES_PER_TOKEN, _TOKENS_PER_TURN = 3, 8


class _Passing(Exception):  # noqa: N818 - not told to the user unless it stays
    """A fault that another try may not meet; `pause_seconds` is what the server asked for."""

    def __init__(self, problem: str, pause_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.pause_seconds = pause_seconds


@dataclass
class Endpoint:
    """A model behind ``POST {url}/chat/completions``.

    Attributes:
        url: Its base, with ``/v1`` where it has that.
        config: Settings of asking: model's name, variable of the key, time-out.
        pause: Waits some seconds; tests pass a faster one.
    """

    url: str
    config: AskConfig = field(default_factory=AskConfig)
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/").removesuffix("/chat/completions")
        if not self.url.startswith(("http://", "https://")):
            raise UserError(
                f"the endpoint {self.url!r} is no URL", "write it like http://127.0.0.1:8000/v1"
            )
        self._listed: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The model and where it is."""
        return f"{self.model} at {self.url}"

    @property
    def model(self) -> str:
        """The model's name: as configured, else the first that the server lists."""
        return self.config.endpoint_model or str(self._first()["id"])

    @property
    def room(self) -> int:
        """Tokens a prompt may take: what the server says its model reads, less the answer's."""
        context = self.config.context_tokens
        if context is None and self.config.endpoint_model is None:
            context = self._first().get("max_model_len") or self._first().get("context_length")
        return int(context or _CONTEXT_TOKENS) - self.config.answer_tokens

    def count(self, messages: Sequence[Message]) -> int:
        """Return a cautious estimate of the prompt's tokens: the server keeps its tokenizer."""
        sizes = [len(m.content.encode()) // _BYTES_PER_TOKEN + 1 for m in messages]
        return sum(sizes) + _TOKENS_PER_TURN * (len(messages) + 1)

    def __call__(self, messages: Sequence[Message]) -> str:
        """Return the whole answer.

        Raises:
            UserError: The server cannot be reached, refuses, or does not answer as expected.
        """
        return "".join(self.stream(messages))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer piece by piece as it comes.

        Raises:
            UserError: The server cannot be reached, refuses, or breaks off.
        """
        body = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": self.config.answer_tokens,
            "temperature": 0,
            "stream": True,
        }
        for attempt in range(1, _TRIES + 1):
            told = False
            try:
                for piece in self._pieces(body):
                    told = True
                    yield piece
                return
            except _Passing as fault:
                if told:
                    raise UserError(
                        f"the endpoint {self.url} broke off in the middle of its answer: {fault}",
                        "ask again",
                    ) from fault
                self._wait(attempt, fault)

    def _first(self) -> dict[str, Any]:
        """Return the first model that the server lists."""
        if self._listed is None:
            found = self._retried(lambda: self._get_json("/models"))
            rows = found.get("data") if isinstance(found, dict) else None
            if not (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
                raise UserError(
                    f"the endpoint {self.url} lists no models",
                    "name one: --set ask.endpoint_model=NAME",
                )
            if not rows[0].get("id"):
                raise _strange(self.url, json.dumps(rows[0]))
            self._listed = rows[0]
        return self._listed

    def _retried(self, call: Callable[[], Any]) -> Any:
        for attempt in range(1, _TRIES + 1):
            try:
                return call()
            except _Passing as fault:
                self._wait(attempt, fault)
        raise AssertionError("the last attempt raises")

    def _wait(self, attempt: int, fault: _Passing) -> None:
        if attempt == _TRIES:
            raise UserError(
                f"the endpoint {self.url} failed {_TRIES} times: {fault}",
                "see whether the server runs and is not overloaded; ask.timeout_seconds is "
                f"{self.config.timeout_seconds:g}",
            ) from fault
        grown = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        seconds = min(max(grown, fault.pause_seconds or 0.0), _LONGEST_PAUSE_SECONDS)
        log.say(f"{fault}; next try in {seconds:.1f} s")
        self.pause(seconds)

    def _get_json(self, path: str) -> Any:
        with self._request("GET", path) as response:
            return _json(response.read().decode("utf-8", "replace"), self.url)

    def _pieces(self, body: dict[str, Any]) -> Iterator[str]:
        """Yield the words of one try."""
        with self._request("POST", "/chat/completions", body) as response:
            if "text/event-stream" not in response.headers.get("content-type", ""):
                # A server that does not stream answers at once.
                whole = response.read().decode("utf-8", "replace")
                yield _words(_json(whole, self.url), "message", self.url)
                return
            ended = False
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
                if data == "[DONE]":
                    return
                event = _json(data, self.url)
                if isinstance(event, dict) and event.get("error"):
                    raise _Passing(f"it reports {_told(data)}")
                ended = ended or _finished(event)
                if piece := _words(event, "delta", self.url):
                    yield piece
            if not ended:
                raise _Passing("the stream ended before the answer did")

    @contextmanager
    def _request(
        self, verb: str, path: str, body: dict[str, Any] | None = None
    ) -> "Iterator[httpx2.Response]":
        """Yield the response, its body unread.

        Raises:
            _Passing: Worth another try.
            UserError: Not worth one.
        """
        import httpx2

        key = os.environ.get(self.config.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = self.url + path
        try:
            with (
                httpx2.Client(timeout=self.config.timeout_seconds, headers=headers) as client,
                client.stream(verb, url, json=body) as response,
            ):
                self._check(response)
                yield response
        except httpx2.TimeoutException as error:
            raise _Passing(f"no answer within {self.config.timeout_seconds:g} s") from error
        except httpx2.TransportError as error:
            raise _Passing(f"the connection failed: {error}") from error
        except httpx2.InvalidURL as error:
            raise UserError(f"the endpoint {url!r} is no URL: {error}") from error

    def _check(self, response: "httpx2.Response") -> None:
        status = response.status_code
        if status < 300:
            return
        said = _told(response.read().decode("utf-8", "replace"))
        if status in (408, 409, 429) or status >= 500:
            raise _Passing(f"it answers {status}: {said}", _retry_after(response.headers))
        raise UserError(f"the endpoint {self.url} answers {status}: {said}", self._fix(status))

    def _fix(self, status: int) -> str:
        variable = self.config.key_variable
        if status in (401, 403):
            there = "is set" if os.environ.get(variable) else "is not set"
            return (
                f"put the key into the environment variable {variable} (it {there}); "
                "ask.key_variable names another"
            )
        if status == 404:
            return "check the URL (most servers end in /v1) and ask.endpoint_model"
        if status in (400, 413, 422):
            return "if the prompt was too long: --set ask.context_tokens=N, what the model reads"
        return "check the URL"


def _words(event: Any, part: str, url: str) -> str:
    """Return the words of a completion or of one event of its stream.

    Raises:
        UserError: It has another shape.
    """
    try:
        choices = event["choices"]
        if not choices:  # an event with the usage only
            return ""
        return str(choices[0][part].get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _strange(url, json.dumps(event)) from error


def _finished(event: Any) -> bool:
    choices = event.get("choices") if isinstance(event, dict) else None
    return bool(choices and choices[0].get("finish_reason"))


def _json(text: str, url: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _strange(url, text) from error


def _strange(url: str, text: str) -> UserError:
    return UserError(
        f"the endpoint {url} does not answer as OpenAI's API does: {_told(text)!r}",
        "check the URL: most servers' ends in /v1",
    )


def _told(text: str) -> str:
    """Return an error's own words, briefly."""
    try:
        found = json.loads(text)
        inner = found.get("error", found)
        text = inner.get("message", text) if isinstance(inner, dict) else str(inner)
    except (ValueError, AttributeError):
        pass
    line = " ".join(str(text).split())
    return line if len(line) <= 200 else f"{line[:200]}…"


def _retry_after(headers: Any) -> float | None:
    try:
        return float(headers.get("retry-after"))
    except (TypeError, ValueError):
        return None
