"""One arm of a comparison in a process of its own: `python -m tailorbird.arms.worker RUN ARM`.

The job lies in the arm's folder as `job.json`; the outcome is `arm.json` when all went well, else
`outcome.json` with the status and why.
"""

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.config import METHODS, Config
from tailorbird.errors import Interrupted, OverBudget, UserError, is_out_of_memory
from tailorbird.records import KINDS, ArmReport
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.split import load_split
from tailorbird.tasks.job import JOB, OUTCOME, ArmJob, read_arm


def main(run: str, arm: str) -> int:
    """Do the job in the folder `arm` of the comparison `run`; return the exit code."""
    folder = RunFolder(arm)
    log.quiet_libraries()
    started = time.monotonic()
    return outcome_of(folder, lambda: _do(folder.read_json(JOB), RunFolder(run), folder, started))


def outcome_of(folder: RunFolder, work: Callable[[], Any]) -> int:
    """Do an arm's work; leave in its folder what went wrong, and return the exit code."""
    try:
        work()
    except OverBudget as error:
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


def _do(plain: dict[str, Any], run: RunFolder, folder: RunFolder, started: float) -> ArmReport:
    config = Config.model_validate(plain["config"])
    split, _, _ = load_split(run)
    deadline = None if plain["seconds"] is None else started + plain["seconds"]
    job = ArmJob(plain["name"], config, split, folder, resume=True, deadline=deadline)
    if split.task not in KINDS:
        return _write(job, run)
    if job.name == KINDS[split.task].baseline:
        from tailorbird.arms.untrained import run_blind

        return run_blind(job)
    if job.name == "probe":
        from tailorbird.arms.untrained import run_probe

        return run_probe(job)
    if job.name == "rag":
        from tailorbird.arms.untrained import run_rag

        return run_rag(job)
    if job.name.startswith("rag+"):
        from tailorbird.arms.untrained import run_mix

        tuned, memory = (read_arm(run.arm(name)) for name in (job.name.removeprefix("rag+"), "rag"))
        return run_mix(job, tuned, memory)
    from tailorbird.arms.trained import run_arm

    return _with_search(job, run_arm)


def _with_search(job: ArmJob, run: Callable[[ArmJob], ArmReport]) -> ArmReport:
    """Run a trained arm with the best settings of its search, where there is to be one."""
    if job.config.search.trials is None:
        return run(job)
    from tailorbird.arms.search import search, searched

    # Every seed takes the settings that the first one's search finds.
    first = replace(job, folder=job.folder.run.arm(job.name))
    if first.folder.path == job.folder.path:
        config, found = search(first)
        return searched(run(replace(job, config=config)), found, job.folder)
    config, found = search(replace(first, config=job.config))
    train = config.train.model_copy(update={"seed": job.config.train.seed})
    return run(replace(job, config=config.model_copy(update={"train": train})))


def _write(job: ArmJob, run: RunFolder) -> ArmReport:
    """Do the job of an arm that answers in words."""
    if job.name in METHODS:
        from tailorbird.arms.trained_writing import run_writing_arm

        return _with_search(job, run_writing_arm)
    from tailorbird.arms.prompted import run_base, run_nearest, run_shots

    if job.name == "nearest":
        return run_nearest(job)
    if job.name == "base":
        return run_base(job)
    tuned = job.name.removeprefix("rag").removeprefix("+")
    return run_shots(job, run.arm(tuned) if tuned else None)


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1])), str(Path(sys.argv[2]))))
