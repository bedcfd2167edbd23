"""Linear fits against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from tailorbird.models.linear_fit import fit_labels, fit_values


def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6))
    return x, x @ rng.normal(size=(6, 3)) + rng.normal(size=(120, 3))


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_labels_are_logistic_regressions(c: float) -> None:
    x, y = drawn()
    given = (y > 0.5).astype(float)
    weights, bias = fit_labels(x, given, c)
    for i in range(3):
        other = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x, given[:, i])
        np.testing.assert_allclose(weights[i], other.coef_[0], atol=5e-3)
        assert bias[i] == pytest.approx(other.intercept_[0], abs=5e-3)


def test_a_label_that_is_never_given_is_unlikely() -> None:
    x, _ = drawn()
    weights, bias = fit_labels(x, np.zeros((120, 2)))
    assert (x @ weights.T + bias < -3).all()


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_values_are_ridge_regressions(c: float) -> None:
    x, y = drawn()
    weights, bias = fit_values(x, y, c)
    other = Ridge(alpha=1 / c).fit(x, y)
    np.testing.assert_allclose(weights, other.coef_, atol=1e-5)
    np.testing.assert_allclose(bias, other.intercept_, atol=1e-5)
