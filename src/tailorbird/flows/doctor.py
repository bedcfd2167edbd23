"""`tailor doctor`: the state of this machine, what is missing, and the exact fix."""

import os
import shutil
import time
from typing import Any

from tailorbird.errors import UserError
from tailorbird.models.builtin import BUILTINS, SMOLLM2, resolve
from tailorbird.models.device import choose
from tailorbird.models.smollm2 import INSTALL, converted_folder, package_file
from tailorbird.processes import choose_threads
from tailorbird.runs.environment import PACKAGES, describe, installed

_NEEDED_DISK, _NEEDED_MEMORY = 2e9, 3e9


def examine() -> list[dict[str, Any]]:
    """Return checks: ``name``, ``ok``, ``version``, ``fix`` (empty if the check passes)."""
    facts = describe()
    machine = facts["machine"]
    free = shutil.disk_usage(".").free
    missing = [name for name in PACKAGES if installed(name) is None]
    return [
        _check("tailorbird", True, f"{facts['tailorbird']} on Python {facts['python']}"),
        _check("processor", True, f"{machine['processor']}, {machine['cores']} cores"),
        _check("threads", True, f"{choose_threads().words}; {_waiting()}"),
        _check(
            "memory",
            machine["memory_bytes"] > _NEEDED_MEMORY,
            f"{machine['memory_bytes'] / 1e9:.1f} GB",
            "3 GB are needed for the smallest models; close other programs",
        ),
        _check("disk", free > _NEEDED_DISK, f"{free / 1e9:.1f} GB free here", "free some space"),
        _check(
            "packages",
            not missing,
            ", ".join(f"{name} {version}" for name, version in facts["packages"].items()),
            f"pip install {' '.join(missing)}",
        ),
        _device(),
        _products(),
        _quantisation(),
        *map(_builtin, BUILTINS),
        _hub(),
    ]


def _check(name: str, ok: bool, value: str, fix: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": value, "fix": "" if ok else fix}


def _waiting() -> str:
    """Return how threads wait for each other."""
    policy = os.environ["OMP_WAIT_POLICY"]
    return "they wait without spinning" if policy == "PASSIVE" else f"OMP_WAIT_POLICY={policy}"


def _device() -> dict[str, Any]:
    import torch

    device = choose()
    if device.kind == "cuda":
        card = torch.cuda.get_device_properties(0)
        return _check(
            "device", True, f"{card.name}, {card.total_memory / 1e9:.0f} GB: {device.words}"
        )
    return _check("device", True, f"no GPU found: {device.words}")


def _products() -> dict[str, Any]:
    """Measure matrix products, since not every machine is as fast as its number formats promise."""
    import torch

    device = choose()
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(1024, 1024, device=device.name).to(dtype)
        a @ a
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 0.2:
            a @ a
            count += 1
        if device.kind == "cuda":
            torch.cuda.synchronize()
        rates[name] = count * 2 * 1024**3 / (time.perf_counter() - started) / 1e9
    words = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in rates.items())
    return _check("products", True, words)


def _quantisation() -> dict[str, Any]:
    from tailorbird.methods.qlora import quantisation_works

    why = quantisation_works()
    fix = "pip install --upgrade bitsandbytes; all methods but qlora work without it"
    return _check("qlora", not why, why or "4-bit layers work", fix)


def _builtin(name: str) -> dict[str, Any]:
    if name == SMOLLM2 and not converted_folder().is_dir():
        # Optional, and a check must not convert the model.
        there = package_file() is not None
        words = "installed, converted at its first use" if there else f"optional: {INSTALL}"
        return _check(name, True, words)
    try:
        return _check(name, True, f"verified, {resolve(name)}")
    except UserError as error:
        return _check(name, False, error.problem, error.fix)


def _hub() -> dict[str, Any]:
    from tailorbird.models.hub import hub_reachable

    why = hub_reachable()
    words = why or "reachable"
    # A missing hub is no fault: local folders and the builtins remain.
    return _check("model hub", True, words if not why else f"{why}; local folders and builtin work")
