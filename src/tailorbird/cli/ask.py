"""`tailor ask`."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tailorbird import log, terminal
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import make_config
from tailorbird.cli.show_answer import show_answer, show_passages
from tailorbird.errors import UserError


def ask(
    question: Annotated[
        str | None, typer.Argument(help="Question; without one, a conversation on the terminal.")
    ] = None,
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the knowledge base.")] = "",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Run folder, local model or id that generates; default: quote sentences.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible server that generates.")
    ] = None,
    retrieve_only: Annotated[
        bool, typer.Option("--retrieve-only", help="Show the passages without an answer.")
    ] = False,
    where: Annotated[
        str | None, typer.Option(help="Condition on metadata: \"year >= 2020 and team = 'x'\".")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", "--k", help="Passages to retrieve.")] = None,
    config: options.ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, e.g. --set ask.sentences=5. Repeatable."),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Answer a question from a knowledge base, with checked citations.

    Example: `tailor ask "How do I merge an adapter?" --store KB`
    """
    if not store:
        raise UserError("--store is missing", "name the knowledge base's folder: --store KB")
    flags = {"ask.model": model, "ask.endpoint": endpoint, "retrieve.k": k}
    settled = make_config(config, settings, flags)
    from tailorbird.flows.ask import open_answerer
    from tailorbird.rag.answerer import Conversation

    conversation = Conversation(
        open_answerer(store, settled, few=retrieve_only and question is not None)
    )
    tell = _find if retrieve_only else _answer
    if question is not None:
        tell(conversation, question, where, json)
        return
    talking = sys.stdin.isatty()
    for number, text in enumerate(_questions()):
        if number and not (talking or json):
            print()
        try:
            tell(conversation, text, where, json)
        except UserError as error:
            if not talking:
                raise
            # Earlier answers are worth more than the exit code.
            log.say(f"error: {error}")
        # A program on a pipe waits for the answer before its next question.
        sys.stdout.flush()


def _find(conversation: Any, text: str, where: str | None, json: bool) -> None:
    passages = conversation.answerer.passages(text, where)
    if json:
        print(terminal.as_json({"question": text, "passages": [asdict(p) for p in passages]}))
    else:
        show_passages(passages)


def _answer(conversation: Any, text: str, where: str | None, json: bool) -> None:
    """Answer one question; a model's text is streamed, then the checked answer is shown."""
    live = conversation.answerer.writer is not None and sys.stderr.isatty() and not json
    pieces: list[Any] = []
    for piece in conversation.stream(text, where):
        pieces.append(piece)
        if live and isinstance(piece, str):
            print(terminal.escape(piece), end="", flush=True, file=sys.stderr)
    answer = pieces.pop()
    if live and pieces:
        print("\n\n-- checked --", file=sys.stderr)
    print(terminal.as_json(asdict(answer))) if json else show_answer(answer)


def _questions() -> Any:
    """Yield the user's questions; without a terminal, one per line."""
    while True:
        try:
            text = input("\n> ") if sys.stdin.isatty() else input()
        except EOFError:
            return
        if text.strip() in ("exit", "quit"):
            return
        if text.strip():
            yield text
