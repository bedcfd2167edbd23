"""Plots of a comparison on questions: answers after a change, and cost by number of questions."""

from tailorbird.metrics import display
from tailorbird.records import QuestionArmReport, QuestionsReport
from tailorbird.report import svg

_ROW, _BAR = 34.0, 18.0
_PARTS = (("current", "new answer", "bar-current"), ("stale", "old answer", "bar-stale"),
          ("other", "another answer", "bar-other"))  # fmt: skip
_DECADES = (1, 10, 100, 1_000, 10_000, 100_000)
_TIMES = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min", 3600.0: "1 h",
          36_000.0: "10 h", 360_000.0: "100 h"}  # fmt: skip


def change_plot(report: QuestionsReport, *, wide: bool = True) -> str:
    """Draw each arm's answers after the change: the new one, the old one, others."""
    arms = [arm for arm in report.arms if arm.change is not None and arm.status == "ok"]
    if not arms:
        return ""
    width, left = (880.0, 110.0) if wide else (360.0, 92.0)
    right = width - (60.0 if wide else 8.0)
    height = 34 + _ROW * len(arms) + 26
    x = svg.Scale(0.0, 1.0, left, right)
    parts = svg.legend([entry[1:] for entry in _PARTS], left if wide else 0.0, width)
    for row, arm in enumerate(arms):
        parts.append(_bars(arm, x, 34 + _ROW * row, report.verdict.recommended == arm.name))
    for mark in (0.0, 0.5, 1.0):
        words = f"{100 * mark:.0f} %"
        parts.append(svg.text(x(mark), height - 6, words, anchor="middle", css="tick"))
    css = "wide" if wide else "narrow"
    return svg.frame(width, height, "Answers after the documents changed", parts, css)


def _bars(arm: QuestionArmReport, x: svg.Scale, top: float, is_pick: bool) -> str:
    assert arm.change is not None
    css = "label pick" if is_pick else "label other"
    parts = [svg.text(x(0) - 10, top + 14, arm.name, anchor="end", css=css)]
    at = 0.0
    for name, words, colour in _PARTS:
        score = getattr(arm.change, name)
        title = f"{arm.name}, {words}: {display.percent(score.value)}"
        if span := display.metric_range("accuracy", score):
            title += f" ({span})"
        left, right = x(at), x(min(1.0, at + score.value))
        parts.append(svg.box(left, top, right - left, _BAR, colour, title))
        at += score.value
    current = arm.change.current
    middle = top + _BAR / 2
    parts.append(svg.line(x(current.low), middle, x(current.high), middle, "bar-whisker"))
    return "".join(parts)


def break_even_plot(report: QuestionsReport, *, wide: bool = True) -> str:
    """Draw the time of training and answering by number of questions, on logarithmic axes."""
    arms = [a for a in report.arms if a.cost is not None and not a.bound and not a.floor]
    arms = [a for a in arms if a.name != "quote"]
    if not any(arm.method for arm in arms):
        return ""
    size = (880.0, 380.0) if wide else (360.0, 340.0)
    left, right, top, bottom = 52.0, size[0] - 92, 26.0, size[1] - 48
    totals = [[max(0.1, a.cost.total_seconds(count)) for count in _DECADES] for a in arms if a.cost]
    x = svg.Scale(_DECADES[0], _DECADES[-1], left, right, log=True)
    y = svg.Scale(min(map(min, totals)) / 1.3, max(map(max, totals)) * 1.3, bottom, top, log=True)
    names = "Training and answering", "questions →"
    counts = {float(count): f"{count:,}" for count in _DECADES}
    parts = [svg.axes(x, y, (left, right), names, counts, levels=_TIMES)]
    ends: list[tuple[float, str, bool]] = []
    for arm, line in zip(arms, totals, strict=True):
        is_pick = arm.name == report.verdict.recommended
        curve = [(x(n), y(value)) for n, value in zip(_DECADES, line, strict=True)]
        parts.append(svg.path(curve, "series held" if is_pick else "series thin"))
        ends.append((curve[-1][1], arm.name, is_pick))
    parts += svg.end_names(right + 6, ends)
    return svg.frame(
        *size, "Seconds of training and of answering, by how many questions", parts,
        "wide" if wide else "narrow",
    )  # fmt: skip
