"""`tailor tune`: train one method on one data set, once or once per cross-validation fold."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

import numpy as np

from tailorbird import log
from tailorbird.arms.arm_process import run_planned
from tailorbird.arms.fork_server import ForkServer
from tailorbird.arms.hyperparameter_search import has_search, searched, with_best
from tailorbird.arms.parallel_arms import scheduler
from tailorbird.config import Config, check_method
from tailorbird.data.group_split import make_folds
from tailorbird.errors import UserError
from tailorbird.flows.prepare import Prepared, prepare
from tailorbird.flows.start_or_resume import opened, reproduce, run_folder
from tailorbird.flows.tuning_report import TuningRun, write_tuning_report
from tailorbird.metrics.display import metric
from tailorbird.metrics.metric_facts import metric_words
from tailorbird.processes import launched
from tailorbird.records import TASKS, ArmReport, Report, Score, Split, Target, TaskName, has_head
from tailorbird.runs.finished_run import read_report
from tailorbird.runs.folder import ARM, REPORT, RunFolder
from tailorbird.runs.saved_split import save_split
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.tasks.fit import check_sharding
from tailorbird.tasks.head_scoring import (
    load_probabilities,
    load_target,
    save_predictions,
    score_arm,
)
from tailorbird.tasks.registry import get_task

FOLDS = "folds"


def tune(
    config: Config, folder: RunFolder | None = None, *, resume: bool = False, command: str = ""
) -> Report:
    """Train one model and write it, its scores and its report to the run folder.

    Args:
        config: The settings; `config.method.name` selects the method.

    Raises:
        UserError: The data, the model or a setting is wrong; no result is lost.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    if launched():
        from tailorbird.train.launch import on_leading_rank

        with on_leading_rank():
            return _tune(config, folder, resume, command)
    return _tune(config, folder, resume, command)


def _tune(config: Config, place: RunFolder | None, resume: bool, command: str) -> Report:
    started = time.time()
    check_method(config)
    check_sharding(config)
    check_folds(config)
    folder = place or run_folder(config, "tune", resume=resume)
    command = command or reproduce("tune", folder)

    def finished(prepared: Prepared, arm: ArmReport, place: RunFolder) -> Report:
        folders = {arm.name: [place]}
        tuning = TuningRun("tune", prepared, folder, [arm], folders, command, started)
        with ForkServer() as runner:
            return write_tuning_report(tuning, runner)

    # Several processes may share a search, but only one of them prepares and one finishes it.
    together = config.search.trials is not None or has_search(folder)
    if config.compare.ray and not together:
        raise UserError(
            "--ray runs the trials of a search on a cluster, and this run has none",
            "add --search N, or leave --ray out",
        )
    with opened(config, folder, resume=resume, together=together) as config:
        if resume and folder.file(REPORT).is_file():
            log.say("this run is finished")
            return read_report(folder)
        prepared = prepare(config, folder, _settle)
        if config.data.folds is not None:
            # The other places are folds of the same arm, tested on other rows.
            prepared, arm, places = run_folds(prepared, folder, _run)
            return finished(prepared, arm, places[0])
    job = ArmJob(config.method.name, prepared.config, prepared.split, folder, resume=resume)
    with ExitStack() as around:
        # Without a cluster, the trials run one after the other in this process.
        runner = around.enter_context(scheduler(config.compare)) if config.compare.ray else None
        job, search = with_best(job, runner)
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


def check_folds(config: Config, task: TaskName | None = None) -> None:
    """Check that no setting excludes cross-validation.

    Args:
        task: The task of the data, once it is detected.

    Raises:
        UserError: A setting excludes folds.
    """
    data = config.data
    if data.folds is None:
        return
    if task is not None and not has_head(task):
        raise UserError(
            f"data.folds={data.folds} is for labels and numbers, not for written answers",
            "leave --folds out",
        )
    for flag, value, why, fix in (
        ("--test", data.test, "every row is tested in its fold", "leave --test out"),
        (
            "--time",
            data.time,
            "a fold would be tested with a model trained on later rows",
            "leave one out",
        ),
        (
            "--search",
            config.search.trials,
            "a search would be repeated for each fold",
            "search without --folds first, then use the settings it found with -c",
        ),
    ):
        if value is not None:
            raise UserError(f"--folds and {flag} exclude each other: {why}", fix)


def run_folds(
    prepared: Prepared, folder: RunFolder, run: Callable[[ArmJob], ArmReport]
) -> tuple[Prepared, ArmReport, list[RunFolder]]:
    """Train and test the method once per fold, skipping folds that are complete.

    Args:
        run: Trains and tests one arm.

    Returns:
        The data as the report shows it, the arm with the scores of all folds, and the folders of
        the folds in order.
    """
    config, data = prepared.config, prepared.config.data
    assert data.folds is not None
    folds = make_folds(
        prepared.split,
        data.folds,
        validation_share=data.validation_share,
        seed=data.split_seed,
        given_validation=data.validation is not None,
    )
    total = sum(len(fold.test) for fold in folds)
    log.say(f"instead, {len(folds)} folds: each of the {total:,} rows is tested once")
    name = config.method.name
    places, reports = [], []
    for number, split in enumerate(folds, 1):
        # The first fold is the run's own split; its model is the one that the run keeps.
        place = folder.arm(name if number == 1 else f"{name}/{FOLDS}/{number}")
        place.path.mkdir(parents=True, exist_ok=True)
        save_split(folder if number == 1 else place, split, prepared.source, prepared.columns)
        if place.file(ARM).is_file():
            log.say(f"fold {number} of {len(folds)}: already done")
            report = read_arm(place)
        else:
            log.say(f"fold {number} of {len(folds)}")
            report = run(ArmJob(name, config, split, place, resume=True))
        places.append(place)
        reports.append(report)
    pooled = replace(
        folds[0],
        test=tuple(example for fold in folds for example in fold.test),
        how=f"{len(folds)} folds: every row is tested once, by a model that saw none of its fold "
        f"(seed {data.split_seed}); training and validation rows are those of fold 1",
    )
    tests = np.concatenate([load_probabilities(place)["test"] for place in places])
    target = _target(places, folds)
    save_predictions(folder, pooled, {"test": tests}, target)
    scored = score_arm(reports[0], None, tests, pooled, config.train.seed, target)
    arm = _pooled(reports, scored, pooled)
    return replace(prepared, split=pooled), arm, places


def _target(places: Sequence[RunFolder], folds: Sequence[Split]) -> Target:
    """Return the target of the outputs; for multilabel, each row has the thresholds of its fold."""
    targets = [load_target(place) for place in places]
    if not targets[0].thresholds:
        return targets[0]
    own = [cast("tuple[float, ...]", target.thresholds) for target in targets]
    rows = (each for each, fold in zip(own, folds, strict=True) for _ in fold.test)
    return replace(targets[0], thresholds=tuple(rows))


def _pooled(reports: Sequence[ArmReport], scored: ArmReport, pooled: Split) -> ArmReport:
    """Return one report with the scores of all folds' test predictions pooled."""
    first, costs = reports[0], [report.cost for report in reports]
    validation = {
        name: _mean([report.validation[name].value for report in reports])
        for name in first.validation
    }
    headline = TASKS[pooled.task].headline
    each = ", ".join(metric(headline, report.test[headline].value) for report in reports)
    seconds = [cost.train_seconds or 0.0 for cost in costs]
    return replace(
        scored,
        run=f"arms/{first.name}",
        validation=validation,
        cost=replace(
            first.cost,
            train_seconds=sum(seconds),
            peak_memory_bytes=max(cost.peak_memory_bytes or 0 for cost in costs),
        ),
        notes=(
            *first.notes,
            f"{len(reports)} folds, test {metric_words(headline)} of each: {each}. The scores "
            "are those of all test predictions together, and their intervals assume independent "
            "rows, which is only approximate as the models share training rows.",
            "The saved model, its curve and its validation rows are those of fold 1; to train on "
            "more rows, tune again without --folds.",
        ),
    )


def _mean(values: Sequence[float]) -> Score:
    mean = sum(values) / len(values)
    return Score(mean, mean, mean)
