"""What more labels buy, on the page and in the terminal."""

import io
import re
from dataclasses import replace

from rich.console import Console
from test_report_page import HOSTILE, read, words

from tailorbird.records import LearningCurve, Report, report_from_json
from tailorbird.records.scores import CurveScore, Gain
from tailorbird.report.comparison_page import render_page
from tailorbird.report.comparison_table import print_report
from tailorbird.report.learning_curve import sentences

SCORES = tuple(
    CurveScore(rows, score, score - 0.02, score + 0.02, (score - 0.01, score + 0.01))
    for rows, score in ((100, 0.7), (200, 0.78), (400, 0.84))
)
GAINS = (Gain(500, 100, 0.01, -0.002, 0.02, "the interval holds zero"),
         Gain(800, 400, 0.031, 0.012, 0.05))  # fmt: skip
CURVE = LearningCurve("probe", "accuracy", SCORES, GAINS)


def with_curve(report: Report, curve: LearningCurve) -> Report:
    return replace(report, sections=replace(report.sections, learning_curve=curve))


def printed(report: Report) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=80))
    return " ".join(out.getvalue().split())


def test_the_page_draws_it_and_says_it(report: Report) -> None:
    page = render_page(with_curve(report, CURVE))
    text = words(page)
    assert "400 more labels: +3.1 points (+1.2 to +5.0)" in text
    assert "100 more labels: cannot tell (the interval holds zero" in text
    section = page[page.index('id="labels"') : page.index('id="arms"')]
    dots = section.count("<circle")
    assert dots == 2 * (3 * 2 + 2), "for a desk and a phone, each training and each forecast"
    ticks = re.findall(r'class="tick"[^>]*>([\d,]+)<', section)
    assert ticks[-4:] == ["100", "200", "400", "800"]
    assert '<a href="#labels">' in page


def test_there_is_nothing_of_it_where_it_was_not_asked_for(report: Report) -> None:
    assert "More labels" not in render_page(report) and "more labels" not in printed(report)


def test_losses_are_written_as_losses() -> None:
    curve = LearningCurve("lora", "loss", tuple(
        CurveScore(s.rows, s.score - 2, s.low - 2, s.high - 2, tuple(r - 2 for r in s.runs))
        for s in SCORES
    ), (Gain(800, 400, 0.031, 0.012, 0.05),))  # fmt: skip
    (sentence,) = sentences(curve)
    assert re.search(r"400 more labels: [-−]0\.031 \([-−]0\.050? to [-−]0\.012\)", sentence)


def test_the_terminal_says_the_furthest(report: Report) -> None:
    assert "400 more labels: +3.1 points (+1.2 to +5.0), by probe" in printed(
        with_curve(report, CURVE)
    )


def test_why_there_is_none(report: Report) -> None:
    failed = with_curve(report, LearningCurve(HOSTILE, "", why_not=f"no memory {HOSTILE}"))
    page = render_page(failed)
    assert "no memory" in words(page)
    assert all(name not in ("script", "img") or "src" not in dict(attributes)
               for name, attributes in read(page).tags)  # fmt: skip
    assert "no memory" in printed(failed)


def test_it_survives_the_report_file(report: Report) -> None:
    whole = with_curve(report, CURVE)
    assert report_from_json(whole.to_json()) == whole
