"""Settings of the hyperparameter search."""

import math
from itertools import product
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tailorbird.config.section import Section

Value = bool | int | float | str | None


class Range(Section):
    """Numbers between two ends, both included."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Draw by orders of magnitude."""
    step: float | None = Field(None, gt=0)
    """Distance between neighbouring values."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range has no step; list the values instead")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only: ends and step are whole, and there is a step."""
        ends = (self.low, self.high, self.step or 0.5)
        return all(float(value).is_integer() for value in ends)

    def values(self) -> list[float] | None:
        """Return all values; None where there is no end of them."""
        if self.step is None:
            return [self.low] if self.low == self.high else None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        numbers = [self.low + i * self.step for i in range(count)]
        return [int(value) if self.whole else round(value, 12) for value in numbers]

    def holds(self, value: Any) -> bool:
        """Tell whether a value can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        listed = self.values()
        return value in listed if listed is not None else self.low <= value <= self.high


Space = dict[str, Range | tuple[Value, ...]]


class SearchConfig(Section):
    """Hyperparameter search; see docs/hyperparameter_search.md."""

    trials: int | None = Field(None, ge=1)
    """Number of trainings, the first with the settings unchanged; default: no search."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """tpe: sample where earlier trials were good (Bergstra et al. 2011). random: sample anywhere.
    grid: every combination once; ranges need a step."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """When a trial is stopped early. median: its validation score is worse than the median of the
    others. hyperband: successive halving (arXiv 1603.06560). none: never."""
    seed: int = Field(1, ge=0)
    """Sampling seed."""
    space: Space | None = None
    """Settings to search: a list of values, or low, high, and log or step. Default: the most
    important settings of the method, around its own defaults."""

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: Space | None) -> Space | None:
        for name, values in (space or {}).items():
            section, _, setting = name.partition(".")
            if not (section in ("model", "method", "train") and setting or name in _OF_DATA):
                raise ValueError(
                    f"{name!r} cannot be searched: trials would not be judged alike; searched can "
                    f"be model.*, method.*, train.* and {', '.join(_OF_DATA)}"
                )
            if not isinstance(values, Range) and not values:
                raise ValueError(f"{name!r} has no values")
        if space is not None and not space:
            raise ValueError("name at least one setting")
        return None if space is None else {k: _numbers(v) for k, v in space.items()}

    @model_validator(mode="after")
    def _grid_is_finite(self) -> "SearchConfig":
        if self.sampler == "grid":
            endless = [k for k, v in (self.space or {}).items() if choices(v) is None]
            if endless:
                raise ValueError(f"a grid needs a list or a step for {', '.join(endless)}")
        return self


_OF_DATA = ("data.max_length", "data.template")


def _numbers(values: Range | tuple[Value, ...]) -> Range | tuple[Value, ...]:
    # YAML 1.1 reads 1e-4 as a word; people mean the number.
    return values if isinstance(values, Range) else tuple(_number(value) for value in values)


def _number(value: Value) -> Value:
    if not isinstance(value, str) or not value[:1].isdigit():
        return value
    try:
        return float(value)
    except ValueError:
        return value


def choices(values: Range | tuple[Value, ...]) -> list[Any] | None:
    """Return all values of an entry of a space; None where there is no end of them."""
    return values.values() if isinstance(values, Range) else list(values)


def combinations(space: Space) -> int:
    """Return how many different settings a space of lists and steps holds."""
    return len(list(product(*(choices(values) or [None] for values in space.values()))))
