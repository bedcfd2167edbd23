"""Runs functions on the nodes of a Ray cluster; only a function, a value and a result are sent.

Nodes need no shared storage. Ray repeats the work of a dead node on another, and its value arrives
once. Only Ray's tasks are used: Ray Tune hangs when nodes are lost (ray#18808, ray#41362).
"""

import contextlib
import io
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from tailorbird import log
from tailorbird.errors import Interrupted, UserError
from tailorbird.version import __version__

_MOST_TRIES = 20
"""How often work is retried after its node died."""
_LOOK_SECONDS, _PATIENCE_SECONDS = 2.0, 60.0
_CONNECTING_SECONDS = 10.0
_LONGEST_MESSAGE = 300

Item = TypeVar("Item")
Value = TypeVar("Value")


class TaskFailed(Exception):  # noqa: N818 - for the one who asked, who has another way
    """Work on a node ended with an internal error."""


class RayNodes:
    """The nodes of a Ray cluster; a context manager.

    Args:
        address: Of the cluster's head, ``HOST:PORT`` or ``auto``. This machine must be a node.

    Attributes:
        cores: Of each node.
        gpus: Of all nodes together.

    Raises:
        UserError: Ray is not installed, no cluster is reachable, or its versions differ.
    """

    def __init__(self, address: str) -> None:
        ray = self._ray = _library()
        try:
            ray.init(address, log_to_driver=True, logging_level="ERROR", **_reachable(address))
        except Exception as error:
            message = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
            raise UserError(
                f"cannot join a Ray cluster at {address}: {message}",
                "start one with `ray start --head`, join it on this machine too, and give --ray "
                "the address that it prints",
            ) from error
        # Tasks print to stderr; on stdout, which is the report's, Ray prints pages of its own state
        # whenever a node dies.
        self._stdout = contextlib.redirect_stdout(io.StringIO())
        self._stdout.__enter__()
        self._alive = self._nodes()
        self._guard, self._tasks, self._stopped = Lock(), set[Any](), False
        self.cores = [int(each.get("CPU", 0)) for each in self._alive.values()]
        self.gpus = int(sum(each.get("GPU", 0) for each in self._alive.values()))
        log.say(f"Ray cluster at {address}: {len(self._alive)} nodes, {sum(self.cores)} cores")

    def __enter__(self) -> "RayNodes":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ray.shutdown()
        self._stdout.__exit__(None, None, None)

    @property
    def width(self) -> int:
        """The number of tasks at a time, each with a GPU if there are any, else with a core."""
        return self.gpus or max(1, sum(self.cores))

    @property
    def largest_memory(self) -> int:
        """The largest memory of a node, in bytes."""
        return int(max(node.get("memory", 0) for node in self._alive.values()))

    def call(
        self,
        function: Callable[[Any], Any],
        request: Any,
        title: str,
        cores: int = 1,
        memory_bytes: int = 0,
    ) -> Any:
        """Return the result of `function` for `request`, computed on some node.

        Args:
            function: A module-level function.
            request: Its picklable argument.
            title: The task's name in Ray.
            cores: The task's number of cores.
            memory_bytes: The requested memory, at most that of the largest node.

        Raises:
            UserError: No node is left that could do it, one has another version, or a fault of the
                function's.
            Interrupted: `stop` was called.
            TaskFailed: Another error.
        """
        needs: dict[str, Any] = {
            "num_cpus": cores,
            "memory": min(memory_bytes, self.largest_memory),
        } | ({"num_gpus": 1} if self.gpus else {})
        if self._stopped:
            raise Interrupted(f"{title} was stopped")
        task = (
            self._ray.remote(on_node)
            .options(name=title, max_retries=_MOST_TRIES, **needs)
            .remote(function, request, __version__, os.getcwd())
        )
        self._tasks.add(task)
        if self._stopped:
            self.stop()
        try:
            return self._result(task, title, needs)
        finally:
            self._tasks.discard(task)

    def each(self, work: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
        """Yield the results of `work`, which may `call`, in the order of the items.

        Items are consumed as nodes become free, so they need not all fit into memory.
        """
        waiting: deque[Future[Value]] = deque()
        with ThreadPoolExecutor(2 * self.width) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(work, item))
                    # One more per node, so that it need not wait.
                    if len(waiting) >= 2 * self.width:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except BaseException:
                self.stop()
                pool.shutdown(cancel_futures=True)
                raise

    def stop(self) -> None:
        """Stop the tasks, since Ctrl-C does not reach other machines."""
        self._stopped = True
        for task in list(self._tasks):
            with contextlib.suppress(Exception):
                self._ray.cancel(task, force=True)

    def _result(self, task: Any, title: str, needs: Mapping[str, Any]) -> Any:
        ray, patience = self._ray, _PATIENCE_SECONDS
        while not ray.wait([task], timeout=_LOOK_SECONDS)[0]:
            patience = _PATIENCE_SECONDS if self._can_run(needs) else patience - _LOOK_SECONDS
            if patience <= 0:
                ray.cancel(task, force=True)
                raise UserError(
                    f"no remaining node of the Ray cluster has {needs['num_cpus']} cores and "
                    f"{needs['memory'] / 2**30:.2f} GiB of memory",
                    "start nodes and continue: with --resume, or with the same `tailor index` "
                    "command",
                )
        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            if self._stopped:
                raise Interrupted(f"{title} was stopped") from None
            cause = getattr(error, "cause", None)
            if isinstance(cause, UserError):
                raise cause from error
            if isinstance(cause, ImportError):
                raise UserError(
                    f"a node of the Ray cluster cannot import tailorbird: {cause}",
                    f"install tailorbird[ray] {__version__} on all nodes",
                ) from error
            raise TaskFailed(" ".join(str(error).split())[:_LONGEST_MESSAGE]) from error

    def _can_run(self, needs: Mapping[str, Any]) -> bool:
        """Return whether a live node is large enough; report lost nodes."""
        nodes = self._nodes()
        with self._guard:
            lost = self._alive.keys() - nodes.keys()
            self._alive = nodes
        for name in sorted(lost):
            log.warn(f"lost node {name[:8]} of the Ray cluster; its work is repeated")
        demand = {"CPU": needs["num_cpus"], "memory": needs["memory"], "GPU": needs.get("num_gpus")}
        return any(
            all(node.get(name, 0) >= (amount or 0) for name, amount in demand.items())
            for node in nodes.values()
        )

    def _nodes(self) -> dict[str, dict[str, float]]:
        """Return the resources of every live node, by its id."""
        return {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}


def on_node(function: Callable[[Any], Any], request: Any, version: str, directory: str) -> Any:
    """Return the result of a function for a request on this node.

    Args:
        function: The function.
        request: Its argument.
        version: The caller's version of tailorbird.
        directory: The folder of relative paths, if it exists here.

    Raises:
        UserError: Another version is installed here.
    """
    if version != __version__:
        raise UserError(
            f"node {socket.gethostname()} has tailorbird {__version__}, but the run was started "
            f"with {version}",
            "install the same version on all nodes",
        )
    with contextlib.suppress(OSError):
        os.chdir(directory)
    return function(request)


def _reachable(address: str) -> dict[str, str]:
    """Return further arguments for Ray's connection to an address.

    Raises:
        OSError: The address is unreachable, which Ray itself would retry for minutes.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return {}
    socket.create_connection((host, int(port)), _CONNECTING_SECONDS).close()
    # Ray replaces 127.0.0.1 by the machine's network address, but no other loopback address.
    loopback = host.startswith("127.") and host != "127.0.0.1"
    return {"_node_ip_address": host} if loopback else {}


def _library() -> Any:
    """Import Ray, without its telemetry and deduplication of log lines.

    Raises:
        UserError: It is not installed.
    """
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS", "RAY_COLOR_PREFIX"):
        os.environ.setdefault(name, "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "--ray needs Ray, which is not installed", "pip install 'tailorbird[ray]'"
        ) from None
    return ray
