import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.records import ArmReport, CalibrationBin, CurvePoint, Report
from tailorbird.report import cost_plot, svg
from tailorbird.report.arm_plots import accuracy_curve, calibration_plot, loss_curve
from tailorbird.report.cost_plot import Rect, cost_scatter, place_names


def texts(picture: str) -> list[str]:
    return ["".join(t.itertext()) for t in ElementTree.fromstring(picture).iter("text")]


def arm(report: Report, name: str) -> ArmReport:
    return next(a for a in report.arms if a.name == name)


def test_scale_is_linear_or_logarithmic() -> None:
    assert svg.Scale(0, 10, 100, 200)(2.5) == 125
    assert svg.Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
    assert svg.Scale(0, 1, 0, 10).clamped(7) == 10
    assert svg.Scale(3, 3, 0, 10)(3) == 5


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    high = low + span
    found = svg.ticks(low, high)
    assert 3 <= len(found) <= 8
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.63, 0.93, [0.65, 0.7, 0.75, 0.8, 0.85, 0.9]),
        (20, 240, [50, 100, 150, 200]),
        (3, 3, [3]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_numbers_on_an_axis_have_the_same_decimals() -> None:
    write = svg.evenly([0.0, 0.5, 1.0], share=False)
    assert [write(v) for v in (0.0, 0.5, 1.0)] == ["0.0", "0.5", "1.0"]
    write = svg.evenly([0.875, 0.9], share=True)
    assert [write(v) for v in (0.875, 0.9)] == ["87.5 %", "90.0 %"]


def test_text_is_escaped() -> None:
    assert "<b>" not in svg.text(0, 0, "<b>&") + svg.frame(1, 1, '"<b>', [])
    assert "<b>" not in svg.circle(0, 0, 1, "dot", "<b>") + svg.box(0, 0, 1, 1, "x", "<b>")


@pytest.mark.parametrize("wide", [True, False])
def test_scatter_shows_every_scored_arm(troubled: Report, wide: bool) -> None:
    said = " ".join(texts(cost_scatter(troubled, wide=wide)))
    for each in troubled.arms:
        assert (each.name in said.split()) == (each.status == "ok"), each.name


def test_scatter_marks_what_is_below_the_axis(report: Report) -> None:
    said = texts(cost_scatter(report))
    below = arm(report, "majority").test["accuracy"].value
    assert f"majority {100 * below:.1f} % ↓" in said


def test_scatter_puts_better_higher_and_dearer_to_the_right(report: Report) -> None:
    picture = ElementTree.fromstring(cost_scatter(report))
    at = {}
    for dot in picture.iter("circle"):
        title = dot.find("title")
        assert title is not None and title.text
        at[title.text.split(":")[0]] = (float(dot.get("cx", 0)), float(dot.get("cy", 0)))
    assert at["full"][1] < at["lora"][1] < at["probe"][1] < at["prompt"][1]
    assert at["probe"][0] < at["rag"][0] < at["lora"][0] < at["qlora"][0]


def test_scatter_without_costs_or_arms_is_absent(report: Report) -> None:
    bare = tuple(replace(a, cost=replace(a.cost, predict_ms_per_example=None)) for a in report.arms)
    assert cost_scatter(replace(report, arms=bare)) == ""
    assert cost_scatter(replace(report, arms=())) == ""


def test_scatter_of_one_arm(report: Report) -> None:
    assert "lora" in texts(cost_scatter(replace(report, arms=(arm(report, "lora"),))))


def test_pictures_are_the_same_every_time(report: Report) -> None:
    assert cost_scatter(report) == cost_scatter(report)


spots = st.lists(
    st.tuples(st.floats(60, 800), st.floats(30, 360)).map(lambda p: (round(p[0]), round(p[1]))),
    min_size=1, max_size=9, unique_by=(lambda p: p[0] // 40, lambda p: p[1] // 30),
)  # fmt: skip


# The search for places is a good one, not a complete one; on a busy machine it is slow.
@settings(derandomize=True, deadline=None)
@given(spots)
def test_names_do_not_overlap_each_other(points: list[tuple[int, int]]) -> None:
    bounds = Rect(50, 10, 870, 370)
    dots = [(float(x), float(y), f"method-{i}") for i, (x, y) in enumerate(points)]
    rects = [place.rect for place in place_names(dots, [], bounds)]
    for i, one in enumerate(rects):
        assert one.outside(bounds) == 0
        assert all(one.overlap(other) == 0 for other in rects[i + 1 :])


def test_names_of_a_crowd_do_not_overlap() -> None:
    crowd = [(400.0 + 7 * i, 100.0 + (i % 3) * 6, name) for i, name in enumerate(
        ["lora", "qlora", "adapter", "full", "rag+best", "prompt"])]  # fmt: skip
    rects = [place.rect for place in place_names(crowd, [], Rect(50, 10, 870, 370))]
    assert sum(a.overlap(b) for i, a in enumerate(rects) for b in rects[i + 1 :]) == 0


def test_loss_curve(report: Report) -> None:
    said = texts(loss_curve(arm(report, "lora").curve))
    assert {"Loss", "training", "validation", "training step →"} <= set(said)
    assert loss_curve(()) == ""
    assert loss_curve(arm(report, "lora").curve[:1]) == ""


def test_curves_bear_infinite_losses() -> None:
    bad = tuple(
        CurvePoint(step, 1.0, math.nan, value, 0.5, 1e-4)
        for step, value in ((1, math.inf), (2, 1.0), (3, 0.5))
    )
    assert "nan" not in loss_curve(bad)
    assert "inf" not in loss_curve(bad)
    assert accuracy_curve(bad)


def test_accuracy_curve_names_its_highest_point(report: Report) -> None:
    curve = arm(report, "lora").curve
    top = max(point.validation_accuracy for point in curve)
    assert f"{100 * top:.1f} %" in texts(accuracy_curve(curve))
    assert accuracy_curve(()) == ""


def test_calibration_dots_stand_where_they_should() -> None:
    bins = (CalibrationBin(0.5, 0.5, 10), CalibrationBin(0.9, 0.7, 40), CalibrationBin(0.2, 0, 0))
    picture = ElementTree.fromstring(calibration_plot(bins))
    dots = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in picture.iter("circle")]
    assert dots == [(196.0, 146.0), (316.0, 98.0)]
    assert {"10", "40"} <= set(texts(calibration_plot(bins)))
    assert calibration_plot(()) == ""
    assert calibration_plot(bins[2:]) == ""


def test_bins_of_a_few_texts_are_joined() -> None:
    bins = [CalibrationBin(0.1 * i, i % 2, 3) for i in range(1, 9)]
    picture = ElementTree.fromstring(calibration_plot(bins))
    # 24 texts: twice twelve, of which half were right, at the mean confidences 0.25 and 0.65.
    dots = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in picture.iter("circle")]
    assert dots == [(121.0, 146.0), (241.0, 146.0)]


def test_names_of_the_losses_stand_beside_the_lines(report: Report) -> None:
    picture = ElementTree.fromstring(loss_curve(arm(report, "lora").curve))
    ends = [
        float(point.partition(",")[0])
        for line in picture.iter("polyline")
        for point in line.attrib["points"].split()
    ]
    named = {t.text: t for t in picture.iter("text")}
    own, other = named["validation"], named["training"]
    assert min(float(own.attrib["x"]), float(other.attrib["x"])) > max(ends)
    assert abs(float(own.attrib["y"]) - float(other.attrib["y"])) >= 15


def test_no_colour_is_fixed(report: Report) -> None:
    pictures = cost_scatter(report) + "".join(
        loss_curve(a.curve) + accuracy_curve(a.curve) + calibration_plot(a.calibration)
        for a in report.arms
    )
    assert not re.search(r"fill=|stroke=|style=|#[0-9a-f]{3,6}", pictures)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (700, 1100, ["12 min", "14 min", "16 min", "18 min"]),
        (9000, 16000, ["2 h 30 min", "3 h", "3 h 30 min", "4 h"]),
        (3.1, 4.4, ["3.5 s", "4.0 s"]),
    ],
)
def test_times_between_the_round_ones_are_whole(low: float, high: float, told: list[str]) -> None:
    x = svg.Scale(low, high, 0, 100, log=True)
    assert list(cost_plot._time_marks(x).values()) == told
