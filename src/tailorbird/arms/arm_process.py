"""One arm of a comparison in a process of its own: `python -m tailorbird.arms.arm_process RUN ARM`.

The job is `job.json` in the arm's folder; the result is `arm.json`, or on failure `outcome.json`
with the status and the reason.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.arms.fork_server import ARM as ARM_PROCESS
from tailorbird.arms.registry import arm_named, run_arm
from tailorbird.errors import DoesNotFit, Interrupted, OverBudget, UserError, is_out_of_memory
from tailorbird.planning.memory_check import within_memory
from tailorbird.records import ArmReport
from tailorbird.runs.folder import ARM, JOURNAL, RunFolder
from tailorbird.tasks.arm_job import OUTCOME, ArmJob, read_arm, read_job, write_job

if TYPE_CHECKING:
    from tailorbird.arms.parallel_arms import Runner


def main(run: str, arm: str) -> int:
    """Run the job in the folder `arm` of the comparison `run`; return the exit code."""
    folder = RunFolder(arm)
    log.quiet_libraries()
    return outcome_of(folder, lambda: _with_search(read_job(folder, RunFolder(run))))


def outcome_of(folder: RunFolder, work: Callable[[], Any]) -> int:
    """Run an arm's work; write any failure to its folder, and return the exit code."""
    try:
        work()
    except (OverBudget, DoesNotFit) as error:
        folder.write_json(OUTCOME, {"status": "skipped", "why": str(error)})
    except Interrupted as error:
        log.say(str(error))
        return error.exit_code
    except UserError as error:
        folder.write_json(OUTCOME, {"status": "failed", "why": str(error)})
        return error.exit_code
    except Exception as error:
        why = _OUT_OF_MEMORY if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
        folder.write("traceback.txt", traceback.format_exc())
        folder.write_json(OUTCOME, {"status": "failed", "why": why})
        return 1
    return 0


_OUT_OF_MEMORY = (
    "out of memory; a smaller train.micro_batch_size or data.max_length needs less, "
    "and so does train.gradient_checkpointing=true"
)


def run_in_process(runner: "Runner", job: ArmJob, rows: Sequence[int] = ()) -> ArmReport:
    """Run an arm in a process of its own, or load a saved result from its folder.

    Args:
        rows: Indices of the split's training examples to use; empty: all.

    Raises:
        Interrupted: Ctrl-C.
    """
    place = job.folder
    if not place.file(ARM).is_file():
        place.path.mkdir(parents=True, exist_ok=True)
        write_job(place, job.name, job.config, job.deadline, rows)
        code = _search_on(runner, job)
        if not code and not place.file(OUTCOME).is_file():
            code = runner.run(ARM_PROCESS, str(place.run.path), str(place.path))
        if not place.file(ARM).is_file():
            if code == Interrupted.exit_code:
                raise Interrupted(f"{job.name} was stopped")
            return failure(job.name, code, place)
    return read_arm(place)


def _search_on(runner: "Runner", job: ArmJob) -> int:
    """Run an arm's search before the arm if its trials can be jobs of a cluster.

    Returns:
        The exit code; a failure is recorded as by the arm's own process.
    """
    first = replace(job, folder=job.folder.run.arm(job.name))
    if job.config.compare.ray is None or not _searches(job) or first.folder.path != job.folder.path:
        return 0
    from tailorbird.arms.hyperparameter_search import search
    from tailorbird.arms.parallel_arms import Scheduler

    assert isinstance(runner, Scheduler)
    return outcome_of(job.folder, lambda: search(first, runner))


def _searches(job: ArmJob) -> bool:
    trains = arm_named(job.name, job.split.task).trains
    return job.config.search.trials is not None and trains


def failure(name: str, code: int, place: RunFolder) -> ArmReport:
    """Return the report of an arm whose process ended with this exit code and without a report."""
    if place.file(OUTCOME).is_file():
        plain = place.read_json(OUTCOME)
        return ArmReport(name, plain["status"], plain["why"])
    if code == -9:
        why = "the system ended it, most likely for lack of memory; lower train.micro_batch_size"
    else:
        stage = "" if place.file(JOURNAL).is_file() else " before training began"
        why = f"its process ended with exit code {code}{stage}"
    return ArmReport(name, "failed", why)


def run_planned(job: ArmJob) -> ArmReport:
    """Run an arm, after planning the memory of a trained one."""
    trains = arm_named(job.name, job.split.task).trains
    return run_arm(within_memory(job) if trains else job)


def _with_search(job: ArmJob) -> ArmReport:
    """Run an arm, with the best settings of its search if it has one."""
    if not _searches(job):
        return run_planned(job)
    from tailorbird.arms.hyperparameter_search import search, searched

    # Every seed uses the settings found by the first seed's search.
    first = replace(job, folder=job.folder.run.arm(job.name))
    if first.folder.path == job.folder.path:
        config, result = search(first)
        return searched(run_planned(replace(job, config=config)), result, job.folder)
    config, _ = search(replace(first, config=job.config))
    config = config.replace(train={"seed": job.config.train.seed})
    return run_planned(replace(job, config=config))


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1])), str(Path(sys.argv[2]))))
