"""The verdict: which way is named best, which recommended, and what the reason says."""

from dataclasses import replace

import pytest

from tailorbird.metrics.cost import rank_cost
from tailorbird.metrics.verdict import (
    Evidence,
    best_arm,
    cheapest,
    undecided,
    verdict,
)
from tailorbird.records import ArmReport, ClassScore, Comparison, Cost, Luck, Score, SeedScore


def score(value: float, half: float = 0.015) -> Score:
    return Score(value, value - half, value + half)


def arm(
    name: str,
    accuracy: float,
    seconds: float = 100.0,
    megabytes: float = 10.0,
    loss: float = 0.4,
    examples: int = 1821,
) -> ArmReport:
    return ArmReport(
        name=name,
        status="ok",
        test={"accuracy": score(accuracy)},
        validation={"log_loss": score(loss)},
        cost=Cost(
            train_seconds=seconds, predict_ms_per_example=0.0, artifact_bytes=int(megabytes * 1e6)
        ),
        per_class=(ClassScore("a", 1, 1, score(1), examples),),
    )


def trained(report: ArmReport, times: int) -> ArmReport:
    return replace(report, seeds=tuple(SeedScore(seed, {}, {}) for seed in range(times)))


def failed(name: str, why: str = "out of memory") -> ArmReport:
    return ArmReport(name=name, status="failed", why=why)


def against(
    best: ArmReport, *others: tuple[ArmReport, float], error: float = 0.007
) -> list[Comparison]:
    """Compare ``best`` with others, each with its Holm-corrected p."""
    return [
        Comparison(
            best.name,
            other.name,
            score(best.test["accuracy"].value - other.test["accuracy"].value, 0.014),
            p,
            p,
            "exact sign-flip",
            error,
        )
        for other, p in others
    ]


FULL = arm("full", 0.884, seconds=100)
LORA = arm("lora", 0.881, seconds=40, megabytes=1)
PROMPT = arm("prompt", 0.82, seconds=30, megabytes=0.1)
MAJORITY = arm("majority", 0.51, seconds=0, megabytes=0)


def test_recommends_the_cheaper_of_two_that_cannot_be_told_apart() -> None:
    arms = [FULL, LORA, PROMPT, MAJORITY]
    found = verdict(arms, against(FULL, (LORA, 0.6), (PROMPT, 0.001), (MAJORITY, 1e-9)))
    assert (found.best, found.recommended, found.tied_with) == ("full", "lora", ("lora",))
    assert found.reason == (
        "Use lora: 88.1 % right (86.6 to 89.6), the cheapest within 2.0 points of the best "
        "(full, 88.4 %), at 40 % of its cost. On these 1,821 test examples a difference below "
        "1.4 points could not have been detected."
    )


def test_recommends_a_clear_winner_however_dear() -> None:
    dear = trained(arm("full", 0.93, seconds=10_000), 3)
    found = verdict(
        [dear, trained(LORA, 3), MAJORITY], against(dear, (LORA, 0.001), (MAJORITY, 1e-9))
    )
    assert (found.best, found.recommended, found.tied_with) == ("full", "full", ())
    assert found.reason == (
        "Use full: 93.0 % right (91.5 to 94.5), measurably better than every other arm. "
        "Next comes lora, 4.9 points behind (3.5 to 6.3)."
    )


def test_best_that_is_also_cheapest() -> None:
    best = arm("lora", 0.884, seconds=10)
    other = arm("full", 0.881, seconds=100)
    found = verdict([other, best], against(best, (other, 0.5)))
    assert (found.recommended, found.tied_with) == ("lora", ("full",))
    assert "the best; within 2.0 points of it, but costlier: full (88.1 %)." in found.reason
    assert "below 1.4 points could not have been detected" in found.reason


def test_saving_a_little_time_is_no_reason_to_lose_accuracy() -> None:
    slower = arm("full", 0.884, seconds=100)
    quicker = arm("lora", 0.875, seconds=95)
    found = verdict([slower, quicker], against(slower, (quicker, 0.3)))
    assert found.recommended == "full"
    assert "but hardly cheaper: lora (87.5 %)" in found.reason


def test_nothing_is_better_than_every_other_after_one_training() -> None:
    dear = arm("full", 0.93)
    found = verdict([dear, LORA, MAJORITY], against(dear, (LORA, 0.001), (MAJORITY, 1e-9)))
    assert found.recommended == "full"
    assert "although trained only once. Next comes lora" in found.reason
    assert "measurably better than every" not in found.reason


def test_small_test_set_does_not_make_a_worse_arm_equal() -> None:
    best = arm("full", 0.90, examples=60)
    cheap = arm("knn", 0.85, seconds=0.1, examples=60)
    found = verdict([best, cheap], against(best, (cheap, 0.4), error=0.05))
    assert (found.recommended, found.tied_with, found.open) == ("full", (), ("knn",))
    assert found.reason.startswith(
        "Use full: 90.0 % right (88.5 to 91.5), the best of 2. On these 60 test examples it is not "
        "shown to beat knn (5.0 points behind)."
    )


@pytest.mark.parametrize(("gap", "error", "tied"), [
    (0.0, 0.0237, True), (0.0, 0.0239, False), (0.01, 0.0118, True), (0.01, 0.0120, False),
    (-0.01, 0.0350, True), (0.03, 0.0001, False),
])  # fmt: skip
def test_a_tie_is_shown_and_not_assumed(gap: float, error: float, tied: bool) -> None:
    """By hand: gap + 0.8416 * error is at most 0.02."""
    best, other = arm("full", 0.9), arm("lora", 0.9 - max(gap, 1e-6), seconds=1)
    pair = replace(against(best, (other, 0.9))[0], difference=score(gap), error=error)
    found = verdict([best, other], [pair])
    assert found.tied_with == (("lora",) if tied else ())
    assert found.recommended == ("lora" if tied else "full")


def test_the_margin_is_the_users() -> None:
    pairs = against(FULL, (LORA, 0.9), error=0.02)
    wide, narrow = (
        verdict([FULL, LORA], pairs, evidence=Evidence(margin=margin)) for margin in (0.03, 0.01)
    )
    assert (wide.recommended, narrow.recommended) == ("lora", "full")
    assert (wide.margin, "within 3.0 points" in wide.reason) == (0.03, True)


def test_luck_of_training_is_told_with_what_would_tell_more() -> None:
    full, lora = arm("full", 0.884, seconds=30), arm("lora", 0.881, seconds=17)
    knn = arm("rag", 0.60, seconds=1)
    pairs = against(full, (lora, 0.9), (knn, 0.001), error=0.02)
    once = verdict([full, lora, knn], pairs, evidence=Evidence(luck=Luck(0.015, 4)))
    # Student's 97.5 % point for 4 degrees of freedom is 2.776: 4.2 points.
    assert (
        "Trained once; another training may differ by about 4 points, so full and lora cannot be "
        "distinguished. `--seeds 3` takes about 1 min 34 s more." in once.reason
    )
    again = [trained(full, 3), trained(lora, 3), knn]
    thrice = verdict(again, pairs, evidence=Evidence(luck=Luck(0.006, 8)))
    assert "Trained 3 times each; another training may differ by about 1.4 points" in thrice.reason
    assert "--seeds" not in thrice.reason
    apart = against(full, (lora, 0.001), (knn, 0.001))
    told = verdict([full, lora, knn], apart, evidence=Evidence(luck=Luck(0.015, 4)))
    assert "another training may" not in told.reason


def test_groups_say_what_the_examples_are_worth() -> None:
    pairs = against(FULL, (LORA, 0.9))
    found = verdict([FULL, LORA], pairs, evidence=Evidence(200, 61.4))
    assert (
        "On these 200 test examples (in groups: equivalent to 61 independent ones) a"
        in found.reason
    )
    assert found.effective == 61.4


def test_where_all_lie_at_the_floor_none_is_recommended() -> None:
    def writer(name: str, f1: float, perplexity: float) -> ArmReport:
        test = {"token_f1": score(f1, 0.002), "perplexity": score(perplexity)}
        return replace(arm(name, 0.5), test=test)

    arms = [writer("full", 0.013, 41.0), writer("adapter", 0.006, 5.7)]
    pair = Comparison("full", "adapter", score(0.007, 0.002), 0.001, 0.001, "sign-flip", 0.001)
    found = verdict(arms, [pair], "token_f1")
    assert (found.best, found.recommended) == ("full", None)
    assert found.reason == (
        "No arm is recommended: all score near zero in token F1, the best (full) reaches 0.013. "
        "But perplexity distinguishes them: adapter (5.700) and full (41.0)."
    )


@pytest.mark.parametrize(("seconds", "chosen"), [(149, "full"), (151, "lora")])
def test_a_busy_clock_does_not_decide(seconds: float, chosen: str) -> None:
    slow, quick = arm("full", 0.884, seconds=seconds), arm("lora", 0.884, seconds=100, loss=0.5)
    assert cheapest([slow, quick]).name == chosen


def test_all_alike_takes_the_cheapest_of_all() -> None:
    qlora = arm("qlora", 0.879, seconds=90, megabytes=1)
    adapters = arm("bottleneck", 0.883, seconds=85, megabytes=2)
    found = verdict(
        [qlora, LORA, adapters, FULL], against(FULL, (qlora, 1), (LORA, 1), (adapters, 1))
    )
    assert found.recommended == "lora"
    assert found.tied_with == ("qlora", "lora", "bottleneck")


def test_equal_time_is_settled_by_the_artifact() -> None:
    small = arm("lora", 0.881, seconds=98, megabytes=1.2)
    large = arm("full", 0.884, seconds=100, megabytes=90.9)
    found = verdict([large, small], against(large, (small, 0.5)))
    assert found.recommended == "lora"
    assert "at the same cost and 1.2 MB to keep instead of 90.9" in found.reason


def test_tiny_cost_is_not_called_zero() -> None:
    knn = arm("knn", 0.88, seconds=0.01)
    assert "at under 1 % of its cost" in verdict([FULL, knn], against(FULL, (knn, 0.5))).reason


def test_majority_is_never_recommended_for_being_cheap() -> None:
    majority = arm("majority", 0.879, seconds=0, megabytes=0)
    found = verdict([FULL, LORA, majority], against(FULL, (LORA, 0.6), (majority, 0.5)))
    assert found.recommended == "lora"
    assert "majority" in found.tied_with
    assert found.reason.startswith(
        "No arm is shown to be better than always giving the most frequent label: on 1,821 test "
        "examples the lead of the best, full, could be chance. Use lora: "
    )


def test_majority_far_behind_but_not_measurably_so_is_still_a_warning() -> None:
    majority = arm("majority", 0.80, examples=30)
    found = verdict([FULL, majority], against(FULL, (majority, 0.2)))
    assert found.tied_with == ()
    assert found.reason.startswith("No arm is shown to be better than always")


def test_majority_best_of_all_is_said_plainly() -> None:
    majority = arm("majority", 0.95, seconds=0)
    found = verdict([LORA, FULL, majority], against(majority, (LORA, 0.001), (FULL, 0.02)))
    assert (found.best, found.recommended) == ("majority", "full")
    assert found.reason.startswith(
        "No arm beats always giving the most frequent label (95.0 %): the closest, full, is 88.4 %"
    )


def test_only_majority_left() -> None:
    found = verdict([MAJORITY, failed("lora")], [])
    assert (found.best, found.recommended) == ("majority", "majority")
    assert "without learning" in found.reason
    assert found.reason.endswith("Not compared, because of a failure: lora.")


def test_single_arm_of_tune() -> None:
    found = verdict([LORA], [])
    assert (found.best, found.recommended, found.tied_with) == ("lora", "lora", ())
    assert found.reason == (
        "lora is 88.1 % right (86.6 to 89.6). It is the only arm that was scored, so whether "
        "another is better is unknown."
    )


def test_failures_are_named() -> None:
    found = verdict([failed("full"), LORA, failed("qlora")], [])
    assert found.recommended == "lora"
    assert found.reason.endswith("Not compared, because of a failure: full and qlora.")


def test_all_failed() -> None:
    arms = [failed("full", "out of memory\nlong trace"), failed("lora", "")]
    found = verdict([*arms, replace(arms[0], name="qlora", status="skipped", why="no GPU")], [])
    assert (found.best, found.recommended, found.tied_with) == (None, None, ())
    assert found.reason == (
        "Nothing to recommend, because nothing was scored: full failed (out of memory), "
        "lora failed (no reason was recorded) and qlora skipped (no GPU)."
    )


def test_no_arms() -> None:
    assert verdict([], []).recommended is None


def test_untested_pair_is_not_called_a_tie() -> None:
    found = verdict([FULL, LORA], [])
    assert (found.recommended, found.tied_with) == ("full", ())


def test_equal_accuracy_is_settled_by_validation_loss_then_cost() -> None:
    worse = arm("full", 0.88, seconds=1, loss=0.5)
    better = arm("lora", 0.88, seconds=9, loss=0.3)
    cheaper = arm("prompt", 0.88, seconds=5, loss=0.3)
    assert best_arm([worse, better]) is better
    assert best_arm([worse, better, cheaper]) is cheaper
    assert best_arm([failed("x")]) is None


def test_last_bits_of_a_mean_over_seeds_do_not_decide() -> None:
    one, other = arm("full", 0.88 + 1e-15, loss=0.5), arm("lora", 0.88, loss=0.3)
    assert best_arm([one, other]) is other


def test_cost_is_making_and_ten_thousand_predictions() -> None:
    cost = Cost(train_seconds=100, search_seconds=50, predict_ms_per_example=2.5, artifact_bytes=7)
    assert rank_cost(replace(LORA, cost=cost)) == (175.0, 7.0)


def test_unmeasured_cost_never_counts_as_cheap() -> None:
    unknown = replace(LORA, cost=Cost())
    assert cheapest([unknown, FULL]) is FULL
    found = verdict([FULL, unknown], against(FULL, (unknown, 0.5)))
    assert found.recommended == "full"


def test_nothing_measured_leaves_accuracy_to_decide() -> None:
    arms = [replace(FULL, cost=Cost()), replace(LORA, cost=Cost())]
    assert cheapest(arms).name == "full"


def test_order_of_the_arms_does_not_matter() -> None:
    comparisons = against(FULL, (LORA, 0.6), (PROMPT, 0.001), (MAJORITY, 1e-9))
    forward = verdict([FULL, LORA, PROMPT, MAJORITY], comparisons)
    backward = verdict([MAJORITY, PROMPT, LORA, FULL], comparisons[::-1])
    assert forward == backward


def gaps(best: ArmReport, *others: ArmReport, error: float) -> list[Comparison]:
    return against(best, *((other, 1.0) for other in others), error=error)


def test_arms_are_in_question_that_are_neither_as_good_nor_shown_to_be_behind() -> None:
    best, near, far = arm("full", 0.90), arm("lora", 0.88, seconds=40), arm("probe", 0.80)
    arms = [best, near, far, MAJORITY]
    # 2 points behind with an error of 1: 1.2 to 2.8 with 80 % confidence on either side.
    names = undecided(arms, gaps(best, near, far, MAJORITY, error=0.01), "accuracy", 0.02)
    assert names == {"full", "lora"}


@pytest.mark.parametrize(("accuracy", "error"), [(0.899, 0.01), (0.86, 0.02), (0.90, 0.02)])
def test_nothing_is_in_question_once_it_is_settled(accuracy: float, error: float) -> None:
    """As good (0.1 + 0.84 and 0 + 1.7 points), or behind by more than the margin (4 - 1.7)."""
    best, other = arm("full", 0.90), arm("lora", accuracy, seconds=40)
    assert not undecided([best, other], gaps(best, other, error=error), "accuracy", 0.02)


def test_a_dearer_arm_does_not_question_a_cheap_one_that_is_as_good() -> None:
    best, cheap = arm("full", 0.90, seconds=100), arm("lora", 0.899, seconds=40)
    dear = arm("qlora", 0.885, seconds=200)
    pairs = [*gaps(best, cheap, error=0.005), *gaps(best, dear, error=0.02)]
    assert not undecided([best, cheap, dear], pairs, "accuracy", 0.02)
    cheaper = replace(dear, cost=arm("qlora", 0.885, seconds=20).cost)
    names = undecided([best, cheap, cheaper], pairs, "accuracy", 0.02)
    assert names == {"full", "lora", "qlora"}
