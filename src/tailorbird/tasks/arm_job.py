"""An arm's job, its file for another process, and the arm's result files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from tailorbird.config import Config
from tailorbird.metrics.text import METRICS
from tailorbird.records import ArmReport, Split, TaskName
from tailorbird.runs.checked_files import damaged
from tailorbird.runs.folder import ARM, TASK, RunFolder
from tailorbird.runs.saved_split import load_split

JOB, OUTCOME, NEED = "job.json", "outcome.json", "need.json"
CHECKED = 256
"""The number of test examples that the reload check predicts again."""
_TokenId = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class ArmJob:
    """An arm's job.

    Attributes:
        resume: Continue from a checkpoint if there is one.
        deadline: `time.monotonic` at which it must be over, or None.
        observe: Called with each validation's number and score; may raise `Hopeless`.
    """

    name: str
    config: Config
    split: Split
    folder: RunFolder
    resume: bool = False
    deadline: float | None = None
    observe: Callable[[int, float], None] = lambda number, score: None


def write_job(
    folder: RunFolder, name: str, config: Config, deadline: float | None, rows: Sequence[int] = ()
) -> None:
    """Write the job of an arm to its folder, for the process that runs it.

    Args:
        deadline: `time.monotonic` at which it must be over, or None.
        rows: Indices of the run's training examples to use; empty: all.
    """
    folder.file(OUTCOME).unlink(missing_ok=True)
    seconds = None if deadline is None else deadline - time.monotonic()
    plain = {"name": name, "seconds": seconds, "config": config.model_dump(mode="json")}
    folder.write_json(JOB, plain | {"rows": list(rows)})


def read_job(folder: RunFolder, run: RunFolder) -> ArmJob:
    """Return the job of `write_job`, with the split of its `run`.

    Raises:
        UserError: A file is missing or damaged.
    """
    plain, now = folder.read_json(JOB), time.monotonic()
    config = Config.model_validate(plain["config"])
    split, _, _ = load_split(run)
    if rows := plain.get("rows"):
        split = replace(split, train=tuple(split.train[row] for row in rows))
    deadline = None if plain["seconds"] is None else now + plain["seconds"]
    return ArmJob(plain["name"], config, split, folder, resume=True, deadline=deadline)


def read_arm(folder: RunFolder) -> ArmReport:
    """Return the report in an arm's folder.

    Raises:
        UserError: It is missing or damaged.
    """
    return folder.read_as(ARM, ArmReport)


@dataclass(frozen=True)
class Check:
    """The first tokens of the first answers, for the reload check."""

    rows: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFile:
    """The contents of `task.json`: a generative arm's test and its scoring.

    Attributes:
        metrics, labels, endings: See `tasks.prompt_set.scoring_json`; metrics is None in older
            runs.
    """

    task: TaskName
    headline: str = "token_f1"
    metrics: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    endings: tuple[tuple[_TokenId, ...], ...] = ()
    max_new_tokens: Annotated[int, Field(ge=1, le=10**7)] | None = None
    check: Check = Check()


def is_generative(folder: RunFolder) -> bool:
    """Return whether the arm in this folder generates text."""
    return folder.file(TASK).is_file()


def read_task(folder: RunFolder) -> TaskFile:
    """Read the `task.json` of an arm.

    Raises:
        UserError: It is missing or damaged.
    """
    task_file = folder.read_as(TASK, TaskFile)
    strange = sorted(set(task_file.metrics or ()) - set(METRICS))
    if strange:
        raise damaged(folder.file(TASK), f"there is no metric {strange[0]!r}")
    if len(task_file.labels) != len(task_file.endings) or len(task_file.check.rows) != len(
        task_file.check.texts
    ):
        raise damaged(folder.file(TASK), "its lists differ in length")
    return task_file
