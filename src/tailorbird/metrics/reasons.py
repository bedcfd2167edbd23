"""The sentences of the verdict: why this way, how sure, and what should make one pause."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from tailorbird.metrics.cost import (
    BASE,
    BLIND,
    MAJORITY,
    MEAN,
    NEAREST,
    SAME_COST,
    UNTRAINED,
    rank_cost,
)
from tailorbird.metrics.names import is_share, metric_words, sign, what_is_right
from tailorbird.records import ArmReport, Comparison

ALPHA = 0.05

_FLOOR = {
    MAJORITY: "always giving the most frequent label",
    MEAN: "always giving the mean",
    NEAREST: "repeating the answer of the most similar training prompt",
    BASE: "the untouched model",
}


class Case(NamedTuple):
    """What the rule found; differences are how far the best arm is ahead."""

    chosen: ArmReport
    best: ArmReport
    second: ArmReport | None
    tied: list[ArmReport]
    scored: list[ArmReport]
    against: dict[str, Comparison]
    headline: str = "accuracy"
    examples: int = 0


def reason(case: Case, arms: Sequence[ArmReport]) -> str:
    """Return the whole reason: the choice, the doubts, and what is missing."""
    words = [_why(case), _floor_doubts(case), _in_vain(case), _failures(arms)]
    return " ".join(filter(None, words))


def nothing_to_use(arms: Sequence[ArmReport]) -> str:
    """Say why there is no recommendation at all."""
    if not arms:
        return "Nothing was run, so there is nothing to recommend."
    whys = [f"{arm.name} {arm.status} ({_short(arm.why)})" for arm in arms]
    return f"Nothing to recommend, because nothing was scored: {_listed(whys)}."


def _why(case: Case) -> str:
    chosen, best = case.chosen, case.best
    if len(case.scored) == 1:
        return _only_one(case)
    if best.name in (*BLIND, NEAREST):
        return _floor_is_best(case)
    if chosen is not best:
        return (
            f"Use {chosen.name}: {_score(case, chosen)}, not measurably different from the best "
            f"({best.name}, {_value(case, best)}){_saving(chosen, best)}. {_limit(case, [chosen])}"
        )
    equals = [arm for arm in case.tied if arm.name not in (*BLIND, NEAREST)]
    if equals:
        dearer = all(rank_cost(arm)[0] > rank_cost(best)[0] for arm in equals)
        names = _listed([f"{arm.name} ({_value(case, arm)})" for arm in equals])
        return (
            f"Use {best.name}: {_score(case, best)}, the best; not measurably worse, "
            f"but {'costlier' if dearer else 'hardly cheaper'}: {names}. {_limit(case, equals)}"
        )
    return f"Use {best.name}: {_score(case, best)}, {_ahead(case)}"


def _only_one(case: Case) -> str:
    arm = case.chosen
    if arm.name in (*BLIND, NEAREST):
        does = {
            MAJORITY: "always gives the most frequent label and learns nothing",
            MEAN: "always gives the mean and learns nothing",
        }.get(arm.name, "repeats the answer of the most similar training prompt and writes nothing")
        return f"Only {arm.name} finished, which {does}: {_score(case, arm)}."
    return (
        f"{arm.name} {_reaches(case)} {_score(case, arm)}. It is the only way that was scored, so "
        "nothing is known of whether another does better."
    )


def _floor_is_best(case: Case) -> str:
    chosen, best = case.chosen, case.best
    found = f"{chosen.name}, {_reaches(case)} {_score(case, chosen)}"
    if best.name in BLIND:
        return (
            f"No way beats {_FLOOR[best.name]} ({_value(case, best)}): the nearest, {found}. Look "
            "at the labels or get more data before using it."
        )
    return (
        f"No model beats {_FLOOR[NEAREST]} ({_value(case, best)}): the closest, {found}. Where "
        "prompts repeat, such a lookup is enough; else get more training pairs before using it."
    )


def _ahead(case: Case) -> str:
    """Return how far ahead the best arm is, when every other is behind it by more than a tie."""
    doubtful = [c for c in case.against.values() if c.p_holm >= ALPHA and c.b not in BLIND]
    if doubtful:
        behind = _listed([f"{c.b} ({_gap(case, c.difference.value)} behind)" for c in doubtful])
        few = _examples(case)
        return (
            f"the best of {len(case.scored)}. {few[0].upper()}{few[1:]} are too few to be sure "
            f"that it beats {behind}; more test data would tell."
        )
    second = case.second
    if second is None or set(case.against) < {a.name for a in case.scored if a is not case.best}:
        return f"the {'highest' if sign(case.headline) > 0 else 'lowest'} of {len(case.scored)}."
    gap = case.against[second.name].difference
    return (
        f"measurably better than every other way. Next comes {second.name}, "
        f"{_gap(case, gap.value)} behind ({_bare(case, gap.low)} to {_bare(case, gap.high)})."
    )


def _limit(case: Case, arms: Sequence[ArmReport]) -> str:
    """Return how large a difference the test set could have missed: half its interval's width."""
    gaps = [case.against[arm.name].difference for arm in arms]
    missed = max((gap.high - gap.low) / 2 for gap in gaps)
    seen = f"a difference below {_gap(case, missed)} could not have been seen"
    return f"On these {_examples(case)} {seen}."


def _saving(chosen: ArmReport, best: ArmReport) -> str:
    (seconds, size), (best_seconds, best_size) = rank_cost(chosen), rank_cost(best)
    if isfinite(best_seconds) and seconds * SAME_COST < best_seconds:
        share = 100 * seconds / best_seconds
        return f", at {'under 1' if share < 1 else f'{share:.0f}'} % of its cost"
    if chosen.name == BASE and size == 0 < best_size:
        return ", at the same cost and with nothing to train or keep"
    if isfinite(best_size) and size * SAME_COST < best_size:
        return (
            f", at the same cost and {size / 1e6:,.1f} MB to keep instead of {best_size / 1e6:,.1f}"
        )
    return ""


def _floor_doubts(case: Case) -> str:
    """Warn of what the best arm is not measurably above, though no training went into it."""
    best, chosen = case.best.name, case.chosen.name
    floors = [name for name in _FLOOR if name in case.against and name != chosen]
    names = [name for name in floors if case.against[name].p_holm >= ALPHA]
    if not names or best in (*BLIND, NEAREST):
        return ""
    return f"Beware: {best} is not measurably better than {' or '.join(_FLOOR[n] for n in names)}."


def _in_vain(case: Case) -> str:
    """Name the trained arms that score no better than what needs no training."""
    trained = [arm for arm in case.scored if arm.name not in UNTRAINED]
    lines = []
    for floor in (BASE, NEAREST) if case.best.name != NEAREST else (BASE,):
        bar = next((arm for arm in case.scored if arm.name == floor), None)
        below = [arm for arm in trained if bar is not None and not _is_better(case, arm, bar)]
        if bar is None or not below:
            continue
        what = f"{_FLOOR[floor]} ({floor}, {_value(case, bar)})"
        if len(below) == len(trained):
            lines.append(f"No trained model scores better than {what}.")
        else:
            lines.append(f"No better than {what}: {_listed([arm.name for arm in below])}.")
    return " ".join(lines)


def _is_better(case: Case, arm: ArmReport, bar: ArmReport) -> bool:
    gap = arm.test[case.headline].value - bar.test[case.headline].value
    return sign(case.headline) * round(gap, 9) > 0


def _failures(arms: Sequence[ArmReport]) -> str:
    failed = [arm.name for arm in arms if arm.status == "failed"]
    return f"Not compared, because of a failure: {_listed(failed)}." if failed else ""


def _score(case: Case, arm: ArmReport) -> str:
    """Write ``88.1 % right (86.6 to 89.6)``, or ``token F1 0.412 (0.381 to 0.441)``."""
    score = arm.test[case.headline]
    reach = f"({_bare(case, score.low)} to {_bare(case, score.high)})"
    right = what_is_right(case.headline)
    if right:
        return f"{_value(case, arm)} {right} {reach}"
    return f"{metric_words(case.headline)} {_value(case, arm)} {reach}"


def _reaches(case: Case) -> str:
    return "is" if what_is_right(case.headline) == "right" else "reaches"


def _value(case: Case, arm: ArmReport) -> str:
    number = _bare(case, arm.test[case.headline].value)
    return f"{number} %" if is_share(case.headline) else number


def _gap(case: Case, difference: float) -> str:
    number = _bare(case, difference)
    return f"{number} points" if is_share(case.headline) else number


def _bare(case: Case, value: float) -> str:
    if is_share(case.headline):
        return f"{100 * value:.1f}"
    number = f"{abs(value):.3f}" if abs(value) < 10 else f"{abs(value):,.1f}"
    return f"−{number}" if value < 0 and number.strip("0.") else number


def _examples(case: Case) -> str:
    count = case.examples or sum(c.support for c in case.best.per_class)
    return f"{count:,} test examples" if count else "test examples"


def _short(why: str) -> str:
    first = why.strip().partition("\n")[0] or "no reason was noted"
    return first if len(first) <= 100 else first[:99] + "…"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
