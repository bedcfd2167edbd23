"""`tailor evaluate`: scores a finished run on its own test or on other labelled data."""

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird import log
from tailorbird.arms.saved_arm import open_arm, saved_kind
from tailorbird.config import Config
from tailorbird.data.check import summarise
from tailorbird.data.examples import Loaded
from tailorbird.data.read import read_examples
from tailorbird.errors import UserError
from tailorbird.metrics.custom_metric import is_custom
from tailorbird.metrics.verdict import verdict
from tailorbird.records import ArmReport, Report, TuningSections
from tailorbird.report.comparison_page import render_page
from tailorbird.runs.finished_run import (
    arm_folder,
    circumstances,
    read_report,
    run_config,
    write_report,
)
from tailorbird.runs.folder import ARMS, CONFIG, REPORT, RunFolder
from tailorbird.runs.saved_split import trained_as
from tailorbird.tasks.base import Task
from tailorbird.tasks.evaluate_rows import evaluate_rows
from tailorbird.tasks.registry import get_task


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names, None: guessed; and the metric of generated answers."""

    text: str | None = None
    label: str | None = None
    drop_missing: bool = False
    metric: str | None = None


def evaluate(
    run: Path | str,
    data: Path | str | None = None,
    columns: Columns = Columns(),  # noqa: B008 - frozen
    output: str | None = None,
    command: str = "",
    *,
    trust: bool = False,
) -> Report:
    """Score a run and explain its errors.

    Args:
        data: Labelled examples; None returns the scores of the run's own test.
        output: The folder for `report.html`, `report.json` and `predictions.jsonl`; None: none.
        trust: Whether code that came with the run's model may run.

    Raises:
        UserError: There is no such run, or the data cannot be scored.
    """
    if data is None:
        return _own_report(Path(run), columns)
    started = time.time()
    folder = arm_folder(Path(run))
    task = get_task(saved_kind(folder).task)
    _check(folder, task, columns, output)
    # Read before the model is loaded, so that errors in the data show at once.
    loaded = _read(Path(run), str(data), columns, task)
    arm = ArmReport(name=folder.path.name, status="ok", run=str(folder.path))
    with open_arm(folder, trust=trust) as predictor:
        result = evaluate_rows(task, predictor, arm, loaded, columns.metric)
        name = predictor.name
    report = Report(
        kind="tune",
        sections=TuningSections(summarise(result.split, str(data), loaded.columns)),
        arms=(result.arm,),
        verdict=verdict([result.arm], (), result.headline),
        headline=result.headline,
        model=name,
        **circumstances(Config(), command, started),
    )
    if output is not None:
        place = RunFolder(output)
        log.say(f"run folder: {output}")
        result.save(place)
        write_report(report, render_page(report), place)
    return report


def _read(run: Path, data: str, columns: Columns, task: Task) -> Loaded:
    """Return labelled rows, read in the same way as the training data."""
    trained = trained_as(run) if task.spec.head else {}
    return read_examples(
        data,
        text=columns.text,
        label=columns.label,
        drop_missing=columns.drop_missing,
        task=task.name,
        like=trained.get("columns"),
        separator=trained.get("separator"),
    )


def _check(folder: RunFolder, task: Task, columns: Columns, output: str | None) -> None:
    """Check early for everything that would fail later."""
    if output is not None:
        RunFolder(output).check_free(resume=False)
    if not task.spec.head:
        check_metric(folder, columns.metric)
    elif columns.metric is not None:
        raise UserError(
            f"metric is {columns.metric!r}, but this run generates no answers to score",
            "leave it out: every score of its task is shown",
        )


def check_metric(folder: RunFolder, metric: str | None) -> None:
    """Refuse to run a Python metric that only the run names, not the caller.

    Raises:
        UserError: The metric comes from the run, whose author chose the file.
    """
    own = run_config(folder, trust=False).evaluate.metric
    if metric in (None, "auto") and is_custom(own):
        raise UserError(
            f"{folder.file(CONFIG)} scores with Python code, {own}",
            f"if you trust it: --metric {shlex.quote(own)}; or name another metric",
        )


def _own_report(path: Path, columns: Columns) -> Report:
    """Return the report of a run; for an arm of a comparison, its part of that report."""
    if columns != Columns():
        raise UserError(
            "text, label, drop_missing and metric apply to DATA, but none is given",
            "give DATA, or leave them out: the run's own scores are shown",
        )
    folder = RunFolder(path)
    if folder.file(REPORT).is_file():
        return read_report(folder)
    above = path.resolve().parent.parent
    if path.resolve().parent.name == ARMS and (above / REPORT).is_file():
        report = read_report(RunFolder(above))
        arms = tuple(arm for arm in report.arms if arm.run and Path(arm.run).name == path.name)
        decision = verdict(arms, (), report.headline)
        return replace(report, kind="tune", arms=arms, comparisons=(), verdict=decision)
    arm_folder(path)  # raises for an invalid path
    raise UserError(f"{path} has no {REPORT}", "give labelled DATA to score it on")
