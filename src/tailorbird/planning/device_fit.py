"""Which methods fit which device, and the smallest change that makes them fit."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from tailorbird.config import Config, for_arm
from tailorbird.config.method import method_spec
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.planning.data_size import Work, settings_for
from tailorbird.planning.devices import HEADROOM, PlannedDevice
from tailorbird.planning.model_shape import Shape
from tailorbird.planning.training_memory import FIXED, plan_memory
from tailorbird.records.planning import DeviceFit, MemoryPlan

_SHORTEST, _SHORTER = 64, 2


class Planner:
    """Plans memory for one model and one kind of data, caching each setting.

    Args:
        shape: The model.
        config: The user's settings.
        work: The training workload.
    """

    def __init__(self, shape: Shape, config: Config, work: Work) -> None:
        self.shape, self.config, self.work = shape, config, work
        self._plans: dict[tuple[Any, ...], MemoryPlan] = {}

    def memory(
        self, method: str, place: PlannedDevice, changes: tuple[tuple[str, Any], ...] = ()
    ) -> MemoryPlan:
        """Return a method's memory with changed settings.

        Args:
            method: The method; options that it lacks are ignored.
            place: The device, of which only kind and number format matter.
            changes: Settings of `train`, or ``max_length``.

        Raises:
            UserError: The method does not fit the model.
        """
        key = (method, place.device.kind, place.device.precision, changes)
        if key not in self._plans:
            values = dict(changes)
            length = min(values.pop("max_length", self.work.length), self.work.length)
            config = for_arm(self.config, method).replace(train=values)
            work = replace(self.work, length=length)
            self._plans[key] = plan_memory(self.shape, config, work, place.device)
        return self._plans[key]

    def needed(
        self, method: str, place: PlannedDevice, changes: tuple[tuple[str, Any], ...]
    ) -> int:
        """Return an upper bound in bytes of a method with changed settings.

        The peak is the highest of several lines in the size of a micro-batch (the end of the
        forward pass, the end of the backward pass), so the line between two traced sizes lies on
        or above it: half of the batch and 1 stand for the sizes between.
        """
        values = dict(changes)
        size = int(values.pop("micro_batch_size", 0))
        most = max(1, self._at_once(method) // 2)
        if size in (0, 1, most):
            return self.memory(method, place, changes).bytes
        one, all_ = (
            self.memory(method, place, (*values.items(), ("micro_batch_size", n))).bytes
            for n in (1, most)
        )
        return round(one + (size - 1) / (most - 1) * (all_ - one))

    def _at_once(self, method: str) -> int:
        settings = settings_for(self.shape, self.config, get_method(method), self.work)
        return min(settings.micro_batch_size, settings.batch_size)

    def fit(self, method: str, place: PlannedDevice, *, harmless: bool = False) -> DeviceFit:
        """Return whether a method fits a device, and the smallest change that makes it fit.

        Args:
            method: The method.
            place: The device.
            harmless: Only changes that leave the result of training unchanged.
        """
        need = self.memory(method, place).bytes
        fits = need * HEADROOM <= place.capacity_bytes
        fit = DeviceFit(method, place.name, place.capacity_bytes, need, fits)
        if fits:
            return fit
        for name, changes in self._changes(method, harmless):
            try:
                if self._floor(name, place) * HEADROOM > place.capacity_bytes:
                    continue
                needed = self.needed(name, place, changes)
            except UserError:
                continue
            if needed * HEADROOM <= place.capacity_bytes:
                words = tuple(_setting(key, value) for key, value in changes)
                words = words if name == method else (f"--method {name}", *words)
                values = changes if name == method else ()
                return replace(fit, change=words, changed_bytes=needed, values=values)
        return fit

    def _floor(self, method: str, place: PlannedDevice) -> int:
        """Return the bytes that neither smaller micro-batches nor shorter texts save."""
        plan = self.memory(method, place)
        fixed = sum(term.bytes for term in plan.terms if term.name in FIXED)
        return max(fixed, plan.phases["load"], plan.phases["evaluate"])

    def _changes(
        self, method: str, harmless: bool
    ) -> Iterator[tuple[str, tuple[tuple[str, Any], ...]]]:
        """Yield changes, the least invasive first.

        Micro-batches and checkpointing leave the gradient unchanged; a shorter text is truncated; a
        quantised base is another base.
        """
        settings = settings_for(self.shape, self.config, get_method(method), self.work)
        sizes = list(_halves(self._at_once(method)))
        less: list[tuple[tuple[str, Any], ...]] = [(("micro_batch_size", n),) for n in sizes]
        again = ("gradient_checkpointing", True)
        if not settings.gradient_checkpointing:
            less += [(again,), *((*change, again) for change in list(less))]
        yield from ((method, change) for change in less)
        if harmless:
            return
        least = less[-1] if less else ()
        for length in islice(_halves(self.work.length, _SHORTEST), _SHORTER):
            yield method, (*least, ("max_length", length))
        if smaller := method_spec(method).smaller:
            yield from ((smaller, change) for change in ((), *less))


def _halves(size: int, least: int = 1) -> Iterator[int]:
    while size // 2 >= least:
        size //= 2
        yield size


def _setting(key: str, value: Any) -> str:
    section = "data" if key == "max_length" else "train"
    plain = str(value).lower() if isinstance(value, bool) else value
    return f"--set {section}.{key}={plain}"


def peers(plan: MemoryPlan) -> dict[str, int]:
    """Return the estimates of two common rules for full fine-tuning of the model.

    ``accelerate estimate-memory`` takes four times the fp32 size for training with Adam; the rule
    of thumb of ZeRO (arXiv 1910.02054, section 3.1) is 16 bytes a parameter. Neither considers
    method, batch or length.
    """
    base = plan.total if method_spec(plan.method).trains_all else plan.total - plan.trained
    return {"accelerate estimate-memory": 4 * 4 * base, "16 bytes a parameter": 16 * base}
