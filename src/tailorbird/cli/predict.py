"""`tailor predict`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tailorbird import terminal
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import refuse
from tailorbird.cli.predictions_csv import write_blocks
from tailorbird.cli.show_results import say_one
from tailorbird.errors import UserError


@dataclass(frozen=True)
class WritingOptions:
    """How answers in words are drawn."""

    temperature: Annotated[
        float | None, typer.Option(help="Written answers: sampling temperature; 0 is greedy.")
    ] = None
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Written answers: most tokens per answer.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Written answers: sampling seed.")] = None


def predict(
    *,
    run: Annotated[Path, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")],
    text: Annotated[
        str | None,
        typer.Argument(help="A text, a file of rows (CSV, TSV, JSONL, Parquet), or - for stdin."),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--text", help="The file's column with the text; A,B for pairs.")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="Second text, for a run on pairs.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file to write; default: stdout.")
    ] = None,
    writing: WritingOptions,
    trust_remote_code: options.TrustCode = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="CSV for programs: no ' before cells that begin with = + - @."),
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Predict labels or numbers, or stream written answers.

    For example:

    - `tailor predict RUN "a witty film"`
    - `tailor predict RUN new.csv -o answers.csv`
    - `cat lines.txt | tailor predict RUN`
    """
    from tailorbird.flows import predict as flow

    piped = text is None or text == "-"
    file = None if text is None or piped or pair is not None else flow.named_file(text)
    texts = [line.rstrip("\n") for line in sys.stdin] if piped else [text or ""]
    live = file is None and not piped and not json and output is None
    how = vars(writing) | {"trust": trust_remote_code}
    writes = flow.writes(run)
    if writes:
        refuse({"pair": pair}, "a run that writes answers", "leave it out")
    if live and writes:
        for piece in flow.stream_answer(run, texts[0], **how):
            print(piece, end="", flush=True)
        print()
        return
    if file is not None:
        if output is not None and file.exists() and output.exists() and output.samefile(file):
            raise UserError(f"{output} is the file to be read", "write the answers to another one")
        rows = flow.predict_file(run, file, column, **how)
        if not json:
            write_blocks(rows.blocks, rows.columns, output, raw=raw)
            return
        answers = [answer for block in rows.blocks for answer in block]
    else:
        inputs = (
            flow.pairs_in(run, texts) if piped else texts if pair is None else [(texts[0], pair)]
        )
        answers = flow.predict_texts(run, inputs, **how)
    if json:
        print(terminal.as_json({"run": str(run), "predictions": answers}))
    elif live:
        say_one(answers[0])
    else:
        write_blocks([answers], (), output, raw=raw)
