"""Runs arms in parallel, in as many processes as cores and memory allow.

A flow defines the work and its order; `Scheduler.map` does it for several arms at once, each in a
thread that waits for a process. The threads share admission: nothing starts after Ctrl-C, and an
arm waits until its memory is free.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from threading import Condition
from typing import Protocol, TypeVar

from tailorbird import log
from tailorbird.arms.fork_server import ARM, ForkServer, answering_sigterm
from tailorbird.config.schema import CompareConfig
from tailorbird.errors import Interrupted
from tailorbird.planning.memory_check import gib
from tailorbird.processes import choose_threads, cores
from tailorbird.runs.memory_limit import memory_limit
from tailorbird.tasks.arm_job import NEED

NEEDS = "tailorbird.planning.memory_check"
_NVIDIA = Path("/proc/driver/nvidia/gpus")

Item = TypeVar("Item")
Value = TypeVar("Value")


class Runner(Protocol):
    """Runs a module in a process of its own and returns its exit code, as `ForkServer` does."""

    def run(self, module: str, *arguments: str) -> int:
        """Run `module`'s ``main`` with `arguments`."""
        ...


class Scheduler:
    """Runs the arms of a comparison, `jobs` at once; a context manager.

    Args:
        jobs: The number of parallel arms, at most the number of cores or GPUs.
    """

    def __init__(self, jobs: int = 1) -> None:
        places = self._places(jobs)
        self.jobs = len(places)
        self._runners = [ForkServer(**place) for place in places]
        self._free: SimpleQueue[ForkServer] = SimpleQueue()
        for runner in self._runners:
            self._free.put(runner)
        self._stopped = False
        self._room = Condition()
        self._needs: list[int] = []

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners:
            runner.__exit__()

    def _places(self, jobs: int) -> list[dict[str, str]]:
        """Return the environment of each process."""
        if jobs == 1:
            return [{}]
        gpus, usable = _gpus(), cores()
        count = min(jobs, len(gpus) or usable)
        if count < jobs:
            what = "GPUs" if gpus else "cores"
            how = f"{count} arms run at once" if count > 1 else "arms run one after another"
            log.say(f"--jobs {jobs}, but {count} {what}: {how}")
        if count == 1:
            return [{}]
        # Progress bars of several arms would overwrite each other, so lines name their arm.
        common = {
            "TERM": "dumb",
            "OMP_NUM_THREADS": str(max(1, choose_threads().count // count)),
        }
        if not gpus:
            return [common] * count
        return [common | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:count]]

    def map(
        self, work: Callable[[Item], Value], items: Sequence[Item], tasks: int = 1
    ) -> list[Value]:
        """Apply `work` to every item, `jobs` at once; return the results in the items' order.

        Args:
            work: Processes an item; it may call `map` itself.
            items: The items.
            tasks: The most processes that the work on an item runs at once.

        Raises:
            Interrupted: Ctrl-C; all running work has ended.
        """
        if self.jobs == 1 or len(items) < 2:
            return [work(item) for item in items]
        for runner in self._runners:
            runner.start()
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(work, item) for item in items]
            self._await(futures)
        return [future.result() for future in futures]

    def run(self, module: str, *arguments: str) -> int:
        """Run `module`'s ``main`` in a process of its own, once there is memory for it.

        Returns:
            Its exit code; `Interrupted.exit_code` if nothing may start any more.
        """
        if self._stopped:
            return Interrupted.exit_code
        runner = self._free.get()
        try:
            need = self._need(runner, *arguments) if module == ARM and self.jobs > 1 else 0
            with self._admitted(need, arguments[-1] if arguments else ""):
                return Interrupted.exit_code if self._stopped else runner.run(module, *arguments)
        finally:
            self._free.put(runner)

    def _need(self, runner: Runner, *arguments: str) -> int:
        """Return the planned memory of an arm in bytes."""
        runner.run(NEEDS, *arguments)
        path = Path(arguments[-1]) / NEED
        if not path.is_file():
            return 0
        need: int = json.loads(path.read_text("utf-8"))["bytes"]
        path.unlink()
        return need

    @contextlib.contextmanager
    def _admitted(self, need: int, place: str) -> Iterator[None]:
        """Wait until `need` bytes are free beside running work; an arm alone is always admitted."""
        capacity = memory_limit().bytes
        with self._room:
            if self._needs and sum(self._needs) + need > capacity:
                log.say(
                    f"{Path(place).name}: waits for memory: it needs about {gib(need)}, and "
                    f"{gib(sum(self._needs))} of {gib(capacity)} are in use"
                )
            self._room.wait_for(lambda: not self._needs or sum(self._needs) + need <= capacity)
            self._needs.append(need)
        try:
            yield
        finally:
            with self._room:
                self._needs.remove(need)
                self._room.notify_all()

    def _interrupt(self) -> None:
        """Stop work that Ctrl-C does not reach by itself."""

    def _await(self, futures: Sequence[Future[Value]]) -> None:
        with answering_sigterm(self._terminate):
            while not all(future.done() for future in futures):
                try:
                    wait(futures)
                except KeyboardInterrupt:
                    if self._stopped:  # pressed again
                        self._send(signal.SIGKILL)
                    self._stopped = True
                    for future in futures:
                        future.cancel()
                    self._interrupt()
        if self._stopped:
            raise Interrupted("the comparison was stopped")

    def _terminate(self, *_: object) -> None:
        self._send(signal.SIGINT)
        raise KeyboardInterrupt

    def _send(self, number: int) -> None:
        for runner in self._runners:
            runner.send(number)


def scheduler(config: CompareConfig) -> Scheduler:
    """Return the scheduler of a comparison: this machine, or a cluster.

    Raises:
        UserError: The cluster is unreachable.
    """
    if config.ray is None:
        return Scheduler(config.jobs)
    from tailorbird.arms.ray_cluster import Cluster

    return Cluster(config.ray)


def _gpus() -> list[str]:
    """Return the available GPUs, as in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(_NVIDIA.iterdir())] if _NVIDIA.is_dir() else []
