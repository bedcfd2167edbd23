"""Scores of written answers with intervals, and the choice of the headline."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from tailorbird.errors import UserError
from tailorbird.metrics.answer_scores import (
    headline_of,
    holds_numbers,
    label_set,
    score_answers,
    score_texts,
    which_metrics,
)


def test_zero_or_one_has_wilsons_interval() -> None:
    values = np.repeat([1.0, 0.0], [17, 3])
    score = score_answers({"exact_match": values})["exact_match"]
    theirs = binomtest(17, 20).proportion_ci(method="wilson")
    assert (score.value, score.low, score.high) == pytest.approx((0.85, theirs.low, theirs.high))
    assert score_answers({"f": np.ones(20)})["f"].low == pytest.approx(0.8389, abs=1e-4)


def test_means_have_the_bootstraps_interval() -> None:
    values = np.random.default_rng(0).beta(2, 1, 200)
    score = score_answers({"token_f1": values})["token_f1"]
    theirs = bootstrap((values,), np.mean, method="percentile", rng=5).confidence_interval
    assert score.value == pytest.approx(values.mean())
    assert (score.low, score.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_loss_is_per_token_and_perplexity_its_exponential() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 60, 150)
    sums = counts * rng.gamma(2, 0.5, 150)
    scores = score_answers({}, sums, counts)
    assert list(scores) == ["loss", "perplexity"]
    loss = scores["loss"]
    assert loss.value == pytest.approx(sums.sum() / counts.sum())
    theirs = bootstrap(
        (sums, counts),
        lambda s, c, axis=-1: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        method="percentile",
        rng=5,
    ).confidence_interval
    # An imagined example as far out as the farthest makes ours a little wider.
    assert loss.low - 0.01 < theirs.low < theirs.high < loss.high + 0.01
    assert (loss.low, loss.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    expected = np.exp([loss.value, loss.low, loss.high])
    got = scores["perplexity"]
    assert (got.value, got.low, got.high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("n", [50, 300])
def test_intervals_cover_the_truth(n: int) -> None:
    """Of 200 test sets of one population the intervals hold its mean and its ratio about 95 %."""
    rng = np.random.default_rng(2)
    inside = np.zeros(2)
    for _ in range(200):
        # Half of the answers are right or wrong altogether, as F1 of short answers is.
        values = np.where(rng.random(n) < 0.5, rng.random(n) < 0.6, rng.beta(2, 2, n))
        counts = rng.integers(5, 50, n)
        sums = counts * rng.gamma(4, 0.25, n)
        scores = score_answers({"token_f1": values}, sums, counts)
        for i, (score, truth) in enumerate([(scores["token_f1"], 0.55), (scores["loss"], 1.0)]):
            inside[i] += score.low <= truth <= score.high
    assert inside.min() / 200 >= 0.87  # 95 % less five standard errors
    assert inside.max() / 200 <= 0.995


def test_seeds_are_means_and_equal_seeds_no_more_evidence() -> None:
    rng = np.random.default_rng(3)
    values, sums, counts = rng.random(80), rng.random(80) * 9, rng.integers(1, 9, 80)
    right = (rng.random(80) < 0.7).astype(float)
    one = score_answers({"f": values, "e": right}, sums, counts)
    two = score_answers(
        {"f": np.stack([values] * 2), "e": np.stack([right] * 2)}, np.stack([sums] * 2), counts
    )
    for name, score in one.items():
        assert vars_of(two[name]) == pytest.approx(vars_of(score)), name
    mixed = score_answers({"f": np.stack([values, 1 - values])})["f"]
    assert mixed.value == pytest.approx(0.5)


def vars_of(score: object) -> tuple[float, float, float]:
    return score.value, score.low, score.high  # type: ignore[attr-defined]


def test_edges() -> None:
    assert score_answers({}, np.zeros(3), np.zeros(3, dtype=int)) == {}
    with pytest.raises(ValueError, match="no examples"):
        score_answers({"f": np.empty(0)})
    # One example with tokens among many without: no resample divides by nothing.
    scores = score_answers({}, np.r_[2.0, np.zeros(30)], np.r_[1, np.zeros(30, dtype=int)])
    assert scores["loss"].value == 2.0
    assert np.isfinite(vars_of(scores["loss"])).all()
    huge = score_answers({}, np.full(3, 1e6), np.ones(3, dtype=int))
    assert np.isfinite(huge["perplexity"].value)


GSM = ["2 + 2 = 4\n#### 4", "so\n#### -1,200", "####$3.50"]


def test_headline_follows_the_answers() -> None:
    assert headline_of("auto", GSM) == "numeric_match"
    assert headline_of("auto", ["yes", "no", "yes", "no"]) == "choice_accuracy"
    assert headline_of("auto", ["yes", "no", "maybe"]) == "token_f1"
    assert headline_of("auto", ["yes", "yes"]) == "token_f1"
    assert headline_of("rouge_l", GSM) == "rouge_l"
    assert headline_of("my/metric.py:length", GSM) == "length"
    assert headline_of("auto", []) == "token_f1"


def test_unknown_headlines_are_named() -> None:
    with pytest.raises(UserError, match=r"'rouge'.*did you mean 'rouge_l'"):
        headline_of("rouge", GSM)
    with pytest.raises(UserError, match="3 different among 3"):
        headline_of("choice_accuracy", GSM)


def test_label_sets() -> None:
    many = [f"label {i}" for i in range(21)] * 3
    assert label_set(many) == ()
    assert label_set(many[:20] * 2) == tuple(sorted(many[:20]))
    assert label_set(["b ", "b", "a", "a"]) == ("a", "b")
    # One slip among 40 is a label that is not repeated, one among 4 says these are no labels.
    assert label_set(["a", "b"] * 20 + ["c"]) == ("a", "b", "c")
    assert label_set(["a", "a", "b", "c"]) == ()


def test_numbers_must_be_in_nearly_all() -> None:
    assert holds_numbers(GSM * 10 + ["no number"])
    assert not holds_numbers([*GSM, "no number"])
    assert not holds_numbers(["#### heading"])
    assert which_metrics(["a b", "c"]) == ("token_f1", "rouge_l", "exact_match")
    assert "numeric_match" in which_metrics(GSM)


def test_score_texts() -> None:
    values = score_texts(["a cat", "7"], ["the cat", "#### 7"], ("exact_match", "numeric_match"))
    assert {name: each.tolist() for name, each in values.items()} == {
        "exact_match": [1.0, 1.0],
        "numeric_match": [0.0, 1.0],
    }
