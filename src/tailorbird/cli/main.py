"""The command `tailor`: runs a verb and sets the exit code."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from tailorbird import terminal
from tailorbird.cli import ask, compare, doctor, evaluate, export, index, plan, predict, serve, tune
from tailorbird.cli.flags_to_config import spread
from tailorbird.errors import Interrupted, UserError
from tailorbird.processes import launched
from tailorbird.version import __version__

app = typer.Typer(
    name="tailor",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _guarded(verb: Callable[..., None]) -> Callable[..., None]:
    @wraps(verb)
    def run(*args: Any, **options: Any) -> None:
        if launched() and verb.__name__ != "tune":
            raise UserError(
                f"`tailor {verb.__name__}` runs in one process, but torchrun or accelerate "
                "launch started several",
                "start it without a launcher; `tailor tune` is for launchers, --set "
                "train.processes=N for the arms of a comparison",
            )
        # Inside: Typer would end a broken pipe with exit code 1, without a word.
        with terminal.flushed(), terminal.guarded():
            verb(*args, **options)

    return run


for _module in (compare, tune, plan, evaluate, predict, ask, export, index, serve, doctor):
    _name = _module.__name__.rpartition(".")[2]
    app.command(_name)(_guarded(spread(getattr(_module, _name))))


def _version(version: bool) -> None:
    if version:
        print(f"tailorbird {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Adapt a language model to your data by every method, and show which is best."""


def run() -> None:
    """Run the command line; errors become one message and an exit code."""
    debug = "--debug" in sys.argv
    from tailorbird import log
    from tailorbird.runs.interrupt import answer_sigterm

    answer_sigterm()
    terminal.open_closed_streams()
    if not debug:
        log.quiet_libraries()
    try:
        terminal.check_given()
        with terminal.flushed():
            code = app(standalone_mode=False)
        # Typer's silent exit code for Ctrl-C.
        if code == Interrupted.exit_code:
            log.say(f"stopped{_how_to_go_on(None)}")
        sys.exit(code)
    except typer.TyperException as error:
        # Not printed by Typer: a shell may have expanded a star to arbitrary file names among the
        # arguments.
        if words := error.format_message():  # without arguments it has shown the help
            context = getattr(error, "ctx", None)
            path = context.command_path if context else app.info.name
            log.say(f"error: {words}\n  fix: see {path} --help")
        sys.exit(error.exit_code)
    except Interrupted as stop:
        log.say(f"{stop}{_how_to_go_on(stop.folder)}")
        sys.exit(stop.exit_code)
    except Exception as error:
        if debug:
            log.failure(error)
        if isinstance(error, UserError):
            log.say(f"error: {error}")
            sys.exit(error.exit_code)
        log.say(f"error: {type(error).__name__}: {error}")
        log.say("this is a bug in tailorbird; run again with --debug for the details")
        sys.exit(1)


def _how_to_go_on(folder: Path | None) -> str:
    """Return how to resume an interrupted command, if it can be."""
    import shlex

    if sys.argv[1:2] == ["index"]:
        return "; what was written stays: the same command continues"
    if folder is not None and folder.is_dir():
        return f"; continue with --resume --output {shlex.quote(str(folder))}"
    return ""


if __name__ == "__main__":
    run()
