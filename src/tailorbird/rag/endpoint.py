"""An OpenAI-compatible server that generates answers.

Retries temporary failures (429, 5xx, time-outs, a refused connection) with growing pauses, but
never after the first text: it has been shown, and a retry would repeat it.
"""

import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tailorbird import log
from tailorbird.config.knowledge import AskConfig
from tailorbird.errors import UserError
from tailorbird.rag.http_connection import Connection, Passing, Reply
from tailorbird.records import Message

_TRIES = 5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_A_DAY_SECONDS = 86_400
_CONTEXT_TOKENS = 8192
# Without the model's tokenizer, prompt lengths are estimated: a token has at least three bytes of
# UTF-8 in nearly every vocabulary's English (four is usual), and a turn adds a few tokens.
_BYTES_PER_TOKEN, _TOKENS_PER_TURN = 3, 8
# Slower than reading speed; and longer than a usual token in any vocabulary, with a margin.
_SECONDS_PER_TOKEN, _LONGEST_TOKEN, _SPARE = 0.5, 64, 1024
_LONGEST_NAME = 200
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass
class Endpoint:
    """A model behind ``POST {url}/chat/completions``.

    Attributes:
        url: Its base URL, with ``/v1`` if the server has that; stored without a password.
    """

    url: str
    config: AskConfig = field(default_factory=AskConfig)
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        seconds = self.config.timeout_seconds
        total = seconds + self.config.answer_tokens * _SECONDS_PER_TOKEN
        self._connection = Connection(self.url, self.config.key_variable, seconds, total)
        self.url = self._connection.place
        self._first_model: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The model and its server."""
        return f"{self.model} at {self.url}"

    @property
    def model(self) -> str:
        """The model's name: the configured one, or else the first that the server lists."""
        return self.config.endpoint_model or str(self._first()["id"])

    @property
    def room(self) -> int:
        """The most prompt tokens: the model's context as the server states it, less the answer."""
        context = self.config.context_tokens
        if context is None and self.config.endpoint_model is None:
            listed = self._first()
            context = self._tokens(listed.get("max_model_len") or listed.get("context_length"))
        return (context or _CONTEXT_TOKENS) - self.config.answer_tokens

    def count(self, messages: Sequence[Message]) -> int:
        """Return a conservative estimate of the prompt's tokens, without the server's tokenizer."""
        sizes = [len(m.content.encode()) // _BYTES_PER_TOKEN + 1 for m in messages]
        return sum(sizes) + _TOKENS_PER_TURN * (len(messages) + 1)

    def __call__(self, messages: Sequence[Message]) -> str:
        """Return the whole answer.

        Raises:
            UserError: The server cannot be reached, refuses, or does not answer as expected.
        """
        return "".join(self.stream(messages))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer piece by piece as it arrives.

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
            text = ""
            try:
                for piece in self._pieces(body):
                    text += piece
                    self._check_answer(text)
                    yield piece
                return
            except Passing as fault:
                if text:
                    raise UserError(
                        f"the endpoint {self.url} broke off in the middle of its answer: {fault}",
                        "ask again",
                    ) from fault
                self._wait(attempt, fault)

    def _check_answer(self, text: str) -> None:
        most = self.config.answer_tokens
        if len(text) > most * _LONGEST_TOKEN + _SPARE:
            raise self._connection.fault(f"writes more than the {most} tokens requested")
        if self._connection.repeats_key(text):
            raise self._connection.fault("repeats the key in its answer")

    def _first(self) -> dict[str, Any]:
        """Return the first model that the server lists."""
        if self._first_model is None:
            listed = self._retried(lambda: self._get_json("/models"))
            rows = listed.get("data") if isinstance(listed, dict) else None
            if not (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
                raise UserError(
                    f"the endpoint {self.url} lists no models",
                    "name one: --set ask.endpoint_model=NAME",
                )
            name = rows[0].get("id")
            if not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME):
                raise self._strange(json.dumps(rows[0]))
            self._first_model = rows[0]
        return self._first_model

    def _tokens(self, context: Any) -> int | None:
        """Return the model's context length in tokens, as the server states it."""
        if context is None:
            return None
        if isinstance(context, int | float) and math.isfinite(context) and context >= 1:
            return int(context)
        raise UserError(
            f"the endpoint {self.url} reports that its model reads {self._brief(repr(context))} "
            "tokens",
            "set its token limit: --set ask.context_tokens=N",
        )

    def _retried(self, call: Callable[[], Any]) -> Any:
        for attempt in range(1, _TRIES + 1):
            try:
                return call()
            except Passing as fault:
                self._wait(attempt, fault)
        raise AssertionError("the last attempt raises")

    def _wait(self, attempt: int, fault: Passing) -> None:
        if attempt == _TRIES:
            raise UserError(
                f"the endpoint {self.url} failed {_TRIES} times: {fault}",
                "check that the server runs and is not overloaded; ask.timeout_seconds is "
                f"{self.config.timeout_seconds:g}",
            ) from fault
        grown = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        seconds = min(max(grown, fault.pause_seconds or 0.0), _LONGEST_PAUSE_SECONDS)
        log.say(f"{fault}; next try in {seconds:.1f} s")
        self.pause(seconds)

    def _get_json(self, path: str) -> Any:
        with self._request("GET", path) as reply:
            return self._json(reply.text())

    def _pieces(self, body: dict[str, Any]) -> Iterator[str]:
        """Yield the text of one attempt."""
        with self._request("POST", "/chat/completions", body) as reply:
            if "text/event-stream" not in reply.header("content-type"):
                # A server without streaming returns the whole answer.
                whole = self._json(reply.text())
                yield self._words(whole, "message")
                return
            ended = False
            for line in reply.lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
                if data == "[DONE]":
                    return
                event = self._json(data)
                if isinstance(event, dict) and event.get("error"):
                    raise Passing(f"it reports {self._brief(data)}")
                if piece := self._words(event, "delta"):
                    yield piece
                ended = ended or bool(event["choices"] and event["choices"][0].get("finish_reason"))
            if not ended:
                raise Passing("the stream ended before the answer did")

    @contextmanager
    def _request(self, verb: str, path: str, body: Any = None) -> Iterator[Reply]:
        with self._connection.request(verb, path, body) as reply:
            self._check(reply)
            yield reply

    def _check(self, reply: Reply) -> None:
        status = reply.status
        if status < 300:
            return
        words = self._brief(reply.text()) or "no message"
        if status in (408, 409, 429) or status >= 500:
            raise Passing(
                f"it answers {status}: {words}", _retry_after(reply.header("retry-after"))
            )
        if place := reply.header("location"):
            words += (
                f" (it redirects to {self._connection.brief(place)}, where the key is not sent)"
            )
        raise UserError(f"the endpoint {self.url} answers {status}: {words}", self._fix(status))

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
            return "if the prompt was too long: --set ask.context_tokens=N, the model's token limit"
        return "check the URL"

    def _words(self, event: Any, part: str) -> str:
        """Return the text of a completion or of one stream event."""
        choices = event.get("choices") if isinstance(event, dict) else None
        if choices == []:  # a usage event
            return ""
        choice = choices[0] if isinstance(choices, list) else None
        message = choice.get(part) if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else 0
        if content is not None and not isinstance(content, str):
            raise self._strange(json.dumps(event))
        return _HALVES.sub("\ufffd", content or "")

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._strange(text) from error

    def _strange(self, text: str) -> UserError:
        return UserError(
            f"the endpoint {self.url} does not answer as OpenAI's API does: {self._brief(text)!r}",
            "check the URL: most servers' ends in /v1",
        )

    def _brief(self, text: str) -> str:
        """Return the message of an error, shortened."""
        try:
            whole = json.loads(text)
            inner = whole.get("error", whole)
            text = str(inner.get("message", text) if isinstance(inner, dict) else inner)
        except (ValueError, AttributeError, RecursionError):
            pass
        return self._connection.brief(text)


def _retry_after(header: str) -> float | None:
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < _A_DAY_SECONDS else None
