"""The comparison as a table, for the terminal and in Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tailorbird.metrics import display
from tailorbird.metrics.verdict import FLOORS
from tailorbird.records import TASKS, ArmReport, Report
from tailorbird.report.captions import caution, chosen_overfitting, unlearnt
from tailorbird.report.learning_curve import sentences
from tailorbird.report.report_facts import (
    by_score,
    headline,
    headline_metric,
    make_seconds,
    reads_labels,
    second_metric,
    spec_of,
    standing,
    words,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

GAP = 2
ASCII = str.maketrans({"–": "-", "−": "-", "→": ">", "²": "2", "…": "."})


@dataclass(frozen=True, slots=True)
class Column:
    """One column; the higher its rank, the longer it stays when the terminal is narrow."""

    title: str
    rank: int
    write: Callable[[Any], str]
    right: bool = True


def print_report(report: Report, console: "Console") -> None:
    """Print the comparison table and the verdict."""
    console.print(ReportTable(report))


def table_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the table's heading and its rows as plain strings, best arm first."""
    columns = _columns(report)
    heading = [_flat(column.title) for column in columns]
    return heading, [[_cell(column, arm) for column in columns] for arm in by_score(report)]


class ReportTable:
    """The comparison table, the failures and the verdict, for a rich console of any width."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw for the available width."""
        from rich.padding import Padding
        from rich.text import Text

        table, dropped = self._table(options.max_width)
        lines = [*self._legend(), *self._troubles(), Text(""), self._verdict()]
        if sentence := unlearnt(self.report):
            lines.append(Text(sentence))
        if caution(self.report):
            lines.append(Text(f"Warning: {caution(self.report)}"))
        if sentence := chosen_overfitting(self.report):
            lines.append(Text(sentence))
        if curve := self.report.sections.learning_curve:
            more = sentences(curve)[-1]
            lines.append(Text(f"{more}" if curve.why_not else f"{more}, by {curve.arm}"))
        if dropped:
            lines.append(Text(f"A wider terminal also shows: {', '.join(dropped)}.", style="dim"))
        yield ""
        yield _plain_ascii(table) if options.ascii_only else table
        for line in lines:
            text = Text(str(line).translate(ASCII)) if options.ascii_only else line
            yield Padding(text, (0, 0, 0, GAP), expand=False)
        yield ""

    def _table(self, width: int) -> tuple["Table", list[str]]:
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        arms = by_score(self.report)
        columns, dropped = fit_columns(_columns(self.report), arms, width)
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("", width=1)
        for column in columns:
            justify = "right" if column.right else "left"
            longest = max((cell_len(arm.name) for arm in arms), default=0)
            fold = column.rank == _NAME and longest + 20 > width
            table.add_column(
                Text(column.title),
                justify=justify,  # type: ignore[arg-type] # a Literal that mypy widens
                vertical="top",
                no_wrap=not fold,
                overflow="fold",
            )
        for arm in arms:
            cells = [Text(_cell(column, arm)) for column in columns]
            table.add_row(Text(self._mark(arm)), *cells, style=self._style(arm))
        return table, [_flat(column.title) for column in dropped]

    def _mark(self, arm: ArmReport) -> str:
        verdict = self.report.verdict
        if len(self.report.arms) < 2:
            return ""
        if arm.name == verdict.recommended:
            return "→"
        if arm.name in (*verdict.tied_with, *verdict.open) and not reads_labels(self.report):
            return "~"
        return "*" if arm.name == verdict.best else ""

    def _style(self, arm: ArmReport) -> str:
        if arm.status != "ok":
            return "dim"
        return "bold" if arm.name == self.report.verdict.recommended else ""

    def _troubles(self) -> list["Text"]:
        from rich.text import Text

        return [
            Text.assemble(
                (f"{arm.name} {arm.status}: ", "bold"), arm.why or "no reason was recorded"
            )
            for arm in by_score(self.report)
            if arm.status != "ok"
        ]

    def _verdict(self) -> "Text":
        from rich.text import Text

        head, why = headline(self.report), self.report.verdict.reason
        # A reason that begins with these words is continued, not repeated.
        if why.startswith((f"{head}: ", f"{head} ")):
            return Text.assemble((head, "bold"), why.removeprefix(head))
        return Text.assemble((f"{head}{': ' if why else ''}", "bold"), why)

    def _legend(self) -> list["Text"]:
        from rich.text import Text

        verdict = self.report.verdict
        if len(self.report.arms) < 2 or not verdict.recommended:
            return []
        level = {*verdict.tied_with, *verdict.open}
        equal = [name for name in level if name != verdict.recommended]
        tied = "   ~ could equal the best" if equal and not reads_labels(self.report) else ""
        if verdict.best in (None, verdict.recommended):
            return [Text(f"→ recommended, and the best score{tied}", style="dim")]
        role = "closest model" if verdict.best in FLOORS else "recommended"
        return [Text(f"→ {role}   * best score{tied}", style="dim")]


STAYS = 8
"""Columns of at least this rank are never dropped."""
_NAME = 9


def _columns(report: Report) -> list[Column]:
    """Return the columns with values in this report."""
    first, second = headline_metric(report), second_metric(report)
    each = "answer" if TASKS[report.data.task].prompts else "text"
    every = [
        Column("arm", _NAME, lambda arm: arm.name, right=False),
        Column(
            _title(report, first),
            STAYS,
            lambda arm: _score(arm, first) if arm.status == "ok" else arm.status,
        ),
        Column("95 %\ninterval", 7, lambda a: display.metric_range(first, a.test.get(first))),
    ]
    if second:
        every.append(Column(_title(report, second), 4, lambda arm: _score(arm, second)))
    every += [
        Column("train\ntime", 6, lambda arm: display.brief_duration(make_seconds(arm))),
        Column("peak\nmemory", 5, lambda arm: display.size(arm.cost.peak_memory_bytes)),
        Column("trained\nparams", 3, lambda arm: display.count(arm.cost.trainable_parameters)),
        Column(
            f"time per\n{each}", 2, lambda a: display.milliseconds(a.cost.predict_ms_per_example)
        ),
        Column("", 1, lambda arm: standing(report, arm), right=False),
    ]
    return [
        c for c in every if any(c.write(arm) not in ("", display.ABSENT) for arm in report.arms)
    ]


def _title(report: Report, name: str) -> str:
    """Return a metric's heading, narrow enough for 80 columns."""
    if spec_of(report).one_label:
        return display.metric_label(name).lower().replace("-f1", "\nF1")
    title = words(report, name).replace("perplexity", "per-\nplexity").replace("-F1", "\nF1")
    return title.replace(" ", "\n")


def _flat(title: str) -> str:
    """Return a heading on one line, with divided words rejoined."""
    return title.replace("-\n", "").replace("\n", " ")


def _cell(column: Column, arm: ArmReport) -> str:
    """Write a cell; an arm that did not finish has no numbers, rather than unknown ones."""
    cell = column.write(arm)
    return "" if arm.status != "ok" and cell == display.ABSENT else cell


def _score(arm: ArmReport, name: str) -> str:
    score = arm.test.get(name)
    return display.metric(name, score.value) if score else display.ABSENT


def fit_columns(
    columns: list[Column], arms: Sequence[Any], width: int
) -> tuple[list[Column], list[Column]]:
    """Return the columns that fit, dropping the least important ones, and the dropped ones."""
    fitting = list(columns)
    while _total_width(fitting, arms) > width:
        least = min(fitting, key=lambda column: column.rank)
        if least.rank >= STAYS:
            break
        fitting.remove(least)
    dropped = [column for column in columns if column not in fitting and column.title]
    return fitting, dropped


def _total_width(columns: list[Column], arms: Sequence[Any]) -> int:
    from rich.cells import cell_len

    total = 1
    for column in columns:
        cells = [*column.title.split("\n"), *(column.write(arm) for arm in arms)]
        total += GAP + max(map(cell_len, cells))
    return total


def _plain_ascii(table: "Table") -> "Table":
    """Replace the few non-ASCII signs for terminals that cannot show them."""
    from rich.text import Text

    for column in table.columns:
        column._cells = [
            Text(cell.plain.translate(ASCII)) if isinstance(cell, Text) else cell
            for cell in column._cells
        ]
    return table
