"""Records of a plan: memory by term, and what fits which device."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tailorbird.records.scores import LearningCurve

Phase = Literal["load", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One consumer of memory.

    Attributes:
        bytes: Its size at the peak.
    """

    name: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The peak memory of training with one method.

    Attributes:
        phase: The phase of the peak.
        trained, total: Numbers of trained and of all parameters.
        how: ``traced``: our own step on shapes; ``formula``: the architecture is unknown.
        flops: Of one optimizer step: matrix products and attention.
        notes: The plan's assumptions, in words.
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
    """Whether a method fits a device, and the smallest change that makes it fit.

    Attributes:
        bytes: The method's memory with the given settings.
        fits: Whether that fits with a tenth to spare.
        change: The smallest change that makes it fit, as settings; empty: it fits, or nothing does.
        changed_bytes: The memory after the change.
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
    """The time of training with one method.

    Attributes:
        epochs: The most passes over the training examples; early stopping may end them before.
        epoch_seconds: One pass, validations included.
        seconds: All passes, and what precedes the first step.
        read_seconds: Time to predict or score a text afterwards; None if not measured.
        price: Cost of the time, if a price was given.
        start_seconds: Time before the first step: fitting a new head, testing how texts are read.
        how: The origin of the rate, in words.
    """

    method: str
    epochs: float
    epoch_seconds: float
    seconds: float
    read_seconds: float | None = None
    price: float | None = None
    start_seconds: float = 0.0
    how: str = ""


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """The memory of generation after training, for one context length and number of users.

    Attributes:
        fits: Whether that fits the device with a tenth to spare.
        tokens_per_second: Total throughput; None if the device's bandwidth is unknown.
    """

    context: int
    users: int
    bytes: int
    fits: bool
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of `tailor plan`.

    Attributes:
        device: The training device, in words.
        workload: Batch, length and the rest, as settings.
        memory: By method.
        fits: By method and device.
        why_not: Impossible methods, with the reason.
        peers: Estimates for full fine-tuning by common rules of thumb, in bytes.
        notes: The plan's assumptions, in words.
        time: By method, if a rate is known.
        serving: For generative models: by context length and number of users.
        curve: The learning curve, if requested.
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
