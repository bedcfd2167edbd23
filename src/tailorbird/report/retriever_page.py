"""The page of a tuned retriever: before and after, by query, and its training."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from tailorbird.metrics import display
from tailorbird.records import QueryChange, RetrieverPoint, RetrieverReport, Score
from tailorbird.report import svg
from tailorbird.report.arm_plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, step_axes
from tailorbird.report.local_paths import without_places
from tailorbird.report.page_template import fill, page_environment

if TYPE_CHECKING:
    from rich.console import Console

QUERIES = 10


def render_retriever(report: RetrieverReport) -> str:
    """Return the report as one HTML document that needs no network."""
    report = without_places(report, report)
    environment = page_environment()
    environment.filters |= {"score": _score, "interval": _interval, "signed": _signed}
    return fill(
        "retriever.html.j2",
        environment,
        report=report,
        rows=_rows(report),
        curve=curve_plot(report.sections.curve),
        loss=curve_plot(report.sections.curve, "loss"),
        changes=change_plot(report.sections.changes),
        won=_largest(report.sections.changes, 1),
        lost=_largest(report.sections.changes, -1),
    )


def print_retriever(report: RetrieverReport, console: "Console") -> None:
    """Print the scores before and after, and whether it is in use."""
    for when, scores in (("before", report.sections.before), ("after", report.sections.after)):
        for name, score in scores.items():
            interval = f"[{score.low:.4f}, {score.high:.4f}]"
            words = f"{when:<7} {name:<7} nDCG@10 {score.value:.4f} {interval}"
            console.print(words, markup=False, highlight=False)
    console.print("published" if report.sections.published else "not published")


def curve_plot(curve: Sequence[RetrieverPoint], what: str = "nDCG@10") -> str:
    """Draw nDCG@10 on validation, or the training loss, by step; empty without two points."""
    if what == "loss":
        points = [(point.step, point.loss) for point in curve if point.step]
    else:
        points = [(point.step, point.ndcg) for point in curve]
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    margin = 0.1 * (max(values) - min(values)) or 0.02
    x = svg.Scale(points[0][0], points[-1][0], LEFT + 6, RIGHT - 6)
    y = svg.Scale(max(0.0, min(values) - margin), max(values) + margin, BOTTOM, TOP)
    pick = min if what == "loss" else max
    best = pick(points, key=lambda point: point[1])
    name = "Training loss" if what == "loss" else "nDCG@10 on validation"
    parts = [
        step_axes(x, y, name, share=False),
        svg.path([(x(step), y(value)) for step, value in points], "series held"),
        svg.circle(
            x(best[0]), y(best[1]), 4, "dot pick", f"{display.decimal(best[1])} at step {best[0]}"
        ),
    ]
    return svg.frame(WIDTH, HEIGHT, f"{name} by step", parts)


def change_plot(changes: Sequence[QueryChange]) -> str:
    """Draw each held-out query's nDCG@10 before (across) and after (up); empty without queries."""
    if not changes:
        return ""
    x, y = svg.Scale(0.0, 1.0, LEFT, 306), svg.Scale(0.0, 1.0, 286, TOP)
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [
        svg.grid(y, levels, LEFT, 306, svg.evenly(levels, share=False)),
        svg.text(0, 12, "nDCG@10 after tuning", css="name"),
        svg.line(x(0), y(0), x(1), y(1), "ideal"),
        *(_dot(change, x, y) for change in changes),
        *(svg.text(x(v), 304, f"{v:g}", anchor="middle", css="tick") for v in levels),
        svg.text(306, 324, "before →", anchor="end", css="name"),
    ]
    return svg.frame(320, 330, "nDCG@10 of each held-out query before and after", parts)


def _dot(change: QueryChange, x: svg.Scale, y: svg.Scale) -> str:
    css = "dot pick" if change.after > change.before else "dot"
    title = f"{change.text[:120]}: {change.before:.2f} before, {change.after:.2f} after"
    return svg.circle(x(change.before), y(change.after), 3.5, css, title)


def _rows(report: RetrieverReport) -> list[tuple[str, Score, Score | None]]:
    """Return the scores before and after, by name."""
    if report.sections.tuned == "embedder":
        return [
            (name, score, report.sections.after.get(name))
            for name, score in report.sections.before.items()
        ]
    tuned = next(iter(report.sections.after.values()))
    return [(name, score, tuned) for name, score in report.sections.before.items()]


def _largest(changes: Sequence[QueryChange], sign: int) -> list[QueryChange]:
    return [c for c in changes if sign * (c.after - c.before) > 1e-12][:QUERIES]


def _score(score: Score | None) -> str:
    return "–" if score is None else f"{score.value:.4f}"


def _interval(score: Score | None) -> str:
    return "" if score is None else f"{score.low:.3f}–{score.high:.3f}"


def _signed(value: float) -> str:
    return escape(display.difference("ndcg@10", value))
