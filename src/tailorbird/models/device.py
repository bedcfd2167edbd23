"""The compute device: its choice, number format, threads and memory."""

import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from tailorbird.errors import UserError
from tailorbird.processes import choose_threads
from tailorbird.runs.environment import peak_memory_bytes

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True)
class Device:
    """The device of computation and its number format.

    Attributes:
        name: ``cpu``, ``cuda:0``, ``mps``.
        precision: ``bf16``, ``fp16`` or ``fp32``.
        words: Both with the reason, for the user.
    """

    name: str
    precision: str
    words: str

    @property
    def kind(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self.name.partition(":")[0]

    @property
    def dtype(self) -> "torch.dtype":
        """The number format as a torch dtype."""
        import torch

        formats = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
        return formats[self.precision]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which matrix products run in `precision`."""
        import torch

        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.kind, dtype=self.dtype)


def choose(device: str = "auto", precision: str = "auto") -> Device:
    """Return the device to use.

    Raises:
        UserError: The device does not exist, or does not support the precision.
    """
    import torch

    _use_threads()
    name = _fastest() if device == "auto" else device
    kind = name.partition(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in there:
        raise UserError(f"model.device is {device!r}", "use auto, cpu, cuda, cuda:N or mps")
    if not there[kind]:
        raise UserError(
            f"model.device is {device!r}, but this machine has no usable {kind} device",
            "run `tailor doctor`, or leave model.device at auto",
        )
    if precision == "fp16" and kind == "cpu":
        raise UserError("model.precision fp16 is not for CPUs", "use bf16 or fp32")
    fast = has_fast_bf16(kind)
    number_format = precision if precision != "auto" else ("bf16" if fast else "fp32")
    why = "asked for" if precision != "auto" else ("fast here" if fast else "no fast bf16 here")
    return Device(name, number_format, f"{name} in {number_format} ({why})")


@cache
def _use_threads() -> None:
    """Use at most as many threads as there are free cores; a smaller setting stays."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), choose_threads().count))


def on_each_core(
    device: Device,
    compute: Callable[[Batch], Rows],
    batches: Sequence[Batch],
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[Rows]:
    """Yield the result for each batch, in order.

    On a CPU every core processes batches of its own: threads that share a product wait for the
    slowest after each one. The last batch comes first and has all threads, so that data that a
    model builds on first use (packed weights) is built once.

    Args:
        compute: Called from several threads at once.
        context: Entered once in each thread; its caches (weights cast by autocast) serve all
            batches.
    """
    import torch

    before = torch.get_num_threads()
    workers = min(before, len(batches) - 1) if device.kind == "cpu" else 1
    if workers < 2:
        with context():
            yield from map(compute, batches)
        return
    with context():
        last = compute(batches[-1])
    rows = [Future[Rows]() for _ in batches[:-1]]
    todo = iter(list(zip(rows, batches, strict=False)))

    def work() -> None:
        torch.set_num_threads(1)
        with context():
            for row, batch in todo:
                try:
                    row.set_result(compute(batch))
                except BaseException as error:
                    row.set_exception(error)

    try:
        with ThreadPoolExecutor(workers, "batch") as threads:
            for _ in range(workers):
                threads.submit(work)
            try:
                for row in rows:
                    yield row.result()
            finally:
                deque(todo, 0)  # an abandoned or failed iteration ends the others
    finally:
        torch.set_num_threads(before)
    yield last


def _fastest() -> str:
    import torch

    if torch.cuda.is_available():
        # Each of the processes that train together has its own GPU.
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


PROCESSOR_SWITCH = "TAILORBIRD_CPU_BF16"
"""Environment variable, ``fast`` or ``slow``: compute as a processor of that kind, whatever
this one is; for tests."""


def has_fast_bf16(kind: str) -> bool:
    """Return whether the device multiplies bf16 matrices in hardware."""
    import torch

    pretended = os.environ.get(PROCESSOR_SWITCH)
    if kind == "cpu" and pretended in ("fast", "slow"):
        return pretended == "fast"

    if kind == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    if kind != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def peak_memory(device: Device) -> int:
    """Return the peak memory: of the GPU if there is one, else of the process."""
    import torch

    if device.kind == "cuda":
        return torch.cuda.max_memory_allocated()
    return peak_memory_bytes()


def free_memory() -> None:
    """Release torch's cached GPU memory, after it ran out."""
    torch = sys.modules.get("torch")  # if torch is not loaded, it holds none
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
