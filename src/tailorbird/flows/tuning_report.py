"""The last step of every run: verdict on the arms, report, page and model cards."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailorbird import log
from tailorbird.arms.fork_server import RELOAD_CHECK, TRUST
from tailorbird.arms.label_errors import DOUBTS
from tailorbird.data.check import summarise
from tailorbird.flows.prepare import Prepared
from tailorbird.metrics.intervals import design_effect
from tailorbird.metrics.metric_facts import unit
from tailorbird.metrics.significance import Outcomes, compare, difference, method_score
from tailorbird.metrics.verdict import FLOORS, MARGIN, Evidence, best_arm, undecided, verdict
from tailorbird.records import (
    ArmReport,
    Comparison,
    DataSummary,
    Finding,
    LearningCurve,
    Luck,
    Neighbour,
    Piece,
    ReloadCheck,
    Report,
    TuningSections,
    Verdict,
)
from tailorbird.report.comparison_page import render_page
from tailorbird.report.model_card import model_card
from tailorbird.runs.finished_run import circumstances, write_report
from tailorbird.runs.folder import CARD, ENVIRONMENT, MODEL, SHOWN, RunFolder
from tailorbird.tasks.base import Task
from tailorbird.tasks.registry import get_task

if TYPE_CHECKING:
    from tailorbird.arms.parallel_arms import Runner


@dataclass(frozen=True)
class TuningRun:
    """The state of a run after all arms have finished.

    Attributes:
        folders: The folders of each arm's trainings, by name; the saved model's comes first.
        started: `time.time` at the start.
    """

    kind: Literal["tune", "compare"]
    prepared: Prepared
    folder: RunFolder
    arms: Sequence[ArmReport]
    folders: dict[str, list[RunFolder]]
    command: str
    started: float
    learning_curve: LearningCurve | None = None


def write_tuning_report(run: TuningRun, runner: "Runner") -> Report:
    """Reload the saved models, compare the arms, and write report, page and cards."""
    arms = _check_reloads(run, runner)
    task = get_task(run.prepared.split.task)
    headline = task.headline(run.folders)
    outcomes = Outcomes()
    if len(run.folders) > 1:  # a single arm has no comparison
        outcomes = task.outcomes(run.folders, run.prepared.split, headline)
    tested = task.answered(run.folders) or task.tested(run.prepared.split)
    looks = 1
    if not isinstance(run.prepared.config.compare.seeds, int):
        looks = max((len(places) for places in run.folders.values()), default=1)
    arms, comparisons, verdict = judge(
        arms, outcomes, headline, tested, run.prepared.config.compare.margin, looks
    )
    report = Report(
        kind=run.kind,
        sections=TuningSections(_data(run, task), run.learning_curve),
        arms=tuple(arms),
        verdict=verdict,
        headline=headline,
        comparisons=comparisons,
        model=run.prepared.config.model.name,
        **circumstances(run.prepared.config, run.command, run.started),
    )
    run.folder.write_json(ENVIRONMENT, report.environment)
    for arm in arms:
        for place in run.folders.get(arm.name, []):
            card = model_card(report, arm)
            place.write(CARD, card)
            if place.file(MODEL).is_dir():
                place.write(f"{MODEL}/{CARD}", card)
    write_report(report, render_page(report), run.folder)
    return report


def _data(run: TuningRun, task: Task) -> DataSummary:
    summary = summarise(run.prepared.split, run.prepared.source, run.prepared.columns)
    if run.folder.file(DOUBTS).is_file():
        doubts = run.folder.read_as(DOUBTS, Finding)
        summary = replace(summary, findings=(*summary.findings, doubts))
    if answered := task.answered(run.folders):
        summary = replace(summary, counts=summary.counts | {"answered": answered})
    if not run.folder.file(SHOWN).is_file():
        return summary
    return replace(summary, shown=run.folder.read_as(SHOWN, tuple[tuple[Piece, ...], ...]))


def _check_reloads(run: TuningRun, runner: "Runner") -> list[ArmReport]:
    """Return the arms with their reload checks and the neighbours of their errors."""
    folders = {name: places[0] for name, places in run.folders.items()}
    if not folders:
        return list(run.arms)
    log.say("loading every saved model in a fresh process ...")
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "seen.json"
        places = [str(place.path) for place in folders.values()]
        trust = TRUST if run.prepared.config.model.trust_remote_code else ""
        code = runner.run(RELOAD_CHECK, str(result), str(run.folder.path), trust, *places)
        checks = json.loads(result.read_text(encoding="utf-8")) if code == 0 else {}
    if code:
        why = f"the fresh process ended with exit code {code}"
        log.warn(f"the saved models could not be checked: {why}")
        check = ReloadCheck(False, 0, float("nan"), why)
        return [replace(a, reload=check) if a.status == "ok" else a for a in run.arms]
    return [_with_reload_check(arm, folders.get(arm.name), checks, run) for arm in run.arms]


def _with_reload_check(
    arm: ArmReport, place: RunFolder | None, checks: dict[str, Any], run: TuningRun
) -> ArmReport:
    if place is None:
        return arm
    check = ReloadCheck(**checks["reload"][str(place.path)])
    if not check.identical:
        log.warn(
            f"{arm.name}: the saved model's predictions differ from the trained model's (largest "
            f"difference {check.max_difference:.2g}; {check.why})"
        )
    index = {e.row: str(i) for i, e in enumerate(run.prepared.split.test)}

    def near(row: int) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(**neighbour) for neighbour in checks["nearest"].get(index.get(row, ""), [])
        )

    return replace(
        arm,
        reload=check,
        errors=tuple(replace(error, nearest=near(error.row)) for error in arm.errors),
        worst=tuple(replace(answer, nearest=near(answer.row)) for answer in arm.worst),
    )


def judge(
    arms: Sequence[ArmReport], outcomes: Outcomes, headline: str, examples: int = 0,
    margin: float = MARGIN, looks: int = 1,
) -> tuple[list[ArmReport], tuple[Comparison, ...], Verdict]:  # fmt: skip
    """Return the arms with the intervals of their methods, all comparisons, and the verdict.

    Args:
        arms: Every arm, including failed ones.
        outcomes: The outcomes of those that succeeded.
        examples: The number of test examples; 0: the sum of the classes' counts.
        margin: The largest deficit of an arm that is still acceptable, as a share of the scale.
        looks: The number of interim looks at the results.
    """
    best = best_arm(arms, headline)
    if best is None or len(outcomes.values) < 2:
        return list(arms), (), verdict(arms, (), headline, Evidence(examples, margin=margin))
    luck = outcomes.luck(unit(headline, best.test[headline].value))
    values = dict(sorted(outcomes.values.items(), key=lambda item: item[0] != best.name))
    comparisons = compare(
        values, trained=outcomes.trained, luck=luck, groups=outcomes.groups, looks=looks
    )
    widened = [
        _of_method(arm, luck, headline) if luck and arm.name in outcomes.trained else arm
        for arm in arms
    ]
    effective = None
    if outcomes.groups is not None and best.name in values:
        own = values[best.name].mean(axis=0)
        effective = len(own) / design_effect(own, outcomes.groups)
    evidence = Evidence(examples, effective, luck, margin)
    return widened, comparisons, verdict(widened, comparisons, headline, evidence)


def undecided_arms(
    arms: Sequence[ArmReport], outcomes: Outcomes, headline: str, margin: float = MARGIN
) -> frozenset[str]:
    """Return the arms whose further trainings could change the recommendation; () if settled."""
    best = best_arm([arm for arm in arms if arm.name not in FLOORS], headline)
    if best is None:
        return frozenset()
    scale, values = unit(headline, best.test[headline].value), outcomes.values
    luck, trained = outcomes.luck(scale), outcomes.trained
    pairs = [
        difference((best.name, values[best.name]), (name, values[name]), trained, luck,
                   outcomes.groups)
        for name in values if name != best.name
    ]  # fmt: skip
    return undecided(arms, pairs, headline, margin * scale)


def _of_method(arm: ArmReport, luck: Luck, headline: str) -> ArmReport:
    score = arm.test.get(headline)
    if score is None:
        return arm
    wider = method_score(score, luck, max(1, len(arm.seeds)), headline)
    return replace(arm, test=arm.test | {headline: wider}, model_test=arm.model_test or arm.test)
