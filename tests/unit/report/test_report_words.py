from dataclasses import replace

import pytest
from sample import sample_report

from tailorbird.records import (
    ArmReport,
    CalibrationBin,
    ClassScore,
    CurvePoint,
    ReloadCheck,
    Report,
    Score,
)  # fmt: skip
from tailorbird.report import captions
from tailorbird.report.confusion import confused_pairs, heat_map
from tailorbird.report.report_facts import Against


def curve(*losses: float) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(100 * (i + 1), i + 1.0, 0.1, loss, 0.9, 1e-3) for i, loss in enumerate(losses)
    )


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((2.0, 1.0, 0.5, 0.25), "still falling"),
        ((2.0, 1.0, 0.5, 0.499), "levelled off by step 400"),
        ((2.0, 1.0, 0.5, 0.6), "lowest at step 300 and then rose by 20 %"),
        ((2.0, float("nan")), ""),
        ((), ""),
    ],
)
def test_learning(losses: tuple[float, ...], said: str) -> None:
    words = captions.learning(ArmReport("a", "ok", curve=curve(*losses)))
    assert said in words
    assert bool(words) == bool(said)


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (0.8, "Neither overconfident"),
        (0.7, "It is overconfident"),
        (0.95, "It is underconfident"),
    ],
)
def test_calibration(accuracy: float, said: str) -> None:
    arm = ArmReport("a", "ok", calibration=(CalibrationBin(0.8, accuracy, 50),))
    assert said in captions.calibration(arm)
    assert f"differ by {abs(80 - 100 * accuracy):.1f} points" in captions.calibration(arm)


def test_nothing_to_say() -> None:
    bare = ArmReport("a", "ok")
    assert captions.calibration(bare) == captions.per_class(bare) == captions.learning(bare) == ""
    assert captions.confusion(bare, ("x",)) == ""
    assert "no errors" in captions.confusion(
        ArmReport("a", "ok", confusion=((3, 0), (0, 2))), ("x", "y")
    )


def test_per_class_names_both_ends() -> None:
    rows = tuple(
        ClassScore(name, f1, f1, Score(f1, f1, f1), 9) for name, f1 in (("x", 0.9), ("y", 0.25))
    )
    words = captions.per_class(ArmReport("a", "ok", per_class=rows))
    assert words.startswith("Weakest: y (F1 0.250); strongest: x (0.900).")


def test_reload() -> None:
    same = captions.reload(ReloadCheck(True, 200, 0.0))
    assert same == "Reloaded in a fresh process: identical on 200 examples, max difference 0."
    other = captions.reload(ReloadCheck(False, 200, 0.02, "The head was lost."))
    assert "NOT identical" in other and "0.02" in other and other.endswith("The head was lost.")


def test_significance(report: Report) -> None:
    tied = replace(report, verdict=replace(report.verdict, tied_with=("a",)))
    gap = Score(-0.0213, -0.04, 0.0)
    assert captions.significance(tied, Against("a", gap, 1.0, "t")) == "as good, within the margin"
    assert captions.significance(tied, Against("b", gap, 0.2, "t")) == "no significant difference"
    assert captions.significance(tied, Against("b", gap, 0.01, "t")) == "worse by 2.1 points"


def test_scatter_caption_names_what_fell_off(report: Report) -> None:
    assert captions.scatter(report).endswith("Far below the axis: majority.")
    assert "(full)" in captions.scatter(report)


def test_confused_pairs_are_the_largest_first() -> None:
    pairs = confused_pairs(("x", "y", "z"), ((5, 2, 0), (4, 1, 1), (0, 2, 2)))
    assert [(p.label, p.predicted, p.count, p.support) for p in pairs] == [
        ("y", "x", 4, 6), ("z", "y", 2, 4), ("x", "y", 2, 7), ("y", "z", 1, 6),
    ]  # fmt: skip
    assert confused_pairs((), ((1,),)) == []


def test_heat_map() -> None:
    rows = heat_map(("x", "y"), ((50, 1), (0, 0)))
    (label, cells), (_, empty) = rows
    assert label == "x"
    assert [(c.count, c.level, c.correct) for c in cells] == [(50, 9, True), (1, 1, False)]
    assert [c.level for c in empty] == [0, 0]
    assert heat_map(("x",), ((1, 0), (0, 1))) == []
    assert heat_map(tuple(map(str, range(21))), tuple((0,) * 21 for _ in range(21))) == []


def test_precision_and_processor_are_told() -> None:
    arm = ArmReport("lora", "ok", settings={"precision": "bf16", "device": "cpu"})
    told = captions.machine(
        replace(
            sample_report(),
            arms=(arm, ArmReport("probe", "ok")),
            environment={"machine": {"processor": "Some CPU 9000"}},
        )
    )
    assert told == "Trained in bf16 on Some CPU 9000."
    assert captions.machine(replace(sample_report(), arms=(ArmReport("probe", "ok"),))) == ""
