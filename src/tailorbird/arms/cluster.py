"""Arms on the nodes of a Ray cluster: a task each, whose files go to the node and come back.

A node gets the run's data and the arm's job, and does the work in a folder of its own; the arm's
folder comes back as one value and is written here. So nodes need no storage in common, and of an
arm whose node dies nothing is left: Ray does it again elsewhere, and it counts once. Of Ray only
tasks are used: Ray Tune hangs when nodes are lost (ray#18808, ray#41362).
"""

import contextlib
import io
import os
import socket
import tarfile
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.arms.process import Nest
from tailorbird.arms.schedule import Item, Scheduler, Value
from tailorbird.errors import Interrupted, UserError
from tailorbird.planning.fit_check import gib
from tailorbird.runs.folder import ARM, ARMS, LOCK, SEARCH, SEEDS
from tailorbird.version import __version__

_MOST_TRIES = 20
"""How often an arm is begun again whose node died."""
_LOOK_SECONDS, _PATIENCE_SECONDS = 2.0, 60.0
_CONNECTING_SECONDS = 10.0
_LONGEST_MESSAGE = 300


class Cluster(Scheduler):
    """Runs the arms of a comparison as tasks of a Ray cluster; a context manager.

    Args:
        address: Of the cluster's head, ``HOST:PORT`` or ``auto``. This machine must be a node.

    Raises:
        UserError: Ray is not installed, no cluster is there, or its versions are others.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        ray = self._ray = _library()
        try:
            ray.init(address, log_to_driver=True, logging_level="ERROR", **_reachable(address))
        except Exception as error:
            message = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
            raise UserError(
                f"no Ray cluster at {address} that can be joined: {message}",
                "start one with `ray start --head`, join it on this machine too, and give --ray "
                "the address that it tells",
            ) from error
        # What tasks print comes on stderr; on stdout, which is the report's, Ray tells pages of its
        # own state whenever a node dies.
        self._stdout = contextlib.redirect_stdout(io.StringIO())
        self._stdout.__enter__()
        self._nodes = self._alive()
        cores = sum(int(resources.get("CPU", 0)) for resources in self._nodes.values())
        self._gpus = int(sum(resources.get("GPU", 0) for resources in self._nodes.values()))
        self.jobs = self._gpus or max(1, cores)
        self._each = 1
        self._mapping = False
        self._tasks: set[Any] = set()
        log.say(f"Ray cluster at {address}: {len(self._nodes)} nodes, {cores} cores")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._ray.shutdown()
        self._stdout.__exit__(None, None, None)

    def map(self, work: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """See `Scheduler.map`: every process that `work` runs is a task of the cluster."""
        cores = [int(resources.get("CPU", 0)) for resources in self._nodes.values()]
        self._each = max(1, min(sum(cores) // max(1, len(items)), max(cores, default=1)))
        self._mapping = True
        try:
            return super().map(work, items)
        finally:
            self._mapping = False

    def run(self, module: str, *arguments: str) -> int:
        """See `Scheduler.run`; what follows from several arms is done here."""
        if not self._mapping:
            return super().run(module, *arguments)
        if self._stopped:
            return Interrupted.exit_code
        run, place = Path(arguments[0]), Path(arguments[1])
        needs = self._resources(*arguments)
        request = {
            "module": module,
            "files": pack(run, place),
            "place": place.relative_to(run).as_posix(),
            "threads": needs["num_cpus"],
            "version": __version__,
            "directory": os.getcwd(),
        }
        task = (
            self._ray.remote(do)
            .options(name=place.name, max_retries=_MOST_TRIES, **needs)
            .remote(request)
        )
        self._tasks.add(task)
        if self._stopped:
            self._interrupt()
        try:
            code, files = self._result(task, needs)
        finally:
            self._tasks.discard(task)
        if files:
            unpack(files, run, place)
        return code

    def _resources(self, run: str, place: str) -> dict[str, Any]:
        """Return what an arm asks of a node: cores, a GPU if there are any, the memory planned."""
        nest = self._free.get()
        try:
            memory = self._need(nest, run, place)
        finally:
            self._free.put(nest)
        largest = int(max(node.get("memory", 0) for node in self._nodes.values()))
        if memory > largest:
            log.say(
                f"{Path(place).name}: needs about {gib(memory)}, and no node offers more than "
                f"{gib(largest)}: it gets all of that"
            )
        gpus = {"num_gpus": 1} if self._gpus else {}
        return {"num_cpus": self._each, "memory": min(memory, largest)} | gpus

    def _result(self, task: Any, needs: Mapping[str, Any]) -> tuple[int, bytes]:
        """Wait for a task, whichever node does it in the end."""
        ray, patience = self._ray, _PATIENCE_SECONDS
        while not ray.wait([task], timeout=_LOOK_SECONDS)[0]:
            patience = _PATIENCE_SECONDS if self._can_run(needs) else patience - _LOOK_SECONDS
            if patience <= 0:
                ray.cancel(task, force=True)
                raise UserError(
                    f"no node of the Ray cluster is left with {needs['num_cpus']} cores and "
                    f"{gib(needs['memory'])} of memory",
                    "start nodes, and go on with --resume",
                )
        try:
            code, files = ray.get(task)
        except ray.exceptions.RayError as error:
            if self._stopped:
                return Interrupted.exit_code, b""
            cause = getattr(error, "cause", None)
            if isinstance(cause, UserError):
                raise cause from error
            if isinstance(cause, ImportError):
                raise UserError(
                    f"a node of the Ray cluster cannot import tailorbird: {cause}",
                    f"install tailorbird[ray] {__version__} on all nodes",
                ) from error
            log.warn(" ".join(str(error).split())[:_LONGEST_MESSAGE])
            return 1, b""
        return int(code), bytes(files)

    def _can_run(self, needs: Mapping[str, Any]) -> bool:
        """Say whether a node that lives is large enough; tell of those that were lost."""
        nodes = self._alive()
        with self._room:
            dead = self._nodes.keys() - nodes.keys()
            self._nodes = nodes
        for name in sorted(dead):
            log.warn(f"a node of the Ray cluster is lost: {name[:8]}; its work is done again")
        demand = {"CPU": needs["num_cpus"], "memory": needs["memory"], "GPU": needs.get("num_gpus")}
        return any(
            all(node.get(name, 0) >= (amount or 0) for name, amount in demand.items())
            for node in nodes.values()
        )

    def _alive(self) -> dict[str, dict[str, float]]:
        """Return the resources of every node that lives, by its id."""
        return {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}

    def _interrupt(self) -> None:
        """Stop the tasks: Ctrl-C reaches no other machine."""
        for task in list(self._tasks):
            with contextlib.suppress(Exception):
                self._ray.cancel(task, force=True)

    def _send(self, number: int) -> None:
        super()._send(number)
        self._interrupt()


def do(request: Mapping[str, Any]) -> tuple[int, bytes]:
    """Do an arm's work on the node that this runs on; return its exit code and what it made.

    Args:
        request: The module to run, `pack`'s files, the arm's place in the run's folder, how many
            threads it has, the version that asks, and the folder that relative paths start from.

    Raises:
        UserError: Another version is installed here.
    """
    if request["version"] != __version__:
        raise UserError(
            f"node {socket.gethostname()} has tailorbird {__version__}, and {request['version']} "
            "asks",
            "install the same version on all nodes",
        )
    with contextlib.suppress(OSError):
        os.chdir(request["directory"])
    with tempfile.TemporaryDirectory(prefix="tailor-") as folder:
        run = Path(folder) / "run"
        place = run / request["place"]
        unpack(request["files"], run, place)
        shared = {path.relative_to(run).as_posix() for path in _shared(run)}
        with Nest(OMP_NUM_THREADS=str(request["threads"]), TERM="dumb") as nest:
            code = nest.run(request["module"], str(run), str(place))
        return code, pack(run, place, but=shared)


def pack(run: Path, place: Path, but: Collection[str] = ()) -> bytes:
    """Return an arm's files and those that all arms share, as a tar archive.

    Args:
        but: Names of shared files to leave out.
    """
    paths = [path for path in _shared(run) if path.relative_to(run).as_posix() not in but]
    if (
        place.parent.name == SEEDS
    ):  # every seed takes the settings that the first one's search found
        paths += _files(place.parent.parent / SEARCH)
    # The arm's report is written last: it says that the arm is done.
    paths += sorted(_own(place), key=lambda path: path == place / ARM)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in paths:
            archive.add(path, path.relative_to(run).as_posix(), recursive=False)
    return buffer.getvalue()


def unpack(files: bytes, run: Path, place: Path) -> None:
    """Write what `pack` returned: the arm's folder holds that and nothing else, the rest stays.

    Args:
        run: The run's folder; files that all arms share are written where there are none.
    """
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        names = set(archive.getnames())
        for path in _own(place):
            if path.relative_to(run).as_posix() not in names:
                path.unlink()
        for member in archive:
            path = run / member.name
            if path.is_relative_to(place) or not path.exists():
                archive.extract(member, run, filter="data")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)


def _shared(run: Path) -> list[Path]:
    """Return the files that belong to no arm."""
    return [path for path in _files(run) if path.relative_to(run).parts[0] != ARMS]


def _own(place: Path) -> list[Path]:
    """Return the files of an arm's first training, or of the one of a seed."""
    return [path for path in _files(place) if path.relative_to(place).parts[0] != SEEDS]


def _reachable(address: str) -> dict[str, str]:
    """Return what else Ray must be told of an address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return {}
    socket.create_connection((host, int(port)), _CONNECTING_SECONDS).close()
    # 127.0.0.1 stands for the machine's address in the network; the rest of the loopback is itself.
    loopback = host.startswith("127.") and host != "127.0.0.1"
    return {"_node_ip_address": host} if loopback else {}


def _library() -> Any:
    """Import Ray, which is to say nothing to its makers, and to us every line once."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS", "RAY_COLOR_PREFIX"):
        os.environ.setdefault(name, "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "--ray needs Ray, which is not installed", "pip install 'tailorbird[ray]'"
        ) from None
    return ray
