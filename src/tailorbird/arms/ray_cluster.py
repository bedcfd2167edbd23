"""Runs arms and trials on the nodes of a Ray cluster, one task each, and transfers their files.

A node receives the run's data and the job, and works in a folder of its own, which comes back as
one value and is written here. So nothing remains of an arm whose node dies: it is repeated on
another node, and counts once.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.arms.fork_server import ForkServer
from tailorbird.arms.parallel_arms import Item, Scheduler, Value
from tailorbird.arms.trials import RESULT
from tailorbird.errors import Interrupted
from tailorbird.planning.memory_check import gib
from tailorbird.runs.folder import ARM, ARMS, LOCK, SEARCH, SEEDS
from tailorbird.runs.ray_nodes import RayNodes, TaskFailed


class Cluster(Scheduler):
    """Runs arms and trials as tasks of a Ray cluster; a context manager.

    Args:
        address: See `RayNodes`.

    Raises:
        UserError: See `RayNodes`.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._nodes = RayNodes(address)
        self.jobs = self._nodes.width
        self._each = 1
        self._mapping = False

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._nodes.__exit__()

    def map(
        self, work: Callable[[Item], Value], items: Sequence[Item], tasks: int = 1
    ) -> list[Value]:
        """See `Scheduler.map`: every process that `work` starts is a task of the cluster."""
        if self._mapping:  # nested call
            return super().map(work, items)
        cores, count = self._nodes.cores, max(1, len(items) * tasks)
        self._each = max(1, min(sum(cores) // count, max(cores, default=1)))
        self._mapping = True
        try:
            return super().map(work, items)
        finally:
            self._mapping = False

    def run(self, module: str, *arguments: str) -> int:
        """See `Scheduler.run`; arms that combine others run here."""
        if not self._mapping:
            return super().run(module, *arguments)
        if self._stopped:
            return Interrupted.exit_code
        run, place = Path(arguments[0]), Path(arguments[1])
        memory = self._memory(*arguments)
        request = {
            "module": module,
            "files": pack(run, place),
            "place": place.relative_to(run).as_posix(),
            "threads": self._each,
        }
        try:
            code, files = self._nodes.call(do, request, place.name, self._each, memory)
        except Interrupted as error:
            return error.exit_code
        except TaskFailed as error:
            log.warn(str(error))
            return 1
        if files:
            unpack(files, run, place)
        return int(code)

    def _memory(self, run: str, place: str) -> int:
        """Return the planned memory of an arm in bytes."""
        runner = self._free.get()
        try:
            memory = self._need(runner, run, place)
        finally:
            self._free.put(runner)
        if memory > (largest := self._nodes.largest_memory):
            log.say(
                f"{Path(place).name}: needs about {gib(memory)}, but no node has more than "
                f"{gib(largest)}: it gets all of that"
            )
        return memory

    def _interrupt(self) -> None:
        self._nodes.stop()

    def _send(self, number: int) -> None:
        super()._send(number)
        self._interrupt()


def do(request: Mapping[str, Any]) -> tuple[int, bytes]:
    """Run an arm's work on this node; return its exit code and its files.

    Args:
        request: The module to run, the files of `pack`, the arm's place in the run's folder, and
            the number of threads.

    Raises:
        UserError: Another version is installed here.
    """
    with tempfile.TemporaryDirectory(prefix="tailor-") as folder:
        run = Path(folder) / "run"
        place = run / request["place"]
        unpack(request["files"], run, place)
        shared = {path.relative_to(run).as_posix() for path in _shared(run)}
        with ForkServer(OMP_NUM_THREADS=str(request["threads"]), TERM="dumb") as runner:
            code = runner.run(request["module"], str(run), str(place))
        return code, pack(run, place, but=shared)


def pack(run: Path, place: Path, but: Collection[str] = ()) -> bytes:
    """Return an arm's files and those that all arms share, as a tar archive.

    Args:
        but: Names of shared files to leave out.
    """
    paths = [path for path in _shared(run) if path.relative_to(run).as_posix() not in but]
    if place.parent.name == SEEDS:
        # Every seed uses the settings found by the first seed's search.
        paths += _files(place.parent.parent / SEARCH)
    # The file that marks an arm or a trial as complete is written last.
    paths += sorted(_own(place), key=lambda path: path in (place / ARM, place / RESULT))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in paths:
            archive.add(path, path.relative_to(run).as_posix(), recursive=False)
    return buffer.getvalue()


def unpack(files: bytes, run: Path, place: Path) -> None:
    """Write the output of `pack`, replacing the arm's folder only.

    Args:
        run: The run's folder; shared files are written if missing.
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
    """Return the files outside arms and searches."""
    own = (ARMS, SEARCH)
    return [path for path in _files(run) if path.relative_to(run).parts[0] not in own]


def _own(place: Path) -> list[Path]:
    """Return the files of an arm's first training, or of a seed's."""
    return [path for path in _files(place) if path.relative_to(place).parts[0] != SEEDS]
