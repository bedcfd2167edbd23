"""`tailor plan`: estimates memory and time before anything is downloaded or trained."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from tailorbird import log
from tailorbird.arms.parallel_arms import Scheduler
from tailorbird.config import METHODS, Config, dump_config
from tailorbird.config.method import method_spec
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.learning_curve import AUTO, CurvePlace, check_curve, curve_arm, learning_curve
from tailorbird.flows.prepare import read_and_check, with_default_model
from tailorbird.flows.start_or_resume import opened, run_folder
from tailorbird.planning.data_size import Work, work_of, work_without_data
from tailorbird.planning.device_fit import Planner, peers
from tailorbird.planning.devices import SIZES, PlannedDevice, place_of
from tailorbird.planning.model_shape import read_shape
from tailorbird.planning.serving import plan_serving
from tailorbird.planning.training_time import plan_time
from tailorbird.records.planning import MemoryPlan, Plan, ServingPlan, TimePlan
from tailorbird.report.plan_page import render_plan
from tailorbird.runs.folder import CONFIG, PAGE, RunFolder
from tailorbird.runs.saved_split import has_split, save_split

PLAN = "plan.json"


@dataclass(frozen=True)
class PlanOptions:
    """The options of a plan, besides the settings of a run.

    Attributes:
        methods: Methods to plan; None: all.
        device: The training device; None: this machine's.
        target: The memory to fit into; None: the device's.
        time: Whether to estimate the training time; on this machine it is measured.
        price_per_hour: Price of an hour of the device.
        arm: The arm of the learning curve; None: the cheapest suitable one.
    """

    methods: tuple[str, ...] | None = None
    device: str | None = None
    target: str | None = None
    time: bool = False
    price_per_hour: float | None = None
    curve: bool = False
    arm: str | None = None


def plan(config: Config, options: PlanOptions | None = None, *, resume: bool = False) -> Plan:
    """Return the plan; only a model's configuration is downloaded.

    With `config.output`, the plan and its page are written there. Only a learning curve trains
    anything; without an output folder its trainings are not kept.

    Raises:
        UserError: The data, the model, the device or a setting is wrong.
    """
    options = options or PlanOptions()
    if config.output is None and not resume:
        with tempfile.TemporaryDirectory() as place:
            return _planned(config, options, RunFolder(place))
    folder = run_folder(config, "plan", resume=resume)
    with opened(config, folder, resume=resume) as config:
        result = _planned(config, options, folder)
        folder.write(CONFIG, dump_config(config))
        folder.write_json(PLAN, asdict(result))
        folder.write(PAGE, render_plan(result))
    log.say(f"plan: {folder.file(PAGE)}")
    return result


def _planned(config: Config, options: PlanOptions, folder: RunFolder) -> Plan:
    methods = _methods(options.methods)
    place = place_of(options.device, config.model.device, config.model.precision)
    goal = place if options.target is None else replace(
        place_of(options.target, precision=place.device.precision), device=place.device
    )  # fmt: skip
    split, arm = None, options.arm or AUTO
    if config.data.train is None:
        if options.curve:
            raise UserError("--curve needs data to train on", "name a CSV, JSONL or Parquet file")
        shape = read_shape(config.model)
        work, notes = work_without_data(shape, config)
    else:
        prepared = read_and_check(config)
        split = prepared.split
        if options.curve:
            check_curve(arm, split)
        config = with_default_model(config, split)
        shape = read_shape(config.model)
        work, notes = work_of(split, shape, config)
    planner = Planner(shape, config, work)
    memory, why_not = _memory(planner, methods, place)
    planned = [m for m in methods if m not in why_not]
    places = (goal, *(place_of(f"{size}GB") for size in SIZES))
    fits = [planner.fit(name, at) for at in places for name in planned]
    times = _times(planner, memory, place, options) if options.time else ()
    curve = None
    if options.curve and split is not None:
        if not has_split(folder):
            save_split(folder, split, prepared.source, prepared.columns)
        name = curve_arm(arm, split.task)
        with Scheduler(config.compare.jobs) as runner:
            curve = learning_curve(config, split, CurvePlace(folder, runner), name)
    serving: tuple[ServingPlan, ...] = ()
    if work.target is None and memory and options.time:
        base = memory[0].total - (
            0 if method_spec(memory[0].method).trains_all else memory[0].trained
        )
        serving = plan_serving(shape, base, place)
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
        time=times,
        serving=serving,
        curve=curve,
    )


def _times(
    planner: Planner, memory: Sequence[MemoryPlan], place: PlannedDevice, options: PlanOptions
) -> tuple[TimePlan, ...]:
    times = []
    for each in memory:
        if place.here:
            log.say(f"{each.method}: measuring a few steps")
        time = plan_time(planner, each, place, options.price_per_hour)
        times += [time] if time is not None else []
    return tuple(times)


def _methods(names: Sequence[str] | None) -> tuple[str, ...]:
    for name in names or ():
        if name not in METHODS:
            raise UserError(
                f"--methods: there is no method {name!r}{did_you_mean(name, METHODS)}",
                f"choose among: {', '.join(METHODS)}",
            )
    return tuple(name for name in METHODS if names is None or name in names)


def _memory(
    planner: Planner, methods: Sequence[str], place: PlannedDevice
) -> tuple[list[MemoryPlan], dict[str, str]]:
    """Return each method's memory, and why some methods are impossible."""
    plans, faults = [], []
    why_not: dict[str, str] = {}
    for name in methods:
        spec = method_spec(name)
        if planner.shape.stored_bits and (spec.trains_all or spec.quantises):
            why_not[name] = "the checkpoint is quantised already"
            continue
        log.say(f"{name}: tracing a step")
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


def _workload(planner: Planner, work: Work, place: PlannedDevice) -> dict[str, object]:
    from tailorbird.methods.registry import get_method
    from tailorbird.planning.data_size import settings_for

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
