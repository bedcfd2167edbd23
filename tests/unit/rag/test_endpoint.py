"""An endpoint, against a real server on this machine that misbehaves in every way we know."""

import contextlib
import gzip
import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tailorbird.config.knowledge import AskConfig
from tailorbird.errors import UserError
from tailorbird.rag import http_connection
from tailorbird.rag.endpoint import Endpoint
from tailorbird.rag.http_connection import is_loopback
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
    with pytest.raises(UserError, match="is not a URL"):
        Endpoint("localhost:8000")
    with pytest.raises(UserError, match="failed 5 times: the connection failed"):
        Endpoint("http://127.0.0.1:9/v1", pause=pauses.append)(ASKED)


def test_settings_win_over_what_is_listed(server: Server) -> None:
    config = AskConfig(endpoint_model="other", context_tokens=1000, answer_tokens=100)
    asked = Endpoint(f"{server.url}/chat/completions", config)
    assert (asked.url, asked.model, asked.room) == (server.url, "other", 900)
    assert asked.count([Message("user", "x" * 300)]) >= 100


KEY = "sk-Zm9v-very-private"


class RawServer(socketserver.ThreadingTCPServer):
    """Answers every request with the same bytes, piece by piece."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RawHandler)
        self.pieces: Iterator[bytes] | list[bytes] = []
        self.pause = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def streams(self, *events: Any) -> None:
        lines = [f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events]
        self.pieces = [OK, "".join(lines).encode("utf-8", "surrogatepass")]


OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class RawHandler(socketserver.StreamRequestHandler):
    server: RawServer

    def handle(self) -> None:
        self.request.settimeout(10)
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(65536)
            # What of the body is unread when a socket closes resets it, and takes along what of the
            # answer has not arrived: the body often comes after the head in a packet of its own.
            head, _, body = head.partition(b"\r\n\r\n")
            size = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            while size and len(body) < int(size[1]):
                body += self.request.recv(65536)
            for piece in self.server.pieces:
                self.request.sendall(piece)
                time.sleep(self.server.pause)


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def asks(server: RawServer, seconds: float = 5.0, **more: Any) -> Endpoint:
    config = AskConfig(timeout_seconds=seconds, endpoint_model="m", **more)
    return Endpoint(server.url, config, lambda _: None)


def delta(content: Any, finish: Any = "stop") -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}, "finish_reason": finish}]}


def forever(piece: bytes, first: bytes = OK) -> Iterator[bytes]:
    yield first
    while True:
        yield piece


@pytest.mark.parametrize(
    ("piece", "pause", "reason"),
    [
        (b": still here\n\n", 0.05, "has not ended its answer within"),
        (f"data: {json.dumps(delta('so ', None))}\n\n".encode(), 0.05, "has not ended its answer"),
        (b"x" * (1 << 18), 0.0, "a line of over 1 MB"),
        (b": padding\n" * 10_000, 0.0, "more than 16 MB"),
        (f"data: {json.dumps(delta('so ' * 999, None))}\n\n".encode(), 0.0, "than the 2 tokens"),
    ],
)
def test_an_answer_without_end_is_ended(
    raw: RawServer, piece: bytes, pause: float, reason: str
) -> None:
    raw.pieces, raw.pause = forever(piece), pause
    started = time.monotonic()
    with pytest.raises(UserError, match=reason):
        asks(raw, 0.5 if pause else 60, answer_tokens=2)(ASKED)
    raw.pause = 0.0
    assert time.monotonic() - started < 20


def test_a_header_that_comes_byte_by_byte_is_not_waited_for(raw: RawServer) -> None:
    # Each byte comes well within the time-out; the whole header never does.
    raw.pieces, raw.pause = forever(b"x", b"HTTP/1.1 200 OK\r\nX: "), 0.05
    started = time.monotonic()
    with pytest.raises(UserError, match=r"failed 5 times: no answer within 0\.3 s"):
        asks(raw, 0.3)(ASKED)
    raw.pause = 0.0
    assert time.monotonic() - started < 15


def test_a_body_without_end_and_a_compressed_one(raw: RawServer) -> None:
    kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    raw.pieces = forever(b" " * (1 << 20), kind + b"\r\n")
    with pytest.raises(UserError, match="more than 16 MB"):
        asks(raw)(ASKED)
    raw.pieces = [kind + b"content-encoding: gzip\r\n\r\n", gzip.compress(b" " * (1 << 20))]
    with pytest.raises(UserError, match="compressed"):
        asks(raw)(ASKED)


@pytest.mark.parametrize(
    "event",
    [
        None, 7, "7", "text", [], {"choices": None}, {"choices": "abc"}, {"choices": {"0": 1}},
        {"choices": [4]}, {"choices": [None]}, {"choices": [{"delta": 4}]}, delta(["a", {"b": 1}]),
        delta({"text": "x"}), delta(5), "[" * 150_000 + "]" * 150_000, "9" * 5_000, "{" * 99,
    ],
)  # fmt: skip
def test_events_of_another_shape_are_refused(raw: RawServer, event: Any) -> None:
    raw.streams(event)
    with pytest.raises(UserError, match="does not answer as OpenAI's API does"):
        asks(raw)(ASKED)


def test_half_a_character_is_replaced(raw: RawServer) -> None:
    raw.streams(delta("paid \ud83d soon"))
    assert asks(raw)(ASKED) == "paid \ufffd soon"


@pytest.mark.parametrize("reads", ["abc", -5, 0.5, [4096], {"n": 1}, 1e999])
def test_a_context_that_is_none_is_refused(server: Server, endpoint: Endpoint, reads: Any) -> None:
    server.models = json.dumps({"data": [{"id": "m", "max_model_len": reads}]}).encode()
    with pytest.raises(UserError, match=r"reports that its model reads .* tokens"):
        _ = endpoint.room


@pytest.mark.parametrize("name", [None, 5, {"a": 1}, "", "x" * 1000])
def test_a_model_without_a_name_is_refused(server: Server, endpoint: Endpoint, name: Any) -> None:
    server.models = json.dumps({"data": [{"id": name}]}).encode()
    with pytest.raises(UserError, match="does not answer as"):
        _ = endpoint.model


@pytest.mark.parametrize("header", ["1e308", "inf", "nan", "-3", "soon", "9" * 400])
def test_a_pause_that_is_none_is_not_made(
    server: Server, endpoint: Endpoint, pauses: list[float], header: str
) -> None:
    server.plays(503, b"", retry_after=header)
    server.plays(200, WHOLE)
    endpoint(ASKED)
    assert 0 < pauses[0] < 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "error", "finish_reason", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
near_misses = st.builds(
    lambda choices, more: {"choices": choices} | more,
    st.lists(st.fixed_dictionaries({}, optional={"delta": json_values, "message": json_values}))
    | json_values,
    st.dictionaries(st.sampled_from(["error", "usage", "id"]), json_values, max_size=2),
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=100).map(lambda data: b"data: " + data + b"\n\n"),
    (json_values | near_misses).map(lambda value: json.dumps(value).encode()),
    (json_values | near_misses).map(lambda value: f"data: {json.dumps(value)}\n\n".encode()),
)
heads = st.one_of(
    st.just(OK),
    st.just(OK.replace(b"text/event-stream", b"application/json")),
    st.builds(
        lambda status, name, value: (
            b"HTTP/1.1 %d X\r\n%s: %s\r\nconnection: close\r\n\r\n" % (status, name, value)
        ),
        st.sampled_from([200, 201, 204, 302, 307, 400, 401, 404, 429, 500, 599, 999]),
        st.sampled_from([b"location", b"retry-after", b"content-type", b"content-length", b"x"]),
        st.binary(max_size=30),
    ),
    st.binary(max_size=60),
)


def answers_or_says_why(raw: RawServer, head: bytes, body: bytes, key: str) -> None:
    raw.pieces = [head, body]
    endpoint = Endpoint(raw.url, AskConfig(timeout_seconds=2), lambda _: None)
    for use in (lambda: endpoint.room, lambda: asks(raw, 2)(ASKED)):
        try:
            assert key not in str(use())
        except UserError as error:
            assert key not in str(error) and len(str(error)) < 1000


@given(head=heads, body=bodies)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_answer_is_read_or_refused(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, head: bytes, body: bytes
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answers_or_says_why(raw, head, body, KEY)


@pytest.mark.slow
@given(head=heads, body=bodies)
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_of_many_answers_is_read_or_refused(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, head: bytes, body: bytes
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answers_or_says_why(raw, head, body, KEY)


@pytest.mark.parametrize(
    "key",
    [f"{KEY}\r", f"{KEY}\n", f" {KEY}", f"{KEY}é", f"a b{KEY}", f"{KEY}\udc80"],
)
def test_a_key_that_no_header_holds_is_refused_unseen(
    server: Server, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.plays(200, WHOLE)
    with pytest.raises(UserError, match="the key in OPENAI_API_KEY has") as error:
        endpoint(ASKED)
    assert KEY not in str(error.value) and server.seen == []


@pytest.mark.parametrize(
    "echo",
    [
        b'{"error": {"message": "bad key Bearer %s"}}',
        b'{"error": "%s"}',
        b"<pre>Authorization: Bearer %s</pre>",
        b'{"id": "%s"}',
    ],
)
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_repeats_the_key_is_not_quoted(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, echo: bytes, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said: list[str] = []
    monkeypatch.setattr("tailorbird.log.say", said.append)
    head = b"HTTP/1.1 %d X\r\nconnection: close\r\n\r\n" % status
    raw.pieces = [head, echo % (KEY.encode(),)]
    with pytest.raises(UserError) as error:
        asks(raw)(ASKED)
    assert KEY not in str(error.value) and not any(KEY in line for line in said)


def test_an_answer_of_the_key_is_refused(raw: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    raw.streams(delta(KEY[:5], None), delta(KEY[5:]))
    with pytest.raises(UserError, match="repeats the key"):
        asks(raw)(ASKED)


def test_a_password_in_the_url_is_sent_and_never_shown(server: Server) -> None:
    config = AskConfig(timeout_seconds=5, endpoint="http://ann:s%40cret@127.0.0.1:1/v1?token=t0ken")
    place = server.url.replace("http://", "http://ann:s%40cret@") + "?token=t0ken"
    endpoint = Endpoint(place, config)
    server.plays(200, WHOLE)
    endpoint(ASKED)
    # RFC 7617: the base 64 of ann:s@cret.
    assert server.seen[0]["key"] == "Basic YW5uOnNAY3JldA=="
    server.plays(400, b"YW5uOnNAY3JldA== is wrong for t0ken")
    server.script.pop(0)
    with pytest.raises(UserError) as error:
        endpoint(ASKED)
    for shown in (endpoint.name, endpoint.url, str(error.value), config.model_dump_json()):
        assert "cret" not in shown and "YW5u" not in shown and "ann" not in shown
    assert "t0ken" not in endpoint.name + str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "ann:s3cret@127.0.0.1/v1",
        "http://ann:s3cret@[::1/v1",
        "http://ann:s3cret@127.0.0.1:port/v1",
        "http://ann:s3c ret@127.0.0.1/v1",
        "http://ann:s3c/ret@127.0.0.1/v1",
        "ftp://ann:s3cret@127.0.0.1",
        "http://?key=s3cret",
        "http://h\n/?key=s3cret",
        "",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UserError, match="is not a URL") as error:
        Endpoint(url)
    assert "s3c" not in str(error.value) and "ret@" not in str(error.value)


def test_a_key_in_the_place_of_its_variable_is_not_shown(server: Server) -> None:
    with pytest.raises(UserError, match="not the name of an environment variable") as error:
        Endpoint(server.url, AskConfig(key_variable=KEY))
    assert KEY not in str(error.value)


def test_a_redirection_takes_no_key_along(raw: RawServer, server: Server) -> None:
    place = server.url.encode()
    raw.pieces = [b"HTTP/1.1 307 X\r\nlocation: %s\r\nconnection: close\r\n\r\n" % place]
    with pytest.raises(UserError, match=f"answers 307.*redirects to {server.url}"):
        asks(raw)(ASKED)
    assert server.seen == []


def test_no_proxy_stands_between_this_machine_and_itself(
    server: Server, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.plays(200, WHOLE)
    assert endpoint(ASKED) == "It merges."


def test_a_proxy_that_is_none_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://ann:s3cret@example.org")
    with pytest.raises(UserError, match="cannot be reached") as error:
        Endpoint("http://example.org/v1")(ASKED)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("api.localhost", True), ("127.8.8.8", True),
        ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True), ("10.0.0.1", False),
        ("localhost.example.org", False), ("example.org", False), ("", False),
    ],
)  # fmt: skip
def test_which_host_is_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) == own


def test_a_copy_of_the_socket_is_closed(
    server: Server, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[http_connection._Limit] = []
    kept = http_connection._Limit.__init__

    def init(limit: http_connection._Limit, *arguments: Any) -> None:
        kept(limit, *arguments)
        limits.append(limit)

    monkeypatch.setattr(http_connection._Limit, "__init__", init)
    server.plays(200, WHOLE)
    endpoint(ASKED)
    assert len(limits) == 2
    for limit in limits:
        assert limit._socket is not None and limit._socket.fileno() == -1
        limit._timer.join(2)
        assert not limit._timer.is_alive()


@pytest.mark.parametrize(("scheme", "verified"), [("http", False), ("https", True)])
def test_certificates_are_read_for_https_only_and_checked_there(
    scheme: str, verified: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx2

    transport, checks = httpx2.HTTPTransport, list[bool]()
    monkeypatch.setattr(
        httpx2, "HTTPTransport", lambda verify: (checks.append(verify), transport(verify=verify))[1]
    )
    server.plays(200, WHOLE)
    url = server.url.replace("http:", f"{scheme}:")
    with contextlib.suppress(UserError):
        Endpoint(url, AskConfig(timeout_seconds=1), lambda _: None)(ASKED)
    assert set(checks) == {verified}
