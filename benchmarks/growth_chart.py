"""Draws what `store_speed.py` measured, as one SVG with its own colours."""

from collections.abc import Callable, Sequence
from typing import Any

from tailorbird.report import svg

WIDTH, PANEL, GAP = 860.0, 250.0, 35.0
TOP, BOTTOM, LEFT = 34.0, 190.0, 44.0
# A picture by itself, in light and in dark pages alike.
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #68707c }
.name { font-weight: 600 }
.rule { stroke: #8a93a0; stroke-opacity: .25 }
.axis { stroke: #8a93a0 }
.first, .second { fill: none; stroke-width: 2; stroke: #2f6fdb }
.second { stroke: #d9822b }
circle { fill: #2f6fdb }
circle.two { fill: #d9822b }
.one { fill: #2f6fdb }
text.two { fill: #d9822b }
</style>"""

Lines = Sequence[tuple[str, Callable[[dict[str, Any]], float]]]
"""Names, and what they are of one size's figures."""

PANELS: Sequence[tuple[str, Lines]] = (
    ("Query, ms", (("p95", lambda r: r["query_p95_ms"]), ("p50", lambda r: r["query_p50_ms"]))),
    ("Ingest, chunks per second", (("", lambda r: r["ingest_chunks_per_second"]),)),
    (
        "Peak memory and disk, MB",
        (("memory", lambda r: r["peak_memory_mb"]), ("disk", lambda r: r["disk_mb"])),
    ),
)


def growth_chart(rows: Sequence[dict[str, Any]]) -> str:
    """Return three panels over the number of chunks."""
    parts = [STYLE]
    for number, (name, lines) in enumerate(PANELS):
        parts.append(_panel(rows, number * (PANEL + GAP), name, lines))
    name = "How the store grows with the number of chunks"
    drawn = svg.frame(WIDTH, BOTTOM + 44, name, parts)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _panel(rows: Sequence[dict[str, Any]], at: float, name: str, lines: Lines) -> str:
    sizes = [row["chunks"] for row in rows]
    left, right = at + LEFT, at + PANEL
    x = svg.Scale(min(sizes), max(sizes), left + 8, right - 24, log=True)
    most = max(value(row) for row in rows for _, value in lines)
    y = svg.Scale(0.0, 1.1 * most, BOTTOM, TOP)
    levels = svg.ticks(0.0, 1.1 * most, 4)
    parts = [
        svg.text(at, 14, name, css="name"),
        svg.grid(y, levels, left, right, lambda value: f"{value:,.0f}"),
        svg.line(left, BOTTOM, right, BOTTOM, "axis"),
        *(svg.text(x(s), BOTTOM + 18, _short(s), anchor="middle") for s in sizes),
        svg.text(right, BOTTOM + 36, "chunks →", anchor="end"),
    ]
    ends = [y(value(rows[-1])) for _, value in lines]
    for (label, value), css in zip(lines, ("first", "second"), strict=False):
        points = [(x(row["chunks"]), y(value(row))) for row in rows]
        dot = "two" if css == "second" else "one"
        parts.append(svg.path(points, css))
        for row, (px, py) in zip(rows, points, strict=True):
            parts.append(svg.circle(px, py, 3.5, dot, f"{row['chunks']:,}: {value(row):,.1f}"))
        if label:
            # Above the line's end, unless another line's name stands there.
            lower = points[-1][1] == max(ends) and max(ends) - min(ends) < 18
            height = points[-1][1] + (18 if lower else -8)
            parts.append(svg.text(points[-1][0], height, label, anchor="end", css=dot))
    return "".join(parts)


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"
