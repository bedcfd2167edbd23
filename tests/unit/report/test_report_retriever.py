"""The page of a tuned retriever says what the gate found, and shows words as words."""

from tailorbird.records import (
    Comparison,
    QueryChange,
    RetrieverPoint,
    RetrieverReport,
    RetrieverSections,
    Score,
)
from tailorbird.report.retriever_page import change_plot, curve_plot, render_retriever

SCORE = Score(0.5, 0.4, 0.6)
CURVE = tuple(RetrieverPoint(n * 10, n, 2.0 - n / 2, 0.5 + n / 10) for n in range(3))


def report(published: bool, **more: object) -> RetrieverReport:
    values: dict[str, object] = {
        "tuned": "embedder",
        "published": published,
        "words": "the tuned embedder is better on 9 held-out queries",
        "before": {"dense": SCORE, "hybrid": Score(0.55, 0.45, 0.65)},
        "after": {"dense": Score(0.7123, 0.6, 0.8), "hybrid": Score(0.75, 0.7, 0.8)},
        "wins": 5,
        "losses": 1,
        "ties": 3,
        "weights": (0.5, 0.65),
        "pairs": {"judged queries": 20},
        "queries": {"train": 20, "validation": 5, "held out": 9},
        "left_out": 2,
        "share": 0.75,
        "averages": {"0.75": 0.7, "1": 0.69},
        "steps": 20,
        "best_step": 10,
        "curve": CURVE,
        "changes": (
            QueryChange("1", "what is <b>bold</b>?", 0.0, 1.0, ("a.md",), ("a.md", "b.md")),
            QueryChange("2", "which one lost", 1.0, 0.5, ("c.md",), ("d.md", "c.md")),
            QueryChange("3", "which one stayed", 1.0, 1.0, ("e.md",), ("e.md",)),
        ),
    }
    return RetrieverReport(
        kind="retriever",
        sections=RetrieverSections(**(values | more)),  # type: ignore[arg-type]
        comparisons=(Comparison("tuned", "old", Score(0.21, 0.1, 0.3), 0.001, 0.002, "sign-flip"),),
        model="builtin:minilm",
        seconds=12.0,
    )


def test_page_has_the_decision_and_its_figures() -> None:
    page = render_retriever(report(True))
    assert "<h1>Published</h1>" in page and "0.7123" in page and "0.600–0.800" in page
    assert "5 won, 1 lost, 3 equal" in page and "p = 0.002" in page
    assert "0.5 before, 0.65 after" in page and "Taken: 0.75" in page
    assert "<h1>Not published</h1>" in render_retriever(report(False))


def test_queries_are_shown_as_words() -> None:
    page = render_retriever(report(True))
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page
    won, lost = page.index("<h3>Won</h3>"), page.index("<h3>Lost</h3>")
    assert "which one lost" in page[lost:] and "which one stayed" not in page[won:]


def test_a_rerankers_rows_stand_against_each_other() -> None:
    page = render_retriever(
        report(True, tuned="reranker", before={"none": SCORE}, after={"tuned": SCORE}, weights=None)
    )
    assert "<th>none</th>" in page and "Weight of the dense side" not in page


def test_pictures_need_something_to_draw() -> None:
    assert curve_plot(CURVE[:1]) == "" and change_plot([]) == ""
    assert curve_plot(CURVE).count("<polyline") == 1
    assert "10" in curve_plot(CURVE, "loss")
