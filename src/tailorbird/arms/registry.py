"""The table of arms, the cheapest first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tailorbird.lazy_import import leaf
from tailorbird.methods.registry import by_cost
from tailorbird.records import TASKS, TaskName, TaskSpec

if TYPE_CHECKING:
    from tailorbird.arms.base import Arm
    from tailorbird.records import ArmReport
    from tailorbird.tasks.arm_job import ArmJob

RETRIEVAL, MIX = "rag", "rag+"
"""Names in comparisons: of the retrieval arm, and the prefix of its mixtures: ``rag+lora``."""
BEST = f"{MIX}best"
"""Selects the mix with the trained arm that is best on validation."""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A row of the table of arms.

    Attributes:
        leaf: Module and class, as text: only the arms that run are imported.
        names: Its names in comparisons of a task, the cheapest first; () if it has none.
        mixes: Whether it also has the name `MIX` and ``rag+`` names of trained arms.
    """

    leaf: str
    words: str
    names: Callable[[TaskSpec], tuple[str, ...]] = lambda _: ()
    mixes: Callable[[TaskSpec], bool] = lambda _: False


def _where(fits: bool, *names: str) -> tuple[str, ...]:
    return names if fits else ()


TABLE: dict[str, ArmRow] = {
    "constant": ArmRow(
        "constant.ConstantArm",
        "the same answer whatever the text",
        lambda task: _where(task.head, task.baseline),
    ),
    "nearest": ArmRow(
        "copy_nearest.NearestArm",
        "the answer of the most similar training prompt",
        lambda task: _where(task.prompts, "nearest"),
    ),
    "base": ArmRow(
        "untuned_model.BaseArm", "the untouched model", lambda task: _where(not task.head, "base")
    ),
    "neighbours": ArmRow(
        "knn_vote.NeighboursArm",
        "the nearest labelled examples vote",
        lambda task: _where(task.head, RETRIEVAL),
    ),
    "few_shot": ArmRow(
        "few_shot.FewShotArm",
        "similar training pairs precede each prompt",
        lambda task: _where(task.prompts, RETRIEVAL),
        lambda task: task.prompts,
    ),
    "probe": ArmRow(
        "probe.ProbeArm", "a linear model on embeddings", lambda task: _where(task.head, "probe")
    ),
    "trained": ArmRow(
        "trained.TrainedArm", "a model tuned by the method of that name", lambda _: by_cost()
    ),
    # Its name contains the tuned arm's, which is known once that is trained.
    "mix": ArmRow(
        "ensemble.EnsembleArm",
        "a tuned model's answers mixed with the neighbours' votes",
        mixes=lambda task: task.head,
    ),
}
"""The arms by their keys, the cheapest first, so that a limited budget completes the most arms."""


@cache
def get_arm(key: str) -> "Arm":
    """Return an arm by its key in the table."""
    arm: Arm = leaf("tailorbird.arms", *TABLE[key].leaf.split("."))()
    return arm


def arm_names(task: TaskName) -> list[str]:
    """Return the names of all arms in a task's comparison, the cheapest first."""
    return [name for row in TABLE.values() for name in row.names(TASKS[task])]


def arm_named(name: str, task: TaskName) -> "Arm":
    """Return the arm with this name in a task's comparison."""
    spec = TASKS[task]
    return get_arm(
        next(
            key
            for key, row in TABLE.items()
            if name in row.names(spec) or (name.startswith(MIX) and row.mixes(spec))
        )
    )


def names_in_words() -> str:
    """Return the names of all arms in comparisons; arms of some tasks only are listed by task."""
    names = {task: [*arm_names(task), BEST] for task in TASKS if RETRIEVAL in arm_names(task)}
    everywhere = [n for n in next(iter(names.values())) if all(n in own for own in names.values())]
    lists: dict[str, list[str]] = {}
    for task, own in names.items():
        rest = ", ".join(name for name in own if name not in everywhere)
        lists.setdefault(rest, []).append(TASKS[task].answers)
    more = [f"for {', '.join(tasks)} also {rest}" for rest, tasks in lists.items()]
    return "; ".join([", ".join(everywhere), *more])


def run_arm(job: "ArmJob") -> "ArmReport":
    """Fit and score an arm and save it in its folder; see `Arm.run`."""
    from tailorbird.arms.saved_arm import save_kind

    arm = arm_named(job.name, job.split.task)
    save_kind(job.folder, arm.key, job.split.task)
    return arm.run(job)
