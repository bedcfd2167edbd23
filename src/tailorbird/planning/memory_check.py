"""The memory of an arm's training: checked before it, and told to the scheduler.

`main RUN ARM` estimates it in a process of its own: the job is in the arm's folder, and the
estimate is written beside it.
"""

import os
from dataclasses import replace

from tailorbird import log
from tailorbird.config import METHODS, Config
from tailorbird.errors import DoesNotFit, UserError
from tailorbird.models.device import Device, choose
from tailorbird.planning.data_size import work_of
from tailorbird.planning.device_fit import Planner
from tailorbird.planning.devices import HEADROOM, PlannedDevice
from tailorbird.planning.model_shape import read_shape
from tailorbird.planning.training_memory import plan_memory
from tailorbird.processes import launched
from tailorbird.records.planning import DeviceFit
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.memory_limit import memory_limit, started_by_us
from tailorbird.runs.saved_split import load_split
from tailorbird.tasks.arm_job import JOB, NEED, ArmJob

# The formula's error is at most a third where it was checked (docs/plan.md), so twice its figure
# is a bound.
_ERROR, _BOUND = 4 / 3, 2.0


def within_memory(job: ArmJob) -> ArmJob:
    """Return the job of a trained arm, with smaller micro-batches if it would not fit otherwise.

    If the formula's bound fits, that is only logged; else a step is traced. Micro-batches and
    checkpointing do not change the result of training, so they are set here; other changes are
    proposed.

    Raises:
        DoesNotFit: It would not fit even then.
    """
    config = job.config
    if not config.train.check_memory:
        return job
    if config.train.shard and launched():  # by a launcher, whose number no setting says
        config = config.replace(train={"processes": int(os.environ["WORLD_SIZE"])})
    try:
        device = choose(config.model.device, config.model.precision)
        place, words = _room(device, job.config.train.processes)
        shape = read_shape(config.model)
        rough, _ = work_of(job.split, shape, config, tokens=False)
        bound = _BOUND * plan_memory(shape, config, rough, device, rough=True).bytes
        if bound * HEADROOM <= place.capacity_bytes:
            log.say(f"{job.name}: needs less than {gib(bound)} of the {words}")
            return job
        work, _ = work_of(job.split, shape, config)
        planner = Planner(shape, config, work)
        fit = planner.fit(config.method.name, place, harmless=True)
    except DoesNotFit:
        raise
    except UserError:
        return job  # the run reports the error itself
    except Exception as error:
        log.warn(f"{job.name}: its memory could not be planned ({type(error).__name__}: {error})")
        return job
    return _decided(job, fit, planner, place, words)


def _decided(
    job: ArmJob, fit: DeviceFit, planner: Planner, place: PlannedDevice, words: str
) -> ArmJob:
    size = f"needs about {gib(fit.bytes)} of the {words}"
    need = f"{job.name}: {size}"
    if fit.fits:
        log.say(need)
        return job
    if fit.changed_bytes is not None:
        log.warn(
            f"{need}: it is trained with {' '.join(fit.change)}, which needs about "
            f"{gib(fit.changed_bytes)} and learns the same"
        )
        return replace(job, config=job.config.replace(train=dict(fit.values)))
    if fit.bytes <= place.capacity_bytes:
        log.warn(f"{need}: that is tight, and it may be ended for lack of memory")
        return job
    raise DoesNotFit(f"training {size}", _way_out(job.config.method.name, planner, place))


def _way_out(method: str, planner: Planner, place: PlannedDevice) -> str:
    """Return the changes that would make it fit."""
    fit = planner.fit(method, place)
    last = "or, where you know better, --set train.check_memory=false"
    if fit.changed_bytes is None:
        return f"take a smaller model or a larger machine (`tailor plan` says which), {last}"
    return f"{' '.join(fit.change)} needs about {gib(fit.changed_bytes)}; {last}"


def _room(device: Device, processes: int = 1) -> tuple[PlannedDevice, str]:
    """Return the memory available to this process, and its origin in words.

    Args:
        device: The training device.
        processes: The number of processes that train together; on a CPU they share its memory.
    """
    if device.kind == "cuda":
        import torch

        total = int(torch.cuda.get_device_properties(device.name).total_memory)
        return PlannedDevice(device.name, device, total, True), f"{gib(total)} of {device.name}"
    limit = memory_limit()
    capacity = max(0, limit.bytes - (started_by_us() if limit.shared else 0))
    words = f"{gib(capacity)} {limit.words}"
    if processes > 1:
        capacity //= processes
        words = f"{gib(capacity)}, its part of the {words}"
    return PlannedDevice("here", device, capacity, True), words


def gib(size: float) -> str:
    """Write memory in GiB."""
    return f"{size / 2**30:.1f} GiB"


def main(run: str, arm: str) -> int:
    """Write the bytes that the job in the folder `arm` needs; return the exit code."""
    log.quiet_libraries()
    folder = RunFolder(arm)
    plain = folder.read_json(JOB)
    config = Config.model_validate(plain["config"])
    split, _, _ = load_split(RunFolder(run))
    need = float(peak_memory_bytes())
    if plain["name"] in METHODS:  # no other arm trains a model
        device = choose(config.model.device, config.model.precision)
        shape = read_shape(config.model)
        work, _ = work_of(split, shape, config, tokens=False)
        need += _ERROR * plan_memory(shape, config, work, device, rough=True).bytes
    folder.write_json(NEED, {"bytes": int(need)})
    return 0
