"""`tailor plan`: what will fit, before anything is downloaded or trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tailorbird import log
from tailorbird.config import METHODS, Config
from tailorbird.config.schema import MethodName
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.prepare import read_and_check, with_default_model
from tailorbird.planning.devices import Place, place_of, table_places
from tailorbird.planning.fits import Planner, peers
from tailorbird.planning.shape import read_shape
from tailorbird.planning.work import Work, work_of, work_without_data
from tailorbird.records.planning import MemoryPlan, Plan


@dataclass(frozen=True)
class Wishes:
    """What a plan is asked for, beside the settings of a run.

    Attributes:
        methods: Methods to plan; None: all.
        device: Where it would be trained; None: here.
        target: Memory that it is to fit; None: the device's.
    """

    methods: tuple[str, ...] | None = None
    device: str | None = None
    target: str | None = None


def plan(config: Config, wishes: Wishes | None = None) -> Plan:
    """Return the plan; nothing is downloaded but a model's configuration, nothing is trained.

    Raises:
        UserError: Anything wrong with the data, the model, the device or the settings.
    """
    wishes = wishes or Wishes()
    methods = _methods(wishes.methods)
    place = place_of(wishes.device, config.model.device, config.model.precision)
    goal = place if wishes.target is None else replace(
        place_of(wishes.target, precision=place.device.precision), device=place.device
    )  # fmt: skip
    if config.data.train is None:
        shape = read_shape(config.model)
        work, notes = work_without_data(shape, config)
    else:
        split = read_and_check(config).split
        config = with_default_model(config, split)
        shape = read_shape(config.model)
        work, notes = work_of(split, shape, config)
    planner = Planner(shape, config, work)
    memory, why_not = _memory(planner, methods, place)
    planned = [m for m in methods if m not in why_not]
    fits = [planner.fit(name, at) for at in (goal, *table_places()) for name in planned]
    return Plan(
        model=config.model.name,
        task=work.task,
        device=place.device.words,
        capacity_bytes=place.capacity_bytes,
        workload=_workload(planner, work, place),
        memory=tuple(memory),
        fits=tuple(fits),
        why_not=why_not,
        peers=peers(memory[0]) if memory else {},
        notes=tuple(dict.fromkeys([*notes, *(note for m in memory for note in m.notes)])),
    )


def _methods(names: Sequence[str] | None) -> tuple[MethodName, ...]:
    for name in names or ():
        if name not in METHODS:
            raise UserError(
                f"--methods: there is no method {name!r}{did_you_mean(name, METHODS)}",
                f"choose among: {', '.join(METHODS)}",
            )
    return tuple(name for name in METHODS if names is None or name in names)


def _memory(
    planner: Planner, methods: Sequence[MethodName], place: Place
) -> tuple[list[MemoryPlan], dict[str, str]]:
    """Return what each method takes, and why some cannot be.

    Raises:
        UserError: None of them can be.
    """
    plans, faults = [], []
    why_not: dict[str, str] = {}
    for name in methods:
        if planner.shape.stored_bits and name in ("full", "qlora"):
            why_not[name] = "the checkpoint is quantised already"
            continue
        log.say(f"{name}: tracing a step of {planner.shape.name}")
        try:
            plans.append(planner.memory(name, place))
        except UserError as error:
            why_not[name] = error.problem
            faults.append(error)
    if not plans:
        raise faults[0] if faults else UserError(
            f"no method of {', '.join(methods)} can train {planner.shape.name}: "
            f"{next(iter(why_not.values()))}",
            "plan lora, adapter or prompt",
        )  # fmt: skip
    return plans, why_not


def _workload(planner: Planner, work: Work, place: Place) -> dict[str, object]:
    from tailorbird.methods import get_method
    from tailorbird.planning.work import settings_for

    method = get_method(planner.config.method.name)
    settings = settings_for(planner.shape, planner.config, method, work)
    return {
        "task": work.task,
        "examples": work.rows,
        "longest_tokens": work.length,
        "batch_size": settings.batch_size,
        "micro_batch_size": min(settings.micro_batch_size, settings.batch_size),
        "gradient_checkpointing": settings.gradient_checkpointing,
        "optimizer": settings.optimizer,
        "precision": place.device.precision,
    }
