"""A plan as tables, for the terminal and the page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailorbird.metrics import display
from tailorbird.records.planning import DeviceFit, MemoryPlan, Plan, ServingPlan
from tailorbird.report import svg
from tailorbird.report.learning_curve import Grid, curve_grid, curve_view
from tailorbird.report.page_template import fill

if TYPE_CHECKING:
    from rich.console import Console

GIB = 2**30
# Parts of the picture: a style, and the memory terms of each; what is listed nowhere is the last.
_PARTS = (
    ("weights", "part-1", ("trained weights", "frozen weights", "packed weights", "weights",
                           "unpacked matrix", "weights cast")),
    ("gradients and optimizer", "part-2", ("gradients", "optimizer")),
    ("activations and logits", "part-3", ("activations", "logits", "keys and values")),
    ("process and allocator", "part-4", ()),
)  # fmt: skip
_ROW, _BAR = 34.0, 18.0


def grids(plan: Plan) -> list[Grid]:
    """Return the tables of a plan without its learning curve's, in reading order."""
    tables = [_fits(plan), _terms(plan)]
    tables += [_time(plan)] if plan.time else []
    tables += [_serving(plan)] if plan.serving else []
    return tables


def summary(plan: Plan) -> str:
    """Return the planned workload in one line."""
    work = plan.workload
    checkpointing = ", gradient checkpointing" if work["gradient_checkpointing"] else ""
    return (
        f"{plan.model}: {work['task']}, {work['examples']:,} examples of up to "
        f"{work['longest_tokens']:,} tokens, batches of {work['batch_size']} "
        f"({work['micro_batch_size']} at once), {work['optimizer']}{checkpointing}; "
        f"{plan.device}, {gib(plan.capacity_bytes)}"
    )


def gib(size: int) -> str:
    """Write memory in the unit that card makers call GB."""
    return f"{_short(size)} GiB"


def _short(size: int) -> str:
    decimals = 2 if size < 10 * GIB else 1 if size < 100 * GIB else 0
    return f"{size / GIB:,.{decimals}f}"


def _fits(plan: Plan) -> Grid:
    """Return what fits each device: yes, the smallest change, or no."""
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
    notes = ["(n): after change n; no: no setting makes it fit"] if changes else []
    notes += [f"({number}) {words}" for number, words in enumerate(changes, 1)]
    notes += [f"{name}: {why}" for name, why in plan.why_not.items()]
    heading = ("method", *(device for device, _ in places))
    title = "What fits where, in GiB, with a tenth of the memory left free"
    return Grid(title, heading, tuple(rows), tuple(notes))


def _cell(fit: DeviceFit, changes: list[str]) -> str:
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
    rows.append(("trained", *(display.count(memory.trained) for memory in plan.memory)))
    how = {t.name: t.how for memory in plan.memory for t in memory.terms}
    notes = [f"{name}: {words}" for name, words in how.items()]
    notes += [f"for comparison, full: {name} {gib(size)}" for name, size in plan.peers.items()]
    heading = ("memory", *(memory.method for memory in plan.memory))
    return Grid(f"Where it goes, in GiB: {plan.device}", heading, tuple(rows), tuple(notes))


def _size(memory: MemoryPlan, name: str) -> str:
    size = next((term.bytes for term in memory.terms if term.name == name), 0)
    return _short(size) if size else ""


def _time(plan: Plan) -> Grid:
    """Return the maximum training time of each method."""
    priced = any(time.price is not None for time in plan.time)
    rows: list[tuple[str, ...]] = []
    for time in plan.time:
        each = "" if time.read_seconds is None else display.duration(1000 * time.read_seconds)
        row = (time.method, display.duration(time.start_seconds),
               display.duration(time.epoch_seconds), f"{time.epochs:g}",
               display.duration(time.seconds), each)  # fmt: skip
        rows.append((*row, f"{time.price:.2f}") if priced else row)
    heading = (
        "method",
        "start",
        "an epoch",
        "epochs",
        "all at most",
        "1,000 read",
        *["price"] * priced,
    )
    notes = [f"{time.method}: {time.how}" for time in plan.time]
    if len({time.how for time in plan.time}) == 1:
        notes = [plan.time[0].how]
    rows_of = f"{plan.workload['examples']:,} examples"
    return Grid(f"Time to train on {rows_of}; early stopping may end it sooner", heading,
                tuple(rows), tuple(notes))  # fmt: skip


def _serving(plan: Plan) -> Grid:
    """Return memory and speed of generation, by context length and number of users."""
    users = list(dict.fromkeys(s.users for s in plan.serving))
    by_key = {(s.context, s.users): s for s in plan.serving}
    rows = [
        (f"{context:,}", *(_served(by_key[context, n]) for n in users))
        for context in dict.fromkeys(s.context for s in plan.serving)
    ]
    heading = ("context", *(f"{n} at once" for n in users))
    notes = ("GiB of weights, keys and values; tokens a second of all together, as reading the "
             "weights allows; *: does not fit",)  # fmt: skip
    return Grid(f"Serving on {plan.device}", heading, tuple(rows), notes)


def _served(serving: ServingPlan) -> str:
    pace = serving.tokens_per_second
    words = _short(serving.bytes) if serving.fits else f"{_short(serving.bytes)}*"
    return words if pace is None or not serving.fits else f"{words}, {pace:,.{int(pace < 10)}f}/s"


def render_plan(plan: Plan) -> str:
    """Return the plan as one HTML document that needs no network."""
    return fill(
        "plan.html.j2",
        plan=plan,
        summary=summary(plan),
        heading=_heading(plan),
        advice=advice(plan),
        memory=[memory_plot(plan, wide=wide) for wide in (True, False)],
        grids=grids(plan),
        learning=curve_view(plan.curve),
    )


def _heading(plan: Plan) -> str:
    fits = [memory.method for memory, fit in zip(plan.memory, plan.fits, strict=False) if fit.fits]
    if len(fits) == len(plan.memory):
        return "Every method fits" if len(fits) > 1 else f"{fits[0]} fits"
    changed = [f.method for f in plan.fits[: len(plan.memory)] if f.changed_bytes is not None]
    if not fits:
        return "Nothing fits as it is" if changed else "Nothing fits"
    return f"{', '.join(fits)} fit{'s' if len(fits) == 1 else ''}"


def advice(plan: Plan) -> str:
    """Return the change that makes most of the unfit methods fit, in words; or ""."""
    methods: dict[str, list[str]] = {}
    for fit in plan.fits[: len(plan.memory)]:
        if fit.changed_bytes is not None:
            methods.setdefault(" ".join(fit.change), []).append(fit.method)
    if not methods:
        return ""
    change = max(methods, key=lambda words: len(methods[words]))
    names = methods[change]
    return f"{', '.join(names)} fit{'s' if len(names) == 1 else ''} with {change}"


def memory_plot(plan: Plan, *, wide: bool = True) -> str:
    """Draw the memory of each method by term, and the memory of the device."""
    width, left = (880.0, 80.0) if wide else (360.0, 64.0)
    right, top = width - 76, 58.0 if wide else 82.0
    height = top + _ROW * len(plan.memory) + 6
    most = max(plan.capacity_bytes, *(memory.bytes for memory in plan.memory))
    x = svg.Scale(0.0, float(most), left, right)
    key = ((words, css) for words, css, _ in _PARTS)
    parts = svg.legend(key, left if wide else 0.0, width)
    for row, memory in enumerate(plan.memory):
        y, at = top + _ROW * row, 0
        parts.append(svg.text(left - 10, y + 14, memory.method, anchor="end", css="label other"))
        for words, css, size in _shares(memory):
            title = f"{memory.method}, {words}: {gib(size)}"
            parts.append(svg.box(x(at), y, x(at + size) - x(at), _BAR, css, title))
            at += size
        parts.append(svg.text(x(at) + 6, y + 14, gib(at), css="tick"))
    limit = x(plan.capacity_bytes)
    parts.append(svg.line(limit, top - 8, limit, height - 6, "axis"))
    name, late = f"{gib(plan.capacity_bytes)} here", limit > (left + right) / 2
    parts.append(svg.text(limit, top - 14, name, anchor="end" if late else "start", css="tick"))
    css = "wide" if wide else "narrow"
    return svg.frame(width, height, "Memory of each method, by what takes it", parts, css)


def _shares(memory: MemoryPlan) -> list[tuple[str, str, int]]:
    part_of = {name: words for words, _, names in _PARTS for name in names}
    sizes = dict.fromkeys((words for words, *_ in _PARTS), 0)
    for term in memory.terms:
        sizes[part_of.get(term.name, _PARTS[-1][0])] += term.bytes
    return [(words, css, sizes[words]) for words, css, _ in _PARTS]


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
    if words := advice(plan):
        console.print(Text(words))
    for grid in [*grids(plan), *([curve_grid(plan.curve)] if plan.curve else [])]:
        table = Table(box=SIMPLE_HEAD, title=grid.title, title_justify="left")
        for number, name in enumerate(grid.heading):
            table.add_column(name, justify="right" if number else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
        lines(grid.notes)
    lines([f"note: {note}" for note in plan.notes])
