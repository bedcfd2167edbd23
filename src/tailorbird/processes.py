"""Compute processes: their number of threads, and the safe start of our own.

Threads that share a product wait for the slowest, so threads beyond the free cores cost more than
they bring (`benchmarks/busy.py`). `tailorbird/__init__.py` makes them wait without spinning, before
anything loads torch.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 0.2
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Threads:
    """A number of threads for torch."""

    count: int
    words: str


def cores() -> int:
    """Return the number of cores for this process, by its affinity and its cgroup's quota."""
    import joblib

    return int(joblib.cpu_count())


def launched() -> bool:
    """Return whether torchrun or ``accelerate launch`` started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows() -> bool:
    """Return whether this is a launched process that follows the leading one."""
    return launched() and os.environ["RANK"] != "0"


@cache
def choose_threads() -> Threads:
    """Return the number of threads to use, measured once per process.

    A user's number (``OMP_NUM_THREADS``) is used unchanged.
    """
    own = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if own.isdecimal() and int(own) > 0:
        return Threads(int(own), f"{own} (OMP_NUM_THREADS)")
    usable, (present, busy) = cores(), busy_cores()
    count = max(1, min(usable, round(present - busy)))
    return Threads(count, f"{count}: {usable} cores, {busy:.1f} of {present} busy with other work")


def busy_cores(seconds: float = _SAMPLE_SECONDS) -> tuple[int, float]:
    """Return the cores available to us, and how many of them others keep busy while we sleep."""
    import psutil

    shares = psutil.cpu_percent(interval=seconds, percpu=True)
    if hasattr(os, "sched_getaffinity"):
        own = os.sched_getaffinity(0)
        shares = [share for core, share in enumerate(shares) if core in own] or shares
    return len(shares), sum(shares) / 100


def computing() -> dict[str, str]:
    """Return the environment of a compute process with as many threads."""
    return os.environ | {"OMP_NUM_THREADS": str(choose_threads().count)}


def python(module: str, *arguments: str) -> list[str]:
    """Return a command that runs `module` like ``python -m``, but without the working folder.

    ``-m`` would search the working folder first and import, for example, a data set's ``json.py``.
    The process finds the same modules as this one, including entries that a program added to
    `sys.path`.
    """
    # The first entry from `-m` or an interactive session is not inherited, unless the package
    # itself is in it: then it comes last, where it hides nothing.
    path = sys.path[_working_folder_is_first() :]
    path.append(str(Path(__file__).resolve().parent.parent))
    code = (
        f"import runpy, sys; sys.path += [p for p in {path!r} if p not in sys.path]; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-P", "-c", code, *arguments]


def _working_folder_is_first() -> bool:
    by_module = getattr(sys.modules.get("__main__"), "__spec__", None) is not None
    return sys.path[0] == "" or (by_module and sys.path[0] == os.getcwd())


class Worker:
    """A process of ours that answers one request at a time, with limits of its own.

    Requests are lines of JSON, answers JSON after its length in eight bytes: not pickles, since a
    file or a model may have taken over the process.

    Args:
        module: Its ``main`` calls `answer_questions`.
    """

    def __init__(self, module: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            python(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the parent handles Ctrl-C
            env=os.environ | environment,
        )
        self._received = bytearray()

    def send(self, question: bytes) -> None:
        """Send a request; an ended worker is noticed when its answer is awaited."""
        assert self.process.stdin is not None
        self._received.clear()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(question + b"\n")
            self.process.stdin.flush()

    def fileno(self) -> int:
        """Return the file descriptor of its answers."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def receive(self) -> dict[str, Any] | None:
        """Read available output; return the answer once it is complete.

        Raises:
            EOFError: The process has ended.
        """
        piece = os.read(self.fileno(), _PIECE)
        if not piece:
            raise EOFError
        self._received += piece
        if len(self._received) < 8 + int.from_bytes(self._received[:8]):
            return None
        with memoryview(self._received) as received:
            answer: dict[str, Any] = json.loads(bytes(received[8:]))
        self._received.clear()
        return answer

    def ask(self, question: bytes, seconds: float) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            TimeoutError: There is no answer in time.
            EOFError: The process has ended.
        """
        self.send(question)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self], [], [], left)[0] and (answer := self.receive()) is not None:
                return answer
        raise TimeoutError

    def end(self, patience: float = 0.0) -> int:
        """Stop the process, unless it exits within `patience`; return its exit status."""
        status = self.process.poll()
        if status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.process.wait(patience)
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.process.wait()
        return status if status is not None else self.process.returncode


def answer_questions(answer: Callable[[bytes], bytes]) -> None:
    """Answer a `Worker`'s requests until its input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # Libraries that print would corrupt the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for question in sys.stdin.buffer:
        body = answer(question)
        answers.write(len(body).to_bytes(8, "big") + body)
        answers.flush()


def cap_memory(memory_bytes: int) -> None:
    """Limit this process's address space, if the system supports that."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        cap = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
        resource.setrlimit(resource.RLIMIT_AS, (cap, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
