"""Which way to use: the rule. The sentences that tell a manager why are in `reasons`."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isnan

from tailorbird.metrics import reasons
from tailorbird.metrics.cost import BLIND, MAJORITY, NEAREST, PREDICTIONS, SAME_COST, rank_cost
from tailorbird.metrics.names import sign, unit
from tailorbird.metrics.reasons import ALPHA, Case
from tailorbird.records import ArmReport, Comparison, Score, Verdict

__all__ = ["FLOORS", "MAJORITY", "PREDICTIONS", "best_arm", "cheapest", "rank_cost", "verdict"]

MARGIN = 0.02
FLOORS = frozenset({*BLIND, NEAREST})
"""Arms that show what no model is needed for; they are there to be beaten, not to be used."""
_VALIDATION_LOSSES = ("log_loss", "loss")


def verdict(
    arms: Sequence[ArmReport],
    comparisons: Sequence[Comparison],
    headline: str = "accuracy",
    examples: int = 0,
) -> Verdict:
    """Say which arm is best, which are as good, and which of those to use.

    - *Best* is the best test score of the headline metric, see `best_arm`.
    - *Tied* with it are the arms that the paired test cannot tell from it (Holm-corrected
      p >= 0.05) and whose observed difference is at most 2 points (0.02 of a score that reaches 1;
      2 % of the best score where the scale is unknown). The second condition is there because a
      small test set finds no difference anywhere: that is no evidence of equality.
    - *Recommended* is the cheapest of the best and the tied, see `cheapest`. It is never
      ``majority`` or ``mean``, which learn nothing, or ``nearest``, which writes nothing, unless
      everything else failed.

    Args:
        arms: Every arm, also those that failed.
        comparisons: The best arm (``a``) against each other one, from ``stats.compare_with``.
        headline: The metric to decide on; losses and their kin are better when lower.
        examples: How many test examples were scored; 0 to count those of the classes.
    """
    scored = [arm for arm in arms if _is_scored(arm, headline)]
    best = best_arm(scored, headline)
    if best is None:
        return Verdict(None, None, (), reasons.nothing_to_use(arms))
    against = {c.b: _lead(c, headline) for c in comparisons if c.a == best.name}
    most = MARGIN * unit(headline, best.test[headline].value)
    tied = [arm for arm in scored if arm.name in against and _is_tie(against[arm.name], most)]
    usable = [arm for arm in scored if arm.name not in FLOORS]
    if best.name in FLOORS:
        chosen = best_arm(usable, headline) or best
    else:
        chosen = cheapest([arm for arm in usable if arm is best or arm in tied], headline)
    second = best_arm([arm for arm in scored if arm is not best], headline)
    case = Case(chosen, best, second, tied, scored, against, headline, examples)
    return Verdict(best.name, chosen.name, tuple(a.name for a in tied), reasons.reason(case, arms))


def best_arm(arms: Sequence[ArmReport], headline: str = "accuracy") -> ArmReport | None:
    """Return the arm with the best test score, or None if none was scored.

    Equal ones are told apart by validation loss, then by cost, then by name.
    """
    scored = (arm for arm in arms if _is_scored(arm, headline))
    return min(scored, key=lambda arm: _order(arm, headline), default=None)


def cheapest(arms: Sequence[ArmReport], headline: str = "accuracy") -> ArmReport:
    """Return the arm that costs least by `rank_cost`, of at least one.

    Time within 10 % of the least counts as equal, because the clock is not steadier than that;
    then the smallest artifact counts, likewise within 10 %; then `best_arm` decides.
    """
    left = list(arms)
    for part in range(2):
        least = min(rank_cost(arm)[part] for arm in left)
        left = [arm for arm in left if rank_cost(arm)[part] <= least * SAME_COST]
    return min(left, key=lambda arm: _order(arm, headline))


def _is_scored(arm: ArmReport, headline: str) -> bool:
    score = arm.test.get(headline)
    return arm.status == "ok" and score is not None and not isnan(score.value)


def _lead(comparison: Comparison, headline: str) -> Comparison:
    """Turn a difference so that it is how far the best arm is ahead, whichever way is better."""
    gap = comparison.difference
    if sign(headline) > 0:
        return comparison
    return replace(comparison, difference=Score(-gap.value, -gap.high, -gap.low))


def _is_tie(lead: Comparison, most: float) -> bool:
    return lead.p_holm >= ALPHA and lead.difference.value <= most + 1e-9


def _order(arm: ArmReport, headline: str) -> tuple[float, float, tuple[float, float], str]:
    known = [arm.validation[name].value for name in _VALIDATION_LOSSES if name in arm.validation]
    loss = known[0] if known else inf
    # Rounded, so that the last bits of a mean over seeds do not decide.
    return -sign(headline) * round(arm.test[headline].value, 9), loss, rank_cost(arm), arm.name
