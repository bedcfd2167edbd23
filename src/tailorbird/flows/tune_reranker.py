"""`tailor tune --reranker`: pairs -> tuned cross-encoder -> gate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tailorbird import log
from tailorbird.config import Config, dump_config
from tailorbird.config.schema import MethodConfig, ModelConfig
from tailorbird.errors import UserError
from tailorbird.flows.tune_retriever import (
    Grounds,
    Prepared,
    embed_queries,
    in_common,
    prepare_pairs,
    query_changes,
)
from tailorbird.metrics.ranking import mean_scores
from tailorbird.models.device import Device, choose
from tailorbird.models.embed import Embedder
from tailorbird.rag.fuse import EVEN
from tailorbird.rag.learn import Learnt, learn
from tailorbird.rag.pairs import Queries
from tailorbird.rag.publish_gate import NEW, Sides, both_sides, judge
from tailorbird.rag.rerank import Reranker
from tailorbird.rag.tune import DEPTH, LORA_RATE
from tailorbird.rag.tune_reranker import (
    NEGATIVES,
    RATE,
    Candidates,
    RerankerLearner,
    load_reranker,
    reranked,
    save_reranker,
    unranked,
)
from tailorbird.records.retriever import RetrieverReport
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder

NONE, OLD = "none", "old"


def tune_reranker(
    grounds: Grounds, queries: Queries, config: Config, folder: RunFolder, *, resume: bool
) -> tuple[RetrieverReport, Path]:
    """Tune a cross-encoder and judge it against no reranker and the one in use.

    Args:
        grounds: The chunks and what finds them.
        queries: Judged queries.
        config: `config.retriever` says how; `config.retrieve.reranker` is the one in use, and
            where there is none `config.model.name` becomes one.
        folder: Of the run, started; the model is left in it.
        resume: Go on from a checkpoint.

    Raises:
        UserError: Too few queries, or a diverged loss.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    settings = config.retriever
    if not settings.hard_negatives:
        raise UserError(
            "retriever.hard_negatives is 0, but a reranker learns from wrong texts",
            "leave it at its default, or give 4",
        )
    if "hard_negatives" not in settings.model_fields_set:
        settings = settings.model_copy(update={"hard_negatives": NEGATIVES})
        config = config.model_copy(update={"retriever": settings})
    device = choose(config.model.device, config.model.precision)
    folder.write(CONFIG, dump_config(config))
    embedder = Embedder(ModelConfig(name=grounds.embedder, device=config.model.device), device)
    data = prepare_pairs(grounds, queries, config, embedder)
    weight = _weight(data, embedder, config)
    chosen = _candidates(data, data.parts.validation, embedder, config, weight)
    tested = _candidates(data, data.parts.held_out, embedder, config, weight)
    base = config.retrieve.reranker or config.model.name
    learnt = _learn(data, chosen, base, config, folder, device, resume=resume)
    orders = {NONE: unranked(tested, data.corpus)}
    if config.retrieve.reranker:
        orders[OLD] = _served(base, tested, data, device)
    orders[NEW] = _served(str(folder.file(MODEL)), tested, data, device)
    values = {name: tested.values(order) for name, order in orders.items()}
    gate = judge(values, settings.significance)
    words = f"the tuned reranker is {gate.words}{'' if gate.passed else '; it is not published'}"
    log.say(words)
    report = RetrieverReport(
        kind="reranker",
        base=base,
        published=gate.passed,
        words=words,
        before=mean_scores({name: values[name] for name in orders if name != NEW}),
        after=mean_scores({NEW: values[NEW]}),
        weights=None,
        **in_common(data, gate, learnt),
        changes=query_changes(tested.queries, values[NONE], values[NEW], orders[NEW]),
    )
    return report, folder.file(MODEL).resolve()


def _served(model: str, tested: Candidates, data: Prepared, device: Device) -> list[list[str]]:
    """Return the orders of what will serve, which reads the saved folder in its own way."""
    reranker = Reranker(ModelConfig(name=model), device)
    return reranked(reranker.score_pairs, tested, data.corpus)


def _weight(data: Prepared, embedder: Embedder, config: Config) -> float:
    if data.words is None:
        return 1.0
    if config.retrieve.weight is not None:
        return config.retrieve.weight
    sides = _sides(data, data.parts.validation, embedder, config)
    return sides.choose().weight if data.parts.validation.texts else EVEN


def _sides(data: Prepared, queries: Queries, embedder: Embedder, config: Config) -> Sides:
    texts: Sequence[str] = list(queries.texts.values())
    most = config.retrieve.candidates
    words = [data.words(text, most) for text in texts] if data.words else None
    vectors: np.ndarray = embed_queries(embedder, texts)
    return both_sides(queries, vectors, data.vectors, data.corpus.sources, words, most)


def _candidates(
    data: Prepared, queries: Queries, embedder: Embedder, config: Config, weight: float
) -> Candidates:
    """Return what the reranker is given: the best chunks of the fused ranking."""
    sides = _sides(data, queries, embedder, config)
    most = max(config.retrieve.rerank, DEPTH)
    places = {q: sides.ranking(place, weight)[:most] for place, q in enumerate(queries.texts)}
    return Candidates(queries, places)


def _learn(
    data: Prepared,
    chosen: Candidates,
    base: str,
    config: Config,
    folder: RunFolder,
    device: Device,
    *,
    resume: bool,
) -> Learnt:
    settings = config.retriever
    # Set before the model is made: a plain encoder gets a new head, which is drawn.
    import torch

    torch.manual_seed(settings.seed)
    model = load_reranker(base, device, settings.max_tokens)
    lora = settings.method == "lora"
    if lora:
        from tailorbird.methods import encoder

        inner = model[0].model
        head = tuple(n for n in ("classifier", "score") if hasattr(inner, n))
        model[0].model = encoder.attach(inner, MethodConfig(name="lora"), head)
    learner = RerankerLearner(model, chosen, data.corpus, device)
    rate = settings.learning_rate or (LORA_RATE if lora else RATE)
    # Old and tuned are averaged only where there is an old one: a new head means nothing.
    shares = settings.averages if config.retrieve.reranker else (1.0,)
    settings = settings.model_copy(update={"averages": shares})
    learnt = learn(
        learner, data.pairs, settings, rate, folder, resume=resume, title="tuning the reranker"
    )
    if lora:
        model[0].model = encoder.merge(model[0].model)
    with folder.new_folder(MODEL) as part:
        save_reranker(model, part)
    return learnt
