"""`tailor tune`: one method on one data set."""

import time
from dataclasses import replace

from tailorbird import log
from tailorbird.arms.process import Nest
from tailorbird.arms.search import has_search, searched, with_best
from tailorbird.arms.worker import run_planned
from tailorbird.config import Config, check_method, dump_config
from tailorbird.flows.finish import Story, finish
from tailorbird.flows.folds import check_folds, run_folds
from tailorbird.flows.output import reproduce, run_folder, saved_config
from tailorbird.flows.prepare import prepare, with_default_model
from tailorbird.processes import launched
from tailorbird.records import ArmReport, Report, Split
from tailorbird.runs.folder import ARM, CONFIG, REPORT
from tailorbird.tasks import get_task
from tailorbird.tasks.job import ArmJob, read_arm


def tune(config: Config, *, resume: bool = False, command: str = "") -> Report:
    """Train one model and leave it, its scores and its report in the run folder.

    Args:
        config: What to do; `config.method.name` says how.
        resume: Go on with the run in `config.output`.
        command: The command line, for the report.

    Raises:
        UserError: Anything wrong with the data, the model or the settings; nothing is lost.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    if launched():
        from tailorbird.train.launch import led

        with led():
            return _tune(config, resume=resume, command=command)
    return _tune(config, resume=resume, command=command)


def _tune(config: Config, *, resume: bool, command: str) -> Report:
    started = time.time()
    check_method(config)
    check_folds(config)
    folder = run_folder(config, "tune", resume=resume, tell=False)
    # Several processes may search together; only one prepares, and only one finishes.
    together = config.search.trials is not None or has_search(folder)
    kept = resume or together
    with (
        folder.locked(wait=together, forget=not together),
        folder.emptied_when_refused(unless=kept),
    ):
        if resume and folder.file(REPORT).is_file():
            log.say("this run is finished")
            return folder.read_as(REPORT, Report)
        config = saved_config(folder, config) if resume and folder.exists else config
        prepared = prepare(config, folder, _fits)
        config = with_default_model(config, prepared.split)
        folder.write(CONFIG, dump_config(config))
        if config.data.folds is not None:
            prepared, arm, places = run_folds(config, prepared, folder, _run)
            # The others are folds of the same arm, tested on other rows.
            story = Story(
                kind="tune",
                config=config,
                prepared=prepared,
                folder=folder,
                arms=[arm],
                folders={arm.name: places[:1]},
                command=command or reproduce("tune", folder),
                started=started,
            )
            return _told(story)
    job = ArmJob(config.method.name, config, prepared.split, folder, resume=resume)
    job, found = with_best(job)
    with (
        folder.locked(wait=found is not None, forget=found is None),
        folder.emptied_when_refused(unless=kept),
    ):
        if folder.file(REPORT).is_file():
            return folder.read_as(REPORT, Report)
        arm = replace(_run(job), run=".")
        if found is not None:
            arm = searched(arm, found, folder)
        story = Story(
            kind="tune",
            config=job.config,
            prepared=prepared,
            folder=folder,
            arms=[arm],
            folders={arm.name: [folder]},
            command=command or reproduce("tune", folder),
            started=started,
        )
        report = _told(story)
        folder.file(ARM).unlink()  # the report holds it; arm.json is for the arms of comparisons
        return report


def _fits(config: Config, split: Split) -> None:
    get_task(split.task).check(config, split.labels)
    check_folds(config, split.task)


def _told(story: Story) -> Report:
    with Nest() as nest:
        return finish(story, nest)


def _run(job: ArmJob) -> ArmReport:
    if job.resume and job.folder.file(ARM).is_file():
        return read_arm(job.folder)
    return run_planned(job)
