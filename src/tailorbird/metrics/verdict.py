"""Which way to use, and the sentences that tell a manager why."""

from collections.abc import Sequence
from math import inf, isfinite
from typing import NamedTuple

from tailorbird.records import ArmReport, Comparison, Score, Verdict

ALPHA = 0.05
MARGIN = 0.02
PREDICTIONS = 10_000
SAME_COST = 1.1
MAJORITY = "majority"


def verdict(arms: Sequence[ArmReport], comparisons: Sequence[Comparison]) -> Verdict:
    """Say which arm is best, which are as good, and which of those to use.

    - *Best* is the highest test accuracy, see `best_arm`.
    - *Tied* with it are the arms that the paired test cannot tell from it (Holm-corrected
      p >= 0.05) and whose observed difference is at most 2 points. The second condition is there
      because a small test set finds no difference anywhere: that is no evidence of equality.
    - *Recommended* is the cheapest of the best and the tied, see `cheapest`. It is never
      ``majority``, which learns nothing, unless everything else failed.

    Args:
        arms: Every arm, also those that failed.
        comparisons: The best arm (``a``) against each other one, from ``stats.compare_with``.
    """
    scored = [arm for arm in arms if _is_scored(arm)]
    best = best_arm(scored)
    if best is None:
        return Verdict(None, None, (), _nothing_to_use(arms))
    against = {c.b: c for c in comparisons if c.a == best.name}
    tied = [arm for arm in scored if arm.name in against and _is_tie(against[arm.name])]
    learned = [arm for arm in scored if arm.name != MAJORITY]
    if best.name == MAJORITY:
        chosen = best_arm(learned) or best
    else:
        chosen = cheapest([arm for arm in learned if arm is best or arm in tied])
    case = _Case(chosen, best, tied, scored, against)
    reason = " ".join(filter(None, [_why(case), _majority_doubt(case), _failures(arms)]))
    return Verdict(best.name, chosen.name, tuple(arm.name for arm in tied), reason)


def best_arm(arms: Sequence[ArmReport]) -> ArmReport | None:
    """Return the arm with the highest test accuracy, or None if none was scored.

    Equal ones are told apart by validation log-loss, then by cost, then by name.
    """
    return min((arm for arm in arms if _is_scored(arm)), key=_order, default=None)


def cheapest(arms: Sequence[ArmReport]) -> ArmReport:
    """Return the arm that costs least by `rank_cost`, of at least one.

    Time within 10 % of the least counts as equal, because the clock is not steadier than that;
    then the smallest artifact counts, likewise within 10 %; then `best_arm` decides.
    """
    left = list(arms)
    for part in range(2):
        least = min(rank_cost(arm)[part] for arm in left)
        left = [arm for arm in left if rank_cost(arm)[part] <= least * SAME_COST]
    return min(left, key=_order)


def rank_cost(arm: ArmReport) -> tuple[float, float]:
    """Return what an arm costs to make and run, in seconds, and to keep, in bytes.

    Seconds are those of training and search plus 10,000 predictions on this machine: some weeks
    of use of a small service, so that neither a long training nor a slow answer goes unnoticed.
    What did not happen (training a baseline) costs nothing; what was not measured, infinity.
    """
    cost = arm.cost
    make = (cost.train_seconds or 0.0) + (cost.search_seconds or 0.0)
    each = cost.predict_ms_per_example
    run = inf if each is None else each / 1000 * PREDICTIONS
    return make + run, inf if cost.artifact_bytes is None else float(cost.artifact_bytes)


def _is_scored(arm: ArmReport) -> bool:
    return arm.status == "ok" and "accuracy" in arm.test


def _is_tie(comparison: Comparison) -> bool:
    return comparison.p_holm >= ALPHA and comparison.difference.value <= MARGIN + 1e-9


def _order(arm: ArmReport) -> tuple[float, float, tuple[float, float], str]:
    unknown = Score(inf, inf, inf)
    loss = arm.validation.get("log_loss", unknown).value
    # Rounded, so that the last bits of a mean over seeds do not decide.
    return -round(arm.test["accuracy"].value, 9), loss, rank_cost(arm), arm.name


class _Case(NamedTuple):
    chosen: ArmReport
    best: ArmReport
    tied: list[ArmReport]
    scored: list[ArmReport]
    against: dict[str, Comparison]


def _why(case: _Case) -> str:
    chosen, best = case.chosen, case.best
    if len(case.scored) == 1:
        return _only_one(chosen)
    if best.name == MAJORITY:
        return (
            f"No way beats always giving the most frequent label ({_percent(best)}): the nearest, "
            f"{chosen.name}, is {_right(chosen)}. Look at the labels or get more data before "
            "using it."
        )
    if chosen is not best:
        return (
            f"Use {chosen.name}: {_right(chosen)}, not measurably different from the best "
            f"({best.name}, {_percent(best)}){_saving(chosen, best)}. {_limit(case, [chosen])}"
        )
    equals = [arm for arm in case.tied if arm.name != MAJORITY]
    if equals:
        dearer = all(rank_cost(arm)[0] > rank_cost(best)[0] for arm in equals)
        names = _listed([f"{arm.name} ({_percent(arm)})" for arm in equals])
        return (
            f"Use {best.name}: {_right(best)}, the best; not measurably worse, "
            f"but {'costlier' if dearer else 'hardly cheaper'}: {names}. {_limit(case, equals)}"
        )
    return f"Use {best.name}: {_right(best)}, {_lead(case)}"


def _only_one(arm: ArmReport) -> str:
    if arm.name == MAJORITY:
        return (
            f"Only {arm.name} finished, which always gives the most frequent label and learns "
            f"nothing: {_right(arm)}."
        )
    return (
        f"{arm.name} is {_right(arm)}. It is the only way that was scored, so nothing is known of "
        "whether another does better."
    )


def _lead(case: _Case) -> str:
    """Return how far ahead the best arm is, when every other is behind it by more than a tie."""
    doubtful = [c for c in case.against.values() if c.p_holm >= ALPHA and c.b != MAJORITY]
    if doubtful:
        behind = _listed([f"{c.b} ({_points(c.difference.value)} behind)" for c in doubtful])
        return (
            f"the best of {len(case.scored)}. {_examples(case.best)} are too few to be sure that "
            f"it beats {behind}; more test data would tell."
        )
    second = best_arm([arm for arm in case.scored if arm is not case.best])
    if second is None or set(case.against) < {a.name for a in case.scored if a is not case.best}:
        return f"the highest of {len(case.scored)}."
    gap = case.against[second.name].difference
    return (
        f"measurably better than every other way. Next comes {second.name}, "
        f"{_points(gap.value)} behind ({100 * gap.low:.1f} to {100 * gap.high:.1f})."
    )


def _limit(case: _Case, arms: Sequence[ArmReport]) -> str:
    """Return how large a difference the test set could have missed: half its interval's width."""
    gaps = [case.against[arm.name].difference for arm in arms]
    missed = max((gap.high - gap.low) / 2 for gap in gaps)
    seen = f"a difference below {_points(missed)} could not have been seen"
    return f"On these {_examples(case.best)} {seen}."


def _saving(chosen: ArmReport, best: ArmReport) -> str:
    (seconds, size), (best_seconds, best_size) = rank_cost(chosen), rank_cost(best)
    if isfinite(best_seconds) and seconds * SAME_COST < best_seconds:
        share = 100 * seconds / best_seconds
        return f", at {'under 1' if share < 1 else f'{share:.0f}'} % of its cost"
    if isfinite(best_size) and size * SAME_COST < best_size:
        return (
            f", at the same cost and {size / 1e6:,.1f} MB to keep instead of {best_size / 1e6:,.1f}"
        )
    return ""


def _majority_doubt(case: _Case) -> str:
    comparison = case.against.get(MAJORITY)
    if comparison is None or comparison.p_holm < ALPHA or case.chosen.name == MAJORITY:
        return ""
    return (
        f"Beware: {case.best.name} is not measurably better than always giving the most frequent "
        "label."
    )


def _failures(arms: Sequence[ArmReport]) -> str:
    failed = [arm.name for arm in arms if arm.status == "failed"]
    return f"Not compared, because of a failure: {_listed(failed)}." if failed else ""


def _nothing_to_use(arms: Sequence[ArmReport]) -> str:
    if not arms:
        return "Nothing was run, so there is nothing to recommend."
    whys = [f"{arm.name} {arm.status} ({_short(arm.why)})" for arm in arms]
    return f"Nothing to recommend, because nothing was scored: {_listed(whys)}."


def _right(arm: ArmReport) -> str:
    score = arm.test["accuracy"]
    return f"{_percent(arm)} right ({100 * score.low:.1f} to {100 * score.high:.1f})"


def _percent(arm: ArmReport) -> str:
    return f"{100 * arm.test['accuracy'].value:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _examples(arm: ArmReport) -> str:
    count = sum(c.support for c in arm.per_class)
    return f"{count:,} test examples" if count else "test examples"


def _short(why: str) -> str:
    first = why.strip().partition("\n")[0] or "no reason was noted"
    return first if len(first) <= 100 else first[:99] + "…"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
