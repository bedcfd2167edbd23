"""The caption of each figure in plain words, computed from the same numbers."""

import math

from tailorbird.metrics import display
from tailorbird.metrics.cost import PREDICTIONS
from tailorbird.metrics.metric_facts import sign
from tailorbird.records import ArmReport, CurvePoint, Forgetting, ReloadCheck, Report, has_head
from tailorbird.report.confusion import confused_pairs
from tailorbird.report.report_facts import (
    Against,
    arm_named,
    finished,
    headline_metric,
    noun,
    score_domain,
    spec_of,
    total_seconds,
    trainings,
    words,
)

MUCH = 0.5  # perplexity up by half


def scatter(report: Report) -> str:
    """Explain quality against cost, and name what fell off the axis."""
    name = headline_metric(report)
    up = "Higher is better" if sign(name) > 0 else "Up is better (lower numbers)"
    sentences = [
        f"{up}, further left is cheaper; the line joins the arms that no other beats on both."
    ]
    best = arm_named(report, report.verdict.best)
    if best is not None:
        sentences.append(f"The shaded band is the 95 % interval of the best score ({best.name}).")
    if any(trainings(report, arm) for arm in report.arms):
        sentences.append("A small ring is one training of an arm that was trained more than once.")
    sentences.append(
        f"Time is search, training and answering {PREDICTIONS:,} {noun(report)}s together, "
        "on this machine."
    )
    timed = [arm for arm in finished(report) if total_seconds(arm) is not None]
    domain = score_domain([arm.test[name] for arm in timed], narrow=True, metric=name)
    worst = domain[0] if sign(name) > 0 else domain[1]
    below = [arm.name for arm in timed if sign(name) * (arm.test[name].value - worst) < 0]
    if below:
        sentences.append(f"Far below the axis: {', '.join(below)}.")
    return " ".join(sentences)


def machine(report: Report) -> str:
    """Return the precision and the device of the trainings."""
    settings = [arm.settings for arm in report.arms if arm.settings.get("precision")]
    formats = sorted({str(each["precision"]) for each in settings})
    if not formats:
        return ""
    devices = {str(each.get("device", "cpu")) for each in settings}
    processor = report.environment.get("machine", {}).get("processor", "")
    where = f"on {processor}" if devices == {"cpu"} and processor else f"on {', '.join(devices)}"
    return f"Trained in {' and '.join(formats)} {where}."


def learning(arm: ArmReport, task: str = "classification") -> str:
    """Return whether training stopped too early, too late, or about right."""
    if words := overfitting(arm, task):
        return words
    points = [p for p in arm.curve if math.isfinite(p.validation_loss)]
    if len(points) < 2:
        return ""
    low = min(points, key=lambda p: p.validation_loss)
    last, before = points[-1], points[-2]
    rise = last.validation_loss / low.validation_loss - 1 if low.validation_loss > 0 else 0.0
    if rise > 0.02:
        return (
            f"Validation loss was lowest at step {low.step:,} and then rose by "
            f"{display.percent(rise, 0)}: the later steps fitted the training texts only."
        )
    if last is low and last.validation_loss < 0.98 * before.validation_loss:
        return "Validation loss was still falling at the last step: more epochs may help."
    return f"Validation loss levelled off by step {low.step:,}: longer training would gain little."


def calibration(arm: ArmReport) -> str:
    """Return whether the arm's confidence is reliable."""
    filled = [part for part in arm.calibration if part.count and math.isfinite(part.accuracy)]
    total = sum(part.count for part in filled)
    if not total:
        return ""
    lean = sum(part.count * (part.confidence - part.accuracy) for part in filled) / total
    off = sum(part.count * abs(part.confidence - part.accuracy) for part in filled) / total
    average = f"On average confidence and accuracy differ by {100 * off:.1f} points."
    if abs(lean) < 0.02:
        return f"Neither overconfident nor underconfident overall. {average}"
    side = "overconfident" if lean > 0 else "underconfident"
    return f"It is {side}. {average}"


def per_class(arm: ArmReport) -> str:
    """Name the weakest and the strongest classes."""
    ranked = sorted(arm.per_class, key=lambda score: score.f1.value)
    if len(ranked) < 2:
        return ""
    weak, strong = ranked[0], ranked[-1]
    return (
        f"Weakest: {weak.label} (F1 {display.decimal(weak.f1.value)}); "
        f"strongest: {strong.label} ({display.decimal(strong.f1.value)}). "
        "The bar is the 95 % interval; few examples make it wide."
    )


def slice_loss(report: Report) -> str:
    """Name the metric by which slices are compared."""
    spec = spec_of(report)
    if spec.numbers:
        return "Distance in standard deviations"
    return "Wrong" if spec.one_label else "Loss in nats"


def slices(arm: ArmReport) -> str:
    """Name the slices of the test that are significantly worse than the rest."""
    bad = [part.name for part in arm.slices if part.worse]
    if not bad:
        return "No slice of the test set is significantly worse than the rest."
    return f"Significantly worse than the rest (one-sided, Holm-corrected): {'; '.join(bad)}."


def confusion(arm: ArmReport, labels: tuple[str, ...]) -> str:
    """Name the most frequent mistake."""
    pairs = confused_pairs(labels, arm.confusion, most=1)
    if not pairs:
        return "All test texts are on the diagonal: no errors." if arm.confusion else ""
    top = pairs[0]
    return (
        f"Most frequent error: {top.label} predicted as {top.predicted}, {top.count} of "
        f"{display.plural(top.support, 'time')}."
    )


def unlearnt(report: Report) -> str:
    """Return the score of ignoring the text, for a run without comparison."""
    if len(report.arms) != 1 or not report.arms[0].test:
        return ""
    if headline_metric(report) == "r2":
        return "Always giving the mean of the test numbers would reach an R² of 0."
    counts = report.data.class_counts
    tests = sum(count.get("test", 0) for count in counts.values())
    if headline_metric(report) != "accuracy" or not spec_of(report).one_label or not tests:
        return ""
    most = max(counts, key=lambda name: counts[name].get("train", 0))
    share = display.percent(counts[most].get("test", 0) / tests)
    return f"Always answering {most}, the most frequent label, would be {share} right."


def reload(check: ReloadCheck) -> str:
    """Return whether the saved files reproduce the trained model's predictions."""
    where = display.plural(check.examples, "example")
    gap = display.exact(check.max_difference)
    if check.identical:
        return f"Reloaded in a fresh process: identical on {where}, max difference {gap}."
    why = f" {check.why}" if check.why else ""
    return f"Reloaded in a fresh process: NOT identical on {where}, max difference {gap}.{why}"


def significance(report: Report, line: Against) -> str:
    """Describe the result of a comparison with the best arm."""
    metric = headline_metric(report)
    if line.name in report.verdict.tied_with:
        return "as good, within the margin"
    if not line.differs:
        return "no significant difference"
    gap = abs(line.difference.value)
    return f"worse by {display.difference(metric, gap).lstrip('+')}{_unit(metric)}"


_FORGOTTEN = {
    "nothing": "No relevant change: nothing was forgotten there.",
    "a little": "A little was forgotten; this is hardly noticeable in use.",
    "some": "Some of what the base model could do was forgotten: check other uses of the model "
    "before relying on it for them.",
    "much": "Much of what the base model could do was forgotten: use it for these prompts only, "
    "or train with a lower learning rate or fewer epochs.",
    "all": "The loss is not a number: the model can no longer process this text at all.",
}


def how_much_forgotten(loss: Forgetting) -> str:
    """Grade the forgetting by the perplexity on an unrelated text."""
    change = perplexity_change(loss)
    if not math.isfinite(change):
        return "all"
    steps = ((0.02, "nothing"), (0.10, "a little"), (MUCH, "some"))
    return next((words for most, words in steps if change < most), "much")


def forgetting(loss: Forgetting) -> str:
    """Return whether training made the model worse on an unrelated text."""
    if perplexity_change(loss) < -0.02:
        return "It predicts this text even better than before: nothing was forgotten there."
    return _FORGOTTEN[how_much_forgotten(loss)]


def caution(report: Report) -> str:
    """Return a warning if the recommended arm forgot much, which the verdict ignores."""
    arm = arm_named(report, report.verdict.recommended)
    if arm is None or arm.forgetting is None:
        return ""
    loss = arm.forgetting
    if how_much_forgotten(loss) not in ("much", "all"):
        return ""
    before, after = perplexity(loss.before), perplexity(loss.after)
    return (
        f"{arm.name} forgot much of what the base model could do: its perplexity on "
        f"{loss.source} went from {before} to {after} ({forgotten_change(loss)}). Use it for "
        "prompts like these only."
    )


def perplexity(loss: float) -> str:
    """Write the perplexity of a mean loss in nats per token."""
    try:
        return display.decimal(math.exp(loss))
    except OverflowError:
        return display.decimal(math.inf)


def forgotten_change(loss: Forgetting) -> str:
    """Write the relative change of the perplexity, by which it is graded."""
    return display.change(1, 1 + perplexity_change(loss))


def perplexity_change(loss: Forgetting) -> float:
    """Return the relative increase of the perplexity; 0.1: one more choice in ten per token."""
    try:
        return math.exp(loss.after - loss.before) - 1
    except OverflowError:
        return math.inf


def seeds(report: Report, arm: ArmReport) -> str:
    """Describe how much chance is in a score."""
    name = headline_metric(report)
    values = [seed.test[name] for seed in arm.seeds if name in seed.test]
    if len(values) < 2:
        return ""
    spread = display.difference(name, max(values) - min(values)).replace("+", "")
    test = f"test {words(report, name)}"
    return f"With only the seed changed, {test} varied by {spread}{_unit(name)}."


def _unit(metric: str) -> str:
    return " points" if display.is_share(metric) else ""


RISE = 0.02
"""Validation losses fluctuate by about a hundredth."""


def overfitting(arm: ArmReport, task: str) -> str:
    """Describe overfitting: that validation got worse, when it was best, and what was done.

    Args:
        task: The task: generation is judged by its loss, others first by their accuracy, as in the
            loop's choice of the weights.

    Returns:
        One sentence; empty if validation did not get worse, or training did not get better.
    """
    points = [p for p in arm.curve if math.isfinite(p.validation_loss)]
    if len(points) < 2:
        return ""
    low, last = min(points, key=lambda p: p.validation_loss), points[-1]
    if low.validation_loss <= 0 or last.train_loss >= low.train_loss:
        return ""
    rise = last.validation_loss / low.validation_loss - 1
    if rise <= RISE:
        return ""
    return (
        f"Overfitting: after epoch {_epoch(low)} the validation loss rose by "
        f"{display.percent(rise, 0)} while the training loss fell from "
        f"{display.decimal(low.train_loss)} to {display.decimal(last.train_loss)}; "
        f"{_remedy(arm, points, task)}."
    )


def chosen_overfitting(report: Report) -> str:
    """Return the same for the recommended, or only, arm."""
    name = report.verdict.recommended or report.verdict.best
    arm = next((arm for arm in report.arms if arm.name == name), None)
    return overfitting(arm, report.data.task) if arm is not None else ""


def _remedy(arm: ArmReport, points: list[CurvePoint], task: str) -> str:
    if not has_head(task):
        best = max(points, key=lambda p: (-p.validation_loss, p.validation_accuracy))
    else:
        best = max(points, key=lambda p: (p.validation_accuracy, -p.validation_loss))
    words = f"the weights of epoch {_epoch(best)}, the best on validation, were kept"
    epochs = arm.settings.get("train", {}).get("epochs")
    if epochs is None or points[-1].epoch > epochs - 0.01:
        return words
    return f"training was stopped early, at epoch {_epoch(points[-1])} of {epochs:g}, and {words}"


def _epoch(point: CurvePoint) -> str:
    return f"{point.epoch:.2f}".rstrip("0").rstrip(".")
