"""What the arms left -> comparisons, intervals of methods, and the verdict."""

from collections.abc import Sequence
from dataclasses import replace

from tailorbird.metrics.intervals import design_effect
from tailorbird.metrics.metric_facts import unit
from tailorbird.metrics.significance import Outcomes, compare, difference, method_score
from tailorbird.metrics.verdict import FLOORS, MARGIN, Evidence, best_arm, undecided, verdict
from tailorbird.records import ArmReport, Comparison, Luck, Verdict


def judge(
    arms: Sequence[ArmReport], outcomes: Outcomes, headline: str, examples: int = 0,
    margin: float = MARGIN, looks: int = 1,
) -> tuple[list[ArmReport], tuple[Comparison, ...], Verdict]:  # fmt: skip
    """Return the arms with the intervals of their methods, all comparisons, and the verdict.

    Args:
        arms: Every arm, also those that failed.
        outcomes: What those that succeeded left.
        headline: The metric of the verdict.
        examples: How many test examples there are; 0 to count those of the classes.
        margin: By how much an arm may be behind and still do, as a share of the scale.
        looks: How often it was looked whether to train again.
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


def in_question(
    arms: Sequence[ArmReport], outcomes: Outcomes, headline: str, margin: float = MARGIN
) -> frozenset[str]:
    """Return the arms whose further trainings may change what is recommended; () if settled.

    Args:
        arms: Those that succeeded.
        outcomes: What they left.
        headline: The metric of the verdict.
        margin: See `judge`.
    """
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
