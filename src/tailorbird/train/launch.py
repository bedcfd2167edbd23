"""Starts the processes of data-parallel training, or joins those of a launcher.

`--processes N` starts N - 1 beside this one; torchrun and ``accelerate launch`` start all of them,
each with the same command. Only rank 0 runs the command. The others wait for calls, which contain
their data (settings and examples), so that they read none themselves.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch import cuda, distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tailorbird import log
from tailorbird.errors import ProcessLost, UserError
from tailorbird.processes import choose_threads, launched, python
from tailorbird.train.distributed import ALONE, RankGroup

# Ended ranks are noticed at once by their closed connections. Others may validate for hours.
_PATIENCE = timedelta(days=7)
_CONNECTING = timedelta(minutes=10)
_LOOK_SECONDS, _ENDING_SECONDS = 0.05, 10.0
_HERE = "tailorbird/here/{}"


class TrainingRanks:
    """The ranks of this process's training, including those that it started."""

    def __init__(self) -> None:
        self.ranks = ALONE
        self._started: list[subprocess.Popen[bytes]] = []
        self._store: Any = None

    def join(self) -> RankGroup:
        """Join the ranks of a launcher.

        Raises:
            UserError: They cannot be reached, or the port is in use.
        """
        index, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        try:
            _connect(count, index, None)
        except Exception as error:
            place = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
            first = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"process {index} of {count} cannot join the others at {place}: {first}",
                "give the launcher a free port (torchrun --master-port 29501), and the address of "
                "a host that all can reach",
            ) from error
        self.ranks = RankGroup(count, index)
        return self.ranks

    def start(self, count: int) -> RankGroup:
        """Start `count` - 1 processes beside this one.

        Raises:
            ProcessLost: One of them ended before it was ready.
        """
        threads = max(1, choose_threads().count // count)
        self._store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
        common = {
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "OMP_NUM_THREADS": str(threads),
        }
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        for index in range(1, count):
            own = {"RANK": str(index), "LOCAL_RANK": str(index)}
            self._started.append(
                subprocess.Popen(
                    python("tailorbird.train.launch"),
                    env=os.environ | common | own,
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr.fileno(),
                    start_new_session=True,  # the leader handles Ctrl-C
                )
            )
        try:
            self._await(count)
            _connect(count, 0, self._store)
        except BaseException:
            self.abandon()
            raise
        self.ranks = RankGroup(count, 0, threads)
        return self.ranks

    def _await(self, count: int) -> None:
        keys = [_HERE.format(index) for index in range(1, count)]
        while not self._store.check(keys):
            if words := self._loss():
                raise ProcessLost(f"{words} before training began")
            time.sleep(_LOOK_SECONDS)

    def _loss(self) -> str:
        """Return which started process has ended, or an empty text."""
        for index, process in enumerate(self._started, 1):
            if (code := process.poll()) is not None:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                return f"process {index} of {len(self._started) + 1} ended with {how}"
        return ""

    @contextlib.contextmanager
    def whole(self) -> Iterator[RankGroup]:
        """Yield the ranks; if one ends inside, it is named and the others are ended too."""
        try:
            yield self.ranks
        except ProcessLost as error:
            time.sleep(_LOOK_SECONDS)
            words = self._loss()
            self.abandon()
            if words:
                raise ProcessLost(words, error.fix) from error
            raise

    def abandon(self) -> None:
        """End the started processes at once."""
        for process in self._started:
            process.kill()
            process.wait()
        self.ranks, self._started, self._store = ALONE, [], None
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def close(self) -> None:
        """Tell the others that no call will follow, and wait for their end."""
        if self.ranks.leads and self.ranks.count > 1:
            with contextlib.suppress(ProcessLost):
                self.ranks.share(None)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)
        self.abandon()


_training = TrainingRanks()


@contextlib.contextmanager
def training_ranks(count: int = 1) -> Iterator[RankGroup]:
    """Yield the ranks to train with: those of a launcher, else `count`, started at first use.

    They are reused for the next training of this process, and end with it.

    Raises:
        UserError: Those of a launcher cannot be reached.
        ProcessLost: One of them has ended.
    """
    if _training.ranks.count == 1 and launched():
        _training.join()
    elif _training.ranks.count == 1 and count > 1:
        import atexit

        _training.start(count)
        atexit.register(_training.close)
    with _training.whole() as ranks:
        yield ranks


@contextlib.contextmanager
def on_leading_rank() -> Iterator[None]:
    """Under a launcher, run the block on rank 0 alone; the others follow it and end here."""
    if not launched():
        yield
        return
    with training_ranks() as ranks:
        if not ranks.leads:
            follow(ranks)
            raise SystemExit(0)
    try:
        yield
    finally:
        _training.close()


def follow(ranks: RankGroup) -> None:
    """Run the leading rank's calls until there are no more."""
    log.mute()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # except in training, where the leader handles it
    while (call := ranks.share(None)) is not None:
        function, arguments = call
        try:
            function(ranks, *arguments)
        except ProcessLost:
            raise
        except UserError:
            continue  # all ranks have it; the leader reports it


def _connect(count: int, index: int, store: Any) -> None:
    backend = "gloo"
    if cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % cuda.device_count())
    where: dict[str, Any] = {"store": store} if store is not None else {"init_method": "env://"}
    distributed.init_process_group(
        backend, world_size=count, rank=index, timeout=_PATIENCE, **where
    )


def main() -> int:
    """Follow the parent process; return the exit code."""
    log.quiet_libraries()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    count, index = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(address, port, None, False, _CONNECTING)
        store.set(_HERE.format(index), "1")
        _connect(count, index, store)
        follow(RankGroup(count, index))
    except ProcessLost:
        return ProcessLost.exit_code  # the leader has ended: nobody to report to
    return 0


if __name__ == "__main__":
    # This module runs as __main__; calls must find the imported module's ranks.
    from tailorbird.train import launch

    sys.exit(launch.main())
