import math

import pytest
from hypothesis import given, strategies as st

from tailorbird.metrics import display
from tailorbird.records import Score


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.8812, "88.1 %"), (0, "0.0 %"), (1, "100.0 %"), (None, "–"), (math.nan, "–")],
)
def test_percent(value: float | None, words: str) -> None:
    assert display.percent(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0002, "< 1 ms"),
        (0.34, "340 ms"),
        (0.9999, "1.0 s"),
        (4.24, "4.2 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (80, "1 min 20 s"),
        (119.7, "2 min"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert display.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(42, "42 s"), (60, "1.0 min"), (80, "1.3 min"), (740, "12 min"), (3600, "1.0 h"),
     (90_000, "1.0 d"), (None, "–")],
)  # fmt: skip
def test_brief_duration(seconds: float | None, words: str) -> None:
    assert display.brief_duration(seconds) == words


@given(st.floats(0, 1e8))
def test_brief_duration_fits_a_narrow_column(seconds: float) -> None:
    words = display.brief_duration(seconds)
    assert len(words) <= 8
    assert len(words.split()) <= 2 or words == "< 1 ms"


@pytest.mark.parametrize(
    ("value", "words"),
    [(999, "999 B"), (1000, "1 kB"), (412_000_000, "412 MB"), (1_312_000_000, "1.3 GB"),
     (999_950_000, "1 GB"), (0, "0 B"), (None, "–")],
)  # fmt: skip
def test_size(value: int | None, words: str) -> None:
    assert display.size(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(384, "384"), (12_300, "12.3 k"), (1_182_732, "1.2 M"), (22_713_216, "22.7 M"),
     (7_240_000_000, "7.2 B"), (None, "–")],
)  # fmt: skip
def test_count(value: int | None, words: str) -> None:
    assert display.count(value) == words


@given(st.integers(1, 10**12))
def test_count_is_near_the_truth(value: int) -> None:
    number, _, unit = display.count(value).partition(" ")
    scale = {"": 1, "k": 1e3, "M": 1e6, "B": 1e9}[unit]
    assert math.isclose(float(number) * scale, value, rel_tol=0.05)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.002, "0.002 ms"), (5.13, "5.1 ms"), (31.4, "31 ms"), (2500, "2.5 s"), (None, "–")],
)
def test_milliseconds(value: float | None, words: str) -> None:
    assert display.milliseconds(value) == words


@pytest.mark.parametrize(
    ("difference", "words"), [(-0.0067, "−0.7"), (0.0213, "+2.1"), (0.0, "0.0"), (-0.0001, "0.0")]
)
def test_points(difference: float, words: str) -> None:
    assert display.points(difference) == words


@pytest.mark.parametrize(
    ("p", "words"), [(0.0, "< 0.001"), (0.0009, "< 0.001"), (0.049, "0.049"), (1.0, "1.000")]
)
def test_p_value_is_never_zero(p: float, words: str) -> None:
    assert display.p_value(p) == words


def test_interval() -> None:
    assert display.metric_range("accuracy", Score(0.881, 0.842, 0.915)) == "84.2–91.5"
    assert display.metric_range("macro_f1", Score(0.881, 0.842, 0.915)) == "0.842–0.915"
    assert display.metric_range("accuracy", Score(0.5, 0.5, 0.5)) == ""
    assert display.metric_range("accuracy", None) == ""


@pytest.mark.parametrize(
    ("name", "label"),
    [("macro_f1", "Macro-F1"), ("ndcg_at_10", "Ndcg at 10"), ("accuracy", "Accuracy")],
)
def test_metric_label(name: str, label: str) -> None:
    assert display.metric_label(name) == label


def test_metric_is_percent_only_for_shares() -> None:
    assert display.metric("accuracy", 0.5) == "50.0 %"
    assert display.metric("top_3_accuracy", 0.5) == "50.0 %"
    assert display.metric("log_loss", 0.5) == "0.500"
    assert display.metric("rmse", 12_345.6) == "12,346"


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(22, 22, "100 %"), (1_182_732, 22_713_216, "5.2 %"), (4_620, 22_713_216, "0.02 %"),
     (None, 5, ""), (5, None, "")],
)  # fmt: skip
def test_share_of(part: int | None, whole: int | None, words: str) -> None:
    assert display.share_of(part, whole) == words


def test_exact_is_zero_only_when_it_is() -> None:
    assert display.exact(0.0) == "0"
    assert display.exact(1e-12) == "1e-12"


def test_plural() -> None:
    assert display.plural(1, "class", "classes") == "1 class"
    assert display.plural(1200, "text") == "1,200 texts"


def test_rate() -> None:
    assert display.rate(14_200) == "14.2 k /s"
    assert display.rate(118.4) == "118 /s"
    assert display.rate(2.34) == "2.3 /s"
    assert display.rate(None) == "–"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(2.0, 2.5, "+25.0 %"), (2.0, 1.9, "−5.0 %"), (2.0, 2.0, "0.0 %"), (0.0, 1.0, "–"),
     (2.0, math.inf, "–")],
)  # fmt: skip
def test_change(before: float, after: float, words: str) -> None:
    assert display.change(before, after) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.4124, "0.412"), (-0.1071, "−0.107"), (-0.0004, "0.000"), (-12.34, "−12.3"),
     (1234.5, "1,234"), (None, "–")],
)  # fmt: skip
def test_decimal(value: float | None, words: str) -> None:
    assert display.decimal(value) == words


def test_a_range_below_zero_cannot_be_taken_for_one_above() -> None:
    assert display.metric_range("r2", Score(-0.05, -0.107, -0.0004)) == "−0.107 to 0.000"
    assert display.metric_range("r2", Score(0.5, 0.41, 0.6)) == "0.410–0.600"


def test_one_answer_is_written_as_reports_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    from tailorbird.cli.show_results import say_one

    say_one({"label": "a", "confidence": 0.612, "probabilities": {"a": 0.612, "b": 0.388}})
    assert capsys.readouterr().out.splitlines()[:2] == [
        "a  (61.2 %)",
        "  a   61.2 %  ##################",
    ]
