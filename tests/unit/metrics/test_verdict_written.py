"""The verdict on written answers: other metrics, other words, and what training was not worth."""

from dataclasses import replace

import pytest

from tailorbird.metrics.cost import rank_cost
from tailorbird.metrics.metric_facts import is_share, metric_label, metric_words, sign, unit
from tailorbird.metrics.verdict import Evidence, best_arm, cheapest, verdict
from tailorbird.records import ArmReport, Comparison, Cost, Score, Verdict


def score(value: float, half: float = 0.03) -> Score:
    return Score(value, value - half, value + half)


def arm(
    name: str,
    value: float,
    seconds: float | None = 100.0,
    each: float = 1.0,
    megabytes: float | None = 10.0,
    metric: str = "token_f1",
    loss: float = 1.5,
) -> ArmReport:
    size = None if megabytes is None else int(megabytes * 1e6)
    return ArmReport(
        name=name,
        status="ok",
        test={metric: score(value)},
        validation={"loss": score(loss)},
        cost=Cost(train_seconds=seconds, predict_ms_per_example=each, artifact_bytes=size),
    )


def judge(
    arms: list[ArmReport],
    ps: dict[str, float] | None = None,
    metric: str = "token_f1",
    error: float = 0.005,
) -> Verdict:
    """Compare the best with each other arm; without a p the difference is clear."""
    best = best_arm(arms, metric)
    assert best is not None
    pairs = [
        Comparison(
            best.name,
            other.name,
            score(best.test[metric].value - other.test[metric].value, 0.014),
            (ps or {}).get(other.name, 0.001),
            (ps or {}).get(other.name, 0.001),
            "sign-flip",
            error,
        )
        for other in arms
        if other is not best
    ]
    return verdict(arms, pairs, metric, Evidence(300))


BASE = arm("base", 0.22, seconds=None, megabytes=None)
NEAREST = arm("nearest", 0.30, seconds=1, each=0.01, megabytes=1)
LORA = arm("lora", 0.51)
FULL = arm("full", 0.55)


def test_a_clear_winner_in_the_words_of_its_metric() -> None:
    found = judge([BASE, NEAREST, LORA, FULL])
    assert (found.best, found.recommended, found.tied_with) == ("full", "full", ())
    assert found.reason == (
        "Use full: token F1 0.550 (0.520 to 0.580), better than every other arm by more than "
        "chance and retraining explain, although trained only once. Next comes lora, 0.040 behind "
        "(0.026 to 0.054)."
    )


def test_a_tie_is_told_with_what_could_not_be_seen() -> None:
    near = arm("lora", 0.54, seconds=40)
    found = judge([BASE, near, FULL], {"lora": 0.4})
    assert found.recommended == "lora"
    assert found.reason == (
        "Use lora: token F1 0.540 (0.510 to 0.570), the cheapest within 0.020 of the best (full, "
        "0.550), at 45 % of its cost. On these 300 test examples a difference below 0.014 could "
        "not have been detected."
    )


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("exact_match", "Use lora: 51.0 % exact matches (48.0 to 54.0)"),
        ("numeric_match", "Use lora: 51.0 % right numbers (48.0 to 54.0)"),
        ("choice_accuracy", "Use lora: 51.0 % right (48.0 to 54.0)"),
        ("rouge_l", "Use lora: ROUGE-L 0.510 (0.480 to 0.540)"),
        ("politeness", "Use lora: politeness 0.510 (0.480 to 0.540)"),
    ],
)
def test_words_fit_the_metric(metric: str, said: str) -> None:
    arms = [arm("base", 0.2, metric=metric), arm("lora", 0.51, metric=metric)]
    assert judge(arms, metric=metric).reason.startswith(said)
    behind = "31.0 points behind" if is_share(metric) else "0.310 behind"
    assert behind in judge(arms, metric=metric).reason


def test_the_lowest_perplexity_is_the_best_and_ahead() -> None:
    arms = [arm(n, v, metric="perplexity") for n, v in (("base", 11.5), ("lora", 3.2), ("full", 3))]
    found = judge(arms, metric="perplexity")
    assert found.best == "full"
    assert found.reason == (
        "Use full: perplexity 3.000 (2.970 to 3.030), better than every other arm by more "
        "than "
        "chance and retraining explain, although trained only once. Next comes lora, 0.200 "
        "behind (0.186 to 0.214)."
    )
    assert best_arm(arms, "loss") is None


@pytest.mark.parametrize(("value", "tied"), [(5.1, True), (5.11, False), (5.3, False)])
def test_a_tie_of_an_open_scale_is_two_per_cent_of_the_best(value: float, tied: bool) -> None:
    arms = [arm("full", 5.0, metric="perplexity"), arm("lora", value, metric="perplexity")]
    found = judge(arms, {"lora": 0.6}, "perplexity", 1e-12)
    assert found.tied_with == (("lora",) if tied else ())


def test_the_untouched_model_is_recommended_where_training_gains_nothing() -> None:
    base = replace(BASE, test={"token_f1": score(0.545)})
    found = judge([base, replace(LORA, test=FULL.test)], {"base": 0.7})
    assert (found.best, found.recommended) == ("lora", "base")
    assert "Use base: token F1 0.545" in found.reason
    assert "the cheapest within 0.020 of the best (lora, 0.550)" in found.reason


def test_training_for_nothing_is_said_plainly() -> None:
    base = replace(BASE, test={"token_f1": score(0.60)})
    found = judge([base, LORA, FULL])
    assert found.recommended == "base"
    assert found.reason.endswith(
        "No trained model scores better than the untouched model (base, 0.600)."
    )


def test_some_training_for_nothing_is_said_plainly() -> None:
    prompt = arm("prompt", 0.21)
    found = judge([BASE, NEAREST, prompt, LORA, FULL])
    assert found.reason.endswith(
        "No better than the untouched model (base, 0.220): prompt. No better than repeating the "
        "answer of the most similar training prompt (nearest, 0.300): prompt."
    )


def test_a_best_that_may_be_no_better_than_the_base_is_doubted() -> None:
    base = replace(BASE, test={"token_f1": score(0.50)})
    found = judge([base, FULL], {"base": 0.2})
    assert found.recommended == "full"
    assert "On these 300 test examples it is not shown to beat base" in found.reason
    assert found.reason.endswith("Warning: full is not measurably better than the untouched model.")


def test_a_lookup_that_wins_is_no_model_to_use() -> None:
    nearest = replace(NEAREST, test={"token_f1": score(0.70)})
    found = judge([BASE, nearest, LORA])
    assert (found.best, found.recommended) == ("nearest", "lora")
    assert found.reason.startswith(
        "No model beats repeating the answer of the most similar training prompt (0.700): the "
        "closest, lora, reaches token F1 0.510"
    )
    assert "lookup is enough" in found.reason


def test_a_lookup_that_ties_is_not_recommended_for_being_cheap() -> None:
    nearest = replace(NEAREST, test={"token_f1": score(0.545)})
    found = judge([nearest, FULL], {"nearest": 0.8})
    assert found.recommended == "full"
    assert "not measurably better than repeating the answer" in found.reason


@pytest.mark.parametrize(
    ("only", "said"),
    [
        (LORA, "lora reaches token F1 0.510 (0.480 to 0.540). It is the only arm"),
        (NEAREST, "Only nearest finished, which repeats the answer"),
    ],
)
def test_one_arm(only: ArmReport, said: str) -> None:
    assert judge([only]).reason.startswith(said)


def test_retrieval_may_be_recommended_and_is_not_called_training() -> None:
    rag = arm("rag", 0.6, seconds=1)
    found = judge([BASE, rag, LORA])
    assert found.recommended == "rag"
    assert "No better" not in found.reason
    assert "No trained" not in judge([replace(BASE, test=rag.test), arm("rag", 0.2)]).reason


def test_validation_loss_tells_equals_apart() -> None:
    one, other = arm("full", 0.5, loss=1.2), arm("lora", 0.5, loss=1.1)
    assert best_arm([one, other], "token_f1") is other


def test_keeping_the_untouched_model_costs_nothing() -> None:
    assert rank_cost(BASE) == (10.0, 0.0)
    alike = arm("lora", 0.22, seconds=0.5, each=1.0)
    assert cheapest([alike, BASE], "token_f1") is BASE
    assert rank_cost(arm("lora", 0.2, megabytes=None))[1] == float("inf")


def test_a_score_that_is_no_number_is_no_score() -> None:
    lost = replace(LORA, test={"token_f1": Score(float("nan"), float("nan"), float("nan"))})
    assert best_arm([lost, BASE], "token_f1") is BASE


@pytest.mark.parametrize(
    ("name", "label", "words", "way", "share"),
    [
        ("token_f1", "Token F1", "token F1", 1, False),
        ("rouge_l", "ROUGE-L", "ROUGE-L", 1, False),
        ("numeric_match", "Numeric match", "numeric match", 1, True),
        ("choice_accuracy", "Choice accuracy", "choice accuracy", 1, True),
        ("perplexity", "Perplexity", "perplexity", -1, False),
        ("my_score", "My score", "my score", 1, False),
    ],
)
def test_names(name: str, label: str, words: str, way: int, share: bool) -> None:
    assert (metric_label(name), metric_words(name)) == (label, words)
    assert (sign(name), is_share(name)) == (way, share)
    bounded = share or name in ("token_f1", "rouge_l")
    assert unit(name, -4.0) == (1.0 if bounded else 4.0)
