"""What each figure says, in plain words: computed from the same numbers the figure shows."""

import math

from tailorbird.metrics.verdict import PREDICTIONS
from tailorbird.records import ArmReport, ReloadCheck, Report
from tailorbird.report import numbers
from tailorbird.report.arms import (
    Against,
    arm_named,
    finished,
    headline_metric,
    score_domain,
    total_seconds,
)
from tailorbird.report.confusion import confused_pairs


def scatter(report: Report) -> str:
    """Say how to read quality against cost, and what fell off the axis."""
    name = headline_metric(report)
    words = ["Higher is better, further left is cheaper; the line joins the arms that no other "
             "beats on both."]  # fmt: skip
    best = arm_named(report, report.verdict.best)
    if best is not None:
        words.append(f"The shaded band is the 95 % interval of the best score ({best.name}).")
    words.append(
        f"Time is search, training and answering {PREDICTIONS:,} texts together, on this machine."
    )
    drawn = [arm for arm in finished(report) if total_seconds(arm) is not None]
    low, _ = score_domain([arm.test[name] for arm in drawn], narrow=True)
    below = [arm.name for arm in drawn if arm.test[name].value < low]
    if below:
        words.append(f"Far below the axis: {', '.join(below)}.")
    return " ".join(words)


def learning(arm: ArmReport) -> str:
    """Say whether training stopped too early, too late, or about right."""
    points = [p for p in arm.curve if math.isfinite(p.validation_loss)]
    if len(points) < 2:
        return ""
    low = min(points, key=lambda p: p.validation_loss)
    last, before = points[-1], points[-2]
    rise = last.validation_loss / low.validation_loss - 1 if low.validation_loss > 0 else 0.0
    if rise > 0.02:
        return (
            f"Validation loss was lowest at step {low.step:,} and then rose by "
            f"{numbers.percent(rise, 0)}: the later steps fitted the training texts only."
        )
    if last is low and last.validation_loss < 0.98 * before.validation_loss:
        return "Validation loss was still falling at the last step: more epochs may help."
    return f"Validation loss levelled off by step {low.step:,}: longer training would gain little."


def calibration(arm: ArmReport) -> str:
    """Say whether the arm's confidence can be taken at its word."""
    filled = [part for part in arm.calibration if part.count and math.isfinite(part.accuracy)]
    total = sum(part.count for part in filled)
    if not total:
        return ""
    lean = sum(part.count * (part.confidence - part.accuracy) for part in filled) / total
    off = sum(part.count * abs(part.confidence - part.accuracy) for part in filled) / total
    average = f"On average confidence and truth are {100 * off:.1f} points apart."
    if abs(lean) < 0.02:
        return f"Neither too sure nor too doubtful overall. {average}"
    side = "surer than it is right" if lean > 0 else "right more often than it claims"
    return f"It is {side}. {average}"


def per_class(arm: ArmReport) -> str:
    """Name the weakest and the strongest classes."""
    ranked = sorted(arm.per_class, key=lambda score: score.f1.value)
    if len(ranked) < 2:
        return ""
    weak, strong = ranked[0], ranked[-1]
    return (
        f"Weakest: {weak.label} (F1 {numbers.decimal(weak.f1.value)}); "
        f"strongest: {strong.label} ({numbers.decimal(strong.f1.value)}). "
        "The bar is the 95 % interval; few test texts make it wide."
    )


def confusion(arm: ArmReport, labels: tuple[str, ...]) -> str:
    """Name the most frequent mistake."""
    pairs = confused_pairs(labels, arm.confusion, most=1)
    if not pairs:
        return "Every test text stands on the diagonal: no mistakes." if arm.confusion else ""
    top = pairs[0]
    return (
        f"Most often {top.label} is taken for {top.predicted}: "
        f"{top.count} of {numbers.plural(top.support, 'time')}."
    )


def reload(check: ReloadCheck) -> str:
    """Say whether the saved files predict what the trained model did."""
    where = numbers.plural(check.examples, "example")
    gap = numbers.exact(check.max_difference)
    if check.identical:
        return f"Reloaded in a fresh process: identical on {where}, max difference {gap}."
    why = f" {check.why}" if check.why else ""
    return f"Reloaded in a fresh process: NOT identical on {where}, max difference {gap}.{why}"


def significance(report: Report, line: Against) -> str:
    """Say in words what a comparison with the best arm shows."""
    metric = headline_metric(report)
    if line.name in report.verdict.tied_with:
        return "as good, as far as can be told"
    if not line.differs:
        return "behind, but maybe by chance"
    gap = abs(line.difference.value)
    return f"worse by {numbers.difference(metric, gap).lstrip('+')}{_unit(metric)}"


def _unit(metric: str) -> str:
    return " points" if numbers.is_share(metric) else ""
