"""SVG primitives: text stays text, and colours come from the page's style sheet.

Compared with a plotting library, such a chart has a tenth of the size, follows the reader's light
or dark theme, and is the same byte for byte on every machine.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tailorbird import terminal
from tailorbird.metrics.display import Formatter


def escape(words: str) -> str:
    """Return text escaped for markup, with control characters made visible."""
    return html.escape(terminal.one_line(words))


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, linearly or logarithmically; an axis may be reversed."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high != low else 0.5
        return self.start + share * (self.end - self.start)

    def clamped(self, value: float) -> float:
        """Return the pixel of a value, clamped to the axis."""
        low, high = sorted((self.low, self.high))
        return self(min(max(value, low), high))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return about so many round values inside a range."""
    if not high > low:
        return [low]
    span = high - low
    power = 10 ** math.floor(math.log10(span / about))
    step = min((power * m for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(span / s - about))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def evenly(values: Sequence[float], *, share: bool) -> Formatter:
    """Return a formatter with the same number of decimals for all these values."""
    factor, unit = (100, " %") if share else (1, "")
    digits = max((len(f"{factor * value:.6g}".partition(".")[2]) for value in values), default=0)
    return lambda value: f"{factor * value:.{digits}f}{unit}".replace("-", "−")


def px(value: float) -> str:
    """Write a coordinate, with one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, *, anchor: str = "start", css: str = "") -> str:
    """Return one line of text."""
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    style = f' class="{css}"' if css else ""
    return f'<text x="{px(x)}" y="{px(y)}"{end}{style}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Return one straight line."""
    return f'<line x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}" class="{css}"/>'


def circle(x: float, y: float, radius: float, css: str, title: str = "") -> str:
    """Return a dot, with a tooltip if it has a title."""
    at = f'<circle cx="{px(x)}" cy="{px(y)}" r="{px(radius)}" class="{css}"'
    return f"{at}><title>{escape(title)}</title></circle>" if title else f"{at}/>"


def box(x: float, y: float, width: float, height: float, css: str, title: str = "") -> str:
    """Return a rectangle."""
    at = (
        f'<rect x="{px(x)}" y="{px(y)}" width="{px(max(width, 0))}" '
        f'height="{px(max(height, 0))}" class="{css}"'
    )
    return f"{at}><title>{escape(title)}</title></rect>" if title else f"{at}/>"


def legend(entries: Iterable[tuple[str, str]], left: float, right: float) -> list[str]:
    """Return coloured boxes, each of `entries` (words, style), in as many lines as needed."""
    parts, x, y = [], left, 6.0
    for words, css in entries:
        if x > left and x + 16 + 7.2 * len(words) > right:
            x, y = left, y + 20
        parts.append(box(x, y, 11, 11, css) + text(x + 16, y + 10, words, css="tick"))
        x += 7.4 * len(words) + 26
    return parts


def path(points: Iterable[tuple[float, float]], css: str) -> str:
    """Return a line through points."""
    steps = " ".join(f"{px(x)},{px(y)}" for x, y in points)
    return f'<polyline points="{steps}" class="{css}"/>'


def grid(y: Scale, values: Sequence[float], left: float, right: float, write: Formatter) -> str:
    """Return horizontal rules with their values at the left."""
    return "".join(
        line(left, y(v), right, y(v), "rule")
        + text(left - 8, y(v) + 4, write(v), anchor="end", css="tick")
        for v in values
    )


def axes(
    x: Scale, y: Scale, span: tuple[float, float], names: tuple[str, str],
    marks: Mapping[float, str], *, share: bool = False, about: int = 4,
    levels: Mapping[float, str] | None = None,
) -> str:  # fmt: skip
    """Return the axes of a plot with their numbers and names.

    Args:
        y: The vertical scale; the horizontal axis is at its start.
        span: Start and end of the horizontal axis and the rules, in pixels.
        names: The names of the vertical and the horizontal axis.
        share: Whether `y` is in percent.
        levels: The levels with their labels; None: about `about` round ones.
    """
    (left, right), (low, high) = span, sorted((y.low, y.high))
    values = [v for v in levels if low <= v <= high] if levels else ticks(low, high, about)
    write = levels.__getitem__ if levels else evenly(values, share=share)
    return (
        grid(y, values, left, right, write)
        + line(left, y.start, right, y.start, "axis")
        + "".join(
            text(x(value), y.start + 18, words, anchor="middle", css="tick")
            for value, words in marks.items()
        )
        + text(0, 12, names[0], css="name")
        + text(right, y.start + 38, names[1], anchor="end", css="name")
    )


def end_names(x: float, ends: Iterable[tuple[float, str, bool]]) -> list[str]:
    """Return the names of lines beyond their right ends, without overlap.

    Args:
        x: The left edge of the names.
        ends: For each line the height of its end, its name, and whether it is the main one.
    """
    names, last = [], -math.inf
    for height, name, pick in sorted(ends):
        last = max(height + 4, last + 15)
        names.append(text(x, last, name, css="label pick" if pick else "label other"))
    return names


def whole(scale: Scale, about: int = 5) -> dict[float, str]:
    """Return the round integers of a scale with their labels."""
    values = ticks(scale.low, scale.high, about)
    return {value: f"{value:,.0f}" for value in values if value == int(value)}


def frame(width: float, height: float, name: str, parts: Iterable[str], css: str = "") -> str:
    """Return a whole picture; ``name`` is its text for screen readers."""
    return (
        f'<svg class="plot {css}" viewBox="0 0 {px(width)} {px(height)}" width="{px(width)}" '
        f'height="{px(height)}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )
