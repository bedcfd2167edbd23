"""`tailor serve`."""

from typing import Annotated

import typer

from tailorbird import terminal
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import make_config


def serve(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN ...]",
            help="Run folders; a comparison serves its recommended arm, RUN/arms/NAME another. "
            "`keys add NAME`, `keys list` and `keys revoke NAME` manage keys instead.",
        ),
    ] = None,
    store: Annotated[
        list[str] | None, typer.Option("--store", "-s", help="Knowledge base. Repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Base model that generates or embeds. Repeatable."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="NAME=RUN: model name of a run for clients. Repeatable."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: this machine only.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; default: 8000.")] = None,
    keys: Annotated[str | None, typer.Option(help="File with the keys' hashes.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="keys add: ask, admin or health. Repeatable.")
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=0, help="keys add: requests per minute; 0: unlimited.")
    ] = 0,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    trust_remote_code: options.TrustCode = False,
    debug: options.Debug = False,
) -> None:
    """Serve runs, models and knowledge bases over HTTP, with a playground at `/`.

    Without arguments, serve the bundled example. For example:

    - `tailor serve RUN --store KB`
    - `tailor serve keys add laptop --scope admin`
    """
    flags = {"serve.host": host, "serve.port": port, "serve.keys": keys}
    effective = make_config(config, settings, flags)
    if runs and runs[0] == "keys":
        _keys(runs[1:], effective.serve.keys, tuple(scope or ["ask"]), per_minute)
        return
    from tailorbird.serve import startup, uvicorn_server as server
    from tailorbird.serve.model_registry import ModelRegistry
    from tailorbird.serve.prometheus import PrometheusCounters

    accepted_keys, bound = server.open_keys(effective), server.listen(effective)
    registry = ModelRegistry(effective, PrometheusCounters(), trust=trust_remote_code)
    if runs or store or model or name:
        startup.open_places(
            registry,
            startup.name_places(runs or [], name or []),
            startup.name_places(store or []),
            startup.name_places(model or []),
        )
    else:
        startup.open_example(registry)
    server.serve(registry, accepted_keys, bound)


def _keys(words: list[str], file: str, scopes: tuple[str, ...], per_minute: int) -> None:
    from pathlib import Path

    from tailorbird.errors import UserError
    from tailorbird.serve.api_keys import Keys

    keys = Keys(Path(file))
    match words:
        case ["add", name]:
            print(keys.add(name, scopes, per_minute))
            terminal.console(stderr=True).print("It is shown only once: save it.", markup=False)
        case ["list"]:
            for key in keys.all():
                limit = f"{key.per_minute}/min" if key.per_minute else "no limit"
                print(terminal.escape(f"{key.name}\t{','.join(key.scopes)}\t{limit}"))
        case ["revoke", name]:
            keys.revoke(name)
        case _:
            raise UserError("keys takes add NAME, list or revoke NAME", "see: tailor serve --help")
