"""The uvicorn server: keys, socket, signals, and a shutdown that completes pending requests."""

import gc
import socket
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn

from tailorbird import log
from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.fastapi_app import make_app
from tailorbird.serve.middleware import LOOPBACK
from tailorbird.serve.model_registry import ModelRegistry


def open_keys(config: Config) -> Keys:
    """Return the keys, checked against the listening address.

    Raises:
        UserError: Other machines can reach it, and there is no key.
    """
    keys = Keys(Path(config.serve.keys))
    if config.serve.host not in LOOPBACK and not keys.all():
        raise UserError(
            f"--host {config.serve.host} lets other machines send requests, but there is no key",
            "make one first: tailor serve keys add NAME",
        )
    return keys


def listen(config: Config) -> socket.socket:
    """Return a bound socket that accepts no connections yet.

    Raises:
        UserError: The address is taken, or not this machine's.
    """
    host, port = config.serve.host, config.serve.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm only if the protocol is named: otherwise the second packet
    # of every answer waits 40 ms for the first one's acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        why = f"port {port} of {host} is not available: {error.strerror}"
        raise UserError(why, "choose another: --port 8001") from None
    return bound


def serve(registry: ModelRegistry, keys: Keys, bound: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; then refuse new requests and complete pending ones."""
    # Computing threads release the GIL sooner to the event loop.
    sys.setswitchinterval(0.001)
    # A full collection would scan every object of torch and the models, and block all answers for
    # half a second. Requests leave no cycles, so it is hardly ever due.
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 1000)
    settings = uvicorn.Config(
        make_app(registry, keys), log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=5, timeout_keep_alive=75,
    )  # fmt: skip
    _Server(settings, registry).run([bound])


class _Server(uvicorn.Server):
    """Uvicorn with a graceful shutdown."""

    def __init__(self, config: uvicorn.Config, registry: ModelRegistry) -> None:
        super().__init__(config)
        self.registry = registry
        self._end = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log the address."""
        await super().startup(sockets)
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            log.say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests; at the second signal end at once."""
        if self.registry.closing:
            self.should_exit = self.force_exit = True
            return
        self.registry.close()
        self._end = time.monotonic() + self.registry.limits.drain_seconds
        log.say("stopping after the requests in progress; Ctrl-C again: at once")

    async def on_tick(self, counter: int) -> bool:
        """End once all pending requests are answered, or the time for it is over."""
        if self._end and (not self.registry.waiting or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)
