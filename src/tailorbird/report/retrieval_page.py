"""The report on a knowledge base: a page, and a table for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailorbird.metrics import display
from tailorbird.records import JudgeReport, SideReport
from tailorbird.report import svg
from tailorbird.report.local_paths import without_places
from tailorbird.report.page_template import fill, page_environment

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS = ("ndcg@10", "recall@5", "recall@10", "recall@100", "mrr", "map")
_WORDS = {
    "mrr": "MRR",
    "map": "MAP",
    "token_f1": "Token F1",
    "holds_answer": "Known answer in the text",
    "refused": "Refused",
}
WIDTH, HEIGHT = 620.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 500.0, 26.0, 270.0
FAILURES_OPEN = 10
_FAILURES_PRINTED = 3


def heading(name: str) -> str:
    """Write a score's display name: ``ndcg@10`` is nDCG@10."""
    if name in _WORDS:
        return _WORDS[name]
    kind, at, k = name.partition("@")
    words = "nDCG" if kind == "ndcg" else kind.replace("_", " ").capitalize()
    return f"{words}{at}{k}"


def shown_columns(report: JudgeReport) -> list[str]:
    """Return the scores in the table."""
    return [name for name in COLUMNS if all(name in side.scores for side in report.arms)]


def by_score(report: JudgeReport) -> list[SideReport]:
    """Return the ways of ranking, best first."""
    return sorted(report.arms, key=lambda side: -side.scores[report.headline].value)


def verdict(report: JudgeReport) -> str:
    """Return the result of the comparison in a sentence or two."""
    best, *others = by_score(report)
    score = best.scores[report.headline]
    words = (
        f"{best.name} is best: {heading(report.headline)} {score.value:.3f} "
        f"({score.low:.3f} to {score.high:.3f}) on {report.sections.questions:,} questions."
    )
    tests = {frozenset((c.a, c.b)): c for c in report.comparisons}
    for other in others:
        test = tests.get(frozenset((best.name, other.name)))
        if test is not None and test.difference.value == 0:
            words += f" {other.name} is as good."
        elif test is not None:
            sure = "significantly" if test.p_holm < 0.05 else "not significantly"
            words += (
                f" {sure.capitalize()} better than {other.name} (by "
                f"{abs(test.difference.value):.3f}, p {display.p_value(test.p_holm)})."
            )
    return words


def weight_words(report: JudgeReport) -> str:
    """Describe how the dense side's weight was chosen."""
    how = (
        f", chosen {report.sections.how}"
        if report.sections.by_weight
        else f": {report.sections.how}"
    )
    return f"Weight of the vectors {report.sections.weight:g}{how}."


def threshold_words(report: JudgeReport) -> str:
    """Describe the effect of the threshold; empty without one."""
    threshold = report.sections.threshold
    if threshold is None:
        return ""
    return (
        f"“I don't know” below {threshold.value:.3f}: this refuses "
        f"{display.percent(threshold.refused)} of the questions whose answer was retrieved, and "
        f"{display.percent(threshold.caught)} of the same questions without their relevant "
        "documents."
    )


def answer_lines(report: JudgeReport) -> list[str]:
    """Return the scores of the answers with their intervals, a line each, for the terminal."""
    if not report.sections.answers:
        return []
    width = max(len(heading(name)) for name in report.sections.answers)
    scores = [
        f"  {heading(name):<{width}}  {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        for name, score in report.sections.answers.items()
    ]
    return [f"Answers ({report.sections.answered_by}):", *scores]


def failure_lines(report: JudgeReport) -> list[str]:
    """Return the questions whose documents ranked lowest, with the reason, for the terminal."""
    if not report.sections.failures:
        return []
    lines = [
        f"  {failure.question}  Right: {', '.join(failure.right[:2])}; {failure.why}."
        for failure in report.sections.failures[:_FAILURES_PRINTED]
    ]
    count = len(report.sections.failures)
    more = f", {_FAILURES_PRINTED} of them" if count > _FAILURES_PRINTED else ""
    return [f"Not among the first ten ({display.plural(count, 'question')}{more}):", *lines]


def print_judged(report: JudgeReport, console: "Console") -> None:
    """Print the ways of ranking, the verdict, the answers' scores and the failures."""
    console.print("", score_table(report), "", sep="\n")
    for words in (verdict(report), weight_words(report), threshold_words(report)):
        console.print(words)
    for line in (*answer_lines(report), *failure_lines(report)):
        console.print(line)


def score_table(report: JudgeReport) -> "Table":
    """Return the ways of ranking side by side, for the terminal."""
    from rich import box
    from rich.table import Table

    names = shown_columns(report)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("Ranking")
    for name in names:
        # With a line break before the depth, headings fit 80 columns.
        table.add_column(heading(name).replace("@", "\n@"), justify="right")
    table.add_column("95 %\ninterval", justify="right", no_wrap=True)
    for side in by_score(report):
        cells = [f"{side.scores[name].value:.3f}" for name in names]
        interval = side.scores[report.headline]
        table.add_row(side.name, *cells, f"{interval.low:.3f}-{interval.high:.3f}")
    return table


def render_judged(report: JudgeReport) -> str:
    """Return the report as one self-contained HTML document."""
    report = without_places(report, report)
    environment = page_environment()
    environment.filters["heading"] = heading
    return fill(
        "retrieval.html.j2",
        environment,
        report=report,
        sides=by_score(report),
        columns=shown_columns(report),
        verdict=verdict(report),
        weight=weight_words(report),
        threshold=threshold_words(report).replace(" %", "\u00a0%"),
        recall=recall_chart(by_score(report)),
        weights=weight_chart(report),
        open=FAILURES_OPEN,
    )


def recall_chart(sides: Sequence[SideReport]) -> str:
    """Draw recall by depth, one line per way of ranking, the best in colour."""
    ks = sorted(
        int(name.partition("@")[2]) for name in sides[0].scores if name.startswith("recall@")
    )
    if len(ks) < 2:
        return ""
    x = svg.Scale(ks[0], ks[-1], LEFT + 6, RIGHT - 6, log=True)
    lowest = min(side.scores[f"recall@{ks[0]}"].value for side in sides)
    y = svg.Scale(max(0.0, lowest - 0.05), 1.0, BOTTOM, TOP)
    ends = [
        (y(side.scores[f"recall@{ks[-1]}"].value), side.name, i == 0)
        for i, side in enumerate(sides)
    ]
    lines = [
        svg.path(
            [(x(k), y(side.scores[f"recall@{k}"].value)) for k in ks],
            "series held" if i == 0 else "series",
        )
        for i, side in reversed(list(enumerate(sides)))
    ]
    dots = [
        svg.circle(
            x(k), y(side.scores[f"recall@{k}"].value), 3, "dot pick" if i == 0 else "dot",
            f"{side.name}, first {k}: {display.percent(side.scores[f'recall@{k}'].value)}",
        )
        for i, side in enumerate(sides)
        for k in ks
    ]  # fmt: skip
    across = "Relevant documents retrieved", "among the first →"
    marks = {float(k): str(k) for k in ks}
    parts = [
        svg.axes(x, y, (LEFT, RIGHT), across, marks, share=True, about=5),
        *lines,
        *dots,
        *svg.end_names(RIGHT + 2, ends),
    ]
    return svg.frame(WIDTH, HEIGHT, "Recall by depth", parts)


def weight_chart(report: JudgeReport) -> str:
    """Draw the score by the dense side's weight; empty if none was tuned."""
    scores, best = report.sections.by_weight, report.sections.weight
    if len(scores) < 2:
        return ""
    points = sorted(scores.items())
    values = [score for _, score in points]
    margin = 0.08 * (max(values) - min(values)) or 0.05
    x = svg.Scale(0.0, 1.0, LEFT + 6, RIGHT - 6)
    y = svg.Scale(max(0.0, min(values) - margin), max(values) + margin, BOTTOM, TOP)
    at = scores.get(best, max(values))
    marks = {value: f"{value:g}" for value in (0.0, 0.25, 0.5, 0.75, 1.0)}
    names = f"{heading(report.headline)} of the tuning questions", "words ← weight → vectors"
    parts = [
        svg.axes(x, y, (LEFT, RIGHT), names, marks, share=False),
        svg.path([(x(weight), y(score)) for weight, score in points], "series held"),
        svg.circle(
            x(report.sections.weight),
            y(at),
            4,
            "dot pick",
            f"chosen, {report.sections.weight:g}: {at:.3f}",
        ),
    ]
    return svg.frame(WIDTH, HEIGHT, "Score by weight", parts)
