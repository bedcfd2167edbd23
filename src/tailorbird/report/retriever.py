"""The page of a tuned retriever: before and after, query by query, and how it learnt."""

from collections.abc import Sequence
from html import escape

from tailorbird.metrics import numbers
from tailorbird.records import Score
from tailorbird.records.retriever import QueryChange, RetrieverPoint, RetrieverReport
from tailorbird.report import svg
from tailorbird.report.document import TEMPLATES, page_environment
from tailorbird.report.places import without_places

WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 410.0, 26.0, 206.0
QUERIES = 10


def render_retriever(report: RetrieverReport) -> str:
    """Return the report as one HTML document that needs no network."""
    report = without_places(report, report)
    environment = page_environment()
    environment.filters["score"] = _score
    environment.filters["interval"] = _interval
    environment.filters["signed"] = _signed
    return environment.get_template("retriever.html.j2").render(
        report=report,
        css=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        rows=_rows(report),
        curve=curve_plot(report.curve),
        loss=curve_plot(report.curve, "loss"),
        changes=change_plot(report.changes),
        won=_largest(report.changes, 1),
        lost=_largest(report.changes, -1),
        first=report.tests[0] if report.tests else None,
    )


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
    levels = svg.ticks(y.low, y.high, 4)
    marks = [step for step in svg.ticks(x.low, x.high, 5) if step == int(step)]
    pick = min if what == "loss" else max
    best = pick(points, key=lambda point: point[1])
    name = "Training loss" if what == "loss" else "nDCG@10 on validation"
    parts = [
        svg.grid(y, levels, LEFT, RIGHT, svg.evenly(levels, share=False)),
        svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"),
        *(svg.text(x(m), BOTTOM + 18, f"{m:,.0f}", anchor="middle", css="tick") for m in marks),
        svg.text(0, 12, name, css="name"),
        svg.text(RIGHT, BOTTOM + 38, "training step →", anchor="end", css="name"),
        svg.path([(x(step), y(value)) for step, value in points], "series held"),
        svg.circle(
            x(best[0]), y(best[1]), 4, "dot pick", f"{numbers.decimal(best[1])} at step {best[0]}"
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
    """Return what stood before beside what stands after, by name."""
    if report.kind == "embedder":
        return [(name, score, report.after.get(name)) for name, score in report.before.items()]
    tuned = next(iter(report.after.values()))
    return [(name, score, tuned) for name, score in report.before.items()]


def _largest(changes: Sequence[QueryChange], sign: int) -> list[QueryChange]:
    return [c for c in changes if sign * (c.after - c.before) > 1e-12][:QUERIES]


def _score(score: Score | None) -> str:
    return "–" if score is None else f"{score.value:.4f}"


def _interval(score: Score | None) -> str:
    return "" if score is None else f"{score.low:.3f}–{score.high:.3f}"


def _signed(value: float) -> str:
    return escape(numbers.difference("ndcg@10", value))
