"""`tailor tune --retriever` and `--reranker`: what `tailor tune` does with a knowledge base."""

from pathlib import Path

from tailorbird import log, terminal
from tailorbird.cli import options
from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.records.retriever import RetrieverReport


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
    from tailorbird.knowledge.base import KnowledgeFolder

    opened = KnowledgeFolder.open(store)
    command = options.command_line()
    report = tune_store(
        opened, config, queries, qrels, reranker=reranker, resume=resume, command=command
    )
    show(report, as_json)


def show(report: RetrieverReport, as_json: bool) -> None:
    """Print the report as JSON, or before and after as lines."""
    if as_json:
        print(terminal.as_json(report.to_json()))
    else:
        for when, scores in (("before", report.before), ("after", report.after)):
            for name, score in scores.items():
                interval = f"[{score.low:.4f}, {score.high:.4f}]"
                print(f"{when:<7} {name:<7} nDCG@10 {score.value:.4f} {interval}")
        print("published" if report.published else "not published")
    if place := log.last_folder():
        log.say(f"report: {place / 'report.html'}")
