"""What a plan says: memory by term, and what fits which device."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tailorbird.records.scores import LearningCurve

Phase = Literal["load", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One thing that takes memory.

    Attributes:
        bytes: How much it takes when most memory is held.
    """

    name: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What training with one method holds at most.

    Attributes:
        phase: When most is held.
        trained, total: Parameters that are trained, and all.
        how: ``traced``: our own step on shapes; ``formula``: the architecture is not known.
        flops: Of one optimizer step: matrix products and attention.
        notes: What the plan assumes, in words.
    """

    method: str
    phase: Phase
    terms: tuple[MemoryTerm, ...]
    phases: dict[str, int]
    trained: int
    total: int
    how: Literal["traced", "formula"] = "traced"
    flops: int = 0
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """All terms together."""
        return sum(term.bytes for term in self.terms)


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """Whether a method fits a device, and the smallest change that makes it.

    Attributes:
        bytes: What the method takes as it was asked for.
        fits: Whether that fits with a tenth to spare.
        change: The smallest change that makes it fit, as settings; empty: it fits, or nothing does.
        changed_bytes: What it takes then.
        values: The change as settings of `train` and their values.
    """

    method: str
    device: str
    capacity_bytes: int
    bytes: int
    fits: bool
    change: tuple[str, ...] = ()
    changed_bytes: int | None = None
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TimePlan:
    """How long training with one method takes.

    Attributes:
        epochs: Passes over the training examples at most; early stopping may end them before.
        epoch_seconds: One pass, its validations included.
        seconds: All passes.
        read_seconds: For labelling or scoring a text afterwards; None where it was not measured.
        price: What the time costs, where a price was given.
        how: Where the rate comes from, in words.
    """

    method: str
    epochs: float
    epoch_seconds: float
    seconds: float
    read_seconds: float | None = None
    price: float | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What answering takes after training, for one context and number of people at once.

    Attributes:
        fits: Whether that fits the device with a tenth to spare.
        tokens_per_second: Of all together; None where the device's bandwidth is not known.
    """

    context: int
    users: int
    bytes: int
    fits: bool
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that `tailor plan` says.

    Attributes:
        device: Where it would be trained, in words.
        workload: Batch, length and the rest, as settings.
        memory: By method.
        fits: By method and device.
        why_not: Methods that cannot be, with the reason.
        peers: What usual rules say of full fine-tuning, in bytes.
        notes: What the plan assumes, in words.
        time: By method, where a rate is known.
        serving: Of models that write: by context and people at once.
        curve: What more labels would buy, where it was asked for.
    """

    model: str
    task: str
    device: str
    capacity_bytes: int
    workload: dict[str, Any]
    memory: tuple[MemoryPlan, ...]
    fits: tuple[DeviceFit, ...]
    why_not: dict[str, str] = field(default_factory=dict)
    peers: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    time: tuple[TimePlan, ...] = ()
    serving: tuple[ServingPlan, ...] = ()
    curve: LearningCurve | None = None
