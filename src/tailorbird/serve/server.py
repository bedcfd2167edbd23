"""`tailor serve`: opens models and knowledge bases, and serves them until stopped."""

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from tailorbird import log
from tailorbird.config import Config
from tailorbird.errors import Faults, UserError
from tailorbird.processes import python
from tailorbird.runs.folder import ARMS, REPORT, RunFolder
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.app import make_app
from tailorbird.serve.middleware import LOOPBACK
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.supervised_queue import in_own_thread
from tailorbird.version import __version__

NamedPlace = tuple[str, str]
"""The clients' name, and the folder or model."""


def name_places(places: Iterable[str], names: Sequence[str] = ()) -> list[NamedPlace]:
    """Return the served places with names: a folder's last part, ``RUN/ARM`` for an arm.

    Args:
        places: Folders, or models' ids.
        names: ``NAME=FOLDER``; these folders are served too.

    Raises:
        UserError: A name without a place.
    """
    pairs: list[NamedPlace] = []
    for words in names:
        name, mark, place = words.partition("=")
        if not (name.strip() and mark and place.strip()):
            raise UserError(f"--name {words} names nothing", "write --name NAME=RUN")
        pairs.append((name.strip(), place.strip()))
    rest = [place for place in places if place not in {place for _, place in pairs}]
    return [*pairs, *((_name(place), place) for place in rest)]


def _name(place: str) -> str:
    path = Path(place).expanduser()
    if not path.is_dir():
        return place
    path = path.resolve()
    return f"{path.parent.parent.name}/{path.name}" if path.parent.name == ARMS else path.name


def open_places(registry: ModelRegistry, runs: Iterable[NamedPlace], stores: Iterable[NamedPlace],
         models: Iterable[NamedPlace]) -> None:  # fmt: skip
    """Open all served places, and report all faults at once.

    Raises:
        UserError: Something cannot be opened, or two have one name.
    """
    faults = Faults()
    kinds: tuple[tuple[Iterable[NamedPlace], Callable[[str, Any], None], type], ...] = (
        (runs, registry.add_run, Path),
        (stores, registry.add_store, Path),
        (models, registry.add_model, str),
    )
    for pairs, add, kind in kinds:
        for name, place in pairs:
            began, before = time.perf_counter(), registry.weights.saved_bytes
            try:
                in_own_thread(
                    partial(add, name, kind(Path(place).expanduser() if kind is Path else place))
                ).result()
            except UserError as error:
                faults.catch(error)
            else:
                shared = (registry.weights.saved_bytes - before) / 1e6
                also = f", {shared:,.0f} MB shared with models loaded before" if shared else ""
                log.say(f"{name} is loaded ({time.perf_counter() - began:.1f} s{also})")
    faults.raise_if_any()


def open_example(registry: ModelRegistry) -> None:
    """Open the bundled example: two classifiers, a generative model, and a knowledge base.

    Its training takes seconds, and is kept for the next start.

    Raises:
        UserError: The example is not part of the installation, or the disk is full.
    """
    from tailorbird.data.bundled import tutor_folder
    from tailorbird.flows.index import index
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.models.builtin import SMOLLM2
    from tailorbird.models.smollm2 import package_file

    pages = tutor_folder()
    if pages is None:
        raise UserError("there is nothing to serve", "name a run: tailor serve RUN")
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = place / "tailorbird" / f"example-{__version__}"
    run, store = place / "run", place / "pages"
    log.say(f"no run is named: serving the bundled example, from {place}")
    if not (run / REPORT).is_file():
        _compare(run)
    with KnowledgeFolder.create(store, registry.config.index) as kb:
        index(kb, [pages / "pages"], registry.config.index)
    runs = [(name, str(run / ARMS / name)) for name in ("probe", "rag")]
    # The larger one writes meaningful sentences, if its package is installed.
    writer = ("smollm2", SMOLLM2) if package_file() else ("tutor", "builtin:tutor")
    open_places(registry, runs, [("pages", str(store))], [writer])


def _compare(run: Path) -> None:
    """Compare two arms on the bundled example with `tailor compare`, since serving does not train.

    Raises:
        UserError: It failed; the reason is on the terminal.
    """
    words = ["compare", "--methods", "probe,rag", "--output", str(run)]
    words += ["--resume"] if RunFolder(run).exists else []
    # Its stdout is not needed; its messages and faults are on stderr.
    outcome = subprocess.run(python("tailorbird", *words), stdout=subprocess.DEVNULL)
    if outcome.returncode:
        raise UserError("the bundled example was not made", "see the messages above")


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
