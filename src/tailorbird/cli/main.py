"""The command `tailor`: words in, exit code out."""

import os
import sys

import typer

from tailorbird.cli import ask, compare, doctor, evaluate, export, index, predict, tune
from tailorbird.errors import Interrupted, UserError
from tailorbird.version import __version__

app = typer.Typer(
    name="tailor",
    help="Adapt a language model to your data, every way, and see which way is best.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("ask")(ask.ask)
app.command("export")(export.export)
app.command("index")(index.index)
app.command("doctor")(doctor.doctor)

# What a command that was stopped leaves, where it leaves anything.
_AFTER_STOP = {
    "tune": "; go on with --resume --output FOLDER",
    "compare": "; go on with --resume --output FOLDER",
    "index": "; what was written stays: the same command goes on",
}


def _version(asked: bool) -> None:
    if asked:
        print(f"tailorbird {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Adapt a language model to your data, every way, and see which way is best."""


def run() -> None:
    """Run the command line; faults become one message and an exit code."""
    debug = "--debug" in sys.argv
    from tailorbird import log
    from tailorbird.runs.interrupt import answer_sigterm

    answer_sigterm()
    if not debug:
        log.quiet_libraries()
    try:
        app()
    except (UserError, Interrupted) as error:
        if debug:
            raise
        _tell(error)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer makes this of Ctrl-C, without a word.
        if end.code == Interrupted.exit_code:
            log.say(f"stopped{_AFTER_STOP.get(_verb(), '')}")
        raise
    except BrokenPipeError:
        # The reader of our stdout has gone (`| head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        log.say(f"error: {type(error).__name__}: {error}")
        log.say("this is a fault of tailorbird; run again with --debug for the details")
        sys.exit(1)


def _verb() -> str:
    return sys.argv[1] if len(sys.argv) > 1 else ""


def _tell(error: Exception) -> None:
    from tailorbird import log

    if isinstance(error, Interrupted):
        log.say(f"{error}; go on with --resume --output FOLDER")
        return
    log.say(f"error: {error}")


if __name__ == "__main__":
    run()
