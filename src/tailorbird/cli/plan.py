"""`tailor plan`."""

from dataclasses import asdict
from typing import Annotated

import typer

from tailorbird import terminal
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import joined
from tailorbird.config import METHODS


def plan(
    *,
    data: options.Data = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Hugging Face id, local folder, config.json, builtin:minilm or builtin:tutor; "
            "no weight file is opened.",
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help=f"Comma-separated: {', '.join(METHODS)}.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device to train on: 24GB, a card (h100) or cpu. Default: this machine."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Memory to fit into, e.g. 48GB; default: the device's.")
    ] = None,
    time: Annotated[
        bool, typer.Option(help="Estimate training time; on this machine by measuring a few steps.")
    ] = True,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of one hour of the device.")
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Forecast the gain from more labels.")
    ] = False,
    arm: Annotated[
        str | None,
        typer.Option(help="Arm to train for --curve. Default: probe; written answers: lora."),
    ] = None,
    text: options.Text = None,
    label: options.Label = None,
    task: options.Task = None,
    run: options.RunOptions,
) -> None:
    """Estimate memory and time before anything is downloaded or trained.

    For example:

    - `tailor plan --model MODEL --device 24GB`
    - `tailor plan train.csv --model MODEL`
    - `tailor plan train.csv --curve --output FOLDER`
    """
    flags = {
        "data.train": joined(data),
        "data.text": text,
        "data.label": label,
        "data.task": task,
        "model.name": model,
    }
    from tailorbird.flows.plan import PlanOptions, plan as flow

    names = tuple(name.strip() for name in methods.split(",")) if methods else None
    plan_options = PlanOptions(names, device, target, time, price_per_hour, curve, arm)
    result = flow(run.make_config(flags), plan_options, resume=run.resume)
    if run.json:
        print(terminal.as_json(asdict(result)))
    else:
        from tailorbird.report.plan_page import print_plan

        print_plan(result, terminal.console(stderr=False))
