"""What more labels buy: against curves whose true continuation is known."""

import numpy as np
import pytest

from tailorbird.metrics.learning_curve import curve_scores, gains

SIZES = (100, 200, 400, 800)


def draws(truth: list[float], tested: int, seed: int, seeds: int = 3) -> list[np.ndarray]:
    """Return right or wrong of each training, with test examples that are hard or easy for all."""
    random = np.random.default_rng(seed)
    hardness = random.random(tested)
    noise = [random.normal(0, 0.1, (seeds, tested)) for _ in truth]
    return [((hardness + n) < t).astype(float) for t, n in zip(truth, noise, strict=True)]


def power(n: float) -> float:
    return 0.92 - 2.2 * n**-0.5


def test_intervals_hold_what_a_power_law_goes_on_to() -> None:
    # What is promised is of examples like those tested, not of these; trainings differ by luck.
    holds, off = [], []
    for seed in range(100):
        luck = 0.08 * np.random.default_rng(1000 + seed).normal(size=5) / np.sqrt((*SIZES, 1600))
        curve = [power(n) + e for n, e in zip((*SIZES, 1600), luck, strict=True)]
        values = draws(curve[:4], 600, seed)
        gain = gains(SIZES, [*values[:3], values[3][:1]], [1600])[0]
        truth = curve[4] - curve[3]
        holds.append(gain.low <= truth <= gain.high)
        off.append(gain.gain - truth)
    assert 0.85 <= np.mean(holds) <= 0.99
    assert abs(np.mean(off)) < 0.004


def test_where_the_scores_say_little_what_is_usual_counts() -> None:
    few, many = (
        [gains(SIZES, draws([0.8] * 4, tested, seed), [1600])[0] for seed in range(15)]
        for tested in (45, 5000)
    )
    assert np.mean([g.gain for g in few]) > 3 * abs(np.mean([g.gain for g in many]))
    assert all(f.high - f.low > 2 * (m.high - m.low) for f, m in zip(few, many, strict=True))


def test_a_curve_that_is_flat_cannot_tell() -> None:
    gain = gains(SIZES, draws([0.8] * 4, 400, 1), [1600])[0]
    assert gain.why_not == "the interval holds zero" and abs(gain.gain) < 0.02


def test_a_curve_that_falls_cannot_tell() -> None:
    gain = gains(SIZES, draws([0.5, 0.7, 0.9, 0.6], 400, 2), [1600])[0]
    assert gain.why_not == "fewer examples scored better than all of them"


def test_few_test_examples_cannot_tell() -> None:
    gain = gains(SIZES, draws([power(n) for n in SIZES], 30, 3), [1000])[0]
    assert gain.why_not == "fewer than 40 test examples" and gain.more == 200


def test_grouped_examples_say_less() -> None:
    values = draws([power(n) for n in SIZES], 400, 4)
    alone = gains(SIZES, values, [1600])[0]
    copies = [np.repeat(v, 5, axis=1) for v in values]
    groups = np.repeat(np.arange(400), 5)
    together = gains(SIZES, copies, [1600], groups)[0]
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_nothing_is_said_beyond_twice_the_data_or_from_two_sizes() -> None:
    values = draws([0.5, 0.6, 0.7, 0.75], 100, 5)
    with pytest.raises(ValueError, match="twice"):
        gains(SIZES, values, [1601])
    with pytest.raises(ValueError, match="three sizes"):
        gains(SIZES[:2], values[:2], [300])


def test_scores_have_every_training() -> None:
    values = draws([0.5, 0.7], 200, 6)
    scores = curve_scores((10, 20), values)
    assert [s.runs for s in scores] == [tuple(v.mean(axis=1)) for v in values]
    assert all(s.low < s.score < s.high for s in scores)
