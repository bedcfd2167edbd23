"""`tailor evaluate`: a finished run on the data it was tested on, or on other labelled data."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tailorbird.arms.load import Predictor, arm_folder, load, read_report
from tailorbird.config import Config
from tailorbird.data.check import summarise
from tailorbird.data.encode import as_read
from tailorbird.data.read import Loaded, More, read_examples
from tailorbird.data.targets import classes_of
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.output import run_folder
from tailorbird.flows.predict import trained_as
from tailorbird.metrics.verdict import verdict
from tailorbird.records import KINDS, ArmReport, Cost, Report, Split, Target
from tailorbird.report.page import render_page
from tailorbird.runs.environment import describe
from tailorbird.runs.folder import ARMS, PAGE, PREDICTIONS, REPORT, TASK, RunFolder
from tailorbird.tasks.job import read_task
from tailorbird.tasks.scoring import load_target, save_predictions, score_arm


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what, None: guessed; and what written answers are scored by."""

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
        run: A run folder, or an arm's within a comparison.
        data: Labelled examples; None returns the scores of the run's own test.
        columns: Their columns.
        output: Where to leave `report.html`, `report.json` and `predictions.jsonl`; None: nowhere.
        command: The command line, for the report.
        trust: Whether code may run that came with the run's model.

    Raises:
        UserError: No such run, or data that cannot be scored.
    """
    if data is None:
        return _own_report(Path(run), columns)
    started = time.time()
    folder = arm_folder(Path(run))
    writes = folder.file(TASK).is_file()
    _check(columns, output, writes=writes)
    # The data first: its faults are told before a model is loaded.
    loaded = _read(Path(run), str(data), columns, writes=writes)
    if writes:
        from tailorbird.flows.evaluate_writing import evaluate_writing

        found = evaluate_writing(folder, loaded, columns.metric, trust=trust)
        judged = Judged(found.split, found.arm, found.headline, str(folder.path))
    else:
        judged, outputs, target = _labels(Path(run), loaded, trust)
    report = _report(judged, str(data), loaded.columns, command, started)
    if output is not None:
        place = run_folder(Config(output=output), "evaluate", resume=False)
        if writes:
            place.write_rows(PREDICTIONS, found.rows)
        else:
            save_predictions(place, judged.split, {"test": outputs}, target)
        place.write(PAGE, render_page(report))
        place.write_json(REPORT, report.to_json())
    return report


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's scores on other data than its own test."""

    split: Split
    arm: ArmReport
    headline: str
    model: str


def _labels(run: Path, loaded: Loaded, trust: bool) -> tuple[Judged, np.ndarray, Target]:
    """Return the scores of a run that answers with labels or numbers, its outputs, what they mean.

    Raises:
        UserError: The run is damaged, or a label is unknown to it.
    """
    predictor = load(run, trust=trust)
    split = _as_test(loaded, predictor)
    target = replace(predictor.target, labels=split.labels)
    texts = [as_read(example) for example in split.test]
    began = time.perf_counter()
    outputs = predictor.probabilities(texts, "predicting")
    took = time.perf_counter() - began
    arm = ArmReport(
        name=arm_folder(run).path.name,
        status="ok",
        run=str(run),
        cost=Cost(predict_ms_per_example=1000 * took / len(texts)),
    )
    arm = score_arm(arm, None, outputs, split, 0, target)
    return Judged(split, arm, KINDS[target.task].headline, predictor.name), outputs, target


def _report(
    judged: Judged, data: str, columns: dict[str, str], command: str, started: float
) -> Report:
    return Report(
        kind="tune",
        data=summarise(judged.split, data, columns),
        arms=(judged.arm,),
        verdict=verdict([judged.arm], (), judged.headline),
        headline=judged.headline,
        model=judged.model,
        command=command,
        created=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        seconds=round(time.time() - started, 1),
        environment=describe(),
    )


def _read(run: Path, data: str, columns: Columns, *, writes: bool) -> Loaded:
    """Return labelled rows, read as those that the run was trained on."""
    folder = arm_folder(run)
    known = {} if writes else trained_as(run)
    return read_examples(
        data,
        text=columns.text,
        label=columns.label,
        drop_missing=columns.drop_missing,
        task=read_task(folder).task if writes else load_target(folder).task,
        like=known.get("columns"),
        more=More(separator=known.get("separator")),
    )


def _as_test(loaded: Loaded, predictor: Predictor) -> Split:
    """Return the examples as a test set of the run's labels.

    Raises:
        UserError: A label the run does not know.
    """
    known, task = set(predictor.labels), predictor.target.task
    given = {label for e in loaded.examples for label in classes_of(e, task)}
    strange = sorted(given - known)
    if strange:
        raise UserError(
            f"{loaded.path}: label {strange[0]!r}{did_you_mean(strange[0], known)} is unknown to "
            f"the run{f', and {len(strange) - 1} more' if len(strange) > 1 else ''}",
            f"the run knows: {', '.join(sorted(known)[:20])}",
        )
    targets = len(loaded.targets) if task == "regression" else len(predictor.labels)
    if targets != len(predictor.labels):
        raise UserError(
            f"{loaded.path}: {targets} numbers per row, and the run gives {len(predictor.labels)}: "
            f"{', '.join(predictor.labels)}",
            "name their columns with --label A,B",
        )
    test, labels = tuple(loaded.examples), tuple(predictor.labels)
    return Split((), test, test, labels, "all rows", loaded.findings, task)


def _check(columns: Columns, output: str | None, *, writes: bool) -> None:
    """Refuse before the work what would be refused after it."""
    if output is not None:
        RunFolder(output).check_free(resume=False)
    if not writes:
        _no_metric(columns.metric)


def _no_metric(metric: str | None) -> None:
    if metric is not None:
        raise UserError(
            f"metric is {metric!r}, but this run writes no answers that it could score",
            "leave it out: every score of its task is shown",
        )


def _own_report(path: Path, columns: Columns) -> Report:
    """Return the report of a run; for an arm of a comparison, the comparison's with it alone."""
    if columns != Columns():
        raise UserError(
            "text, label, drop_missing and metric say how DATA is scored, and there is none",
            "give DATA, or leave them out: the run's own scores are shown",
        )
    folder = RunFolder(path)
    if folder.file(REPORT).is_file():
        return read_report(folder)
    above = path.resolve().parent.parent
    if path.resolve().parent.name == ARMS and (above / REPORT).is_file():
        report = read_report(RunFolder(above))
        arms = tuple(arm for arm in report.arms if arm.run and Path(arm.run).name == path.name)
        judged = verdict(arms, (), report.headline)
        return replace(report, kind="tune", arms=arms, comparisons=(), verdict=judged)
    arm_folder(path)  # says what is wrong with the path
    raise UserError(f"{path} has no {REPORT}", "give labelled DATA to score it on")
