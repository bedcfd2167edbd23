"""Shared queries on a report for table, page and card: order, headline, costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tailorbird.metrics import display
from tailorbird.metrics.cost import rank_cost
from tailorbird.metrics.metric_facts import is_at_most_one, metric_label, metric_words, sign
from tailorbird.metrics.verdict import FLOORS
from tailorbird.records import TASKS, ArmReport, Comparison, Report, Score, TaskSpec


@dataclass(frozen=True, slots=True)
class Against:
    """An arm compared with the best one; the difference is the arm's score minus the best's."""

    name: str
    difference: Score
    p_holm: float
    test: str

    @property
    def differs(self) -> bool:
        """Whether the two differ significantly (Holm-corrected, at 5 %)."""
        return self.p_holm < 0.05


def headline_metric(report: Report) -> str:
    """Return the metric of the verdict."""
    tested = [arm.test for arm in report.arms if arm.test]
    if not tested or any(report.headline in scores for scores in tested):
        return report.headline
    return next(iter(tested[0]))


def second_metric(report: Report) -> str | None:
    """Return the metric beside the headline: the task's own, or perplexity, or a loss.

    A loss and its perplexity are equivalent, so neither accompanies the other.
    """
    headline = headline_metric(report)
    same = {"loss", "perplexity"} if headline in ("loss", "perplexity") else {headline}
    names = [name for arm in report.arms for name in arm.test if name not in same]
    own = [spec_of(report).second] if spec_of(report).head else []
    usual = next((name for name in (*own, "macro_f1", "perplexity", "loss") if name in names), None)
    return usual or next(iter(names), None)


def finished(report: Report) -> list[ArmReport]:
    """Return the arms with a headline score, best first."""
    name = headline_metric(report)
    scored = [
        arm
        for arm in report.arms
        if arm.status == "ok" and name in arm.test and not math.isnan(arm.test[name].value)
    ]
    return sorted(scored, key=lambda arm: -sign(name) * arm.test[name].value)


def by_score(report: Report) -> list[ArmReport]:
    """Return every arm: the scored ones best first, then the failed, then the skipped."""
    first = finished(report)
    names = {arm.name for arm in first}
    rest = [arm for arm in report.arms if arm.name not in names]
    return first + sorted(rest, key=lambda arm: ("ok", "failed", "skipped").index(arm.status))


def reads_labels(report: Report) -> bool:
    """Return whether the arms predict labels or numbers instead of generating text."""
    return spec_of(report).head


def spec_of(report: Report) -> TaskSpec:
    """Return the facts of the task."""
    return TASKS[report.data.task]


def noun(report: Report) -> str:
    """Return the word for a test example: a text, a pair of texts, or a prompt."""
    if "pair" in report.data.columns and reads_labels(report):
        return "pair"
    return "prompt" if spec_of(report).prompts else "text"


def answered(report: Report) -> int:
    """Return the number of scored test examples; of many prompts only some are answered."""
    counts = report.data.counts
    return counts.get("answered", counts.get("test", 0))


def only_read(report: Report) -> int:
    """Return the number of test prompts with losses, if more than were answered."""
    has_loss = any({"loss", "perplexity"} & arm.test.keys() for arm in report.arms)
    tests = report.data.counts.get("test", 0)
    return tests if has_loss and tests > answered(report) else 0


def label(report: Report, name: str) -> str:
    """Return a metric's name for a heading; a generative model's accuracy is of the next token."""
    if name == "accuracy" and not reads_labels(report):
        return "Next-token accuracy"
    return metric_label(name)


def words(report: Report, name: str) -> str:
    """Return a metric's name for the middle of a sentence."""
    heading = label(report, name)
    return heading.lower() if heading != metric_label(name) else metric_words(name)


def by_interest(report: Report) -> list[ArmReport]:
    """Return every arm in reading order: the recommended one first, then by score."""
    arms = by_score(report)
    return sorted(arms, key=lambda arm: arm.name != report.verdict.recommended)


def arm_named(report: Report, name: str | None) -> ArmReport | None:
    """Return the arm with this name, if there is one."""
    return next((arm for arm in report.arms if arm.name == name), None)


def test_scores(arm: ArmReport) -> list[tuple[str, Score]]:
    """Return the test scores, without micro-F1 if it equals accuracy (single-label)."""
    return _without_repeats(arm.test)


def model_scores(arm: ArmReport) -> list[tuple[str, Score]]:
    """Return the saved model's test scores, if `test_scores` are those of its method."""
    return _without_repeats(arm.model_test or arm.test)


def _without_repeats(scores: Mapping[str, Score]) -> list[tuple[str, Score]]:
    same = "micro_f1" in scores and "accuracy" in scores
    repeated = same and scores["micro_f1"].value == scores["accuracy"].value
    return [(name, s) for name, s in scores.items() if not (repeated and name == "micro_f1")]


def trainings(report: Report, arm: ArmReport) -> list[tuple[int, float]]:
    """Return seed and headline score of each training of an arm; [] for a single one."""
    name = headline_metric(report)
    scores = [(seed.seed, seed.test[name]) for seed in arm.seeds if name in seed.test]
    return [(seed, s) for seed, s in scores if math.isfinite(s)] if len(scores) > 1 else []


def make_seconds(arm: ArmReport) -> float | None:
    """Return the time of search and training together; None without training."""
    parts = [arm.cost.search_seconds, arm.cost.train_seconds]
    seconds = [part for part in parts if part is not None]
    return sum(seconds) if seconds else None


def total_seconds(arm: ArmReport) -> float | None:
    """Return the time to train an arm and run it for a while, as the verdict weighs it."""
    seconds, _ = rank_cost(arm)
    return seconds if math.isfinite(seconds) else None


def headline(report: Report) -> str:
    """Return the verdict in a few words, no more certain than its reason."""
    verdict, scored = report.verdict, finished(report)
    if not scored:
        return "No arm finished" if len(report.arms) > 1 else "The run did not finish"
    if len(report.arms) == 1:
        return report.arms[0].name
    if len(scored) == 1:
        return f"Only {scored[0].name} finished"
    if verdict.recommended is None or verdict.best in FLOORS:
        return "No clear choice"
    return f"Use {verdict.recommended}"


def reason_below(heading: str, words: str) -> str:
    """Return the verdict's reason without the words of the heading above it."""
    rest = words.removeprefix(f"{heading}: ")
    return rest if rest == words else display.capital(rest)


def against_best(report: Report) -> list[Against]:
    """Return every comparison with the best arm, nearest first."""
    best = report.verdict.best
    lines = [_oriented(pair, best) for pair in report.comparisons if best in (pair.a, pair.b)]
    return sorted(lines, key=lambda line: abs(line.difference.value))


def _oriented(pair: Comparison, best: str | None) -> Against:
    gap = pair.difference
    if pair.b == best:
        return Against(pair.a, gap, pair.p_holm, pair.test)
    turned = Score(-gap.value, -gap.high, -gap.low)
    return Against(pair.b, turned, pair.p_holm, pair.test)


def standing(report: Report, arm: ArmReport) -> str:
    """Return an arm's standing in a word or two."""
    verdict = report.verdict
    if arm.status != "ok":
        return arm.status
    if len(report.arms) == 1:
        return ""
    if arm.name == verdict.recommended:
        if verdict.best in FLOORS and arm.name != verdict.best:
            return "closest model"  # an arm without learning is as good
        return "recommended, best" if arm.name == verdict.best else "recommended"
    if arm.name == verdict.best:
        return "best"
    if arm.name in verdict.tied_with:
        return "as good"
    return "could equal best" if arm.name in verdict.open else ""


def score_domain(
    scores: list[Score], *, narrow: bool, metric: str = "accuracy", scale: float | None = None
) -> tuple[float, float]:
    """Return the range an axis of scores should span.

    Args:
        narrow: Whether scores far from the best (such as a majority vote) may fall off the axis,
            so that relevant differences stay visible.
        metric: The metric, which defines what is better and what is far.
        scale: The distance that is far, for a metric without a scale; default: the best score.
    """
    # A diverged run has an infinite perplexity, which no axis can show.
    finite = [s for s in scores if all(map(math.isfinite, (s.low, s.value, s.high)))]
    visible = finite
    if narrow and finite:
        way = sign(metric)
        top = max(way * score.value for score in finite)
        # For metrics with maximum 1 a quarter is far; for a loss or a perplexity, twice the best.
        reach = 0.25 if is_at_most_one(metric) else abs(top if scale is None else scale)
        near = [score for score in finite if way * score.value > top - reach]
        visible = near if len(near) >= 3 else finite
    low = min((score.low for score in visible), default=0.0)
    high = max((score.high for score in visible), default=1.0)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin
