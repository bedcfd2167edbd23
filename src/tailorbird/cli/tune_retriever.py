"""`tailor tune --retriever` and `--reranker`: what `tailor tune` does with a knowledge base."""

from pathlib import Path

from tailorbird.cli import options
from tailorbird.cli.show import show_report
from tailorbird.config import Config
from tailorbird.errors import UserError


def tune_retriever(
    config: Config,
    store: Path | None,
    queries: Path | None,
    qrels: Path | None,
    *,
    reranker: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Tune, say what the gate found, and where the report is."""
    if store is None:
        raise UserError("which knowledge base is it for?", "add --store KB")
    if qrels is not None and queries is None:
        raise UserError("--qrels needs the queries they judge", "add --queries FILE")
    from tailorbird.flows.publish_retriever import tune_store
    from tailorbird.flows.run_folder import run_folder
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.report.retriever import print_retriever

    opened = KnowledgeFolder.open(store)
    folder = run_folder(config, "reranker" if reranker else "retriever", resume=resume)
    report = tune_store(
        opened, config, queries, qrels, folder,
        reranker=reranker, resume=resume, command=options.command_line(),
    )  # fmt: skip
    show_report(report, as_json, folder.path, print_retriever)
