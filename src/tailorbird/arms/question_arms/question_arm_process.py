"""The job of a question arm, and the process that runs it: ``main(RUN, ARM)``."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from tailorbird import log
from tailorbird.arms.arm_process import outcome_of
from tailorbird.arms.question_arms.records import (
    ANSWERS,
    ArmAnswers,
    QuestionSet,
    read_question_set,
)
from tailorbird.arms.question_arms.registry import TABLE, QuestionArm
from tailorbird.config import Config
from tailorbird.lazy_import import leaf
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import JOB


@dataclass(frozen=True)
class QuestionJob:
    """The inputs of a question arm.

    Attributes:
        folder: The arm's own; `run`: the comparison's.
        deadline: `time.monotonic` at which training must be over, or None.
    """

    arm: QuestionArm
    config: Config
    question_set: QuestionSet
    folder: RunFolder
    run: RunFolder
    deadline: float | None = None


def main(run: str, arm: str) -> int:
    """Answer the questions of the comparison `run` in the arm's folder; return the exit code."""
    folder = RunFolder(arm)
    log.quiet_libraries()
    started = time.monotonic()

    def work() -> None:
        plain: dict[str, Any] = folder.read_json(JOB)
        deadline = None if plain["seconds"] is None else started + plain["seconds"]
        job = QuestionJob(
            arm=TABLE[plain["name"]],
            config=Config.model_validate(plain["config"]),
            question_set=read_question_set(RunFolder(run)),
            folder=folder,
            run=RunFolder(run),
            deadline=deadline,
        )
        answers: ArmAnswers = leaf("tailorbird.arms.question_arms", job.arm.leaf, "answers")(job)
        folder.write_json(ANSWERS, asdict(answers))

    return outcome_of(folder, work)
