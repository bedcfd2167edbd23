"""The report as one self-contained HTML page, usable without network and JavaScript."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tailorbird.metrics import display
from tailorbird.metrics.metric_facts import LOWER_IS_BETTER
from tailorbird.records import (
    ArmReport,
    ClassScore,
    Neighbour,
    Report,
    Score,
    SeedScore,
    WrongExample,
)
from tailorbird.report import captions, hyperparameter_plots as looks, report_facts as facts
from tailorbird.report.answer_samples import (
    ROWS_OPEN,
    WORST_OPEN,
    AnswerView,
    clip,
    leading,
    shown_examples,
    side_by_side,
    worst,
)
from tailorbird.report.arm_plots import (
    accuracy_curve,
    calibration_plot,
    loss_curve,
    residual_plots,
    residual_words,
)
from tailorbird.report.captions import chosen_overfitting
from tailorbird.report.confusion import HeatCell, Mistake, confused_pairs, heat_map
from tailorbird.report.cost_plot import cost_scatter
from tailorbird.report.learning_curve import curve_view
from tailorbird.report.local_paths import without_places
from tailorbird.report.page_template import WRITERS, fill, flatten, page_environment

if TYPE_CHECKING:
    from jinja2 import Environment

ERRORS_OF_CHOSEN = 60  # keeps a page of nine arms with long texts under 1.5 MB
ERRORS_OF_OTHERS = 25
ERRORS_OPEN = 8
CLASSES_OPEN = 15
TEXT_CHARACTERS = 800
NEIGHBOUR_CHARACTERS = 240


class CostPart(NamedTuple):
    """One kind of cost: its key, heading and format."""

    name: str
    heading: str
    write: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class ArmView:
    """One arm's section: its figures and captions."""

    id: str
    arm: ArmReport
    standing: str
    loss: str = ""
    accuracy: str = ""
    calibration: str = ""
    heat: list[tuple[str, list[HeatCell]]] = field(default_factory=list)
    pairs: list[Mistake] = field(default_factory=list)
    classes: list[ClassScore] = field(default_factory=list)
    errors: list[WrongExample] = field(default_factory=list)
    residuals: list[str] = field(default_factory=list)
    worst: list[AnswerView] = field(default_factory=list)
    says: dict[str, str] = field(default_factory=dict)
    scores: list[tuple[str, str, Score]] = field(default_factory=list)
    costs: list[tuple[str, str]] = field(default_factory=list)
    settings: list[tuple[str, str]] = field(default_factory=list)


def render_page(report: Report) -> str:
    """Return the report as one HTML document."""
    report = without_places(report, report)
    styles = () if facts.reads_labels(report) else ("generated.css",)
    return fill("page.html.j2", _environment(report), *styles, report=report, **_context(report))


def _context(report: Report) -> dict[str, Any]:
    name = facts.headline_metric(report)
    ranked = facts.by_score(report)
    scored = facts.finished(report)
    pick = facts.arm_named(report, report.verdict.recommended or report.verdict.best)
    return {
        "metric": name,
        "second": facts.second_metric(report),
        "ranked": ranked,
        "chosen": pick if pick and pick.test else None,
        "views": [_view(report, arm) for arm in facts.by_interest(report)],
        "ids": {arm.name: _id(report, arm) for arm in report.arms},
        "several": len(report.arms) > 1,
        "domain": facts.score_domain([arm.test[name] for arm in scored], narrow=True, metric=name),
        "against": facts.against_best(report),
        "gaps": _gap_domain(report),
        "rows": side_by_side(report),
        "leading": leading(report),
        "shown": shown_examples(report),
        "learning": curve_view(report.sections.learning_curve),
        "forgotten": [arm for arm in ranked if arm.forgetting],
        "scatter": [cost_scatter(report, wide=wide) for wide in (True, False)],
        "columns": [part for part in _costs(report) if not part.name.endswith("_per_second")],
        "parts": _parts(report),
    }


def _environment(report: Report) -> "Environment":
    environment = page_environment()
    environment.filters |= {name: _unbroken(write) for name, write in WRITERS.items()}
    environment.filters["metric_label"] = partial(facts.label, report)
    environment.filters["metric_words"] = partial(facts.words, report)
    environment.filters["clip"] = clip
    environment.tests["lower_better"] = LOWER_IS_BETTER.__contains__
    environment.tests["share"] = display.is_share
    environment.globals |= {
        "place": _place,
        "change": _unbroken(display.change),
        "mean": _mean,
        "make_seconds": facts.make_seconds,
        "several_trainings": any(facts.trainings(report, arm) for arm in report.arms),
        "trainings": lambda arm: facts.trainings(report, arm),
        "overfitting": chosen_overfitting(report),
        "headline": facts.headline(report),
        "reason": facts.reason_below(facts.headline(report), report.verdict.reason).replace(
            " %", "\u00a0%"
        ),
        "standing": lambda arm: facts.standing(report, arm),
        "says": captions,
        "looks": looks,
        "kind": facts.spec_of(report) if facts.reads_labels(report) else None,
        "spec": facts.spec_of(report),
        "share_loss": facts.spec_of(report).one_label,
        "noun": facts.noun(report),
        "reads_labels": facts.reads_labels(report),
        "answered": facts.answered(report),
        "only_read": facts.only_read(report),
        "limits": {
            "errors": ERRORS_OPEN,
            "classes": CLASSES_OPEN,
            "rows": ROWS_OPEN,
            "worst": WORST_OPEN,
        },
    }
    return environment


def _mean(seeds: Sequence[SeedScore], part: str, name: str) -> float | None:
    scores = [getattr(seed, part) for seed in seeds]
    values = [score[name] for score in scores if name in score]
    return sum(values) / len(values) if values else None


def _unbroken(write: Any) -> Any:
    """Keep a number and its unit on one line."""

    def unbroken(*args: Any) -> str:
        return str(write(*args)).replace(" ", "\u00a0")

    return unbroken


def _place(value: float, domain: tuple[float, float]) -> str:
    """Return a value's position in a range, in percent and clamped."""
    low, high = domain
    share = (value - low) / (high - low) if high > low else 0.5
    return f"{100 * min(1.0, max(0.0, share)):.1f}"


def _id(report: Report, arm: ArmReport) -> str:
    return f"arm-{[other.name for other in report.arms].index(arm.name)}"


def _view(report: Report, arm: ArmReport) -> ArmView:
    labels, spec = report.data.labels, facts.spec_of(report)
    curve_name, share = "Next-token accuracy, validation", True
    if spec.head:
        curve_name = f"Validation {display.metric_words(spec.headline)}"
        share = display.is_share(spec.headline)
    is_chosen = arm.name == report.verdict.recommended
    heat = heat_map(labels, arm.confusion)
    surest = sorted(arm.errors, key=lambda e: -e.confidence if spec.one_label else -e.loss)
    # A text that occurs repeatedly in the test is shown once.
    surest = list({(e.text, e.label, e.predicted): e for e in reversed(surest)}.values())[::-1]
    return ArmView(
        id=_id(report, arm),
        arm=arm,
        standing=facts.standing(report, arm),
        loss=loss_curve(arm.curve),
        accuracy=accuracy_curve(arm.curve, curve_name, share=share),
        calibration=calibration_plot(arm.calibration),
        heat=heat,
        pairs=[] if heat else confused_pairs(labels, arm.confusion),
        classes=sorted(arm.per_class, key=lambda score: score.f1.value),
        errors=[
            _clipped(error)
            for error in surest[: ERRORS_OF_CHOSEN if is_chosen else ERRORS_OF_OTHERS]
        ],
        residuals=residual_plots(arm.residuals),
        worst=worst(report, arm),
        says={name: words.replace(" %", "\u00a0%") for name, words in _says(report, arm).items()},
        scores=_scores(report, arm),
        costs=[
            (part.heading, part.write(value))
            for part in _costs(report)
            if (value := getattr(arm.cost, part.name)) is not None
        ],
        settings=flatten(arm.settings),
    )


def _says(report: Report, arm: ArmReport) -> dict[str, str]:
    return {
        "learning": captions.learning(arm, report.data.task),
        "calibration": captions.calibration(arm),
        "per_class": captions.per_class(arm),
        "confusion": captions.confusion(arm, report.data.labels),
        "residuals": residual_words(arm.residuals),
        "slices": captions.slices(arm),
        "slice_loss": captions.slice_loss(report),
    }


def _scores(report: Report, arm: ArmReport) -> list[tuple[str, str, Score]]:
    """Return ``(metric, heading, score)``: the test scores, then the validation headline."""
    scores = [(key, facts.label(report, key), score) for key, score in facts.test_scores(arm)]
    headline = facts.headline_metric(report)
    if headline in arm.model_test:
        words = f"{facts.label(report, headline)}, saved model"
        scores.insert(1, (headline, words, arm.model_test[headline]))
    names = [facts.headline_metric(report)] if facts.reads_labels(report) else list(arm.validation)
    for name in names:
        if name in arm.validation:
            heading = f"Validation {facts.words(report, name)}"
            scores.append((name, heading, arm.validation[name]))
    return scores


def _clipped(error: WrongExample) -> WrongExample:
    near = tuple(
        Neighbour(clip(n.text, NEIGHBOUR_CHARACTERS), n.label, n.similarity, n.row)
        for n in error.nearest
    )
    return replace(error, text=clip(error.text, TEXT_CHARACTERS), nearest=near)


def _gap_domain(report: Report) -> tuple[float, float]:
    """Return a range that includes zero, in which smaller differences are visible."""
    name, best = facts.headline_metric(report), facts.arm_named(report, report.verdict.best)
    low, high = facts.score_domain(
        [line.difference for line in facts.against_best(report)],
        narrow=True,
        metric=name,
        scale=best.test[name].value if best and name in best.test else None,
    )
    return min(low, -0.01), max(high, 0.01)


def _costs(report: Report) -> list[CostPart]:
    """Return the costs with a value in any arm, the most important first."""
    every = (
        CostPart("train_seconds", "Train", _unbroken(display.duration)),
        CostPart("search_seconds", "Search", _unbroken(display.duration)),
        CostPart(
            "predict_ms_per_example", f"Per {facts.noun(report)}", _unbroken(display.milliseconds)
        ),
        CostPart("peak_memory_bytes", "Memory", _unbroken(display.size)),
        CostPart("trainable_parameters", "Trained", _unbroken(display.count)),
        CostPart("artifact_bytes", "On disk", _unbroken(display.size)),
        CostPart("examples_per_second", "Examples", _unbroken(display.rate)),
        CostPart("tokens_per_second", "Tokens", _unbroken(display.rate)),
    )
    return [
        part for part in every if any(getattr(a.cost, part.name) is not None for a in report.arms)
    ]


def _parts(report: Report) -> list[str]:
    """Return the data parts in reading order."""
    usual = [part for part in ("train", "validation", "test") if part in report.data.counts]
    return usual + [part for part in report.data.counts if part not in usual]
