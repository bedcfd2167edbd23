"""Formats numbers for people: `88.1 %`, `1 min 20 s`, `412 MB`, `1.2 M`."""

import math
from collections.abc import Callable

from tailorbird.metrics.metric_facts import (
    is_share as is_share,
    metric_label as metric_label,
    metric_words as metric_words,
)
from tailorbird.records import Score

ABSENT = "–"

Formatter = Callable[[float], str]


def metric(name: str, value: float | None) -> str:
    """Write one value of the named metric."""
    return percent(value) if is_share(name) else decimal(value)


def metric_range(name: str, score: Score | None) -> str:
    """Write a score's interval (``84.2–91.5`` in percent), or nothing when it has none."""
    if score is None or not score.low < score.high:
        return ""
    write: Formatter = _bare_percent if is_share(name) else decimal
    between = " to " if score.low < 0 else "–"
    return f"{write(score.low)}{between}{write(score.high)}"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage."""
    if share is None or not math.isfinite(share):
        return ABSENT
    return f"{100 * share:.{digits}f} %"


def _bare_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with a true minus sign."""
    return _signed(100 * difference, 1)


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    if not text.strip("0."):
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def difference(name: str, value: float) -> str:
    """Write a difference of the named metric."""
    return points(value) if is_share(name) else _signed(value, 3)


def decimal(value: float | None) -> str:
    """Write a metric that is no share: three decimals, fewer if large; a true minus sign."""
    if value is None or not math.isfinite(value):
        return ABSENT
    size = abs(value)
    return _signed(value, 0 if size >= 1000 else 1 if size >= 10 else 3).removeprefix("+")


def exact(value: float) -> str:
    """Write a difference that should be zero: ``0`` only if it is exactly that."""
    return "0" if value == 0 else f"{value:.2g}"


def p_value(p: float) -> str:
    """Write a p-value; never as zero."""
    if not math.isfinite(p):
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Write a time span with at most two units.

    >>> duration(80), duration(7260)
    ('1 min 20 s', '2 h 1 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.001 else "< 1 ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for name, size, small_name, small in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def brief_duration(seconds: float | None) -> str:
    """Write a time span in one unit, for narrow columns."""
    if seconds is None or not math.isfinite(seconds) or seconds < 59.5:
        return duration(seconds)
    for unit, scale in (("min", 60), ("h", 3600), ("d", 86400)):
        value = seconds / scale
        if value < (59.5 if unit == "min" else 23.5) or unit == "d":
            return f"{value:.{0 if value >= 9.95 else 1}f} {unit}"
    raise AssertionError("days hold any span")


def milliseconds(value: float | None) -> str:
    """Write a time per example, given in milliseconds."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value >= 1000:
        return duration(value / 1000)
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 1 if power and abs(value) < 99.95 else 0
    number = f"{value:.{digits}f}".removesuffix(".0")
    return f"{number} {units[power]}".rstrip()


def size(number_of_bytes: int | None) -> str:
    """Write an amount of memory in decimal units."""
    if number_of_bytes is None:
        return ABSENT
    return _scaled(number_of_bytes, ("B", "kB", "MB", "GB", "TB"))


def count(number: float | None) -> str:
    """Write a large count short.

    >>> count(1_200_000), count(880)
    ('1.2 M', '880')
    """
    if number is None:
        return ABSENT
    return _scaled(number, ("", "k", "M", "B"))


def rate(per_second: float | None) -> str:
    """Write a throughput."""
    if per_second is None or not math.isfinite(per_second):
        return ABSENT
    return f"{_scaled(per_second, ('', 'k', 'M')) if per_second >= 10 else f'{per_second:.1f}'} /s"


def share_of(part: int | None, whole: int | None) -> str:
    """Write the share of trained parameters, with enough digits to differ from zero."""
    if not part or not whole:
        return ""
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def capital(words: str) -> str:
    """Write words as the beginning of a sentence; the other letters stay as they are."""
    return words[:1].upper() + words[1:]


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Write a count with its noun: ``1 example``, ``1,200 examples``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def change(before: float, after: float) -> str:
    """Write the relative change of a positive number: ``+6.5 %``, with a true minus sign."""
    if not before > 0 or not math.isfinite(after):
        return ABSENT
    return f"{_signed(100 * (after / before - 1), 1)} %"
