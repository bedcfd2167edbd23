"""Trials of a search, in this process or each as a job on a cluster node.

Either way the study receives the results in the order of the trials' numbers, with all validations,
so random and grid search give the same study wherever the trials run.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Literal

from tailorbird import log
from tailorbird.errors import (
    Hopeless,
    Interrupted,
    OutOfMemory,
    OverBudget,
    TrainingDiverged,
    UserError,
    is_out_of_memory,
)
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_job, write_job
from tailorbird.tasks.registry import get_task
from tailorbird.train.hyperparameter_study import Draw, Study

if TYPE_CHECKING:
    from tailorbird.arms.parallel_arms import Scheduler

TRIAL = "tailorbird.arms.trials"
RESULT = "trial.json"
"""The file that marks a trial on a node as complete; written last."""
_LOOK_SECONDS = 0.5

JobOf = Callable[[Draw], ArmJob]
"""Creates the job of a trial from its drawn settings."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        state: late: it ran out of time.
        score: The best validation score, higher is better; None if the trial failed.
        problem, fix: Why it failed.
        common: Whether all settings may fail in this way, not only those of this trial.
        validations: Number and score of each; empty if they were reported to the study directly.
    """

    state: Literal["ok", "pruned", "late", "failed"]
    seconds: float
    score: float | None = None
    problem: str = ""
    fix: str = ""
    common: bool = False
    validations: tuple[tuple[int, float], ...] = ()


def do_trials(
    name: str, job_of: JobOf, study: Study, scheduler: "Scheduler | None"
) -> OverBudget | None:
    """Run trials until none is left, waiting for those of other processes.

    Args:
        name: The arm's name.
        job_of: Creates the jobs of trials.
        study: The search.
        scheduler: Runs trials in parallel; None: one after the other in this process.

    Returns:
        Why the search ended early, if it did.
    """
    while study.unfinished():
        with ExitStack() as claims:
            draws = _claim(name, study, claims, _batch(study, scheduler))
            if not draws:
                time.sleep(_LOOK_SECONDS)
                continue
            if scheduler is None:
                late = _record(name, study, draws[0], run_trial(partial(job_of, draws[0])))
            else:
                late = _run_in_parallel(name, job_of, study, scheduler, draws)
        if late is not None:
            log.warn(f"{name}: the search ends here: {late}")
            return late
    return None


def _batch(study: Study, scheduler: "Scheduler | None") -> int:
    """Return the number of trials drawn at once."""
    if scheduler is None:
        return 1
    # TPE's draws depend on the trials before them.
    return scheduler.jobs if study.options.sampler == "tpe" else study.count


def _claim(name: str, study: Study, claims: ExitStack, most: int) -> list[Draw]:
    draws: list[Draw] = []
    while len(draws) < most and (draw := claims.enter_context(study.claim())) is not None:
        log.say(f"{name}: trial {draw.number + 1} of {study.count}: {_settings(draw)}")
        draws.append(draw)
    return draws


def _settings(draw: Draw) -> str:
    values = ", ".join(
        f"{name.partition('.')[2]} {value:.3g}" if isinstance(value, float)
        else f"{name.partition('.')[2]} {value}"
        for name, value in draw.values.items()
    )  # fmt: skip
    return f"configured ({values})" if draw.default and values else values or "configured"


def run_trial(job_of: Callable[[], ArmJob]) -> TrialResult:
    """Train with a trial's settings, and test on the validation part."""
    started = time.monotonic()
    state: Literal["pruned", "late", "failed"] = "failed"
    try:
        job = job_of()
        # A search must not use the test part.
        job = replace(job, split=replace(job.split, test=job.split.validation), resume=True)
        trained = get_task(job.split.task).fit(job, scored=False).train()
        return TrialResult("ok", trained.seconds, trained.best[0])
    except Exception as error:
        if isinstance(error, Hopeless | OverBudget):
            state = "pruned" if isinstance(error, Hopeless) else "late"
        elif not isinstance(error, UserError) and not is_out_of_memory(error):
            raise
        fault = error
    problem, fix = (fault.problem, fault.fix) if isinstance(fault, UserError) else (str(fault), "")
    common = isinstance(fault, UserError) and not isinstance(fault, TrainingDiverged | OutOfMemory)
    seconds = time.monotonic() - started
    return TrialResult(state, seconds, problem=problem, fix=fix, common=common)


def _run_in_parallel(
    name: str, job_of: JobOf, study: Study, scheduler: "Scheduler", draws: list[Draw]
) -> OverBudget | None:
    """Run trials in parallel, and report them to the study in the order of their numbers."""
    results: dict[int, TrialResult] = {}
    ends: list[OverBudget] = []
    waiting, guard = deque(sorted(draws, key=lambda draw: draw.number)), Lock()

    def work(draw: Draw) -> None:
        result = _run_in_process(name, job_of, scheduler, draw)
        with guard:
            results[draw.number] = result
            while waiting and waiting[0].number in results:
                first = waiting.popleft()
                late = _record(name, study, first, results.pop(first.number))
                if late is not None:
                    ends.append(late)

    scheduler.map(work, draws)
    return ends[0] if ends else None


def _run_in_process(name: str, job_of: JobOf, scheduler: "Scheduler", draw: Draw) -> TrialResult:
    """Run a trial as a job of its own, or load its saved result."""
    from tailorbird.arms.arm_process import failure

    place = draw.folder
    if not place.file(RESULT).is_file():
        try:
            job = job_of(draw)
        except UserError:
            return run_trial(partial(job_of, draw))
        write_job(place, name, job.config, job.deadline)
        code = scheduler.run(TRIAL, str(place.run.path), str(place.path))
        if not place.file(RESULT).is_file():
            if code == Interrupted.exit_code:
                raise Interrupted(f"{job.name} was stopped")
            return TrialResult("failed", 0.0, problem=failure(name, code, place).why)
    return place.read_as(RESULT, TrialResult)


def _record(name: str, study: Study, draw: Draw, result: TrialResult) -> OverBudget | None:
    """Report a trial's result to the study; return the error that ends the search, if any.

    Raises:
        UserError: The user's own settings fail in a way that all others would.
    """
    try:
        for number, score in result.validations:
            draw.observe(number, score)
    except Hopeless as error:
        result = TrialResult("pruned", result.seconds, problem=str(error))
    why = result.problem.partition("\n")[0]
    study.tell(draw, result.score, result.seconds, why, pruned=result.state == "pruned")
    if result.state == "pruned":
        log.say(f"{name}: trial {draw.number + 1} {why}")
    elif result.state == "late":
        return OverBudget(result.problem)
    elif result.state == "failed":
        searched = any(setting.startswith(("model.", "data.")) for setting in study.space)
        if draw.default and result.common and not searched:
            raise UserError(result.problem, result.fix)
        log.warn(f"{name}: trial {draw.number + 1} failed: {result.problem}")
    return None


def main(run: str, place: str) -> int:
    """Run the trial whose job is in the folder `place` of `run`; return the exit code."""
    from tailorbird.arms.arm_process import outcome_of

    folder = RunFolder(place)
    log.quiet_libraries()
    validations: list[tuple[int, float]] = []

    def job() -> ArmJob:
        own = read_job(folder, RunFolder(run))
        return replace(
            own,
            name=f"{own.name}, trial {int(folder.path.name) + 1}",
            observe=lambda number, score: validations.append((number, score)),
        )

    def work() -> None:
        result = replace(run_trial(job), validations=tuple(validations))
        folder.write_json(RESULT, asdict(result))

    return outcome_of(folder, work)
