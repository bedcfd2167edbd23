"""Ways of answering: one leaf file per arm, and the table of them, the cheapest first."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from tailorbird.leaves import leaf
from tailorbird.records import TASKS, TaskName

if TYPE_CHECKING:
    from tailorbird.arms.protocol import Arm
    from tailorbird.records import ArmReport
    from tailorbird.tasks.job import ArmJob

# Modules are named, not imported: who counts labels need not load a trained model.
TABLE: dict[str, str] = {
    "constant": "constant.ConstantArm",
    "nearest": "nearest.NearestArm",
    "base": "base.BaseArm",
    "neighbours": "neighbours.NeighboursArm",
    "few_shot": "few_shot.FewShotArm",
    "probe": "probe.ProbeArm",
    "trained": "trained.TrainedArm",
    "mix": "mix.MixArm",
}
"""Module and class of each arm. Cheap ones first: when a budget runs out, the most is known."""


@cache
def get_arm(key: str) -> "Arm":
    """Return an arm by its key in the table."""
    arm: Arm = leaf("tailorbird.arms", *TABLE[key].split("."))()
    return arm


def arms_of(task: TaskName) -> Iterator[tuple[str, "Arm"]]:
    """Yield the names under which arms of a task stand in a comparison, the cheapest first."""
    spec = TASKS[task]
    for arm in map(get_arm, TABLE):
        for name in arm.names(spec):
            yield name, arm


def arm_named(name: str, task: TaskName) -> "Arm":
    """Return the arm of a task that has this name in a comparison."""
    spec = TASKS[task]
    return next(arm for arm in map(get_arm, TABLE) if arm.has_name(name, spec))


def run_arm(job: "ArmJob") -> "ArmReport":
    """Make an arm, score it, and leave everything in its folder; see `Arm.run`."""
    from tailorbird.arms.saved import save_kind

    arm = arm_named(job.name, job.split.task)
    save_kind(job.folder, arm.key, job.split.task)
    return arm.run(job)
