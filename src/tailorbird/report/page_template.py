"""What every page is made with: its templates, and how they are filled."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird import terminal

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def page_environment() -> "Environment":
    """Return what fills templates: all values escaped, a name that is not there an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shown(value: Any) -> Any:
    """Return a text with the characters seen that would turn its direction or hide in it."""
    return terminal.escape(value) if type(value) is str else value


def moment(created: str) -> str:
    """Write an ISO time for a person; anything else stays as it is."""
    try:
        when = datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"
