"""What a plan says: memory by term, what fits which device, time, serving, and more labels."""

from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["load", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One thing that takes memory.

    Attributes:
        name: What it is.
        bytes: How much it takes when most memory is held.
        how: How the number comes about, in words.
    """

    name: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What training with one method holds at most.

    Attributes:
        method: The method.
        phase: When most is held.
        terms: What is held then.
        phases: The most bytes of each phase.
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
class Fit:
    """Whether a method fits a device, and the smallest change that makes it.

    Attributes:
        method: The method.
        device: The device's name.
        capacity_bytes: Its memory.
        bytes: What the method takes as it was asked for.
        fits: Whether that fits with a tenth to spare.
        change: The smallest change that makes it fit, as settings; empty: it fits, or nothing does.
        changed_bytes: What it takes then.
    """

    method: str
    device: str
    capacity_bytes: int
    bytes: int
    fits: bool
    change: tuple[str, ...] = ()
    changed_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TimePlan:
    """How long training takes, and what it costs.

    Attributes:
        method: The method.
        seconds: Of all steps.
        steps, step_seconds: How many, and of one.
        how: Where the rate comes from, in words.
        price: In the currency of the price per hour, where one was named.
    """

    method: str
    seconds: float
    steps: int
    step_seconds: float
    how: str
    price: float | None = None


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What serving takes, at one length of context and number of users.

    Attributes:
        context: Tokens of a conversation.
        users: How many are answered at the same time.
        bytes: Weights, cache of keys and values, and the rest.
        cache_bytes: The cache's share.
        tokens_per_second: Of all users together; None where the device's rates are not known.
    """

    context: int
    users: int
    bytes: int
    cache_bytes: int
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """One training of a learning curve."""

    rows: int
    seed: int
    score: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What more labels would buy.

    Attributes:
        arm: What was trained.
        metric: By which it is judged.
        points: What was measured.
        rows: The rows there are, and those of the forecast.
        gain: The forecast difference in the metric, with its 90 % interval; None: cannot tell.
        why: Why it cannot be told, or how the forecast was made, in words.
        fit: The mean curve's ``(rows, value)``, for the picture.
    """

    arm: str
    metric: str
    points: tuple[GrowthPoint, ...]
    rows: tuple[int, int]
    gain: tuple[float, float, float] | None
    why: str
    fit: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that `tailor plan` says.

    Attributes:
        model: The model's name.
        task: What it is planned for.
        device: Where it would be trained, in words.
        capacity_bytes: The memory there.
        workload: Batch, length and the rest, as settings.
        memory: By method.
        fits: By method and device.
        why_not: Methods that cannot be, with the reason.
    """

    model: str
    task: str
    device: str
    capacity_bytes: int
    workload: dict[str, Any]
    memory: tuple[MemoryPlan, ...]
    fits: tuple[Fit, ...]
    why_not: dict[str, str] = field(default_factory=dict)
    peers: dict[str, int] = field(default_factory=dict)
    time: tuple[TimePlan, ...] = ()
    serving: tuple[ServingPlan, ...] = ()
    growth: Growth | None = None
    notes: tuple[str, ...] = ()
