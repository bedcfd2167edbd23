"""HTTP to an untrusted server; the only module that imports httpx2.

Time and memory are bounded, whatever the server sends and however slowly. The key and the password
go only to the configured server, and into no message. Redirects are not followed.
"""

import base64
import contextlib
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tailorbird.errors import UserError
from tailorbird.terminal import without_credentials

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 16 << 20
"""The most bytes of one response."""
LONGEST_LINE = 1 << 20
"""The most bytes of one line of a stream."""
_BRIEF = 200
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEY = re.compile(r"[!-~]*")


class Passing(Exception):  # noqa: N818 - not shown to the user unless it stays
    """A temporary failure, worth a retry; `pause_seconds` is the server's requested pause."""

    def __init__(self, problem: str, pause_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.pause_seconds = pause_seconds


@dataclass
class Connection:
    """HTTP requests below one base URL.

    Attributes:
        url: The base URL; a user name and password in it are sent as Basic authentication.
        begin_seconds: Time limit until the first byte of a response, and between bytes.
        total_seconds: Time limit for a whole response.
    """

    url: str
    key_variable: str
    begin_seconds: float
    total_seconds: float

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole or any(c.isspace() or not c.isprintable() for c in self.url):
            raise UserError(
                f"the endpoint {_address(self.url)!r} is not a URL",
                "write it like http://127.0.0.1:8000/v1",
            )
        if not _VARIABLE.fullmatch(self.key_variable):
            raise UserError(
                "ask.key_variable is not the name of an environment variable",
                "name the variable that holds the key, never the key itself",
            )
        self._login, _, address = parts.netloc.rpartition("@")
        self.query = f"?{parts.query}" if parts.query else ""
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        self.place = f"{parts.scheme}://{address}{path}"
        self.host = str(parts.hostname)

    @contextlib.contextmanager
    def request(self, verb: str, path: str, body: Any = None) -> "Iterator[Reply]":
        """Yield the response with its body unread.

        Raises:
            Passing: The failure is worth a retry.
            UserError: The failure is permanent.
        """
        import httpx2

        headers = {"Accept-Encoding": "identity"} | self._authorization()
        # Loopback needs no proxy. Certificates, which take longer to load than most requests take,
        # are only needed for https.
        secure = self.place.startswith("https:")
        transport = httpx2.HTTPTransport(verify=secure) if is_loopback(self.host) else None
        url = f"{self.place}{path}{self.query}"
        limit = _Limit(self.begin_seconds, Passing(f"no answer within {self.begin_seconds:g} s"))
        more: dict[str, Any] = {"headers": headers, "extensions": {"trace": limit.trace}}
        with contextlib.ExitStack() as stack, self._explained(limit):
            stack.callback(limit.close)
            try:
                client = httpx2.Client(timeout=self.begin_seconds, transport=transport)
                stack.enter_context(client)
                response = stack.enter_context(client.stream(verb, url, json=body, **more))
            except (httpx2.InvalidURL, OSError, ValueError, OverflowError, ImportError) as error:
                raise UserError(
                    f"the endpoint {self.place} cannot be reached: {self.brief(str(error))}",
                    "check the URL, and the proxies that the environment names",
                ) from error
            late = f"has not ended its answer within {self.total_seconds:g} s"
            limit.extend(self.total_seconds, self.fault(late))
            yield Reply(response, self, limit)

    @contextlib.contextmanager
    def _explained(self, limit: "_Limit") -> Iterator[None]:
        """Turn a broken connection into a described error."""
        import httpx2

        try:
            yield
        except httpx2.TransportError as error:
            if limit.over:
                raise limit.fault from error
            if isinstance(error, httpx2.TimeoutException):
                raise Passing(f"no answer within {self.begin_seconds:g} s") from error
            raise Passing(f"the connection failed: {self.brief(str(error))}") from error

    def fault(self, what: str) -> UserError:
        """Return the error for a response that breaks the protocol."""
        return UserError(
            f"the endpoint {self.place} {what}", "check that the URL is that of the right server"
        )

    def repeats_key(self, text: str) -> bool:
        """Return whether a text contains the key, the password or an encoded form of them."""
        return any(secret in text for secret in self._secrets())

    def brief(self, text: str) -> str:
        """Shorten a server's or a library's words to one line without secrets."""
        if self.repeats_key(text):
            return "text that repeats the key (not shown)"
        line = " ".join(without_credentials(text).split())
        return line if len(line) <= _BRIEF else f"{line[:_BRIEF]}…"

    def _key(self) -> str:
        key = os.environ.get(self.key_variable, "")
        if not _KEY.fullmatch(key):
            what = (
                "a line end or space"
                if any(c.isspace() for c in key)
                else "a character that is not ASCII"
            )
            raise UserError(
                f"the key in {self.key_variable} has {what} in it",
                "set it again without it; a file made on Windows may end its lines with one",
            )
        return key

    def _authorization(self) -> dict[str, str]:
        if self._login:
            return {"Authorization": f"Basic {self._basic()}"}
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _basic(self) -> str:
        return base64.b64encode(unquote(self._login).encode()).decode()

    def _secrets(self) -> list[str]:
        """Return the strings that no message may contain."""
        _, _, password = self._login.partition(":")
        values = [value for _, value in parse_qsl(self.query[1:])]
        logins = [self._login, password, unquote(password), self._basic()] if self._login else []
        return [secret for secret in (self._key(), *logins, *values) if secret]


@dataclass
class Reply:
    """A response while it arrives."""

    response: "httpx2.Response"
    connection: Connection
    limit: "_Limit"

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.response.status_code

    def header(self, name: str) -> str:
        """Return a header's value, or an empty text."""
        return str(self.response.headers.get(name, ""))

    def text(self) -> str:
        """Return the whole body.

        Raises:
            UserError: It is too large or takes too long.
        """
        return b"".join(self._chunks()).decode("utf-8", "replace")

    def lines(self) -> Iterator[str]:
        """Yield the body line by line as it arrives.

        Raises:
            UserError: The body, or a line of it, is too large or takes too long.
        """
        rest = b""
        for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.rstrip(b"\r").decode("utf-8", "replace") for line in lines)
            if len(rest) > LONGEST_LINE:
                raise self.connection.fault(f"sends a line of over {LONGEST_LINE >> 20} MB")
        yield rest.decode("utf-8", "replace")

    def _chunks(self) -> Iterator[bytes]:
        if self.header("content-encoding") not in ("", "identity"):
            raise self.connection.fault("sends its answer compressed, which was not requested")
        size = 0
        for chunk in self.response.iter_raw():
            size += len(chunk)
            if size > MOST_BYTES:
                raise self.connection.fault(f"sends more than {MOST_BYTES >> 20} MB")
            yield chunk
        if self.limit.over:  # closed by our own time limit
            raise self.limit.fault


class _Limit:
    """Closes a connection that takes too long, however steadily its server sends bytes."""

    def __init__(self, seconds: float, fault: Exception) -> None:
        self.over = False
        self._socket: socket.socket | None = None
        self._start(seconds, fault)

    def _start(self, seconds: float, fault: Exception) -> None:
        self.fault = fault
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def extend(self, seconds: float, fault: Exception) -> None:
        """Restart the time limit; `fault` is the error if it expires."""
        self._timer.cancel()
        self._start(seconds, fault)

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Record the socket as soon as the connection exists."""
        if event.endswith("connect_tcp.complete"):
            # A duplicate, since TLS takes over the original before its handshake.
            self._socket = details["return_value"].get_extra_info("socket").dup()
            if self.over:
                self._end()

    def close(self) -> None:
        """Cancel the limit."""
        self._timer.cancel()
        if self._socket is not None:
            self._socket.close()

    def _end(self) -> None:
        self.over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _address(url: str) -> str:
    """Return the printable part of a text that may be no URL and may contain a password."""
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + re.split("[?#]", rest.rpartition("@")[2])[0]


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("example.org")
        (True, True, False)
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(name)
        inner = getattr(address, "ipv4_mapped", None) or address
        return bool(inner.is_loopback or inner.is_unspecified)
    return False
