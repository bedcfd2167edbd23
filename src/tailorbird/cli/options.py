"""Options that several verbs share."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.config import Config, load_config
from tailorbird.errors import UserError
from tailorbird.records import TASKS
from tailorbird.terminal import without_credentials

_MODELS = "Hugging Face id, local folder, builtin:minilm, builtin:tutor or builtin:smollm2."
Model = Annotated[str | None, typer.Option("--model", "-m", help=_MODELS)]
Text = Annotated[
    str | None,
    typer.Option(help="Column with the text or prompt, A,B for pairs; guessed when clear."),
]
Label = Annotated[
    str | None,
    typer.Option(help="Column with the label, number or answer; several: A,B; guessed when clear."),
]
Task = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(f'{name} ({task.words})' for name, task in TASKS.items())}; "
        "default: as the columns say."
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files (CSV, TSV, JSON, JSONL, Parquet; text; .gz, .zst), a folder of them, a "
        "quoted pattern, or OWNER/NAME on the Hugging Face hub: texts and labels, prompts and "
        "answers, conversations, or plain text."
    ),
]
Validation = Annotated[
    str | None, typer.Option(help="Validation data; else cut off the training rows.")
]
Test = Annotated[str | None, typer.Option(help="Test data; else cut off the training rows.")]
Group = Annotated[
    str | None, typer.Option(help="Column whose values never stand in two parts, e.g. user_id.")
]
Time = Annotated[
    str | None, typer.Option(help="Column of dates or numbers: the past trains, the future tests.")
]
Overlap = Annotated[
    str | None,
    typer.Option(help="Training rows that also stand in validation or test: drop, keep, error."),
]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rows with an empty text or label.")
]
Search = Annotated[
    int | None,
    typer.Option(help="Search for settings on validation with this many trainings per method."),
]
Processes = Annotated[
    int | None, typer.Option(help="Processes that train together, each on its part of the cores.")
]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Run folder.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --output where it stopped.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML with settings; flags win over it.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, e.g. --set train.learning_rate=1e-4. Repeatable."),
]
_TRUST = "Run Python code that came with the run's model. Only for authors you trust."
TrustCode = Annotated[bool, typer.Option("--trust-remote-code", help=_TRUST)]
Json = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and libraries' warnings.")]


def make_config(file: Path | None, settings: list[str] | None, flags: dict[str, Any]) -> Config:
    """Return the configuration; flags that were not given (None or False) change nothing."""
    # Not `in (None, False)`: 0 equals False, and `--seed 0` is a seed.
    set_flags = {name: v for name, v in flags.items() if v is not None and v is not False}
    return load_config(file, settings or [], set_flags)


_ARGUMENTS = {"train": "DATA", "data": "DATA", "run": "RUN"}


def refuse(flags: Mapping[str, Any], because: str, fix: str) -> None:
    """Refuse flags that would do nothing.

    Args:
        flags: What was given, by parameter.
        because: To what they do not belong, for the message.
        fix: What to do.

    Raises:
        UserError: One of them is given.
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
    """Return the files named one after the other as one setting."""
    return ",".join(data) if data else None


def command_line() -> str:
    """Return the command as a person would type it again; a password is left for them to add."""
    return shlex.join(["tailor", *map(without_credentials, sys.argv[1:])])
