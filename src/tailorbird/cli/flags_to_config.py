"""Converts flags to settings, and rejects flags that have no effect."""

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from tailorbird.config import Config, load_config
from tailorbird.errors import UserError
from tailorbird.terminal import without_credentials


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """Return a verb in which dataclass parameters are replaced by their options."""
    parameters = list(inspect.signature(verb, eval_str=True).parameters.values())
    groups: dict[str, Any] = {
        p.name: p.annotation for p in parameters if is_dataclass(p.annotation)
    }

    @wraps(verb)
    def run(**values: Any) -> None:
        values |= {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        verb(**values)

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            option
            for parameter in parameters
            for option in (
                [parameter.replace(name=field.name, default=field.default, annotation=field.type)
                 for field in fields(parameter.annotation)]
                if parameter.name in groups else [parameter]
            )
        ]
    )  # fmt: skip
    return run


def make_config(file: Path | None, settings: list[str] | None, flags: dict[str, Any]) -> Config:
    """Return the configuration; unset flags (None or False) change nothing."""
    # Not `in (None, False)`: 0 equals False, and `--seed 0` is a seed.
    set_flags = {name: v for name, v in flags.items() if v is not None and v is not False}
    return load_config(file, settings or [], set_flags)


def settings_of(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as settings of a section, by name."""
    return {f"{section}.{name}": value for name, value in values.items()}


_ARGUMENTS = {"train": "DATA", "data": "DATA", "run": "RUN"}


def refuse(flags: Mapping[str, Any], because: str, fix: str) -> None:
    """Refuse flags without effect.

    Raises:
        UserError: One of them is set.
    """
    names = [
        _ARGUMENTS.get(name) or f"--{name.replace('_', '-')}"
        for name, value in flags.items()
        if value is not None and value is not False
    ]
    if names:
        are = "is" if len(names) == 1 else "are"
        raise UserError(f"{', '.join(names)} {are} not for {because}", fix)


def joined(data: list[str] | None) -> str | None:
    """Return several files as one setting."""
    return ",".join(data) if data else None


def command_line() -> str:
    """Return the command as typed, without passwords."""
    return shlex.join(["tailor", *map(without_credentials, sys.argv[1:])])
