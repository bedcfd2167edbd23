"""What a search for settings tried."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a search, judged on validation.

    Attributes:
        state: ``ok``, ``pruned`` (given up: clearly behind) or ``failed``.
        values: The searched settings it had, by name.
        score: The best validation; None where there was none. Higher or lower is better as
            `Search.metric` says.
        seen: ``(validation number, score)`` as training went on.
        asked: Whether it had the settings as they were asked for.
    """

    number: int
    state: Literal["ok", "pruned", "failed"]
    values: dict[str, Any]
    score: float | None = None
    seconds: float = 0.0
    seen: tuple[tuple[int, float], ...] = ()
    asked: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A search for settings: every trial, and what was taken.

    Attributes:
        metric: What trials were judged by on validation.
        best: The number of the trial that was taken.
        space: The settings that were searched, each with its values in words.
        importance: Share of the differences in score that each setting explains (fANOVA).
    """

    sampler: str
    pruner: str
    metric: str
    best: int
    space: dict[str, str]
    trials: tuple[Trial, ...]
    importance: dict[str, float] = field(default_factory=dict)
