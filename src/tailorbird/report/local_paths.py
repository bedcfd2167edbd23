"""Removes local paths from cards and pages, which are shared with others."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_ABSOLUTE = re.compile(r"/|~|\.\.[/\\]|[A-Za-z]:[\\/]")
_WORDS = re.compile(r"[\s,=]+")


def without_places(report: Any, part: T) -> T:
    """Return a report, or a part of it, with paths replaced by names of files and folders.

    A folder becomes ``./name``, so that a model's is not taken for a hub id. The paths
    are those in the report's command and settings, and the working folder.
    """
    names = dict(_names(report))
    folders = {str(Path(place).parent) for place in names if _ABSOLUTE.match(place)}
    folders |= {str(Path.cwd()), str(Path.home())}
    names |= {f"{folder.rstrip('/')}/": "" for folder in folders if len(folder) > 1}
    longest = sorted(names, key=len, reverse=True)
    # Whole names only: /data is not part of /my/data or /data-2.
    ends = (re.escape(n) if n.endswith("/") else re.escape(n) + r"(?![\w-])" for n in longest)
    pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(ends)})")
    mapped: T = _mapped(part, lambda text: pattern.sub(lambda place: names[place[0]], text))
    return mapped


def _names(report: Any) -> Iterator[tuple[str, str]]:
    """Yield each path in a report, and its shared name."""
    try:
        command = shlex.split(report.command)
    except ValueError:  # from another machine
        command = report.command.split()
    data = getattr(report.sections, "data", None)
    named = [report.settings, report.model, getattr(report.sections, "store", "")]
    named += [data.source if data else "", *(getattr(a, "settings", "") for a in report.arms)]
    for text in (*command, *_strings(named)):
        for word in (text, *_WORDS.split(text)):
            if _is_place(word):
                path = Path(word)
                yield word, path.name if path.suffix and not path.is_dir() else f"./{path.name}"


def _is_place(word: str) -> bool:
    if _ABSOLUTE.match(word):
        return len(Path(word).name) > 0
    try:
        return "/" in word and Path(word).exists()
    except (OSError, ValueError):  # too long, or no path
        return False


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Apply a change to every text in a value."""
    if isinstance(value, str):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: _mapped(part, change) for name, part in inner.items()})
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_mapped(part, change) for part in value])
    return value
