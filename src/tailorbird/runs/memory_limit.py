"""The memory limit of this process: of the machine, its container, and its own limits."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 expresses "no limit" by a number near 2^63.
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The least of all limits.

    Attributes:
        words: The origin of the limit.
        shared: Whether other processes count against it too.
    """

    bytes: int
    words: str
    shared: bool


def memory_limit(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> MemoryLimit:
    """Return the memory limit of this process and its children.

    Args:
        root: The mount point of control groups.
        membership: The file with this process's groups.
    """
    import psutil

    limits = [MemoryLimit(psutil.virtual_memory().total, "of this machine", True)]
    group = cgroup_limit(root, membership)
    if group is not None:
        limits.append(MemoryLimit(group, "that this container may use (its cgroup)", True))
    own = _own_limit()
    if own is not None:
        limits.append(MemoryLimit(own, "that this process may use (ulimit)", False))
    return min(limits, key=lambda limit: limit.bytes)


def started_by_us() -> int:
    """Return the resident bytes of this process's ancestors that are ours.

    They wait while it works, and count against the same limit.
    """
    import psutil

    total = 0
    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if process.exe() != psutil.Process().exe():
                break
            total += int(process.memory_info().rss)
    return total


def cgroup_limit(root: Path, membership: Path) -> int | None:
    """Return the least limit of this process's control groups and their parents; None: no limit.

    Version 2 has it in ``memory.max``, version 1 in ``memory.limit_in_bytes``; inside a container
    the group itself is mounted at the root.
    """
    limits = []
    for folder, name in _files(root, membership):
        with contextlib.suppress(OSError, ValueError):
            limit = int((folder / name).read_text())
            if limit < _NO_LIMIT:
                limits.append(limit)
    return min(limits, default=None)


def _files(root: Path, membership: Path) -> list[tuple[Path, str]]:
    """Return the folders that may have a limit, and the file's name there."""
    files = [(root, "memory.max"), (root / "memory", "memory.limit_in_bytes")]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return files
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root, "memory.max")
        if controllers:
            base, name = root / "memory", "memory.limit_in_bytes"
        inside = base / path.strip("/")
        files += [(folder, name) for folder in (inside, *inside.parents) if base in folder.parents]
    return files


def _own_limit() -> int | None:
    """Return the least of this process's own memory limits; None: no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    sizes = []
    for name in ("RLIMIT_DATA", "RLIMIT_AS"):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            sizes.append(soft)
    return min(sizes, default=None)
