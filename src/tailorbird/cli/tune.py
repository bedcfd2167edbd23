"""`tailor tune`."""

from pathlib import Path
from typing import Annotated

import typer

from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import command_line, joined, refuse, settings_of
from tailorbird.cli.show_results import show_report
from tailorbird.config import Config
from tailorbird.config.method import MethodConfig
from tailorbird.errors import UserError
from tailorbird.processes import launched


def tune(
    *,
    data: options.Data = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"{MethodConfig.model_fields['name'].description} Default: lora."),
    ] = None,
    model: options.Model = None,
    rows: options.RowOptions,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validation with this many folds.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    search: options.Search = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Processes that train one model, each on its part of the cores; with "
            "--set train.shard=true each holds only its part of the weights."
        ),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Run the search's trials on the Ray cluster at HOST:PORT.")
    ] = None,
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
    run: options.RunOptions,
) -> None:
    """Fine-tune one model with one method, test it, and save it.

    For example:

    - `tailor tune train.csv --method lora --output RUN`
    - `tailor tune chats.jsonl --model MODEL --method qlora`
    - `tailor tune --retriever --store KB --queries QUERIES --qrels QRELS`
    """
    examples = {"train": joined(data), "folds": folds, **vars(rows)}
    training = {"epochs": epochs, "seed": seed}
    judgements = {"queries": queries, "qrels": qrels}
    if retriever or reranker:
        several = {"search": search, "ray": ray, "processes": processes or launched() or None}
        refuse(examples | several, "a retriever", "leave that out: see --queries")
        flags = settings_of("retriever", training | {"method": method})
        _tune_retriever(run, run.make_config(flags | {"model.name": model}), store, reranker,
                        **judgements)  # fmt: skip
        return
    refuse(
        {"store": store} | judgements, "a model of labelled data", "add --retriever or --reranker"
    )
    flags = {"model.name": model, "method.name": method, "search.trials": search}
    flags |= {"compare.ray": ray}
    flags |= settings_of("data", examples)
    flags |= settings_of("train", training | {"processes": processes})
    _tune_model(run, run.make_config(flags))


def _tune_model(run: options.RunOptions, config: Config) -> None:
    from tailorbird.flows.start_or_resume import run_folder
    from tailorbird.flows.tune import tune as flow
    from tailorbird.processes import follows
    from tailorbird.report.comparison_table import print_report

    folder = None if follows() else run_folder(config, "tune", resume=run.resume)
    report = flow(config, folder, resume=run.resume, command=command_line())
    show_report(report, run.json, folder.path if folder else None, print_report)


def _tune_retriever(
    run: options.RunOptions, config: Config, store: Path | None, reranker: bool,
    *, queries: Path | None, qrels: Path | None,
) -> None:  # fmt: skip
    if store is None:
        raise UserError("which knowledge base is it for?", "add --store KB")
    if qrels is not None and queries is None:
        raise UserError("--qrels needs the queries they judge", "add --queries FILE")
    from tailorbird.flows.start_or_resume import run_folder
    from tailorbird.flows.tune_retriever import tune_store
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.report.retriever_page import print_retriever

    opened = KnowledgeFolder(store)
    folder = run_folder(config, "reranker" if reranker else "retriever", resume=run.resume)
    report = tune_store(
        opened, config, queries, qrels, folder,
        reranker=reranker, resume=run.resume, command=command_line(),
    )  # fmt: skip
    show_report(report, run.json, folder.path, print_retriever)
