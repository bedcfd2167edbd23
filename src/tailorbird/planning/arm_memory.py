"""Estimates an arm's memory in a process of its own: `main RUN ARM`.

The job is in the arm's folder; the estimate is written beside it, for the scheduler.
"""

from tailorbird import log
from tailorbird.config import METHODS, Config
from tailorbird.models.device import choose
from tailorbird.planning.memory_terms import plan_memory
from tailorbird.planning.model_shape import read_shape
from tailorbird.planning.workload import work_of
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.split import load_split
from tailorbird.tasks.arm_job import JOB, NEED

# The formula's error is at most a third where it was checked (docs/plan.md).
_BOUND = 4 / 3


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
        need += _BOUND * plan_memory(shape, config, work, device, rough=True).bytes
    folder.write_json(NEED, {"bytes": int(need)})
    return 0
