"""An endpoint, against a real server on this machine that misbehaves in every way we know."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tailorbird.config.knowledge import AskConfig
from tailorbird.errors import UserError
from tailorbird.rag.endpoint import Endpoint
from tailorbird.records import Message

ASKED = [Message("user", "Why?")]


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"delta": {"content": text}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


WHOLE = event("It ") + event("merges.") + event("", "stop") + b"data: [DONE]\n\n"


class Server(ThreadingHTTPServer):
    """Plays its script: one answer per request of a completion, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, dict[str, str], bytes, float]] = []
        self.seen: list[dict[str, Any]] = []
        self.models: bytes = json.dumps({"data": [{"id": "m1", "max_model_len": 2048}]}).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def plays(self, status: int, body: bytes, kind: str = "text/event-stream", **more: Any) -> None:
        wait = float(more.pop("wait", 0.0))
        headers = {"content-type": kind} | {k.replace("_", "-"): v for k, v in more.items()}
        self.script.append((status, headers, body, wait))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._say(200, {"content-type": "application/json"}, self.server.models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append(body | {"key": self.headers.get("authorization")})
        script = self.server.script
        status, headers, answer, wait = script.pop(0) if len(script) > 1 else script[0]
        time.sleep(wait)
        self._say(status, headers, answer)

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def endpoint(server: Server, pauses: list[float]) -> Endpoint:
    return Endpoint(server.url, AskConfig(timeout_seconds=5), pauses.append)


def test_words_come_as_they_are_written(
    server: Server, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server.plays(200, WHOLE)
    assert list(endpoint.stream(ASKED)) == ["It ", "merges."]
    (seen,) = server.seen
    assert seen["key"] == "Bearer secret" and seen["model"] == "m1" and seen["stream"] is True
    assert seen["messages"] == [{"role": "user", "content": "Why?"}]
    assert endpoint.room == 2048 - 256
    assert endpoint.name == f"m1 at {server.url}"


def test_a_server_that_does_not_stream_is_understood(server: Server, endpoint: Endpoint) -> None:
    answer = {"choices": [{"message": {"content": "At once."}}]}
    server.plays(200, json.dumps(answer).encode(), "application/json")
    assert endpoint(ASKED) == "At once."


def test_what_may_pass_is_tried_again(
    server: Server, endpoint: Endpoint, pauses: list[float]
) -> None:
    server.plays(429, b'{"error": {"message": "slow down"}}', retry_after="7")
    server.plays(500, b"oops")
    server.plays(200, b"")  # the stream ends before it begins
    server.plays(200, WHOLE)
    assert endpoint(ASKED) == "It merges."
    assert pauses[0] == 7 and 0.5 < pauses[1] < pauses[2] < 3


def test_a_pause_has_a_limit(server: Server, endpoint: Endpoint, pauses: list[float]) -> None:
    server.plays(503, b"", retry_after="9999")
    server.plays(200, WHOLE)
    endpoint(ASKED)
    assert pauses == [30]


def test_it_gives_up_and_says_why(server: Server, endpoint: Endpoint, pauses: list[float]) -> None:
    server.plays(429, b'{"error": {"message": "quota used up"}}')
    with pytest.raises(UserError, match="failed 5 times: it answers 429: quota used up"):
        endpoint(ASKED)
    assert len(server.seen) == 5 and len(pauses) == 4


def test_a_slow_server_is_tried_again(server: Server, pauses: list[float]) -> None:
    server.plays(200, WHOLE, wait=1.0)
    server.plays(200, WHOLE)
    quick = Endpoint(server.url, AskConfig(timeout_seconds=0.3), pauses.append)
    assert quick(ASKED) == "It merges."
    assert len(pauses) == 1


def test_a_stream_that_breaks_off_is_not_told_twice(server: Server, endpoint: Endpoint) -> None:
    server.plays(200, event("It ") + event("mer"))
    heard = []
    with pytest.raises(UserError, match="broke off in the middle"):
        for piece in endpoint.stream(ASKED):
            heard.append(piece)
    assert heard == ["It ", "mer"] and len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "fix"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "/v1"), (400, "context_tokens")],
)
def test_what_will_not_pass_is_not_tried_again(
    server: Server, endpoint: Endpoint, status: int, fix: str
) -> None:
    server.plays(status, b'{"error": {"message": "no"}}', "application/json")
    with pytest.raises(UserError, match=f"answers {status}: no") as error:
        endpoint(ASKED)
    assert fix in str(error.value) and len(server.seen) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>hello", "text/html"), (b"{}", "application/json"), (b"[1]", "application/json"),
     (b"data: {nonsense\n\n", "text/event-stream"), (b'data: {"choices": [{}]}\n\n',
     "text/event-stream")],
)  # fmt: skip
def test_garbage_is_named(server: Server, endpoint: Endpoint, body: bytes, kind: str) -> None:
    server.plays(200, body, kind)
    with pytest.raises(UserError, match="does not answer as OpenAI's API does"):
        endpoint(ASKED)


def test_no_models_and_no_server(server: Server, pauses: list[float]) -> None:
    server.models = b'{"data": []}'
    with pytest.raises(UserError, match="lists no models"):
        Endpoint(server.url)(ASKED)
    with pytest.raises(UserError, match="is no URL"):
        Endpoint("localhost:8000")
    with pytest.raises(UserError, match="failed 5 times: the connection failed"):
        Endpoint("http://127.0.0.1:9/v1", pause=pauses.append)(ASKED)


def test_settings_win_over_what_is_listed(server: Server) -> None:
    config = AskConfig(endpoint_model="other", context_tokens=1000, answer_tokens=100)
    asked = Endpoint(f"{server.url}/chat/completions", config)
    assert (asked.url, asked.model, asked.room) == (server.url, "other", 900)
    assert asked.count([Message("user", "x" * 300)]) >= 100
