"""`tailor evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from tailorbird.cli import options
from tailorbird.cli.show import show_report


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Labelled examples to score; none: the run's own test scores."),
    ] = None,
    text: options.Text = None,
    label: options.Label = None,
    drop_missing: options.DropMissing = False,
    metric: Annotated[
        str | None,
        typer.Option(help="Written answers: token_f1, rouge_l, ..., or FILE.py:FUNCTION."),
    ] = None,
    output: options.Output = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score a run with intervals and explain its errors.

    Example: `tailor evaluate RUN new.csv --output REPORT`
    """
    from tailorbird.flows.evaluate import Columns
    from tailorbird.flows.evaluate import evaluate as flow

    columns = Columns(text, label, drop_missing, metric)
    report = flow(run, data, columns, output, options.command_line())
    show_report(report, json, Path(output) if output else (run if data is None else None))
