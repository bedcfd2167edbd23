"""Regression scores against scikit-learn's and scipy's."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tailorbird.metrics import regression as values
from tailorbird.metrics.slices import by_length, slices


def drawn(n: int = 150, targets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and truths with ties."""
    rng = np.random.default_rng(n + targets)
    truth = np.round(rng.normal(3, 2, (n, targets)), 1)
    return np.round(0.7 * truth + rng.normal(0, 1, (n, targets)), 1), truth


@pytest.mark.parametrize("targets", [1, 3])
def test_scores_are_those_of_other_libraries(targets: int) -> None:
    predicted, truth = drawn(targets=targets)
    found = {k: s.value for k, s in values.score_all([predicted], truth).items()}
    columns = range(targets)
    assert found == pytest.approx(
        {
            "r2": metrics.r2_score(truth, predicted),
            "mse": metrics.mean_squared_error(truth, predicted),
            "rmse": metrics.root_mean_squared_error(truth, predicted),
            "mae": metrics.mean_absolute_error(truth, predicted),
            "pearson": np.mean([stats.pearsonr(predicted[:, i], truth[:, i])[0] for i in columns]),
            "spearman": np.mean(
                [stats.spearmanr(predicted[:, i], truth[:, i])[0] for i in columns]
            ),
        }
    )


def test_a_resamples_ranks_are_those_of_the_drawn_rows() -> None:
    predicted, truth = drawn(80)
    rows = np.random.default_rng(3).integers(0, 80, 80)
    weights = np.bincount(rows, minlength=80).astype(float)[:, None]
    found = values._Column(predicted[:, 0], truth[:, 0]).scores(weights)
    drawn_truth, drawn_predicted = truth[rows, 0], predicted[rows, 0]
    assert found["spearman"][0] == pytest.approx(stats.spearmanr(drawn_predicted, drawn_truth)[0])
    assert found["pearson"][0] == pytest.approx(stats.pearsonr(drawn_predicted, drawn_truth)[0])
    assert found["r2"][0] == pytest.approx(metrics.r2_score(drawn_truth, drawn_predicted))


def test_the_interval_of_a_mean_error_is_scipys_bootstrap() -> None:
    predicted, truth = drawn(200)
    score = values.score_all([predicted], truth)["mae"]
    errors = np.abs(predicted - truth)[:, 0]
    other = stats.bootstrap((errors,), np.mean, method="percentile", n_resamples=4000, rng=1)
    bounds = (other.confidence_interval.low, other.confidence_interval.high)
    assert (score.low, score.high) == pytest.approx(bounds, rel=0.03)


@pytest.mark.parametrize("n", [50, 200])
def test_intervals_cover_the_truth(n: int) -> None:
    """Of 80 samples of a population 95 % of the intervals hold its scores; 3 errors are 6 or 7."""
    predicted, truth = drawn(20_000)
    population = {k: s.value for k, s in values.score_all([predicted], truth).items()}
    rng, held = np.random.default_rng(4), dict.fromkeys(population, 0)
    for _ in range(80):
        rows = rng.integers(0, len(truth), n)
        for name, score in values.score_all([predicted[rows]], truth[rows]).items():
            held[name] += score.low <= population[name] <= score.high
    assert min(held.values()) >= 69, held


def test_the_mean_explains_nothing_and_correlates_with_nothing() -> None:
    _, truth = drawn()
    flat = np.full_like(truth, truth.mean())
    found = values.score_all([flat], truth)
    assert found["r2"].value == pytest.approx(0, abs=1e-9)
    assert found["spearman"].value == found["pearson"].value == 0


def test_the_parts_of_r2_have_it_as_their_mean() -> None:
    predicted, truth = drawn(targets=2)
    assert values.explained(predicted, truth).mean() == pytest.approx(
        metrics.r2_score(truth, predicted)
    )


def test_a_slice_that_is_worse_is_flagged_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    losses = rng.random(400)
    bad = np.arange(400) < 60
    losses[bad] += 0.5
    other = np.arange(400) % 3 == 0
    found = {s.name: s for s in slices(losses, {"bad": bad, "other": other, "few": bad & other})}
    assert found["bad"].worse
    assert not found["other"].worse
    expected = stats.ttest_ind(losses[bad], losses[~bad], equal_var=False, alternative="greater")
    assert found["bad"].p_holm == pytest.approx(3 * expected.pvalue) or found["bad"].p_holm < 1e-9
    assert found["bad"].loss == pytest.approx(losses[bad].mean())


def test_wrong_answers_are_compared_exactly() -> None:
    wrong = np.asarray([1.0] * 12 + [0.0] * 8 + [1.0] * 20 + [0.0] * 160)
    inside = np.arange(200) < 20
    (found,) = slices(wrong, {"these": inside})
    expected = stats.fisher_exact([[12, 8], [20, 160]], alternative="greater").pvalue
    assert found.p_holm == pytest.approx(expected)
    assert found.worse


def test_quarters_by_length() -> None:
    parts = by_length(np.arange(1, 101))
    assert [int(inside.sum()) for inside in parts.values()] == [25, 25]
    assert list(parts) == ["short texts (26 words or fewer)", "long texts (75 words or more)"]
