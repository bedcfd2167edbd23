"""`tailor evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from tailorbird.cli import options
from tailorbird.cli.grade import grade_answers
from tailorbird.cli.show import show_report
from tailorbird.errors import UserError


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled examples to score; none: the run's own test scores."),
    ] = None,
    text: options.Text = None,
    label: options.Label = None,
    drop_missing: options.DropMissing = False,
    metric: Annotated[
        str | None,
        typer.Option(help="Written answers: token_f1, rouge_l, ..., or FILE.py:FUNCTION."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Knowledge base to score instead of a run.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Questions: JSONL, CSV with question, answer, source, or SQuAD's JSON."),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Right documents: TSV of query-id, corpus-id, score.")
    ] = None,
    qrels_train: Annotated[
        Path | None, typer.Option(help="Those of the questions that choose the weight.")
    ] = None,
    grade: Annotated[
        int | None, typer.Option(help="Mark so many answers of a comparison on questions yourself.")
    ] = None,
    output: options.Output = None,
    settings: options.Settings = None,
    trust_remote_code: options.TrustCode = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score a run, or a knowledge base, with intervals, and explain its errors.

    For example:

    - `tailor evaluate RUN new.csv --output REPORT`
    - `tailor evaluate --store KB --queries queries.jsonl --qrels test.tsv`

    Where the questions have known answers, those of `tailor ask` are scored too; --set
    ask.model=RUN lets a model write them.
    """
    rows = {"text": text, "label": label, "drop_missing": drop_missing, "metric": metric}
    if store is not None:
        rows |= {"trust_remote_code": trust_remote_code}
        options.refuse({"run": run, "data": data} | rows, "a knowledge base", "leave that out")
        if queries is None:
            raise UserError("--store needs questions", "add --queries FILE")
        _judge(store, (queries, qrels, qrels_train), output, settings, json)
        return
    judged = {"queries": queries, "qrels": qrels, "qrels_train": qrels_train}
    options.refuse(judged, "a run", "add --store KB")
    if run is None:
        raise UserError("there is nothing to evaluate", "give a run folder, or --store KB")
    if grade is not None:
        options.refuse({"data": data} | rows, "--grade", "leave that out")
        grade_answers(run, grade, json)
        return
    from tailorbird.flows.evaluate import Columns
    from tailorbird.flows.evaluate import evaluate as flow

    columns = Columns(text, label, drop_missing, metric)
    report = flow(run, data, columns, output, options.command_line(), trust=trust_remote_code)
    show_report(report, json, Path(output) if output else (run if data is None else None))


def _judge(
    store: Path,
    given: tuple[Path, Path | None, Path | None],
    output: str | None,
    settings: list[str] | None,
    json: bool,
) -> None:
    from tailorbird import log, terminal
    from tailorbird.flows.judge import Files, judge
    from tailorbird.report.retrieval_page import (
        answer_lines,
        failure_lines,
        score_table,
        threshold_words,
        verdict,
        weight_words,
    )

    config = options.make_config(None, settings, {"output": output})
    report = judge(store, Files(*given), config, command=options.command_line())
    if json:
        print(terminal.as_json(report.to_json()))
    else:
        console = terminal.console(stderr=False)
        console.print("", score_table(report), "", sep="\n")
        for words in (verdict(report), weight_words(report), threshold_words(report)):
            console.print(words)
        for line in (*answer_lines(report), *failure_lines(report)):
            console.print(line)
    if output is not None:
        log.say(f"report: {Path(output) / 'report.html'}")
