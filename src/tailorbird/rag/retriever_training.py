"""Hard negatives and validation for tuning an embedder or a reranker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.metrics.ranking import ndcg
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device
from tailorbird.models.weights import explained, keep_exact
from tailorbird.rag.query_pairs import Corpus, Queries
from tailorbird.records import RankingPair

DEPTH = 10

WordSide = Callable[[str, int], Mapping[int, float]]
"""Maps question and number to BM25 by place in the corpus."""
Scores = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""Maps (query, text) pairs to scores ``[n]``."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The texts ranked in a validation: the relevant ones and the hardest others.

    Ranking all documents would be fairer but takes minutes each time; the gate ranks all.
    """

    queries: Queries
    places: list[int]
    corpus: Corpus

    def score(self, model: Any, device: Device) -> float:
        """Return nDCG@10 of ranking the pool by a sentence-transformers embedder."""
        texts = [self.corpus.texts[place] for place in self.places]
        sources = [self.corpus.sources[place] for place in self.places]
        plain: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
        with device.autocast():
            queries = model.encode_query(list(self.queries.texts.values()), **plain)
            documents = model.encode_document(texts, **plain)
        scores = dense_ndcg(
            np.asarray(queries, np.float32), np.asarray(documents, np.float32),
            self.queries, sources,
        )  # fmt: skip
        return float(scores.mean())


def make_pool(
    queries: Queries, corpus: Corpus, hits_of: Mapping[str, Sequence[int]], n: int
) -> Pool:
    """Return a pool of about `n` texts at most, with all relevant texts."""
    by_source = corpus.by_source()
    right = {p for q in queries.texts for doc in queries.relevant(q) for p in by_source[doc]}
    places = dict.fromkeys(sorted(right))
    for rank in range(max((len(hits) for hits in hits_of.values()), default=0)):
        for query in queries.texts:
            hits = hits_of.get(query, ())
            if len(places) < n and rank < len(hits):
                places[hits[rank]] = None
    return Pool(queries, list(places), corpus)


def rank_sources(scores: np.ndarray, sources: Sequence[str], k: int) -> list[str]:
    """Return the `k` best documents, each ranked by its best chunk."""
    ranking: dict[str, None] = {}
    for place in np.argsort(-scores, kind="stable"):
        ranking[sources[int(place)]] = None
        if len(ranking) == k:
            break
    return list(ranking)


def dense_ndcg(
    query_vectors: np.ndarray, vectors: np.ndarray, queries: Queries, sources: Sequence[str]
) -> np.ndarray:
    """Return nDCG@10 ``[queries]`` of ranking by cosine similarity."""
    scores = query_vectors @ vectors.T
    return np.asarray(
        [
            ndcg(rank_sources(row, sources, DEPTH), queries.grades[query], DEPTH)
            for query, row in zip(queries.texts, scores, strict=True)
        ]
    )


def best_chunks(
    queries: Queries, corpus: Corpus, query_vectors: np.ndarray, vectors: np.ndarray
) -> dict[tuple[str, str], int]:
    """Return the place of the chunk nearest to each query in each of its relevant documents."""
    by_source = corpus.by_source()
    best = {}
    for query, vector in zip(queries.texts, query_vectors, strict=True):
        for source in queries.relevant(query):
            if places := by_source.get(source):
                near = int(np.argmax(vectors[places] @ vector))
                best[query, source] = places[near]
    return best


def mine(
    pairs: Sequence[RankingPair],
    corpus: Corpus,
    query_vectors: np.ndarray,
    vectors: np.ndarray,
    words: WordSide | None,
    settings: RetrieverConfig,
) -> list[RankingPair]:
    """Return the pairs with their hard negatives.

    Candidates are the top hits of both sides. Documents judged relevant are never negatives, and
    neither are texts whose similarity to the query exceeds `false_negative` times the positive's
    (positive-aware mining, arXiv 2407.15831, section 3). The hardest of the rest are taken, from
    both sides in turn; if they are too few, random ones are added, so that all pairs have equally
    many.

    Args:
        query_vectors: ``[pairs, d]`` unit vectors by the old embedder.
        words: The word search; None: dense hits alone.
    """
    by_source = corpus.by_source()
    depth = settings.mining_depth
    rng = np.random.default_rng(settings.seed)
    mined = []
    for pair, vector in zip(pairs, query_vectors, strict=True):
        scores = vectors @ vector
        right = {pair.source, *pair.others}
        own = by_source.get(pair.source, [])
        bar = settings.false_negative * max((float(scores[p]) for p in own), default=1.0)
        near = [int(p) for p in np.argsort(-scores, kind="stable")[:depth]]
        named = words(pair.query, depth) if words else {}
        worded = sorted(named, key=lambda p: -named[p])
        random_places = rng.integers(len(corpus.texts), size=2 * settings.hard_negatives).tolist()
        negatives: dict[str, int] = {}
        in_turn = (place for two in zip_longest(near, worded) for place in two)
        for place in [*(p for p in in_turn if p is not None), *random_places]:
            if len(negatives) == settings.hard_negatives:
                break
            source = corpus.sources[place]
            if source not in right and source not in negatives and float(scores[place]) <= bar:
                negatives[source] = place
        texts = tuple(corpus.texts[place] for place in negatives.values())
        mined.append(replace(pair, negatives=texts, negative_sources=tuple(negatives)))
    return mined


def load_embedder(name: str, device: Device, max_tokens: int) -> Any:
    """Return the sentence-transformers model to tune.

    Raises:
        UserError: It cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    with explained(name):
        model = SentenceTransformer(resolve(name), device=device.name, trust_remote_code=False)
    keep_exact(model)
    own = model.max_seq_length
    model.max_seq_length = min(max_tokens, own) if own else max_tokens
    return model


@dataclass(frozen=True, slots=True)
class RerankCandidates:
    """For each query, the places of the chunks that the reranker reads, best first."""

    queries: Queries
    places: Mapping[str, Sequence[int]]
    corpus: Corpus

    def values(self, rankings: Sequence[Sequence[str]]) -> np.ndarray:
        """Return nDCG@10 ``[queries]`` of these document rankings."""
        grades = self.queries.grades
        pairs = zip(self.queries.texts, rankings, strict=True)
        return np.asarray([ndcg(ranking, grades[query], DEPTH) for query, ranking in pairs])

    def unranked(self) -> list[list[str]]:
        """Return each query's documents in their original order."""
        sources = self.corpus.sources
        return [
            list(dict.fromkeys(sources[place] for place in self.places[query]))[:DEPTH]
            for query in self.queries.texts
        ]

    def reranked(self, score: Scores) -> list[list[str]]:
        """Return each query's documents by descending score."""
        corpus = self.corpus
        pairs = [
            (text, corpus.texts[place])
            for query, text in self.queries.texts.items()
            for place in self.places[query]
        ]
        scores = score(pairs).reshape(-1) if pairs else np.zeros(0)
        rankings, start = [], 0
        for query in self.queries.texts:
            sources = [corpus.sources[place] for place in self.places[query]]
            rankings.append(rank_sources(scores[start : start + len(sources)], sources, DEPTH))
            start += len(sources)
        return rankings

    def score(self, model: Any) -> float:
        """Return nDCG@10 after reranking by a sentence-transformers cross-encoder."""

        def scores(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            return np.asarray(model.predict(list(pairs), show_progress_bar=False))

        return float(self.values(self.reranked(scores)).mean())


def load_reranker(name: str, device: Device, max_tokens: int) -> Any:
    """Return a cross-encoder, with a new head if `name` is a plain encoder.

    Raises:
        UserError: It cannot be loaded.
    """
    from sentence_transformers import CrossEncoder

    with explained(name):
        model = CrossEncoder(
            resolve(name),
            num_labels=1,
            device=device.name,
            max_length=max_tokens,
            trust_remote_code=False,
        )
    keep_exact(model)
    return model
