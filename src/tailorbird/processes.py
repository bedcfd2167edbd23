"""The processes that compute: how many threads they have, and what those we start may import.

Threads that share a product wait for the slowest of them, so threads beyond the free cores cost
more than they bring (`benchmarks/busy.py`). That they wait without spinning is set in
`tailorbird/__init__.py`, before anything loads torch.
"""

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Threads:
    """A number of threads for torch's products.

    Attributes:
        count: The number.
        words: The same for the person, with what it follows from.
    """

    count: int
    words: str


def cores() -> int:
    """Return how many cores this process may use, by its affinity and its cgroup's quota."""
    import joblib

    return int(joblib.cpu_count())


@cache
def choose_threads() -> Threads:
    """Return how many threads to use; measured once in a process.

    A number that the person set (``OMP_NUM_THREADS``) is taken as it is.
    """
    own = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if own.isdecimal() and int(own) > 0:
        return Threads(int(own), f"{own} (OMP_NUM_THREADS)")
    usable, (present, busy) = cores(), busy_cores()
    count = max(1, min(usable, round(present - busy)))
    return Threads(count, f"{count}: {usable} cores, {busy:.1f} of {present} busy with other work")


def busy_cores(seconds: float = _SAMPLE_SECONDS) -> tuple[int, float]:
    """Return the cores that we may run on, and how many of them others keep busy as we sleep."""
    import psutil

    shares = psutil.cpu_percent(interval=seconds, percpu=True)
    if hasattr(os, "sched_getaffinity"):
        own = os.sched_getaffinity(0)
        shares = [share for core, share in enumerate(shares) if core in own] or shares
    return len(shares), sum(shares) / 100


def computing() -> dict[str, str]:
    """Return the environment of a process that computes for us: with as many threads."""
    return os.environ | {"OMP_NUM_THREADS": str(choose_threads().count)}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module` as ``python -m`` does, but not from where we work.

    ``-m`` would put the working folder first and run a ``json.py`` that lies in it, a data set's
    for example. It finds what we find: also what a program put on its `sys.path`.
    """
    # What `-m` or an interactive session put first for this process is not handed on, unless the
    # package itself lies there: then last, where it hides nothing.
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
