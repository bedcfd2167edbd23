"""How far numbers are off: truth against error, one picture per target."""

from collections.abc import Sequence
from statistics import fmean

from tailorbird.records import Residual
from tailorbird.report import svg

_WIDTH, _HEIGHT = 420.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 410.0, 26.0, 206.0
_MOST_TARGETS = 6


def residual_plots(residuals: Sequence[Residual]) -> list[str]:
    """Return a picture per target: each test example's error over its true value."""
    names = list(dict.fromkeys(residual.target for residual in residuals))[:_MOST_TARGETS]
    return [_plot(name, [r for r in residuals if r.target == name]) for name in names]


def residual_words(residuals: Sequence[Residual]) -> str:
    """Say whether low values are put too high and high ones too low, as cautious models do."""
    names = list(dict.fromkeys(residual.target for residual in residuals))
    if len(names) != 1 or len(residuals) < 8:
        return ""
    ranked = sorted(residuals, key=lambda r: r.truth)
    quarter = len(ranked) // 4
    low, high = (fmean(r.predicted - r.truth for r in part)
                 for part in (ranked[:quarter], ranked[-quarter:]))  # fmt: skip
    return (
        f"On average the quarter with the lowest values is predicted {_told(low)}, the quarter "
        f"with the highest {_told(high)}."
    )


def _told(error: float) -> str:
    side = "too high" if error > 0 else "too low"
    return f"{abs(error):.3g} {side}"


def _plot(name: str, residuals: Sequence[Residual]) -> str:
    errors = [r.predicted - r.truth for r in residuals]
    truths = [r.truth for r in residuals]
    reach = max(map(abs, errors)) or 1.0
    x = svg.Scale(min(truths), max(truths), _LEFT + 6, _RIGHT - 6)
    y = svg.Scale(-reach, reach, _BOTTOM, _TOP)
    levels, marks = svg.ticks(-reach, reach, 4), svg.ticks(x.low, x.high, 5)
    write = svg.evenly(marks, share=False)
    parts = [
        svg.grid(y, levels, _LEFT, _RIGHT, svg.evenly(levels, share=False)),
        svg.line(_LEFT, y(0), _RIGHT, y(0), "ideal"),
        *(svg.text(x(m), _BOTTOM + 18, write(m), anchor="middle", css="tick") for m in marks),
        *(svg.circle(x(t), y(e), 2, "dot") for t, e in zip(truths, errors, strict=True)),
        svg.text(0, 12, f"Predicted minus true {name}", css="name"),
        svg.text(_RIGHT, _BOTTOM + 38, f"true {name} →", anchor="end", css="name"),
    ]
    return svg.frame(_WIDTH, _HEIGHT, f"Errors of {name} by its true value", parts)
