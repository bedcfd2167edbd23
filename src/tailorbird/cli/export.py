"""`tailor export`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tailorbird import terminal
from tailorbird.cli import shared_options as options
from tailorbird.errors import UserError


def export(
    run: Annotated[Path, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder to write to.", show_default="RUN/export"),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Plain transformers weights, with the update merged in.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX, for labels and numbers.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX with 8-bit weights, for CPUs.")
    ] = False,
    vllm: Annotated[
        bool,
        typer.Option("--vllm", help="Check the run for vLLM and print the command that serves it."),
    ] = False,
    trust_remote_code: options.TrustCode = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Export a run for other programs, and measure how far its answers drift.

    Each export is loaded again and compared with the run on its own test examples. Without a form,
    merged weights are written. `--vllm` writes nothing: it checks whether the folder has what vLLM
    needs.

    Example: `tailor export RUN --onnx --int8`
    """
    if vllm:
        if merge or onnx or int8 or output:
            raise UserError("--vllm writes nothing", "give it alone, after the other forms")
        _vllm(run, trust_remote_code, json)
        return
    from tailorbird.flows.export import Form, export as flow

    choices: dict[Form, bool] = {"merge": merge, "onnx": onnx, "int8": int8}
    forms = [form for form, on in choices.items() if on] or ["merge"]
    drifts = flow(run, output, forms, trust=trust_remote_code)
    if json:
        print(terminal.as_json({"run": str(run), "forms": [asdict(drift) for drift in drifts]}))
        return
    from tailorbird.metrics.display import metric

    for drift in drifts:
        print(f"{drift.file}: {drift.bytes / 1e6:.1f} MB")
        if drift.before is not None and drift.after is not None:
            write = partial(metric, drift.figure)
            print(
                f"  {drift.changed} of {drift.compared} test predictions changed, outputs by "
                f"at most {drift.most:.2g}\n"
                f"  {drift.figure} {write(drift.before.value)} before, {write(drift.after.value)} "
                f"({write(drift.after.low)} to {write(drift.after.high)}) after"
            )
        else:
            print(
                f"  losses of {drift.compared} test answers differ by at most {drift.most:.2g} "
                f"nats per token; {drift.changed} greedy answers changed"
            )


def _vllm(run: Path, trust: bool, json: bool) -> None:
    import shlex

    from tailorbird import log
    from tailorbird.flows.vllm_command import vllm_command

    command = vllm_command(run, trust=trust)
    if json:
        print(terminal.as_json(asdict(command)))
        return
    print(shlex.join(command.words))
    for note in command.notes:
        log.say(note)
