"""Scores of rankings, against trec_eval's own code."""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings, strategies as st

from tailorbird.metrics.ranking import (
    average_precision,
    mean_scores,
    ndcg,
    precision,
    rank_of,
    rank_scores,
    recall,
    reciprocal_rank,
)

THEIRS = {
    "ndcg@1": "ndcg_cut_1",
    "ndcg@3": "ndcg_cut_3",
    "ndcg@10": "ndcg_cut_10",
    "recall@5": "recall_5",
    "recall@20": "recall_20",
    "precision@5": "P_5",
    "precision@10": "P_10",
    "mrr": "recip_rank",
    "map": "map",
}
DOCUMENTS = [f"d{i}" for i in range(30)]


def trec_eval(ranking: list[str], judged: dict[str, int]) -> dict[str, float]:
    """Return trec_eval's scores: scores fall with rank, so that it sees no ties."""
    run = {name: float(len(ranking) - place) for place, name in enumerate(ranking)}
    measures = {"ndcg_cut.1,3,10", "recall.5,20", "P.5,10", "recip_rank", "map"}
    return pytrec_eval.RelevanceEvaluator({"q": judged}, measures).evaluate({"q": run})["q"]


@given(
    st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=25, unique=True),
    st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_scores_are_those_of_trec_eval(ranking: list[str], judged: dict[str, int]) -> None:
    ours = rank_scores([ranking], [judged], ks=(1, 3, 5, 10, 20))
    theirs = trec_eval(ranking, judged)
    for name, other in THEIRS.items():
        assert ours[name][0] == pytest.approx(theirs[other], abs=1e-9), name


def test_closed_forms() -> None:
    ranking, judged = ["a", "b", "c", "d"], {"b": 2, "d": 1, "z": 1}
    assert recall(ranking, judged, 2) == pytest.approx(1 / 3)
    assert precision(ranking, judged, 4) == pytest.approx(2 / 4)
    assert precision(ranking, judged, 10) == pytest.approx(2 / 10), "empty places are wrong"
    assert reciprocal_rank(ranking, judged) == pytest.approx(1 / 2)
    assert reciprocal_rank(ranking, judged, k=1) == 0
    assert average_precision(ranking, judged) == pytest.approx((1 / 2 + 2 / 4) / 3)
    gained = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranking, judged, 10) == pytest.approx(gained / ideal)
    assert rank_of(ranking, judged) == 2
    assert rank_of(["x"], judged) is None


@pytest.mark.parametrize("judged", [{}, {"a": 0}, {"a": -1}])
def test_a_query_without_a_right_document_scores_nothing(judged: dict[str, int]) -> None:
    found = rank_scores([["a", "b"]], [judged])
    assert {float(values[0]) for values in found.values()} == {0.0}


def test_nothing_found_scores_nothing() -> None:
    assert {float(values[0]) for values in rank_scores([[]], [{"a": 1}]).values()} == {0.0}


def test_negative_grades_are_no_gain() -> None:
    assert ndcg(["a", "b"], {"a": -2, "b": 1}, 2) == pytest.approx(1 / math.log2(3))


def test_means_have_intervals_that_hold_them() -> None:
    rng = np.random.default_rng(3)
    each = {"ndcg@10": rng.random(200), "recall@5": (rng.random(200) < 0.7).astype(float)}
    scores = mean_scores(each)
    for name, values in each.items():
        score = scores[name]
        assert score.value == pytest.approx(values.mean())
        assert score.low < score.value < score.high
        # The normal approximation is good for 200 queries.
        half = 1.96 * values.std(ddof=1) / math.sqrt(200)
        assert score.high - score.low == pytest.approx(2 * half, rel=0.1)
