"""`tailor tune --retriever` and `--reranker`: tune, test at the gate, publish."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tailorbird import log
from tailorbird.config import Config
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.errors import UserError
from tailorbird.flows.start_or_resume import opened, run_folder
from tailorbird.flows.tune_embedder import RetrieverData, Tuned, tune_embedder
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.ledger import text_hash
from tailorbird.rag.query_pairs import Queries, corpus_of, read_queries
from tailorbird.rag.retrieve import RERANKER, reranker_name
from tailorbird.records import Hit, RetrieverReport
from tailorbird.report.retriever_page import render_retriever
from tailorbird.runs.finished_run import circumstances, write_report
from tailorbird.runs.folder import CHECKPOINTS, RunFolder


def tune_store(
    kb: KnowledgeFolder,
    config: Config,
    queries: Path | None,
    qrels: Path | None,
    folder: RunFolder | None = None,
    *,
    reranker: bool = False,
    resume: bool = False,
    command: str = "",
) -> RetrieverReport:
    """Tune a knowledge base's retriever or reranker, and publish it if it passes the gate.

    Args:
        config: The settings, in `config.retriever`.
        queries: Judged queries, see `read_queries`; None: pairs are generated from the documents.
        qrels: Judgements in BEIR's format.

    Raises:
        UserError: The queries or settings are wrong; the knowledge base is unchanged.
    """
    started = time.time()
    judgements = read_queries(queries, qrels) if queries else None
    if reranker and judgements is None:
        raise UserError("a reranker is tuned on judged queries", "add --queries FILE")
    folder = folder or run_folder(config, "reranker" if reranker else "retriever", resume=resume)
    with opened(config, folder, resume=resume) as config:
        log.say(f"run folder: {folder.path}")
        store = retriever_data(kb)
        if reranker:
            assert judgements is not None
            report = _reranker(kb, store, judgements, config, folder, resume)
        else:
            tuned = tune_embedder(store, judgements, config, folder, resume=resume)
            report = tuned.report
        run = circumstances(config, command, started) | {"seconds": report.seconds}
        report = replace(report, **run)
        if not reranker and report.sections.published:
            publish(kb, tuned, store.corpus.texts)
        # Written last, since the report says "published".
        write_report(report, render_retriever(report), folder)
        shutil.rmtree(folder.file(CHECKPOINTS), ignore_errors=True)
    return report


def publish(kb: KnowledgeFolder, tuned: Tuned, texts: Sequence[str]) -> None:
    """Build a shadow index with the tuned embedder, and switch to it and its fusion weight.

    Args:
        texts: The texts of `tuned.vectors`, which are not embedded again.
    """
    model = _copy_model(kb, tuned.folder, "embedders")
    log.say("building the shadow index; searches use the current one until it is complete")
    vectors = dict(zip(map(text_hash, texts), tuned.vectors, strict=True))
    generation = kb.build_generation(str(model), "embedding for the shadow index", vectors)
    kb.switch(generation, tuned.weight)
    log.say(f"switched to generation {generation}: {model}")


def _copy_model(kb: KnowledgeFolder, model: Path, kind: str) -> Path:
    """Copy a model into the knowledge base, which must not depend on the run's folder."""
    place = RunFolder(kb.folder.resolve() / kind)
    number = 1
    while place.file(str(number)).exists():
        number += 1
    with place.new_folder(str(number)) as part:
        shutil.copytree(model, part, dirs_exist_ok=True)
    return place.file(str(number))


def retriever_data(kb: KnowledgeFolder) -> RetrieverData:
    """Return every chunk of a knowledge base with its vector, and its word search."""
    with kb.reading() as view:
        chunks = [chunk for source in view.sources() for chunk in view.chunks(source)]
        if not chunks:
            raise UserError("the knowledge base is empty", "fill it: tailor index PATHS --store KB")
        vectors = view.vectors([Hit(chunk, 0.0) for chunk in chunks])
    corpus = corpus_of(chunks, [contextual_text(chunk) for chunk in chunks])
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    return RetrieverData(corpus, vectors, _words(kb, places), kb.embedder.name)


def _words(kb: KnowledgeFolder, places: dict[str, int]) -> Callable[[str, int], dict[int, float]]:
    def matching(question: str, k: int) -> dict[int, float]:
        # A snapshot per question: one for the whole training would block writers, and `places`
        # lacks what they have added since.
        with kb.reading() as view:
            hits = view.matching(question, k)
        scores = {places.get(hit.chunk.id): float(hit.words or hit.score) for hit in hits}
        return {place: score for place, score in scores.items() if place is not None}

    return matching


def _reranker(
    kb: KnowledgeFolder,
    store: RetrieverData,
    queries: Queries,
    config: Config,
    folder: RunFolder,
    resume: bool,
) -> RetrieverReport:
    from tailorbird.flows.tune_reranker import tune_reranker

    config = config.replace(retrieve={"reranker": reranker_name(config.retrieve, kb)})
    report, model = tune_reranker(store, queries, config, folder, resume=resume)
    if report.sections.published:
        copy = _copy_model(kb, model, "rerankers")
        kb.set_setting(RERANKER, copy.relative_to(kb.folder.resolve()).as_posix())
        log.say(f"searches use it from now on: {copy}; without: --set retrieve.reranker=none")
    return report
