"""`tailor evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import command_line, make_config, refuse
from tailorbird.cli.grade_answers import grade_answers
from tailorbird.cli.show_results import show_report
from tailorbird.errors import UserError


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder, or RUN/arms/NAME of a comparison.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled examples to score; default: the run's own test scores."),
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
        Path | None, typer.Option(help="Relevant documents: TSV of query-id, corpus-id, score.")
    ] = None,
    qrels_train: Annotated[
        Path | None, typer.Option(help="Relevant documents for tuning the fusion weight.")
    ] = None,
    grade: Annotated[
        int | None, typer.Option(help="Grade this many answers on questions yourself.")
    ] = None,
    output: options.Output = None,
    settings: options.Settings = None,
    trust_remote_code: options.TrustCode = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score a run or a knowledge base with intervals, and explain its errors.

    For example:

    - `tailor evaluate RUN new.csv --output REPORT`
    - `tailor evaluate --store KB --queries queries.jsonl --qrels test.tsv`

    If the questions have known answers, the answers of `tailor ask` are scored too; with --set
    ask.model=RUN a model writes them.
    """
    rows = {"text": text, "label": label, "drop_missing": drop_missing, "metric": metric}
    if store is not None:
        rows |= {"trust_remote_code": trust_remote_code}
        refuse({"run": run, "data": data} | rows, "a knowledge base", "leave that out")
        if queries is None:
            raise UserError("--store needs questions", "add --queries FILE")
        _evaluate_retrieval(store, (queries, qrels, qrels_train), output, settings, json)
        return
    judgements = {"queries": queries, "qrels": qrels, "qrels_train": qrels_train}
    refuse(judgements, "a run", "add --store KB")
    if run is None:
        raise UserError("there is nothing to evaluate", "give a run folder, or --store KB")
    if grade is not None:
        refuse({"data": data} | rows, "--grade", "leave that out")
        grade_answers(run, grade, json)
        return
    from tailorbird.flows.evaluate import Columns, evaluate as flow
    from tailorbird.report.comparison_table import print_report

    columns = Columns(text, label, drop_missing, metric)
    report = flow(run, data, columns, output, command_line(), trust=trust_remote_code)
    place = Path(output) if output else (run if data is None else None)
    show_report(report, json, place, print_report)


def _evaluate_retrieval(
    store: Path,
    files: tuple[Path, Path | None, Path | None],
    output: str | None,
    settings: list[str] | None,
    json: bool,
) -> None:
    from tailorbird.flows.evaluate_retrieval import Files, judge
    from tailorbird.report.retrieval_page import print_judged

    config = make_config(None, settings, {"output": output})
    report = judge(store, Files(*files), config, command=command_line())
    show_report(report, json, Path(output) if output else None, print_judged)
