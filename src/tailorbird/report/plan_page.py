"""The page of a plan: what fits, how long it takes, and what more labels would buy."""

from tailorbird.metrics import display
from tailorbird.metrics.learning_curve import FURTHEST
from tailorbird.metrics.metric_facts import is_share, sign
from tailorbird.records.planning import LearningCurve, Plan
from tailorbird.report import svg
from tailorbird.report.page_template import fill
from tailorbird.report.plan import gain_words, grids, summary

_WIDTH, _HEIGHT = 640.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 620.0, 26.0, 246.0


def render_plan(plan: Plan) -> str:
    """Return the plan as one HTML document that needs no network."""
    curve = plan.curve
    return fill(
        "plan.html.j2",
        plan=plan,
        summary=summary(plan),
        heading=_heading(plan),
        grids=grids(plan),
        curve="" if curve is None else curve_plot(curve),
        gains=[] if curve is None else [gain_words(curve, gain) for gain in curve.gains],
    )


def _heading(plan: Plan) -> str:
    fits = [memory.method for memory, fit in zip(plan.memory, plan.fits, strict=False) if fit.fits]
    if len(fits) == len(plan.memory):
        return "Every method fits" if len(fits) > 1 else f"{fits[0]} fits"
    changed = [f.method for f in plan.fits[: len(plan.memory)] if f.changed_bytes is not None]
    if not fits:
        return "Nothing fits as it is" if changed else "Nothing fits"
    return f"{', '.join(fits)} fit{'s' if len(fits) == 1 else ''}"


def curve_plot(curve: LearningCurve) -> str:
    """Draw the score by training examples, and how it is expected to go on."""
    way, last = sign(curve.metric), curve.scores[-1]
    ahead = [(g.rows, last.score + g.low, last.score + g.gain, last.score + g.high, g)
             for g in curve.gains]  # fmt: skip
    values = [way * v for s in curve.scores for v in s.range]
    values += [way * v for _, low, _, high, _ in ahead for v in (low, high)]
    margin = 0.05 * (max(values) - min(values)) or 0.02
    most = round(FURTHEST * last.rows)
    x = svg.Scale(curve.scores[0].rows, most, _LEFT + 8, _RIGHT - 8, log=True)
    y = svg.Scale(min(values) - margin, max(values) + margin, _BOTTOM, _TOP)
    parts = _axes(curve, x, y)
    line = [(x(s.rows), y(way * s.score)) for s in curve.scores]
    onward = [(x(rows), y(way * middle)) for rows, _, middle, _, _ in ahead]
    parts += [svg.path(line, "series held"), svg.path([line[-1], *onward], "series thin")]
    for score in curve.scores:
        at = x(score.rows)
        parts.append(svg.line(at, y(way * score.low), at, y(way * score.high), "whisker"))
        for run in score.runs:
            words = f"{display.metric(curve.metric, way * run)} with {score.rows:,} examples"
            parts.append(svg.circle(at, y(way * run), 3.5, "dot", words))
    for rows, low, middle, high, gain in ahead:
        parts.append(svg.line(x(rows), y(way * low), x(rows), y(way * high), "whisker pick"))
        words = gain_words(curve, gain)
        parts.append(svg.circle(x(rows), y(way * middle), 4, "dot pick", words))
    return svg.frame(_WIDTH, _HEIGHT, "Score by training examples, continued", parts)


def _axes(curve: LearningCurve, x: svg.Scale, y: svg.Scale) -> list[str]:
    levels = svg.ticks(y.low, y.high, 5)
    marks = [*(score.rows for score in curve.scores), round(x.high)]
    return [
        svg.grid(y, levels, _LEFT, _RIGHT, svg.evenly(levels, share=is_share(curve.metric))),
        svg.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"),
        svg.text(0, 12, display.metric_label(curve.metric), css="name"),
        svg.text(_RIGHT, _BOTTOM + 38, "training examples →", anchor="end", css="name"),
        *(svg.text(x(n), _BOTTOM + 18, f"{n:,}", anchor="middle", css="tick") for n in marks),
    ]
