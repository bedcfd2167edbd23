"""Training devices: memory, rates, and the part that the system leaves."""

import re
from dataclasses import dataclass

from tailorbird.errors import UserError, did_you_mean
from tailorbird.models.device import Device, choose
from tailorbird.runs.memory_limit import memory_limit

GIB = 2**30
SIZES = (8, 12, 16, 24, 48, 80)
"""Memory of the table's devices, in GB."""
# The driver and error correction take a part of a card's nominal memory.
_LEFT = 0.95
# A tenth stays free, for errors of the plan and memory that the allocator cannot use.
HEADROOM = 1.1

# Nominal GB, TFLOP/s of dense 16-bit products, GB/s: the makers' data sheets.
_CARDS: dict[str, tuple[float, float, float]] = {
    "t4": (16, 65, 320),
    "v100": (32, 125, 900),
    "rtx3060": (12, 51, 360),
    "rtx3090": (24, 71, 936),
    "rtx4090": (24, 165, 1008),
    "rtx5090": (32, 209, 1792),
    "l4": (24, 121, 300),
    "a10": (24, 125, 600),
    "a6000": (48, 155, 768),
    "l40s": (48, 362, 864),
    "a100": (80, 312, 2039),
    "h100": (80, 989, 3350),
    "h200": (141, 989, 4800),
    "b200": (180, 2250, 8000),
    "mi300x": (192, 1307, 5300),
}
_OLD = ("t4", "v100")
"""Cards without bf16 products."""


@dataclass(frozen=True)
class PlannedDevice:
    """A device to plan for.

    Attributes:
        name: The user's name of it, or its model.
        device: Its kind and number format.
        capacity_bytes: Memory that a run may use.
        here: Whether it is this machine's.
        flops: 16-bit operations per second by the data sheet; None if unknown.
        bandwidth: Bytes per second likewise.
    """

    name: str
    device: Device
    capacity_bytes: int
    here: bool = False
    flops: float | None = None
    bandwidth: float | None = None


def place_of(name: str | None, device: str = "auto", precision: str = "auto") -> PlannedDevice:
    """Return the device of a name.

    Args:
        name: ``24GB``, a card (``h100``), ``cpu``, or None: the device of a run on this machine.
        device: `model.device`.
        precision: `model.precision`.

    Raises:
        UserError: The name is unknown.
    """
    if name is None or name.lower() in ("auto", "cpu", "cuda", "mps"):
        actual = choose(device if name is None else name.lower(), precision)
        return PlannedDevice(_title(actual), actual, _capacity(actual), here=True)
    word = re.sub(r"[\s_]|(?<=[a-z])-", "", name.lower())
    gb, flops, bandwidth = _CARDS.get(word, (0.0, 0.0, 0.0))
    if not gb:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:gi?b?)?", word)
        gb = float(match[1]) if match else 0.0
    if not 0 < gb <= 100_000:
        raise UserError(
            f"--device {name!r} is no device{did_you_mean(word, _CARDS)}",
            f"say how much memory it has (24GB), cpu, or one of: {', '.join(_CARDS)}",
        )
    usual = "fp16" if word in _OLD else "bf16"
    format_ = usual if precision == "auto" else precision
    there = Device("cuda", format_, f"{name} in {format_}")
    rates = (flops * 1e12 or None, bandwidth * 1e9 or None)
    return PlannedDevice(name, there, round(gb * GIB * _LEFT), False, *rates)


def _title(device: Device) -> str:
    return "this machine" if device.kind == "cpu" else f"this machine's {device.name}"


def _capacity(device: Device) -> int:
    import torch

    if device.kind == "cuda":
        return int(torch.cuda.get_device_properties(device.name).total_memory)
    return memory_limit().bytes
