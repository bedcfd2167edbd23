"""Training time, by the measured speed or by a device's data sheet."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tailorbird.config import for_arm
from tailorbird.methods.registry import get_method
from tailorbird.planning.data_size import settings_for
from tailorbird.planning.devices import HEADROOM, PlannedDevice
from tailorbird.records.planning import MemoryPlan, TimePlan
from tailorbird.train.settings import READING

if TYPE_CHECKING:
    from tailorbird.planning.device_fit import Planner

SHARE = 0.35
"""Share of a card's nominal rate that training reaches; assumed, not measured."""


def plan_time(
    planner: "Planner", memory: MemoryPlan, place: PlannedDevice, price_per_hour: float | None
) -> TimePlan | None:
    """Return a method's training time; None if no rate is known or it would not fit.

    Args:
        planner: The model, the settings and the data.
        memory: The method's memory, with the operations of its step.
        place: The device.
        price_per_hour: Price of an hour of the device.
    """
    method = memory.method
    work, config = planner.work, for_arm(planner.config, method)
    settings = settings_for(planner.shape, config, get_method(method), work)
    if place.here and memory.bytes * HEADROOM <= place.capacity_bytes and planner.shape.config:
        from tailorbird.planning.time_probe import probe

        pace = probe(planner.shape, config, work, place.device, float(memory.flops))
        each, read, start = pace.train_seconds, pace.read_seconds, pace.start_seconds
        how = "the run's own step, measured on this machine"
    elif place.flops and memory.flops:
        flops = memory.flops / settings.batch_size * work.mean_length / work.length
        each = flops / (SHARE * place.flops)
        read = each * READING
        start = 0.0
        share = f"{100 * SHARE:.0f} % of the products per second"
        how = f"{share} in the maker's data sheet; not measured"
    else:
        return None
    if settings.head_start:
        from tailorbird.train.head_init import MOST_EXAMPLES

        start += min(work.rows, MOST_EXAMPLES) * read
    steps = math.ceil(work.rows / settings.batch_size)
    total = max(1, round(steps * settings.epochs))
    validations = math.ceil(total / settings.steps_between_validations(steps))
    seconds = start + total / steps * work.rows * each + validations * work.validation * read
    epoch = (seconds - start) / settings.epochs
    plan = TimePlan(method, settings.epochs, epoch, seconds, read, start_seconds=start, how=how)
    return plan if price_per_hour is None else replace(plan, price=seconds / 3600 * price_per_hour)
