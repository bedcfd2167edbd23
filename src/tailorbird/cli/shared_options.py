"""Options that several verbs share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.cli.flags_to_config import make_config
from tailorbird.config import Config
from tailorbird.records import TASKS

_MODELS = "Hugging Face id, local folder, builtin:minilm, builtin:tutor or builtin:smollm2."
Model = Annotated[str | None, typer.Option("--model", "-m", help=_MODELS)]
Text = Annotated[
    str | None,
    typer.Option(help="Column with the text or prompt, A,B for pairs; guessed if clear."),
]
Label = Annotated[
    str | None,
    typer.Option(help="Column with the label, number or answer; several: A,B; guessed if clear."),
]
Task = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(f'{name} ({task.words})' for name, task in TASKS.items())}; "
        "default: inferred from the columns."
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
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rows with an empty text or label.")
]
Search = Annotated[
    int | None, typer.Option(help="Hyperparameter search on validation: trainings per method.")
]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Run folder.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML with settings; flags override it.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, e.g. --set train.learning_rate=1e-4. Repeatable."),
]
_TRUST = "Run Python code that came with the run's model. Only for authors you trust."
TrustCode = Annotated[bool, typer.Option("--trust-remote-code", help=_TRUST)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and libraries' warnings.")]


@dataclass(frozen=True)
class RowOptions:
    """Which rows are for what: settings of `data`, by their names."""

    test: Annotated[str | None, typer.Option(help="Test data; default: part of DATA.")] = None
    validation: Annotated[
        str | None, typer.Option(help="Validation data; default: part of DATA.")
    ] = None
    text: Text = None
    label: Label = None
    task: Task = None
    group: Annotated[
        str | None, typer.Option(help="Column whose equal values stay in one part, e.g. user_id.")
    ] = None
    time: Annotated[
        str | None,
        typer.Option(help="Column of dates or numbers: train on the past, test on the future."),
    ] = None
    overlap: Annotated[
        str | None,
        typer.Option(help="Training rows that are also in validation or test: drop, keep, error."),
    ] = None
    drop_missing: DropMissing = False


@dataclass(frozen=True)
class RunOptions:
    """Where a run is kept, how it is set, and how its result is printed."""

    output: Output = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the stopped run in --output.")
    ] = False
    config: ConfigFile = None
    settings: Settings = None
    json: Json = False
    debug: Debug = False

    def make_config(self, flags: Mapping[str, Any]) -> Config:
        """Return the configuration of the run, with a verb's own flags."""
        return make_config(self.config, self.settings, {**flags, "output": self.output})
