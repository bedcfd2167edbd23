"""A sample of passing rows: all, or a random one that fits into memory."""

import sys
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

from tailorbird.errors import UserError

_T = TypeVar("_T")
_LOOKED_AT, _PASSED = 4096, 64 << 20
"""The rows or characters between two checks of the memory."""

_SHARE = 0.5


class Reservoir(Generic[_T]):
    """Rows in the order of the files: every one, or `most` of them drawn at random.

    The sample is a reservoir (Vitter 1985, algorithm R): each row has the same chance, and at
    most `most` rows are in memory.

    Args:
        most: Rows to keep; None: all that fit into half of the initially free memory.
    """

    def __init__(self, name: str, most: int | None = None, seed: int = 0) -> None:
        self._name, self._most = name, most
        self._random = Random(seed)
        self._rows: list[_T] = []
        self._numbers: list[int] = []
        self._memory = MemoryBudget()
        self._passed = 0
        self.count = 0

    def add(self, row: _T, size: int = 0) -> None:
        """Add the next row.

        Raises:
            UserError: The rows so far exceed the memory limit.
        """
        number = self.count
        self.count += 1
        if self._most is None:
            self._rows.append(row)
        elif number < self._most:
            self._rows.append(row)
            self._numbers.append(number)
        elif (place := self._random.randrange(number + 1)) < self._most:
            self._rows[place], self._numbers[place] = row, number
        self._passed += size
        if number % _LOOKED_AT == _LOOKED_AT - 1 or self._passed > _PASSED:
            self._passed = 0
            if self._memory.exceeded():
                raise self._too_much()

    def clear(self) -> None:
        """Drop the rows, to free memory for reporting the error."""
        self._rows, self._numbers = [], []

    def rows(self) -> list[_T]:
        """Return the kept rows, in their original order."""
        if self._most is None:
            return self._rows
        order = sorted(range(len(self._rows)), key=self._numbers.__getitem__)
        return [self._rows[place] for place in order]

    def _too_much(self) -> UserError:
        count = len(self._rows)
        return UserError(
            f"{self._name}: {count:,} rows take {self._memory.used() / 1e9:,.1f} GB, half of the "
            "free memory, and the file has more",
            "keep fewer, a random sample drawn while reading: --set "
            f"data.max_examples={count // 2}",
        )


class MemoryBudget:
    """This process's memory growth, against half of the initially free memory."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._budget = 0.0

    def used(self) -> int:
        """Return the bytes taken since the start."""
        import psutil

        now = int(psutil.Process().memory_info().rss)
        if self._start is None:
            self._start, self._budget = now, _SHARE * free_bytes()
        return now - self._start

    def exceeded(self) -> bool:
        """Return whether the budget is exceeded."""
        return self.used() > self._budget


def free_bytes() -> int:
    """Return the free memory of the machine and of this process's control group."""
    import psutil

    free = min(int(psutil.virtual_memory().available), _address_space())
    group = Path("/sys/fs/cgroup")
    most, now = (_number(group / name) for name in ("memory.max", "memory.current"))
    if most is None or now is None:
        return free
    # Cached file pages count as used, but are freed under pressure.
    return min(free, most - now + _cache_bytes(group / "memory.stat"))


def _address_space() -> int:
    """Return the rest of the process's address space limit (`ulimit -v`)."""
    import psutil

    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, most - int(psutil.Process().memory_info().vms))


def _cache_bytes(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("file ")), 0)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
