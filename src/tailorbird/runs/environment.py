"""Versions and hardware of a run, for the report."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tailorbird.processes import choose_threads, cores
from tailorbird.version import __version__

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "safetensors",
    "numpy", "scikit-learn", "scipy", "datasketch", "pyarrow",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Return versions and hardware as plain values, without loading packages but NumPy."""
    import psutil

    return {
        "tailorbird": __version__,
        "python": platform.python_version(),
        "packages": {name: number for name in PACKAGES if (number := installed(name))},
        "machine": {
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": _processor(),
            "cores": cores(),
            "threads": choose_threads().count,
            "memory_bytes": psutil.virtual_memory().total,
        },
    }


def installed(package: str) -> str | None:
    """Return a package's version; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """Return this process's peak memory, as ``/usr/bin/time -v`` reports it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
