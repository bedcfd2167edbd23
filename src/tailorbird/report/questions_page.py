"""The results of a comparison on questions: a table for the terminal, and a page."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from tailorbird.metrics import display
from tailorbird.metrics.question_verdict import becoming_current, total_seconds, verdict_heading
from tailorbird.records import (
    ArmReport,
    Cost,
    DataSummary,
    QuestionArmReport,
    QuestionsReport,
    Report,
    TuningSections,
)
from tailorbird.report import svg
from tailorbird.report.comparison_table import STAYS, Column, fit_columns
from tailorbird.report.cost_plot import cost_scatter
from tailorbird.report.local_paths import without_places
from tailorbird.report.page_template import fill
from tailorbird.report.report_facts import reason_below

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DISAGREEMENTS_OPEN = 6
FAILURES = {
    "not found": "the passages did not hold the answer",
    "misread": "the passages held the answer, but the answer given is different",
    "refused": "it answered that it does not know",
    "invented": "it answered wrongly without passages, or although the documents hold no answer",
}

_ROW, _BAR = 34.0, 18.0
_PARTS = (("current", "new answer", "bar-current"), ("stale", "old answer", "bar-stale"),
          ("other", "another answer", "bar-other"))  # fmt: skip
_DECADES = (1, 10, 100, 1_000, 10_000, 100_000)
_TIMES = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min", 3600.0: "1 h",
          36_000.0: "10 h", 360_000.0: "100 h"}  # fmt: skip

Cell = Callable[[QuestionArmReport], str]


def by_score(report: QuestionsReport) -> list[QuestionArmReport]:
    """Return the arms, best first; failed or skipped ones last."""
    name = report.headline
    return sorted(report.arms, key=lambda a: -a.scores[name].value if a.scores else 1.0)


def standing(report: QuestionsReport, arm: QuestionArmReport) -> str:
    """Return an arm's standing in the verdict."""
    verdict = report.verdict
    if arm.status != "ok":
        return arm.status
    if arm.name == verdict.recommended:
        return "recommended"
    if arm.bound:
        return "a bound"
    if arm.name == verdict.best:
        return "best"
    return "could equal best" if arm.name in verdict.tied_with else ""


def columns(report: QuestionsReport) -> list[Column]:
    """Return the table's columns: heading and cell format."""
    name = report.headline

    def share(score: str) -> Cell:
        return lambda arm: display.percent(arm.scores[score].value) if score in arm.scores else ""

    def seconds(arm: QuestionArmReport) -> str:
        return display.duration(arm.cost.answer_seconds) if arm.cost else ""

    def training(arm: QuestionArmReport) -> str:
        return display.duration(arm.cost.train_seconds) if arm.cost and arm.method else ""

    heading = display.metric_label(name).lower().replace(" ", "\n")
    every = [
        Column("arm", STAYS, lambda arm: arm.name, right=False),
        Column(heading, STAYS, share(name)),
        Column("95\n%", STAYS, lambda arm: display.metric_range(name, arm.scores.get(name))),
        Column("wrong", 7, share("wrong")),
        Column("don't\nknow", 5, share("abstained")),
        Column("where\nfound", 3, share("sufficient")),
        Column("where\nnot", 0, share("lacking")),
        Column("words", 2, lambda arm: f"{arm.mean_words:.1f}" if arm.scores else ""),
    ]
    if any("supported" in arm.scores for arm in report.arms):
        # For long answers: whether they come from the passages.
        every.append(Column("words\nread", 1, share("k_precision")))
        every.append(Column("sentences\nheld", STAYS, share("supported")))
    every.append(Column("training", STAYS, training))
    every.append(Column("per\n1,000", 6, seconds))
    for when, part, rank in (("new", "current", STAYS), ("old", "stale", 4)):
        if any(arm.change for arm in report.arms):
            change = partial(_after, part)
            every.append(Column(f"after:\n{when}", rank, change))
    return [*every, Column("", STAYS, lambda arm: standing(report, arm), right=False)]


def _after(part: str, arm: QuestionArmReport) -> str:
    return display.percent(getattr(arm.change, part).value) if arm.change else ""


def table_rows(report: QuestionsReport) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows as plain strings, best arm first."""
    every = columns(report)
    rows = [[column.write(arm) for column in every] for arm in by_score(report)]
    return [column.title.replace("\n", " ") for column in every], rows


def question_table(report: QuestionsReport, width: int = 120) -> "Table":
    """Return the comparison table for a terminal of `width` characters."""
    from rich import box
    from rich.table import Table

    arms = by_score(report)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    fitting, _ = fit_columns(columns(report), arms, width)
    for column in fitting:
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=side, no_wrap=True)
    for arm in arms:
        table.add_row(*(column.write(arm) for column in fitting))
    return table


def print_questions(report: QuestionsReport, console: "Console") -> None:
    """Print the comparison table and the verdict."""
    console.print(question_table(report, console.width))
    for sentence in sentences(report):
        console.print(f"\n{sentence}", markup=False, highlight=False)


def sentences(report: QuestionsReport) -> list[str]:
    """Return the sentences below the table: the verdict, the change, and warnings."""
    lines = [report.verdict.reason]
    if report.sections.change_words:
        lines.append(
            f"The documents changed: {report.sections.change_words}. {becoming_current(report)}"
        )
    if report.sections.hits:
        lines.append(f"The retriever: {_hit_words(report)}.")
    lines += [f"Note: {note}." for note in report.sections.notes]
    lines += [f"{a.name} {a.status}: {a.why}" for a in report.arms if a.status != "ok"]
    return [sentence for sentence in lines if sentence.strip()]


def _hit_words(report: QuestionsReport) -> str:
    return ", ".join(
        f"{name} {display.percent(s.value)}" for name, s in report.sections.hits.items()
    )


def contamination_words(report: QuestionsReport) -> str:
    """Return what may make an arm look better than it is."""
    shared = report.sections.contamination.get("shared_answers", 0.0)
    words = f"{display.percent(shared)} of the test answers are also the answer of a training "
    words += "question"
    if "base" in report.sections.contamination:
        share = display.percent(report.sections.contamination["base"])
        words += f", and the untouched model answers {share} correctly without documents"
    return f"{words}: such answers may be correct without retrieval or training."


def render_questions(report: QuestionsReport) -> str:
    """Return the report as one self-contained HTML document."""
    report = without_places(report, report)
    pick = next((a for a in report.arms if a.name == report.verdict.recommended), None)
    costs = [arm for arm in by_score(report) if arm.cost is not None]
    heading = verdict_heading(report.verdict)
    return fill(
        "questions.html.j2",
        None,
        "generated.css",
        report=report,
        chosen=pick,
        heading=heading,
        reason=reason_below(heading, report.verdict.reason),
        columns=columns(report),
        arms=by_score(report),
        costs=costs,
        money=_money(report, costs),
        failures=FAILURES,
        scatter=[cost_scatter(_as_compared(report), wide=wide) for wide in (True, False)],
        change=[change_plot(report, wide=wide) for wide in (True, False)],
        current=becoming_current(report),
        breaks=[break_even_plot(report, wide=wide) for wide in (True, False)],
        pairs=_break_even_words(report),
        contamination=contamination_words(report),
        hits=_hit_words(report),
        open=DISAGREEMENTS_OPEN,
    )


def _money(report: QuestionsReport, arms: Sequence[QuestionArmReport]) -> dict[str, str]:
    """Return each arm's price for training and 10,000 answers, if a price is given."""
    rate = report.sections.price_per_hour
    return {} if rate is None else {a.name: f"{rate * total_seconds(a) / 3600:.2f}" for a in arms}


def _break_even_words(report: QuestionsReport) -> list[str]:
    best = {report.verdict.best, report.verdict.recommended, "rag", "base"}
    lines = []
    for pair in report.sections.break_even:
        if pair.trained not in best and pair.untrained not in best:
            continue
        if pair.questions is None:
            lines.append(f"{pair.trained} never costs less than {pair.untrained}")
        else:
            count = f"{pair.questions:,.0f}"
            lines.append(f"{pair.trained} costs less than {pair.untrained} from {count} questions")
    return lines


def _as_compared(report: QuestionsReport) -> Report:
    """Return the arms as in other comparisons, for the plot of quality and cost."""
    arms = tuple(
        ArmReport(
            arm.name,
            arm.status,
            test=arm.scores,
            cost=Cost(
                train_seconds=arm.cost.train_seconds,
                predict_ms_per_example=arm.cost.answer_seconds,
                artifact_bytes=arm.cost.artifact_bytes or 0,
            ),
        )
        for arm in report.arms
        if arm.cost is not None and arm.scores
    )
    own = report.sections
    data = DataSummary(own.source, {}, (), own.counts, {}, own.how, task="generation")
    return Report(
        kind="compare",
        arms=arms,
        sections=TuningSections(data),
        verdict=report.verdict,
        headline=report.headline,
    )


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
