"""`tailor tune --retriever`: pairs, tuned embedder, gate, shadow index, switch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird import log
from tailorbird.config import Config, dump_config
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.config.method import method_spec
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.metrics.ranking import mean_scores
from tailorbird.models.device import Device, choose
from tailorbird.models.embed import Embedder
from tailorbird.rag.publish_gate import NEW, Gate, JudgedSides, both_sides, judge
from tailorbird.rag.query_pairs import (
    Corpus,
    Parts,
    Queries,
    check_sources,
    pairs_from_documents,
    pairs_from_queries,
    split_documents,
    split_queries,
    without_headings,
    without_leaks,
)
from tailorbird.rag.retriever_training import WordSide, best_chunks, load_embedder, make_pool, mine
from tailorbird.records import QueryChange, RankingPair, RetrieverReport, RetrieverSections
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder

if TYPE_CHECKING:
    from tailorbird.train.ranking_workloads import RankingFit

FULL_RATE, LORA_RATE = 5e-5, 5e-4
LEAST_QUERIES = 20
"""The fewest judged queries for tuning: with five, nothing passes the gate."""
OLD_DENSE = "old"
_SHOWN = 200


@dataclass(frozen=True)
class RetrieverData:
    """The training data of a retriever.

    Attributes:
        vectors: ``[chunks, d]`` by the current embedder.
        words: The word search (BM25), or None.
    """

    corpus: Corpus
    vectors: np.ndarray
    words: WordSide | None
    embedder: str


@dataclass(frozen=True)
class Tuned:
    """A tuned embedder that may be published.

    Attributes:
        vectors: Its ``[chunks, d]``, reused by the shadow index.
        weight: The dense side's weight, chosen on validation.
    """

    report: RetrieverReport
    folder: Path
    vectors: np.ndarray
    weight: float | None


@dataclass(frozen=True)
class TrainingPairs:
    """Training pairs, validation and test queries, and the texts that they rank."""

    pairs: list[RankingPair]
    parts: Parts
    corpus: Corpus
    vectors: np.ndarray
    words: WordSide | None
    counts: dict[str, int]
    left_out: int


def tune_embedder(
    store: RetrieverData,
    queries: Queries | None,
    config: Config,
    folder: RunFolder,
    *,
    resume: bool,
) -> Tuned:
    """Tune the embedder of `store` and test it on held-out queries.

    Args:
        queries: Judged queries; None: pairs are generated from the documents.
        folder: The started run's; it receives the model, published or not.

    Raises:
        UserError: There are too few pairs or queries, or the loss diverged.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    settings, device = config.retriever, choose(config.model.device, config.model.precision)
    folder.write(CONFIG, dump_config(config))
    old = Embedder(ModelConfig(name=store.embedder, device=config.model.device), device)
    data = prepare_pairs(store, queries, config, old)
    fit = _learn(data, old, store.embedder, config, folder, device, resume=resume)
    new = Embedder(ModelConfig(name=str(folder.file(MODEL)), device=config.model.device), device)
    # With generated pairs, texts without headings are ranked, but the shadow index needs full
    # texts.
    vectors = new.embed_documents(store.corpus.texts, "embedding all chunks").vectors
    ranked = (
        vectors
        if data.corpus is store.corpus
        else new.embed_documents(data.corpus.texts, "texts").vectors
    )
    before = _Ranked(old, data.vectors, data, config)
    after = _Ranked(new, ranked, data, config)
    values = {OLD_DENSE: before.test.values(1.0), NEW: after.test.values(1.0)}
    gate = judge(values, settings.significance)
    fused = {"before": before.test.values(before.weight), "after": after.test.values(after.weight)}
    published, words = _decide(gate, fused)
    log.say(words)
    documents = [after.test.documents(place, 1.0) for place in range(len(values[NEW]))]
    sections = RetrieverSections(
        tuned="embedder",
        published=published,
        words=words,
        before=mean_scores({"dense": values[OLD_DENSE], "hybrid": fused["before"]}),
        after=mean_scores({"dense": values[NEW], "hybrid": fused["after"]}),
        weights=(before.weight, after.weight) if data.words else None,
        **in_common(data, gate, fit),
        changes=query_changes(data.parts.held_out, values[OLD_DENSE], values[NEW], documents),
    )
    report = retriever_report(store.embedder, sections, gate, fit)
    weight = after.weight if data.words else None
    return Tuned(report, folder.file(MODEL).resolve(), vectors, weight)


def in_common(data: TrainingPairs, gate: Gate, fit: "RankingFit") -> dict[str, Any]:
    """Return the report fields that embedders and rerankers share."""
    return {
        "wins": gate.wins,
        "losses": gate.losses,
        "ties": gate.ties,
        "pairs": data.counts,
        "queries": {
            name.replace("_", " "): len(getattr(data.parts, name).texts)
            for name in ("train", "validation", "held_out")
        },
        "left_out": data.left_out,
        "share": fit.share,
        "averages": {f"{share:g}": value for share, value in fit.averages.items()},
        "steps": fit.steps,
        "best_step": fit.best_step,
        "curve": fit.curve,
    }


def retriever_report(
    base: str, sections: RetrieverSections, gate: Gate, fit: "RankingFit"
) -> RetrieverReport:
    """Return the report of a tuned embedder or reranker, without its circumstances."""
    return RetrieverReport(
        kind="retriever",
        sections=sections,
        comparisons=gate.tests,
        model=base,
        headline="ndcg@10",
        seconds=fit.seconds,
    )


class _Ranked:
    """An embedder's ranking of the held-out queries, with its weight tuned on validation."""

    def __init__(
        self, embedder: Embedder, vectors: np.ndarray, data: TrainingPairs, config: Config
    ) -> None:
        def sides(queries: Queries) -> JudgedSides:
            return sides_of(data, queries, embedder, vectors, config.retrieve.candidates)

        self.weight = sides(data.parts.validation).choose().weight if data.words else 1.0
        self.test = sides(data.parts.held_out)


def sides_of(
    data: TrainingPairs, queries: Queries, embedder: Embedder, vectors: np.ndarray, most: int
) -> JudgedSides:
    """Return the results of dense search in `vectors` ``[chunks, d]`` and of word search."""
    texts = list(queries.texts.values())
    words = [data.words(text, most) for text in texts] if data.words else None
    own = embedder.embed_queries(texts).vectors
    return both_sides(queries, own, vectors, data.corpus.sources, words, most)


def prepare_pairs(
    store: RetrieverData, queries: Queries | None, config: Config, old: Embedder
) -> TrainingPairs:
    """Return the pairs with their hard negatives, and the held-out queries."""
    settings = config.retriever
    origin = settings.pairs
    if queries is None and origin in ("given", "both"):
        raise UserError(
            f"retriever.pairs is {origin!r}, but no judged queries were given",
            "add --queries FILE, or let pairs be made with --set retriever.pairs=documents",
        )
    generated = pairs_from_documents(store.corpus, settings.document_pairs, settings.seed)
    if queries is None:
        return _from_documents(store, generated, config, old)
    relevant = check_sources(queries, store.corpus.sources)
    if len(relevant.texts) < LEAST_QUERIES:
        raise UserError(
            f"{len(relevant.texts)} judged queries are too few to tune and to test on",
            f"give {LEAST_QUERIES} or more, or none: then pairs are made from the documents",
        )
    if dropped := len(queries.texts) - len(relevant.texts):
        log.warn(f"{dropped:,} queries have no relevant document in the knowledge base; left out")
    parts = split_queries(
        relevant, settings.validation_share, settings.held_out_share, settings.seed
    )
    vectors = old.embed_queries(list(parts.train.texts.values())).vectors
    best = best_chunks(parts.train, store.corpus, vectors, store.vectors)
    from_queries = pairs_from_queries(parts.train, store.corpus, best)
    generated, left_out = without_leaks(generated, parts)
    from_queries = [] if origin == "documents" else from_queries
    generated = [] if origin == "given" else generated
    pairs = _mined(from_queries + generated, store, old, config)
    counts = {"judged queries": len(from_queries), "titles and headings": len(generated)}
    return TrainingPairs(
        pairs,
        parts,
        store.corpus,
        store.vectors,
        store.words,
        counts,
        left_out,
    )


def _from_documents(
    store: RetrieverData, generated: list[RankingPair], config: Config, old: Embedder
) -> TrainingPairs:
    settings = config.retriever
    if len(generated) < LEAST_QUERIES:
        raise UserError(
            f"only {len(generated)} pairs can be made from titles and headings of the documents",
            "give judged queries: --queries FILE [--qrels FILE]",
        )
    parts = split_documents(
        generated, settings.validation_share, settings.held_out_share, settings.seed
    )
    learnt_on = {name for q in parts.train.texts for name in parts.train.grades[q]}
    train = [pair for pair in generated if pair.source in learnt_on]
    train, left_out = without_leaks(train, parts)
    # Any ranking finds titles, which the chunks' texts contain; a query must match the text under
    # them.
    bare = without_headings(store.corpus)
    vectors = old.embed_documents(bare.texts, "embedding texts without headings").vectors
    pairs = _mined(train, replace(store, corpus=bare, vectors=vectors, words=None), old, config)
    counts = {"judged queries": 0, "titles and headings": len(train)}
    return TrainingPairs(pairs, parts, bare, vectors, None, counts, left_out)


def _mined(
    pairs: list[RankingPair], store: RetrieverData, old: Embedder, config: Config
) -> list[RankingPair]:
    vectors = old.embed_queries([pair.query for pair in pairs]).vectors
    mined = mine(
        pairs,
        store.corpus,
        vectors,
        store.vectors,
        store.words,
        config.retriever,
    )
    log.say(f"{len(mined):,} pairs, {sum(len(p.negatives) for p in mined):,} hard negatives")
    return mined


def _learn(
    data: TrainingPairs,
    old: Embedder,
    name: str,
    config: Config,
    folder: RunFolder,
    device: Device,
    *,
    resume: bool,
) -> "RankingFit":
    """Tune the model and save it in the run folder."""
    from tailorbird.train.ranking_workloads import EmbedderWork, fit_and_save

    settings = with_rate(config.retriever, FULL_RATE)
    pool = make_pool(
        data.parts.validation, data.corpus, _hits(data, old, config), settings.validation_documents
    )
    model = load_embedder(name, device, settings.max_tokens)
    reads = load_embedder(name, device, 1 << 30).max_seq_length
    work = EmbedderWork(model, data.pairs, settings)
    return fit_and_save(
        model, work, lambda model: pool.score(model, device), settings, device, folder,
        resume=resume, title="tuning the embedder", reads=reads,
    )  # fmt: skip


def with_rate(settings: RetrieverConfig, rate: float) -> RetrieverConfig:
    """Return the settings with a peak learning rate: the user's, else LoRA's or `rate`."""
    usual = rate if method_spec(settings.method).trains_all else LORA_RATE
    return settings.replace(learning_rate=settings.learning_rate or usual)


def _hits(data: TrainingPairs, old: Embedder, config: Config) -> Mapping[str, Sequence[int]]:
    """Return each validation query's hits of both sides with the old embedder, best first."""
    queries = data.parts.validation
    sides = sides_of(data, queries, old, data.vectors, config.retriever.mining_depth)
    even = 0.5 if data.words else 1.0
    return {query: sides.ranking(place, even) for place, query in enumerate(queries.texts)}


def _decide(gate: Gate, fused: Mapping[str, np.ndarray]) -> tuple[bool, str]:
    """Return whether to publish: better alone, and the fused ranking no worse."""
    change = float(fused["after"].mean() - fused["before"].mean())
    passed = gate.passed and change >= 0
    words = f"the tuned embedder is {gate.words}; hybrid {fused['before'].mean():.4f} before, "
    words += f"{fused['after'].mean():.4f} after"
    return passed, words + ("" if passed else "; it is not published")


def query_changes(
    queries: Queries, old: np.ndarray, new: np.ndarray, documents: Sequence[Sequence[str]]
) -> tuple[QueryChange, ...]:
    """Return the queries before and after, the largest differences first.

    Args:
        old: nDCG@10 ``[queries]`` before.
        documents: For each query, the documents after tuning, best first.
    """
    names = list(queries.texts)
    order = sorted(range(len(names)), key=lambda i: -abs(float(new[i] - old[i])))
    return tuple(
        QueryChange(
            names[i],
            queries.texts[names[i]],
            float(old[i]),
            float(new[i]),
            tuple(sorted(queries.relevant(names[i]))),
            tuple(documents[i][:3]),
        )
        for i in order[:_SHOWN]
    )
