"""`tailor tune --reranker`: pairs, tuned cross-encoder, gate."""

from pathlib import Path
from typing import TYPE_CHECKING

from tailorbird import log
from tailorbird.config import Config, dump_config
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.flows.tune_embedder import (
    RetrieverData,
    TrainingPairs,
    in_common,
    prepare_pairs,
    query_changes,
    retriever_report,
    sides_of,
    with_rate,
)
from tailorbird.metrics.ranking import mean_scores
from tailorbird.models.device import Device, choose
from tailorbird.models.embed import Embedder
from tailorbird.rag.fuse import EVEN
from tailorbird.rag.publish_gate import NEW, judge
from tailorbird.rag.query_pairs import Queries
from tailorbird.rag.rerank import Reranker
from tailorbird.rag.retriever_training import DEPTH, RerankCandidates, load_reranker
from tailorbird.records import RetrieverReport, RetrieverSections
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder

if TYPE_CHECKING:
    from tailorbird.train.ranking_workloads import RankingFit

NONE, OLD = "none", "old"
RATE = 2e-5
NEGATIVES = 4


def tune_reranker(
    store: RetrieverData,
    queries: Queries,
    config: Config,
    folder: RunFolder,
    *,
    resume: bool,
) -> tuple[RetrieverReport, Path]:
    """Tune a cross-encoder and compare it with no reranker and the current one.

    Args:
        config: The settings are in `config.retriever`; `config.retrieve.reranker` is the current
            reranker; if there is none, `config.model.name` is tuned.

    Raises:
        UserError: There are too few queries, or the loss diverged.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    settings = config.retriever
    if not settings.hard_negatives:
        raise UserError(
            "retriever.hard_negatives is 0, but a reranker learns from wrong texts",
            "leave it at its default, or give 4",
        )
    if "hard_negatives" not in settings.model_fields_set:
        config = config.replace(retriever={"hard_negatives": NEGATIVES})
    device = choose(config.model.device, config.model.precision)
    folder.write(CONFIG, dump_config(config))
    embedder = Embedder(ModelConfig(name=store.embedder, device=config.model.device), device)
    data = prepare_pairs(store, queries, config, embedder)
    weight = _weight(data, embedder, config)
    validation = _candidates(data, data.parts.validation, embedder, config, weight)
    tested = _candidates(data, data.parts.held_out, embedder, config, weight)
    base = config.retrieve.reranker or config.model.name
    fit = _learn(data, validation, base, config, folder, device, resume=resume)
    orders = {NONE: tested.unranked()}
    if config.retrieve.reranker:
        orders[OLD] = _served(base, tested, device)
    orders[NEW] = _served(str(folder.file(MODEL)), tested, device)
    values = {name: tested.values(order) for name, order in orders.items()}
    gate = judge(values, settings.significance)
    words = f"the tuned reranker is {gate.words}{'' if gate.passed else '; it is not published'}"
    log.say(words)
    sections = RetrieverSections(
        tuned="reranker",
        published=gate.passed,
        words=words,
        before=mean_scores({name: values[name] for name in orders if name != NEW}),
        after=mean_scores({NEW: values[NEW]}),
        weights=None,
        **in_common(data, gate, fit),
        changes=query_changes(tested.queries, values[NONE], values[NEW], orders[NEW]),
    )
    report = retriever_report(base, sections, gate, fit)
    return report, folder.file(MODEL).resolve()


def _served(model: str, tested: RerankCandidates, device: Device) -> list[list[str]]:
    """Return the rankings of the saved folder, loaded as for serving."""
    return tested.reranked(Reranker(ModelConfig(name=model), device).score_pairs)


def _weight(data: TrainingPairs, embedder: Embedder, config: Config) -> float:
    if data.words is None:
        return 1.0
    if config.retrieve.weight is not None:
        return config.retrieve.weight
    sides = sides_of(
        data, data.parts.validation, embedder, data.vectors, config.retrieve.candidates
    )
    return sides.choose().weight if data.parts.validation.texts else EVEN


def _candidates(
    data: TrainingPairs, queries: Queries, embedder: Embedder, config: Config, weight: float
) -> RerankCandidates:
    """Return the reranker's input: the best chunks of the fused ranking."""
    sides = sides_of(data, queries, embedder, data.vectors, config.retrieve.candidates)
    most = max(config.retrieve.rerank, DEPTH)
    places = {q: sides.ranking(place, weight)[:most] for place, q in enumerate(queries.texts)}
    return RerankCandidates(queries, places, data.corpus)


def _learn(
    data: TrainingPairs,
    validation: RerankCandidates,
    base: str,
    config: Config,
    folder: RunFolder,
    device: Device,
    *,
    resume: bool,
) -> "RankingFit":
    from tailorbird.train.ranking_workloads import RerankerWork, fit_and_save

    settings = config.retriever
    # Seeded before the model is created, since a plain encoder gets a random head.
    import torch

    torch.manual_seed(settings.seed)
    model = load_reranker(base, device, settings.max_tokens)
    # Weights are averaged only with an existing reranker: a new head is random.
    shares = settings.averages if config.retrieve.reranker else (1.0,)
    settings = settings.replace(averages=shares)
    work = RerankerWork(model, data.pairs, settings)
    return fit_and_save(
        model, work, validation.score, with_rate(settings, RATE), device, folder,
        resume=resume, title="tuning the reranker",
    )  # fmt: skip
