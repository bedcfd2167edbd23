from dataclasses import replace

import pytest
from sample_written import written_report
from test_report_page import words

from tailorbird.metrics.cost import rank_cost
from tailorbird.records import ArmReport, Comparison, Cost, Report, Score, TuningSections, Verdict
from tailorbird.report import report_facts
from tailorbird.report.comparison_page import render_page
from tailorbird.report.page_template import flatten


def test_order_is_by_score_with_the_unfinished_last(troubled: Report) -> None:
    ordered = report_facts.by_score(troubled)
    scored = [arm.test["accuracy"].value for arm in ordered if arm.test]
    assert scored == sorted(scored, reverse=True)
    assert [arm.status for arm in ordered[-2:]] == ["failed", "skipped"]
    assert {arm.name for arm in ordered} == {arm.name for arm in troubled.arms}


def test_recommended_is_read_first(report: Report) -> None:
    assert report_facts.by_interest(report)[0].name == report.verdict.recommended


def test_lower_is_better_for_errors(report: Report) -> None:
    few = [
        ArmReport(name, "ok", test={"rmse": Score(value, value, value)})
        for name, value in (("far", 3.0), ("near", 1.0))
    ]
    numbers = replace(report, arms=tuple(few))
    assert report_facts.headline_metric(numbers) == "rmse"
    assert [arm.name for arm in report_facts.finished(numbers)] == ["near", "far"]
    assert report_facts.second_metric(numbers) is None


def test_headline_metric_without_scores(report: Report) -> None:
    assert report_facts.headline_metric(replace(report, arms=())) == "accuracy"


def test_make_seconds() -> None:
    assert report_facts.make_seconds(ArmReport("a", "ok")) is None
    assert report_facts.make_seconds(ArmReport("a", "ok", cost=Cost(train_seconds=2.0))) == 2.0
    both = Cost(train_seconds=2.0, search_seconds=3.0)
    assert report_facts.make_seconds(ArmReport("a", "ok", cost=both)) == 5.0


def test_total_seconds_is_what_the_verdict_weighs(report: Report) -> None:
    for arm in report.arms:
        assert report_facts.total_seconds(arm) == rank_cost(arm)[0]
    assert report_facts.total_seconds(ArmReport("unmeasured", "ok")) is None


def test_against_best_is_turned_to_arm_minus_best(report: Report) -> None:
    gap = Score(0.02, -0.01, 0.05)
    pairs = (
        Comparison("full", "lora", gap, 0.5, 1.0, "t"),
        Comparison("rag", "full", gap, 0, 0, "t"),
    )
    own = replace(report, comparisons=pairs, verdict=Verdict("full", "lora", (), ""))
    lora, rag = sorted(report_facts.against_best(own), key=lambda line: line.name)
    assert (lora.difference.value, lora.difference.low, lora.difference.high) == (
        -0.02,
        -0.05,
        0.01,
    )
    assert rag.difference == gap
    assert (lora.differs, rag.differs) == (False, True)


def test_comparisons_without_the_best_are_left_out(report: Report) -> None:
    pair = Comparison("rag", "probe", Score(0, 0, 0), 1, 1, "t")
    assert report_facts.against_best(replace(report, comparisons=(pair,))) == []


def test_standing(troubled: Report) -> None:
    said = {arm.name: report_facts.standing(troubled, arm) for arm in troubled.arms}
    assert said["full"] == "best"
    assert said["lora"] == "recommended"
    assert said["qlora"] == "failed"
    assert said["majority"] == ""
    both = replace(troubled, verdict=Verdict("full", "full", ("lora",), ""))
    assert report_facts.standing(both, both.arms[7]) == "recommended, best"
    assert report_facts.standing(both, both.arms[4]) == "as good"


def test_one_arm_alone_is_not_called_best(report: Report) -> None:
    alone = replace(report, arms=report.arms[4:5])
    assert report_facts.standing(alone, alone.arms[0]) == ""
    assert report_facts.headline(alone) == "lora"


@pytest.mark.parametrize(
    ("statuses", "best", "said"),
    [
        (("ok", "ok"), "b", "Use a"),
        (("ok", "ok"), "majority", "No clear choice"),
        (("ok", "failed"), "a", "Only a finished"),
        (("failed", "failed"), None, "No arm finished"),
        (("failed",), None, "The run did not finish"),
    ],
)
def test_headline_is_no_surer_than_the_reason(
    report: Report, statuses: tuple[str, ...], best: str | None, said: str
) -> None:
    score = {"accuracy": Score(0.5, 0.4, 0.6)}
    few = tuple(
        ArmReport(name, status, test=score if status == "ok" else {})  # type: ignore[arg-type]
        for name, status in zip("ab", statuses, strict=False)
    )
    verdict = Verdict(best, "a" if best else None, (), "")
    assert report_facts.headline(replace(report, arms=few, verdict=verdict)) == said


def test_reason_does_not_repeat_the_headline() -> None:
    assert report_facts.reason_below("Use lora", "Use lora: cheap and good.") == "Cheap and good."
    assert report_facts.reason_below("Use lora", "No arm beats it.") == "No arm beats it."


def test_score_domain_lets_far_scores_fall_off_only_when_enough_stay() -> None:
    near = [Score(v, v - 0.02, v + 0.02) for v in (0.9, 0.88, 0.8)]
    far = Score(0.1, 0.08, 0.12)
    low, high = report_facts.score_domain([*near, far], narrow=True)
    assert 0.7 < low < 0.78
    assert 0.92 < high < 1.0
    assert report_facts.score_domain([*near, far], narrow=False)[0] < 0.08
    assert report_facts.score_domain([near[0], far], narrow=True)[0] < 0.08
    assert (
        report_facts.score_domain([], narrow=True)[0]
        < report_facts.score_domain([], narrow=True)[1]
    )


def test_micro_f1_that_repeats_accuracy_is_left_out() -> None:
    score, other = Score(0.5, 0.4, 0.6), Score(0.4, 0.3, 0.5)
    same = ArmReport("a", "ok", test={"accuracy": score, "micro_f1": score, "macro_f1": other})
    assert [name for name, _ in report_facts.test_scores(same)] == ["accuracy", "macro_f1"]
    differing = ArmReport("a", "ok", test={"accuracy": score, "micro_f1": other})
    assert len(report_facts.test_scores(differing)) == 2


def test_flatten() -> None:
    nested = {"a": {"b": 1, "c": {"d": None}}, "e": [1, 2], "f": True, "g": 3e-4, "h": ()}
    assert flatten(nested) == [
        ("a.b", "1"), ("a.c.d", "–"), ("e", "1, 2"), ("f", "yes"), ("g", "0.0003"), ("h", "none"),
    ]  # fmt: skip


def test_losses_of_prompts_that_were_not_answered_are_told(report: Report) -> None:
    written = written_report()
    assert report_facts.only_read(written) == 412
    page = words(render_page(written))
    assert "Losses and perplexity are of all 412 prompts of the test part." in page
    every = replace(
        written,
        sections=TuningSections(replace(written.data, counts={"train": 1_200, "test": 300})),
    )
    assert report_facts.only_read(every) == 0
    assert "Losses and perplexity" not in words(render_page(every))
    assert report_facts.only_read(report) == 0


def test_nothing_is_recommended_where_the_most_frequent_label_is_as_good(report: Report) -> None:
    assert "majority" in {arm.name for arm in report.arms}
    blind = replace(report, verdict=Verdict("majority", "rag", (), "No arm beats it."))
    named = {arm.name: report_facts.standing(blind, arm) for arm in blind.arms}
    assert (named["majority"], named["rag"]) == ("best", "closest model")
    assert report_facts.headline(blind) == "No clear choice"


def test_nothing_is_recommended_where_a_lookup_wins() -> None:
    written = written_report()
    lookup = replace(written, verdict=Verdict("nearest", "lora", (), "No model beats it."))
    named = {arm.name: report_facts.standing(lookup, arm) for arm in lookup.arms}
    assert (named["nearest"], named["lora"], named["full"]) == ("best", "closest model", "")
    assert report_facts.headline(lookup) == "No clear choice"
    said = words(render_page(lookup))
    assert "recommended" not in said
