"""Renders pages from templates."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird import terminal
from tailorbird.metrics import display

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
WRITERS: dict[str, Callable[..., str]] = {write.__name__: write for write in (
    display.percent, display.decimal, display.duration, display.milliseconds, display.size,
    display.count, display.rate, display.p_value, display.plural, display.share_of, display.capital,
    display.metric, display.metric_range, display.difference, display.points,
)}  # fmt: skip
"""Formatters of values on pages, by the name of the template filter."""


def page_environment() -> "Environment":
    """Return the template environment: values are escaped, unknown names are errors."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= WRITERS
    return environment


def fill(
    template: str,
    environment: "Environment | None" = None,
    *styles: str,
    report: Any = None,
    **values: Any,
) -> str:
    """Render a self-contained page, with styles and scripts inside it.

    Args:
        environment: A template environment with further filters.
        *styles: Style sheets in addition to the common one.
        report: The displayed report, which also supplies its time and circumstances.
        **values: Other variables of the template.
    """
    if report is not None:
        values |= {
            "report": report,
            "created": moment(report.created),
            "settings": flatten(report.settings),
            "environment": flatten(report.environment),
        }
    css, js = ("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
               for names in (("page.css", *styles), ("page.js",)))  # fmt: skip
    environment = environment or page_environment()
    return environment.get_template(template).render(values, css=css, js=js)


def visible(value: Any) -> Any:
    """Return a text with invisible and direction-changing characters made visible."""
    return terminal.escape(value) if type(value) is str else value


def moment(created: str) -> str:
    """Write an ISO time for a person; anything else stays as it is."""
    try:
        when = datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as ``(dotted key, value)`` lines."""
    lines: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flatten(value, f"{name}.")
        elif isinstance(value, list | tuple | set | frozenset):
            lines.append((name, ", ".join(map(str, value)) or "none"))
        else:
            lines.append((name, _plain(value)))
    return lines


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return display.ABSENT
    return f"{value:.6g}" if isinstance(value, float) else str(value)
