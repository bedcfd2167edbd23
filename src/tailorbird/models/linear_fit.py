"""Linear fits on fixed features, for probes and initial heads."""

from typing import Any

import numpy as np

_STEPS = 300


def fit_classes(
    features: np.ndarray, targets: np.ndarray, c: float = 1.0, **how: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression with one row per class, where scikit-learn has one for two.

    Args:
        features: ``[n, width]``.
        targets: Class ids ``[n]``.
        c: Inverse of the penalty.
        how: Further arguments of scikit-learn's logistic regression.

    Returns:
        Weights ``[classes, width]`` and intercepts ``[classes]``.
    """
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=c, **how).fit(features, targets)
    weights, bias = fit.coef_, fit.intercept_
    if len(weights) > 1:
        return weights, bias
    return np.concatenate([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])


def fit_labels(
    features: np.ndarray, targets: np.ndarray, c: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression per label, all at once by L-BFGS.

    The objective of each label is scikit-learn's: ``c`` times the summed loss plus half the
    squared weights; the intercept is not penalised.

    Args:
        features: ``[n, width]``.
        targets: 0 and 1 ``[n, labels]``.
        c: Inverse of the penalty.

    Returns:
        Weights ``[labels, width]`` and intercepts ``[labels]``, float32.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x, y = features.astype(np.float32), targets.astype(np.float32)
    width, labels = x.shape[1], y.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:-labels].reshape(labels, width), flat[-labels:]
        logits = x @ weights.T.astype(np.float32) + bias.astype(np.float32)
        errors = expit(logits) - y
        value = c * float(np.logaddexp(0, logits).sum(dtype=np.float64) - (logits * y).sum())
        slope = c * (errors.T @ x).astype(np.float64) + weights
        gradient = np.concatenate([slope.ravel(), c * errors.sum(axis=0, dtype=np.float64)])
        return value + 0.5 * float((weights**2).sum()), gradient

    shares = np.clip(y.mean(axis=0, dtype=np.float64), 1e-4, 1 - 1e-4)
    start = np.concatenate([np.zeros(labels * width), np.log(shares / (1 - shares))])
    flat = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    weights, bias = flat[:-labels].reshape(labels, width), flat[-labels:]
    return weights.astype(np.float32), bias.astype(np.float32)


def fit_values(
    features: np.ndarray, values: np.ndarray, c: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression per target, in closed form.

    Args:
        features: ``[n, width]``.
        values: ``[n, targets]``.
        c: Inverse of the penalty on the squared weights.

    Returns:
        Weights ``[targets, width]`` and intercepts ``[targets]``, float32.
    """
    x, y = features.astype(np.float64), values.astype(np.float64)
    middle, mean = x.mean(axis=0), y.mean(axis=0)
    x = x - middle
    covariance = x.T @ x + np.eye(x.shape[1]) / c
    weights = np.linalg.solve(covariance, x.T @ (y - mean)).T
    return weights.astype(np.float32), (mean - weights @ middle).astype(np.float32)
