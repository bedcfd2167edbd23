"""`tailor tune`: one method on one data set."""

import time
from dataclasses import replace

from tailorbird import log
from tailorbird.arms.load import read_report
from tailorbird.arms.process import Nest
from tailorbird.arms.search import has_search, searched, with_best
from tailorbird.arms.worker import run_planned
from tailorbird.config import Config, check_method
from tailorbird.flows.cross_validation import check_folds, run_folds
from tailorbird.flows.prepare import Prepared, prepare
from tailorbird.flows.run_folder import opened, reproduce, run_folder
from tailorbird.flows.tuning_report import Story, finish
from tailorbird.processes import launched
from tailorbird.records import ArmReport, Report, Split
from tailorbird.runs.folder import ARM, REPORT, RunFolder
from tailorbird.tasks import get_task
from tailorbird.tasks.arm_job import ArmJob, read_arm


def tune(
    config: Config, folder: RunFolder | None = None, *, resume: bool = False, command: str = ""
) -> Report:
    """Train one model and leave it, its scores and its report in the run folder.

    Args:
        config: What to do; `config.method.name` says how.
        folder: The run's; None: as `run_folder` names it.
        resume: Go on with the run in it.
        command: The command line, for the report.

    Raises:
        UserError: Anything wrong with the data, the model or the settings; nothing is lost.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    if launched():
        from tailorbird.train.launch import led

        with led():
            return _tune(config, folder, resume, command)
    return _tune(config, folder, resume, command)


def _tune(config: Config, place: RunFolder | None, resume: bool, command: str) -> Report:
    started = time.time()
    check_method(config)
    check_folds(config)
    folder = place or run_folder(config, "tune", resume=resume)
    command = command or reproduce("tune", folder)

    def finished(prepared: Prepared, arm: ArmReport, place: RunFolder) -> Report:
        folders = {arm.name: [place]}
        story = Story("tune", prepared, folder, [arm], folders, command, started)
        with Nest() as nest:
            return finish(story, nest)

    # Several processes may search together; only one prepares, and only one finishes.
    together = config.search.trials is not None or has_search(folder)
    with opened(config, folder, resume=resume, together=together) as config:
        if resume and folder.file(REPORT).is_file():
            log.say("this run is finished")
            return read_report(folder)
        prepared = prepare(config, folder, _settle)
        if config.data.folds is not None:
            # The others are folds of the same arm, tested on other rows.
            prepared, arm, places = run_folds(prepared, folder, _run)
            return finished(prepared, arm, places[0])
    job = ArmJob(config.method.name, prepared.config, prepared.split, folder, resume=resume)
    job, search = with_best(job)
    with (
        folder.locked(wait=together, forget=not together),
        folder.emptied_when_refused(unless=resume or together),
    ):
        if folder.file(REPORT).is_file():
            return read_report(folder)
        arm = replace(_run(job), run=".")
        if search is not None:
            arm = searched(arm, search, folder)
        return finished(replace(prepared, config=job.config), arm, folder)


def _settle(config: Config, split: Split) -> Config:
    get_task(split.task).check(config, split.labels)
    check_folds(config, split.task)
    return config


def _run(job: ArmJob) -> ArmReport:
    if job.resume and job.folder.file(ARM).is_file():
        return read_arm(job.folder)
    return run_planned(job)
