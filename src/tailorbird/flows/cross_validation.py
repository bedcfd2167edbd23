"""`tailor tune --folds`: one method, trained and tested once per fold, its tests pooled."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from tailorbird import log
from tailorbird.config import Config
from tailorbird.data.group_split import make_folds
from tailorbird.errors import UserError
from tailorbird.flows.prepare import Prepared
from tailorbird.metrics.display import metric
from tailorbird.metrics.metric_facts import metric_words
from tailorbird.records import TASKS, ArmReport, Score, Split, Target, TaskName, has_head
from tailorbird.runs.folder import ARM, RunFolder
from tailorbird.runs.split import save_split
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.tasks.scoring import (
    load_probabilities,
    load_target,
    save_predictions,
    score_arm,
)

FOLDS = "folds"


def check_folds(config: Config, task: TaskName | None = None) -> None:
    """Refuse what cannot be had together with folds.

    Args:
        config: What was asked for.
        task: What the data asks for, once it is known.

    Raises:
        UserError: There is such a wish.
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
        ("--time", data.time, "a fold would be tested by what came after it", "leave one out"),
        (
            "--search",
            config.search.trials,
            "a search would be repeated for each fold",
            "search without --folds first, then take what it found with -c",
        ),
    ):
        if value is not None:
            raise UserError(f"--folds and {flag} exclude each other: {why}", fix)


def run_folds(
    prepared: Prepared, folder: RunFolder, run: Callable[[ArmJob], ArmReport]
) -> tuple[Prepared, ArmReport, list[RunFolder]]:
    """Train and test the method once per fold; folds that are done are not done again.

    Args:
        prepared: The checked rows, however they are split, and what to do.
        folder: The run's.
        run: Trains and tests one arm.

    Returns:
        The data as the report shows it, the arm with the scores of all folds, and where the folds
        lie, the first first.
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
        # The first fold is the run's own split, and its model the one that is kept.
        place = folder.arm(name if number == 1 else f"{name}/{FOLDS}/{number}")
        place.path.mkdir(parents=True, exist_ok=True)
        save_split(folder if number == 1 else place, split, prepared.source, prepared.columns)
        if place.file(ARM).is_file():
            log.say(f"fold {number} of {len(folds)}: done before")
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
    """Return what the outputs mean; of several labels each row has its own fold's thresholds."""
    targets = [load_target(place) for place in places]
    if not targets[0].thresholds:
        return targets[0]
    own = [cast("tuple[float, ...]", target.thresholds) for target in targets]
    rows = (each for each, fold in zip(own, folds, strict=True) for _ in fold.test)
    return replace(targets[0], thresholds=tuple(rows))


def _pooled(reports: Sequence[ArmReport], scored: ArmReport, pooled: Split) -> ArmReport:
    """Return one report: the scores are those of all test predictions together."""
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
            "are those of all test predictions together, and their intervals take the rows as "
            "independent, which models that share training rows are not quite.",
            "The saved model, its curve and its validation rows are those of fold 1; to train on "
            "more rows, tune again without --folds.",
        ),
    )


def _mean(values: Sequence[float]) -> Score:
    mean = sum(values) / len(values)
    return Score(mean, mean, mean)
