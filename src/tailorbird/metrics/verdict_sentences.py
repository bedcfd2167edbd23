"""The sentences of the verdict: the choice, its certainty, and warnings."""

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
from tailorbird.metrics.display import duration
from tailorbird.metrics.intervals import t_quantile
from tailorbird.metrics.metric_facts import (
    CORRELATIONS,
    is_at_most_one,
    is_share,
    metric_words,
    sign,
    what_is_right,
)
from tailorbird.records import ArmReport, Comparison, Luck

ALPHA = 0.05
FLOOR = 0.05
"""If all scores with maximum 1 are below this, they mean nothing."""
_TELLING = ("perplexity", "loss", "log_loss")

_FLOOR = {
    MAJORITY: "always giving the most frequent label",
    MEAN: "always giving the mean",
    NEAREST: "repeating the answer of the most similar training prompt",
    BASE: "the untouched model",
}


class Case(NamedTuple):
    """The result of the rule; `against` has the best arm's lead over each other one."""

    choice: ArmReport
    best: ArmReport
    second: ArmReport | None
    tied: list[ArmReport]
    scored: list[ArmReport]
    against: dict[str, Comparison]
    comparisons: Sequence[Comparison]
    headline: str
    examples: int
    effective: float | None
    luck: Luck | None
    margin: float


def reason(case: Case, arms: Sequence[ArmReport]) -> str:
    """Return the whole reason: general doubts, the choice, and what is unknown."""
    if len(case.scored) > 1 and is_at_floor(case):
        words = [_at_floor(case), _failures(arms)]
    else:
        words = [_chance(case), _why(case), _luck(case), _floor_doubts(case), _in_vain(case)]
        words += [_failures(arms)]
    return " ".join(filter(None, words))


def is_at_floor(case: Case) -> bool:
    """Return whether even the best score is near zero, so that differences mean nothing."""
    name = case.headline
    bounded = is_at_most_one(name) and name not in CORRELATIONS and name != "r2"
    return bounded and sign(name) > 0 and case.best.test[name].value < FLOOR


def _at_floor(case: Case) -> str:
    words = (
        f"No arm is recommended: all score near zero in {metric_words(case.headline)}, the best "
        f"({case.best.name}) reaches {_value(case, case.best)}."
    )
    for name in (n for n in _TELLING if n != case.headline):
        telling_arms = sorted(
            (arm for arm in case.scored if name in arm.test and isfinite(arm.test[name].value)),
            key=lambda arm: arm.test[name].value,
        )
        if len(telling_arms) > 1:
            telling = case._replace(headline=name)
            listed = _listed([f"{arm.name} ({_value(telling, arm)})" for arm in telling_arms])
            return f"{words} But {metric_words(name)} distinguishes them: {listed}."
    return f"{words} Get more data, or a larger model."


def _chance(case: Case) -> str:
    """Return a warning if the best arm is not shown to beat one that learns nothing."""
    if case.best.name in BLIND:
        return ""  # `_floor_is_best` says it
    names = [n for n in BLIND if n in case.against and case.against[n].p_holm >= ALPHA]
    if not names:
        return ""
    return (
        f"No arm is shown to be better than {_FLOOR[names[0]]}: on {_examples(case)} the lead of "
        f"the best, {case.best.name}, could be chance."
    )


def _luck(case: Case) -> str:
    """Return what another training could change, and what would settle it."""
    if case.luck is None:
        return ""
    level = {case.best.name, *(c.b for c in case.against.values() if c.p_holm >= ALPHA)}
    doubtful = [arm for arm in case.scored if arm.name in level and arm.name not in UNTRAINED]
    if len(level - {*BLIND, NEAREST}) < 2 or not doubtful:
        return ""
    reach = t_quantile(case.luck.freedom) * case.luck.deviation
    times = sorted({max(1, len(arm.seeds)) for arm in doubtful})
    names = _listed([arm.name for arm in case.scored if arm.name in level - {*BLIND, NEAREST}])
    words = (
        f"Trained {_times(times)}; another training may differ by about {_about(case, reach)}, "
        f"so {names} cannot be distinguished."
    )
    seconds = sum((arm.cost.train_seconds or 0.0) * (3 - max(1, len(arm.seeds))) for arm in doubtful
                  if len(arm.seeds) < 3)  # fmt: skip
    if not seconds:
        return words
    return f"{words} `--seeds 3` takes about {duration(seconds)} more."


def _times(counts: Sequence[int]) -> str:
    if list(counts) == [1]:
        return "once"
    low, high = counts[0], counts[-1]
    return f"{low} times each" if low == high else f"{low} to {high} times"


def _about(case: Case, difference: float) -> str:
    if is_share(case.headline):
        points = 100 * difference
        return f"{points:.0f} points" if points >= 1.5 else f"{points:.1f} points"
    return _bare(case, difference)


def nothing_to_use(arms: Sequence[ArmReport]) -> str:
    """Return why there is no recommendation."""
    if not arms:
        return "Nothing was run, so there is nothing to recommend."
    whys = [f"{arm.name} {arm.status} ({_short(arm.why)})" for arm in arms]
    return f"Nothing to recommend, because nothing was scored: {_listed(whys)}."


def _why(case: Case) -> str:
    choice, best = case.choice, case.best
    if len(case.scored) == 1:
        return _only_one(case)
    if best.name in (*BLIND, NEAREST):
        return _floor_is_best(case)
    within = f"within {_gap(case, case.margin)}"
    if choice is not best:
        return (
            f"Use {choice.name}: {_score(case, choice)}, the cheapest {within} of the best "
            f"({best.name}, {_value(case, best)}){_saving(choice, best)}. {_limit(case, [choice])}"
        )
    equals = [arm for arm in case.tied if arm.name not in (*BLIND, NEAREST)]
    if equals:
        dearer = all(rank_cost(arm)[0] > rank_cost(best)[0] * SAME_COST for arm in equals)
        names = _listed([f"{arm.name} ({_value(case, arm)})" for arm in equals])
        return (
            f"Use {best.name}: {_score(case, best)}, the best; {within} of it, "
            f"but {'costlier' if dearer else 'hardly cheaper'}: {names}. {_limit(case, equals)}"
        )
    return f"Use {best.name}: {_score(case, best)}, {_ahead(case)}"


def _only_one(case: Case) -> str:
    arm = case.choice
    if arm.name in (*BLIND, NEAREST):
        does = {
            MAJORITY: "always gives the most frequent label without learning",
            MEAN: "always gives the mean without learning",
        }.get(arm.name, "repeats the answer of the most similar training prompt and writes nothing")
        return f"Only {arm.name} finished, which {does}: {_score(case, arm)}."
    return (
        f"{arm.name} {_reaches(case)} {_score(case, arm)}. It is the only arm that was scored, so "
        "whether another is better is unknown."
    )


def _floor_is_best(case: Case) -> str:
    choice, best = case.choice, case.best
    words = f"{choice.name}, {_reaches(case)} {_score(case, choice)}"
    if best.name in BLIND:
        return (
            f"No arm beats {_FLOOR[best.name]} ({_value(case, best)}): the closest, {words}. Look "
            "at the labels or get more data before using it."
        )
    return (
        f"No model beats {_FLOOR[NEAREST]} ({_value(case, best)}): the closest, {words}. Where "
        "prompts repeat, such a lookup is enough; otherwise get more training pairs first."
    )


def _ahead(case: Case) -> str:
    """Return the best arm's lead if no other is shown to be within the margin."""
    others = [c for c in case.against.values() if c.b not in (*BLIND, NEAREST)]
    doubtful = [c for c in others if c.p_holm >= ALPHA]
    if doubtful:
        behind = _listed([f"{c.b} ({_gap(case, c.difference.value)} behind)" for c in doubtful])
        on = _on(case)
        return f"the best of {len(case.scored)}. {on} it is not shown to beat {behind}."
    second = case.second
    if second is None or set(case.against) < {a.name for a in case.scored if a is not case.best}:
        return f"the {'highest' if sign(case.headline) > 0 else 'lowest'} of {len(case.scored)}."
    gap = case.against[second.name].difference
    behind = (
        f"Next comes {second.name}, {_gap(case, gap.value)} behind "
        f"({_bare(case, gap.low)} to {_bare(case, gap.high)})."
    )
    rivals = [case.best, *(arm for arm in case.scored if arm.name in {c.b for c in others})]
    once = [arm for arm in rivals if arm.name not in UNTRAINED and len(arm.seeds) < 2]
    if once:
        return (
            "better than every other arm by more than chance and retraining explain, although "
            f"trained only once. {behind}"
        )
    return f"measurably better than every other arm. {behind}"


def _limit(case: Case, arms: Sequence[ArmReport]) -> str:
    """Return the difference that could have been missed: half the interval's width."""
    gaps = [case.against[arm.name].difference for arm in arms]
    missed = max((gap.high - gap.low) / 2 for gap in gaps)
    return f"{_on(case)} a difference below {_gap(case, missed)} could not have been detected."


def _on(case: Case) -> str:
    """Return the test set in words: ``On these 200 test examples (worth 90 independent ones)``."""
    worth = ""
    if case.effective is not None and case.examples and case.effective < 0.95 * case.examples:
        worth = f" (in groups: equivalent to {case.effective:,.0f} independent ones)"
    return f"On these {_examples(case)}{worth}"


def _saving(choice: ArmReport, best: ArmReport) -> str:
    (seconds, size), (best_seconds, best_size) = rank_cost(choice), rank_cost(best)
    if isfinite(best_seconds) and seconds * SAME_COST < best_seconds:
        share = 100 * seconds / best_seconds
        return f", at {'under 1' if share < 1 else f'{share:.0f}'} % of its cost"
    if choice.name == BASE and size == 0 < best_size:
        return ", at the same cost and with nothing to train or keep"
    if isfinite(best_size) and size * SAME_COST < best_size:
        return (
            f", at the same cost and {size / 1e6:,.1f} MB to keep instead of {best_size / 1e6:,.1f}"
        )
    return ""


def _floor_doubts(case: Case) -> str:
    """Return a warning about untrained arms that the best arm does not measurably beat."""
    best, choice = case.best.name, case.choice.name
    if best in (*BLIND, NEAREST):
        return ""
    floors = [n for n in _FLOOR if n in case.against and n not in (*BLIND, choice)]
    names = [name for name in floors if case.against[name].p_holm >= ALPHA]
    if not names:
        return ""
    return f"Warning: {best} is not measurably better than {' or '.join(_FLOOR[n] for n in names)}."


def _in_vain(case: Case) -> str:
    """Name the trained arms that score no better than an untrained one."""
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
    return f"{case.examples:,} test examples" if case.examples else "test examples"


def _short(why: str) -> str:
    first = why.strip().partition("\n")[0] or "no reason was recorded"
    return first if len(first) <= 100 else first[:99] + "…"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
