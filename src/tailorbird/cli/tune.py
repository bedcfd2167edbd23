"""`tailor tune`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird.cli import options
from tailorbird.cli.show import show_report
from tailorbird.config.method import MethodConfig
from tailorbird.processes import launched


def tune(
    data: options.Data = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"{MethodConfig.model_fields['name'].description} Default: lora."),
    ] = None,
    model: options.Model = None,
    test: options.Test = None,
    validation: options.Validation = None,
    text: options.Text = None,
    label: options.Label = None,
    task: options.Task = None,
    group: options.Group = None,
    time: options.Time = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validation: this many runs, every row tested once.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    search: options.Search = None,
    processes: options.Processes = None,
    overlap: options.Overlap = None,
    drop_missing: options.DropMissing = False,
    retriever: Annotated[
        bool, typer.Option("--retriever", help="Tune the embedder of a knowledge base.")
    ] = False,
    reranker: Annotated[
        bool, typer.Option("--reranker", help="Tune a cross-encoder for a knowledge base.")
    ] = False,
    store: Annotated[Path | None, typer.Option(help="The knowledge base to tune for.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Judged queries: BEIR's queries.jsonl, or question and source columns."),
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="BEIR's judgements (TSV).")] = None,
    output: options.Output = None,
    resume: options.Resume = False,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train one model with one method, test it, and save it in a standard format.

    For example:

    - `tailor tune train.csv --method lora --output RUN`
    - `tailor tune chats.jsonl --model MODEL --method qlora`
    - `tailor tune --retriever --store KB --queries QUERIES --qrels QRELS`
    """
    rows = {
        "train": options.joined(data),
        "test": test,
        "validation": validation,
        "text": text,
        "label": label,
        "task": task,
        "group": group,
        "time": time,
        "folds": folds,
        "overlap": overlap,
        "drop_missing": drop_missing,
    }
    training = {"epochs": epochs, "seed": seed}
    flags: dict[str, Any] = {"model.name": model, "output": output}
    if retriever or reranker:
        several = {"search": search, "processes": processes or launched() or None}
        options.refuse(rows | several, "a retriever", "leave that out: see --queries")
        flags |= {"retriever.method": method}
        flags |= {f"retriever.{name}": value for name, value in training.items()}
        settled = options.make_config(config, settings, flags)
        from tailorbird.cli.tune_retriever import tune_retriever as story

        story(settled, store, queries, qrels, reranker=reranker, resume=resume, as_json=json)
        return
    judgements = {"store": store, "queries": queries, "qrels": qrels}
    options.refuse(judgements, "a model of labelled data", "add --retriever or --reranker")
    flags |= {"method.name": method, "search.trials": search, "train.processes": processes}
    flags |= {f"data.{name}": value for name, value in rows.items()}
    flags |= {f"train.{name}": value for name, value in training.items()}
    settled = options.make_config(config, settings, flags)
    from tailorbird.flows.run_folder import run_folder
    from tailorbird.flows.tune import tune as flow
    from tailorbird.processes import follows
    from tailorbird.report.table import print_report

    folder = None if follows() else run_folder(settled, "tune", resume=resume)
    report = flow(settled, folder, resume=resume, command=options.command_line())
    show_report(report, json, folder.path if folder else None, print_report)
