"""`tailor predict`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird import terminal
from tailorbird.cli import options
from tailorbird.cli.show import say_one, write_answers, write_rows


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")],
    text: Annotated[
        str | None,
        typer.Argument(help="A text, a file (CSV, TSV, JSONL, Parquet), or - for lines on stdin."),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--text", help="The file's column with the text; A,B: pairs.")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="The second text, of a run that reads pairs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV to write; default: stdout.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Written answers: 0 is greedy, higher draws more freely.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Written answers: longest answer in tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Written answers: seed of the draws.")] = None,
    trust_remote_code: options.TrustCode = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: options.Debug = False,
) -> None:
    """Answer with labels, with numbers, or in words as they are written.

    For example:

    - `tailor predict RUN "a witty film"`
    - `tailor predict RUN new.csv -o answers.csv`
    - `cat lines.txt | tailor predict RUN`
    """
    from tailorbird.flows.predict import pairs_in, predict_file, predict_lines, writes

    if writes(run):
        settings: dict[str, Any] = {"trust": trust_remote_code, "seed": seed}
        settings |= {"temperature": temperature, "max_new_tokens": max_new_tokens}
        _answer_in_words(run, text, column, output, json, settings)
        return
    if text is None or text == "-":
        lines = [line.rstrip("\n") for line in sys.stdin]
        answers = predict_lines(run, pairs_in(run, lines), trust=trust_remote_code)
    elif pair is None and _is_file(text):
        answers = predict_file(run, Path(text), column, trust=trust_remote_code)
    else:
        one = [text if pair is None else (text, pair)]
        answers = predict_lines(run, one, trust=trust_remote_code)
        if not json and output is None:
            say_one(answers[0])
            return
    if json:
        print(terminal.as_json({"run": str(run), "predictions": answers}))
        return
    write_answers(answers, output)


def _answer_in_words(
    run: Path,
    text: str | None,
    column: str | None,
    output: Path | None,
    json: bool,
    settings: dict[str, Any],
) -> None:
    from tailorbird.flows.predict import stream_answer, written_file, written_lines

    if text is None or text == "-":
        answers = written_lines(run, [line.rstrip("\n") for line in sys.stdin], **settings)
    elif _is_file(text):
        answers = written_file(run, Path(text), column, **settings)
    elif json or output is not None:
        answers = written_lines(run, [text], **settings)
    else:
        for piece in stream_answer(run, text, **settings):
            print(piece, end="", flush=True)
        print()
        return
    if json:
        print(terminal.as_json({"run": str(run), "predictions": answers}))
        return
    plain = [dict(a.get("row") or {"prompt": a["prompt"]}) | {"answer": a["text"]} for a in answers]
    write_rows(plain, output)


def _is_file(text: str) -> bool:
    from tailorbird.data.layout import TABLES
    from tailorbird.data.textfile import kind_of
    from tailorbird.errors import UserError

    kind = kind_of(Path(text))
    looks_like_one = kind in TABLES and " " not in text and "\n" not in text
    try:
        there = Path(text).is_file()
    except OSError:  # a long text is no file name
        there = False
    if looks_like_one and not there:
        raise UserError(f"file {text} does not exist", "check the path")
    return there and kind in TABLES
