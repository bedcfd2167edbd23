"""A plan as tables: for the terminal and the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailorbird.metrics import numbers
from tailorbird.records.planning import Fit, MemoryPlan, Plan

if TYPE_CHECKING:
    from rich.console import Console

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of plain strings.

    Attributes:
        title: What it shows.
        heading: Names of the columns.
        rows: Cells, the first of each row its name.
        notes: What stands below it.
    """

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def grids(plan: Plan) -> list[Grid]:
    """Return all tables of a plan, in the order in which they are read."""
    return [_fits(plan), _terms(plan)]


def summary(plan: Plan) -> str:
    """Return what is planned for, in a line."""
    work = plan.workload
    checkpointing = ", gradient checkpointing" if work["gradient_checkpointing"] else ""
    return (
        f"{plan.model}: {work['task']}, {work['examples']:,} examples of up to "
        f"{work['longest_tokens']:,} tokens, batches of {work['batch_size']} "
        f"({work['micro_batch_size']} at once), {work['optimizer']}{checkpointing}; "
        f"{plan.device}, {gib(plan.capacity_bytes)}"
    )


def gib(size: int) -> str:
    """Write memory in the unit that makers of cards call GB."""
    return f"{_short(size)} GiB"


def _short(size: int) -> str:
    return f"{size / GIB:.{2 if size < 10 * GIB else 1}f}"


def _fits(plan: Plan) -> Grid:
    """Return what fits where: yes, the smallest change, or no."""
    places = list(dict.fromkeys((fit.device, fit.capacity_bytes) for fit in plan.fits))
    by_key = {(fit.method, fit.device, fit.capacity_bytes): fit for fit in plan.fits}
    names = [memory.method for memory in plan.memory]
    rows: list[tuple[str, ...]] = []
    changes: list[str] = []
    for name in names:
        cells = []
        for place in places:
            fit = by_key[name, *place]
            cells.append(_cell(fit, changes))
        rows.append((name, *cells))
    notes = [f"({number}) {words}" for number, words in enumerate(changes, 1)]
    notes += [f"{name}: {why}" for name, why in plan.why_not.items()]
    heading = ("method", *(device for device, _ in places))
    title = "GiB needed; (n): after that change; a tenth of the memory is left free"
    return Grid(title, heading, tuple(rows), tuple(notes))


def _cell(fit: Fit, changes: list[str]) -> str:
    if fit.fits:
        return _short(fit.bytes)
    if fit.changed_bytes is None:
        return f"no: {_short(fit.bytes)}"
    words = " ".join(fit.change)
    if words not in changes:
        changes.append(words)
    return f"{_short(fit.changed_bytes)} ({changes.index(words) + 1})"


def _terms(plan: Plan) -> Grid:
    names = list(dict.fromkeys(t.name for memory in plan.memory for t in memory.terms))
    rows = [(name, *(_size(memory, name) for memory in plan.memory)) for name in names]
    rows.append(("together", *(_short(memory.bytes) for memory in plan.memory)))
    rows.append(("when", *(memory.phase for memory in plan.memory)))
    rows.append(("trained", *(numbers.count(memory.trained) for memory in plan.memory)))
    how = {t.name: t.how for memory in plan.memory for t in memory.terms}
    notes = [f"{name}: {words}" for name, words in how.items()]
    notes += [f"for comparison, full: {name} {gib(size)}" for name, size in plan.peers.items()]
    heading = ("memory", *(memory.method for memory in plan.memory))
    return Grid(f"Where it goes, in GiB: {plan.device}", heading, tuple(rows), tuple(notes))


def _size(memory: MemoryPlan, name: str) -> str:
    size = next((term.bytes for term in memory.terms if term.name == name), 0)
    return _short(size) if size else ""


def print_plan(plan: Plan, console: "Console") -> None:
    """Print the plan's tables and notes."""
    from rich.box import SIMPLE_HEAD
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    def lines(words: Sequence[str]) -> None:
        for line in words:
            console.print(Padding(Text(line), (0, 0, 0, 2)))

    console.print(Text(summary(plan)))
    for grid in grids(plan):
        table = Table(box=SIMPLE_HEAD, title=grid.title, title_justify="left")
        for number, name in enumerate(grid.heading):
            table.add_column(name, justify="right" if number else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
        lines(grid.notes)
    lines([f"note: {note}" for note in plan.notes])
