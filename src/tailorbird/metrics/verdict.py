"""The rule that chooses the recommended arm; `verdict_sentences` explains it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isnan

from tailorbird.metrics import verdict_sentences
from tailorbird.metrics.cost import BLIND, NEAREST, SAME_COST, SAME_SIZE, rank_cost
from tailorbird.metrics.intervals import Z
from tailorbird.metrics.metric_facts import sign, unit
from tailorbird.metrics.verdict_sentences import ALPHA, Case, is_at_floor
from tailorbird.records import ArmReport, Comparison, Luck, Score, Verdict

MARGIN = 0.02
SURE = 0.8416212335729143
"""The normal's 80 % point: the confidence of non-inferiority."""
FLOORS = frozenset({*BLIND, NEAREST})
"""Baselines without a model, to be beaten rather than used."""
_VALIDATION_LOSSES = ("log_loss", "loss")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The basis of the comparisons, and their criterion.

    Attributes:
        examples: Number of test examples; 0: the sum of the classes' counts.
        effective: The effective number of independent ones, if rows have groups.
        luck: The variation of scores between trainings.
        margin: The largest acceptable deficit of an arm, as a share of the scale.
    """

    examples: int = 0
    effective: float | None = None
    luck: Luck | None = None
    margin: float = MARGIN


def verdict(
    arms: Sequence[ArmReport],
    comparisons: Sequence[Comparison],
    headline: str = "accuracy",
    evidence: Evidence = Evidence(),  # noqa: B008 - frozen
) -> Verdict:
    """Return the best arm, those as good, and the recommended one.

    - *Best* is the best test score of the headline metric, see `best_arm`.
    - *Tied* with it are the arms that are not inferior to it: with 80 % confidence they are behind
      by no more than the margin, ``d + 0.84 se(d) <= margin`` (2 points: 0.02 of a score that
      reaches 1; 2 % of the best score where the scale is unknown). That a test finds no difference
      is no evidence of equality, so it does not make a tie.
    - *Recommended* is the cheapest of the best and the tied, see `cheapest`. It is never
      ``majority`` or ``mean``, which learn nothing, or ``nearest``, which copies, unless
      everything else failed; and none where even the best lies at the floor of its score.

    Args:
        headline: The metric to decide on; for losses and their like lower is better.
    """
    scored = [arm for arm in arms if _is_scored(arm, headline)]
    best = best_arm(scored, headline)
    if best is None:
        return Verdict(None, None, (), verdict_sentences.nothing_to_use(arms))
    against = leads(comparisons, best.name, headline)
    margin = evidence.margin * unit(headline, best.test[headline].value)
    tied = [
        arm for arm in scored if arm.name in against and not_inferior(against[arm.name], margin)
    ]
    usable = [arm for arm in scored if arm.name not in FLOORS]
    if best.name in FLOORS:
        choice = best_arm(usable, headline) or best
    else:
        choice = cheapest([arm for arm in usable if arm is best or arm in tied], headline)
    second = best_arm([arm for arm in scored if arm is not best], headline)
    examples = evidence.examples or sum(c.support for c in best.per_class)
    case = Case(
        choice, best, second, tied, scored, against, comparisons, headline, examples,
        evidence.effective, evidence.luck, margin,
    )  # fmt: skip
    return Verdict(
        best=best.name,
        recommended=None if len(scored) > 1 and is_at_floor(case) else choice.name,
        tied_with=tuple(arm.name for arm in tied),
        reason=verdict_sentences.reason(case, arms),
        open=tuple(name for name, lead in against.items() if lead.p_holm >= ALPHA),
        margin=margin,
        luck=evidence.luck,
        effective=evidence.effective,
    )


def leads(comparisons: Sequence[Comparison], name: str, headline: str) -> dict[str, Comparison]:
    """Return an arm's lead over each other one, positive if it is better."""
    turned = [c if c.a == name else _swapped(c) for c in comparisons if name in (c.a, c.b)]
    way = sign(headline)
    return {c.b: c if way > 0 else replace(c, difference=_negative(c.difference)) for c in turned}


def not_inferior(lead: Comparison, margin: float) -> bool:
    """Return whether the other arm is behind by at most the margin, with 80 % confidence."""
    return lead.difference.value + SURE * error_of(lead) <= margin + 1e-9


def undecided(
    arms: Sequence[ArmReport], comparisons: Sequence[Comparison], headline: str, margin: float
) -> frozenset[str]:
    """Return the arms whose further trainings could change the recommendation; () if settled.

    An arm is undecided if it is not shown, with 80 % confidence, to be within the margin of the
    best or farther behind; if something cheaper than the best is recommended, it must also be a
    possible replacement. The best and the recommended arm are then included.
    """
    usable = [arm for arm in arms if arm.name not in FLOORS and _is_scored(arm, headline)]
    best = best_arm(usable, headline)
    if best is None:
        return frozenset()
    against = leads(comparisons, best.name, headline)
    near = [a for a in usable if a.name in against and not_inferior(against[a.name], margin)]
    choice = cheapest([best, *near], headline)
    dearest = inf if choice is best else SAME_COST * rank_cost(choice)[0]
    unclear = {
        arm.name
        for arm in usable
        if arm.name in against and arm is not choice and arm not in near
        and against[arm.name].difference.value - SURE * error_of(against[arm.name]) < margin
        and rank_cost(arm)[0] <= dearest
    }  # fmt: skip
    return frozenset(unclear | {best.name, choice.name} if unclear else ())


def error_of(comparison: Comparison) -> float:
    """Return the standard error of a difference; older reports store only its interval."""
    gap = comparison.difference
    return comparison.error or (gap.high - gap.low) / (2 * Z)


def best_arm(arms: Sequence[ArmReport], headline: str = "accuracy") -> ArmReport | None:
    """Return the arm with the best test score, or None if none was scored.

    Ties are broken by validation loss, then by cost, then by name.
    """
    scored = (arm for arm in arms if _is_scored(arm, headline))
    return min(scored, key=lambda arm: _order(arm, headline), default=None)


def cheapest(arms: Sequence[ArmReport], headline: str = "accuracy") -> ArmReport:
    """Return the arm with the lowest cost by `rank_cost`, of at least one.

    Times up to 1.5 times the least count as equal, since the clock is no more precise; then the
    smallest artifact counts, within 10 %; then `best_arm` decides.
    """
    left = list(arms)
    for part, same in enumerate((SAME_COST, SAME_SIZE)):
        least = min(rank_cost(arm)[part] for arm in left)
        left = [arm for arm in left if rank_cost(arm)[part] <= least * same]
    return min(left, key=lambda arm: _order(arm, headline))


def _is_scored(arm: ArmReport, headline: str) -> bool:
    score = arm.test.get(headline)
    return arm.status == "ok" and score is not None and not isnan(score.value)


def _swapped(c: Comparison) -> Comparison:
    return replace(c, a=c.b, b=c.a, difference=_negative(c.difference))


def _negative(gap: Score) -> Score:
    return Score(-gap.value, -gap.high, -gap.low)


def _order(arm: ArmReport, headline: str) -> tuple[float, float, tuple[float, float], str]:
    losses = [arm.validation[name].value for name in _VALIDATION_LOSSES if name in arm.validation]
    loss = losses[0] if losses else inf
    # Rounded, so that the last bits of a mean over seeds do not matter.
    return -sign(headline) * round(arm.test[headline].value, 9), loss, rank_cost(arm), arm.name
