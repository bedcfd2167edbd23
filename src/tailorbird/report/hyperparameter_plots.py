"""Plots of a search: its course, the importance of settings, the best values."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tailorbird.metrics import display
from tailorbird.metrics.metric_facts import is_at_most_one, metric_words, sign
from tailorbird.records import Search, Trial
from tailorbird.report import svg

WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 410.0, 26.0, 206.0
_BAR = 26.0
_AXIS = 118.0


def history(search: Search) -> str:
    """Draw every trial's score in order, and the best so far; empty for fewer than two."""
    scored = [(t, t.score) for t in search.trials if _is_number(t.score)]
    complete_trials = [(t, score) for t, score in scored if t.state == "ok"]
    if len(complete_trials) < 2:
        return ""
    x = svg.Scale(1, max(2, len(search.trials)), LEFT + 8, RIGHT - 8)
    y = _score_scale(search, [score for _, score in scored if score is not None])
    better, best, line = sign(search.metric), -math.inf, []
    for trial, score in complete_trials:
        best = max(best, better * (score or 0.0))
        line.append((x(trial.number + 1), y(better * best)))
    names = f"{metric_words(search.metric)} on validation", "trial →"
    share = display.is_share(search.metric)
    parts = [
        svg.axes(x, y, (LEFT, RIGHT), names, svg.whole(x, 6), share=share),
        svg.path(_stairs(line), "series held"),
        *(
            svg.circle(x(t.number + 1), y(score or 0.0), 4, _dot(search, t), _title(search, t))
            for t, score in scored
        ),
    ]
    return svg.frame(WIDTH, HEIGHT, "Score of each trial, and the best so far", parts)


def importance(search: Search) -> str:
    """Draw each setting's share of the variance; empty if unknown."""
    shares = sorted(search.importance.items(), key=lambda item: -item[1])
    if not shares:
        return ""
    height = 30 + _BAR * len(shares)
    x = svg.Scale(0.0, max(share for _, share in shares) or 1.0, 170, 370)
    title = "Share of the differences in score that a setting explains"
    parts = [svg.text(0, 12, title, css="name")]
    for row, (name, share) in enumerate(shares):
        y = 26 + _BAR * row
        parts += [
            svg.text(162, y + 13, name, anchor="end", css="label other"),
            svg.box(170, y, x(share) - 170, 17, "column"),
            svg.text(x(share) + 6, y + 13, display.percent(share, 0), css="tick"),
        ]
    return svg.frame(WIDTH, height, "Importance of each setting", parts)


def parallel(search: Search) -> str:
    """Draw one line per trial through its values and its score; empty for fewer than two."""
    names = list(search.space)
    complete = [t for t in search.trials if t.state == "ok" and set(t.values) == set(names)]
    complete_trials = [t for t in complete if _is_number(t.score)]
    if len(complete_trials) < 2:
        return ""
    axes = {name: _places([t.values[name] for t in complete_trials]) for name in names}
    y = _score_scale(search, [t.score or 0.0 for t in complete_trials])
    right = 40 + _AXIS * len(names)
    parts, marks = [], []
    for column, name in enumerate(names):
        x = 40 + _AXIS * column
        parts.append(svg.line(x, TOP + 8, x, BOTTOM, "axis"))
        parts.append(svg.text(x - 34, 12, _short(name), css="name"))
        marks += [
            svg.text(x + 6, at + 4, words, css="tick over")
            for words, at in _marked(axes[name], [t.values[name] for t in complete_trials])
        ]
    parts += [svg.line(right, TOP + 8, right, BOTTOM, "axis")]
    parts += [svg.text(right - 34, 12, metric_words(search.metric), css="name")]
    levels = svg.ticks(min(y.low, y.high), max(y.low, y.high), 3)
    write = svg.evenly(levels, share=display.is_share(search.metric))
    parts += [svg.text(right + 6, y(v) + 4, write(v), css="tick") for v in levels]
    # The best one last, on top of the others.
    for trial in sorted(complete_trials, key=lambda t: t.number == search.best):
        points = [(40 + _AXIS * i, axes[n][_key(trial.values[n])]) for i, n in enumerate(names)]
        points.append((right, y(trial.score or 0.0)))
        css = "series held" if trial.number == search.best else "series thin"
        parts.append(svg.path(points, css))
    return svg.frame(right + 60, HEIGHT - 24, "Settings and score of each trial", parts + marks)


def summary(search: Search) -> str:
    """Describe the best trial in comparison with the user's own settings."""
    count = {state: sum(t.state == state for t in search.trials) for state in ("pruned", "failed")}
    words = f"{display.plural(len(search.trials), 'trial')} ({search.sampler})"
    if count["pruned"]:
        words += f", {count['pruned']} stopped early"
    if count["failed"]:
        words += f", {count['failed']} failed"
    best = next(t for t in search.trials if t.number == search.best)
    plain_trial = next((t for t in search.trials if t.asked), None)
    score = display.metric(search.metric, best.score or math.nan)
    name = metric_words(search.metric)
    if best.asked:
        same = "No trial was better on validation than the configured settings"
        return f"{words}. {same} ({name} {score})."
    if plain_trial is None or plain_trial.score is None or plain_trial.state != "ok":
        return f"{words}. The best one has {name} {score} on validation."
    plain = display.metric(search.metric, plain_trial.score)
    return (
        f"{words}. The best one has {name} {score} on validation, against {plain} with the "
        "configured settings. As the best of many, it looks better there than it is; the test "
        "set was not used to choose it."
    )


def rows(search: Search) -> list[tuple[Trial, str, list[str]]]:
    """Return ``(trial, score, values)`` in words, best first."""
    better = sign(search.metric)

    def order(trial: Trial) -> tuple[bool, float]:
        finite = _is_number(trial.score)
        return (trial.state != "ok", -better * (trial.score or 0.0) if finite else math.inf)

    def score(trial: Trial) -> str:
        finite = _is_number(trial.score)
        return display.metric(search.metric, trial.score or 0.0) if finite else display.ABSENT

    return [
        (
            trial,
            score(trial),
            [_value(trial.values[n]) if n in trial.values else "configured" for n in search.space],
        )
        for trial in sorted(search.trials, key=order)
    ]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _score_scale(search: Search, scores: Sequence[float]) -> svg.Scale:
    margin = 0.08 * (max(scores) - min(scores)) or 0.05
    low, high = min(scores) - margin, max(scores) + margin
    if is_at_most_one(search.metric):
        high = min(1.0, high)
    # Better is up, even if that means a lower value.
    low, high = (low, high) if sign(search.metric) > 0 else (high, low)
    return svg.Scale(low, high, BOTTOM, TOP + 8)


def _stairs(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = points[:1]
    for (_, before), (x, y) in pairwise(points):
        steps += [(x, before), (x, y)]
    return steps


def _dot(search: Search, trial: Trial) -> str:
    if trial.number == search.best:
        return "dot pick"
    return "dot other" if trial.state == "ok" else "dot below"


def _title(search: Search, trial: Trial) -> str:
    values = ", ".join(f"{_short(n)} {_value(v)}" for n, v in trial.values.items())
    score = display.metric(search.metric, trial.score or math.nan)
    return f"trial {trial.number + 1}: {score}; {values or 'configured'}"


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Return the height of each value: by size for numbers, evenly for others."""
    plain = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    different = {_key(v): v for v in values}
    if len(plain) == len(values) and len(different) > 1:
        low, high = min(plain), max(plain)
        scale = svg.Scale(low, high, BOTTOM, TOP + 8, log=low > 0 and high / low > 20)
        return {key: scale(value) for key, value in different.items()}
    ordered = sorted(different)
    even = svg.Scale(0, max(1, len(ordered) - 1), BOTTOM, TOP + 8)
    return {key: even(place) for place, key in enumerate(ordered)}


def _marked(places: dict[str, float], values: Sequence[Any]) -> list[tuple[str, float]]:
    """Return the values to label on an axis: as many as fit without overlap."""
    named = {_key(value): _value(value) for value in values}
    marks: list[tuple[str, float]] = []
    for key, at in sorted(places.items(), key=lambda item: item[1]):
        if not marks or at - marks[-1][1] >= 14:
            marks.append((named[key], at))
    return marks


def _key(value: Any) -> str:
    return repr(value)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(name: str) -> str:
    return name.partition(".")[2]
