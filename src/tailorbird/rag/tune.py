"""An embedder tuned on pairs: in-batch negatives (arXiv 1807.03748) and mined hard ones.

Losses and saved format are sentence-transformers'; the loop is `rag/learn.py`, because its trainer
neither stops on how documents are ranked nor resumes where Ctrl-C left it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.metrics.ranking import ndcg
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device
from tailorbird.models.weights import explained, keep_exact
from tailorbird.rag.pairs import Corpus, Pair, Queries

if TYPE_CHECKING:
    import torch

FULL_RATE, LORA_RATE = 5e-5, 5e-4
DEPTH = 10

WordSide = Callable[[str, int], Mapping[int, float]]
"""Question and number to BM25 by place in the corpus."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The texts that a validation ranks: the right ones, and the hardest of the others.

    All documents would be fairer and take minutes each time; the gate uses them all.

    Attributes:
        queries: Validation queries.
        places: Places of the texts in the corpus.
    """

    queries: Queries
    places: list[int]


def make_pool(queries: Queries, corpus: Corpus, found: Mapping[str, Sequence[int]], n: int) -> Pool:
    """Return the pool of at most about `n` texts; right ones are always in it.

    Args:
        queries: Validation queries.
        corpus: All texts.
        found: Per query the places of its hits, the best first.
        n: How many.
    """
    by_source = corpus.by_source()
    right = {p for q in queries.texts for doc in queries.relevant(q) for p in by_source[doc]}
    places = dict.fromkeys(sorted(right))
    for rank in range(max((len(hits) for hits in found.values()), default=0)):
        for query in queries.texts:
            hits = found.get(query, ())
            if len(places) < n and rank < len(hits):
                places[hits[rank]] = None
    return Pool(queries, list(places))


def rank_sources(scores: np.ndarray, sources: Sequence[str], k: int) -> list[str]:
    """Return the `k` best documents: a document counts as its best chunk.

    Args:
        scores: ``[n]`` per chunk; ties in the order given.
        sources: Per chunk its document.
        k: How many.
    """
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
    """Return the place of the chunk nearest to each query in each of its right documents."""
    by_source = corpus.by_source()
    best = {}
    for query, vector in zip(queries.texts, query_vectors, strict=True):
        for source in queries.relevant(query):
            if places := by_source.get(source):
                near = int(np.argmax(vectors[places] @ vector))
                best[query, source] = places[near]
    return best


def mine(
    pairs: Sequence[Pair],
    corpus: Corpus,
    query_vectors: np.ndarray,
    vectors: np.ndarray,
    words: WordSide | None,
    settings: RetrieverConfig,
) -> list[Pair]:
    """Return the pairs with their hard negatives.

    Candidates are the best hits of both sides. Documents that are judged relevant never are
    negatives; neither is what is more like the query than `false_negative` of the positive's
    similarity (positive-aware mining, arXiv 2407.15831, section 3). Of the rest the hardest are
    taken, the sides in turn; where they are too few, others are drawn, so that all pairs have as
    many.

    Args:
        pairs: Pairs without negatives.
        corpus: What negatives are taken from.
        query_vectors: ``[pairs, d]`` unit vectors by the old embedder.
        vectors: ``[chunks, d]``.
        words: The other side; None: dense hits alone.
        settings: How many, from how deep, and how alike they may be.
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
        drawn = rng.integers(len(corpus.texts), size=2 * settings.hard_negatives).tolist()
        chosen: dict[str, int] = {}
        for place in [*_in_turn(near, worded), *drawn]:
            if len(chosen) == settings.hard_negatives:
                break
            source = corpus.sources[place]
            if source not in right and source not in chosen and float(scores[place]) <= bar:
                chosen[source] = place
        texts = tuple(corpus.texts[place] for place in chosen.values())
        mined.append(replace(pair, negatives=texts, negative_sources=tuple(chosen)))
    return mined


def _in_turn(first: Sequence[int], second: Sequence[int]) -> list[int]:
    turns: dict[int, None] = {}
    for rank in range(max(len(first), len(second))):
        for side in (first, second):
            if rank < len(side):
                turns[side[rank]] = None
    return list(turns)


def load_embedder(name: str, device: Device, max_tokens: int) -> Any:
    """Return the sentence-transformers model that is tuned.

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


class EmbedderLearner:
    """An embedder, the loss of a batch of pairs, and its validation on a pool."""

    def __init__(
        self, model: Any, settings: RetrieverConfig, pool: Pool, corpus: Corpus, device: Device
    ) -> None:
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
        )

        self.model, self.settings, self.pool = model, settings, pool
        self._loss: Any = CachedMultipleNegativesRankingLoss(
            model, scale=1 / settings.temperature, mini_batch_size=settings.micro_batch_size
        )
        self._device = device
        self._texts = [corpus.texts[place] for place in pool.places]
        self._sources = [corpus.sources[place] for place in pool.places]

    def loss(self, batch: Sequence[Pair]) -> "torch.Tensor":
        """Return InfoNCE of the batch: every other pair's documents are negatives too."""
        # Only what every pair has can be a column; a pair short of negatives leaves the others one.
        negatives = min(len(pair.negatives) for pair in batch)
        columns = [[pair.query for pair in batch], [pair.positive for pair in batch]]
        columns += [[pair.negatives[n] for pair in batch] for n in range(negatives)]
        features = [self._features(texts, first=n == 0) for n, texts in enumerate(columns)]
        with self._device.autocast():
            found: torch.Tensor = self._loss(features, None)
        return found

    def _features(self, texts: list[str], *, first: bool) -> Any:
        prompts = self.model.prompts
        names = ("query",) if first else ("document", "passage", "corpus")
        prompt = next((prompts[name] for name in names if prompts.get(name)), None)
        features = self.model.preprocess(texts, prompt=prompt)
        return {
            name: value.to(self.model.device) if hasattr(value, "to") else value
            for name, value in features.items()
        }

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the unit vectors of the pool's queries and texts."""
        queries = list(self.pool.queries.texts.values())
        plain: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
        with self._device.autocast():
            found = self.model.encode_query(queries, **plain)
            texts = self.model.encode_document(self._texts, **plain)
        return np.asarray(found, dtype=np.float32), np.asarray(texts, dtype=np.float32)

    def validate(self) -> float:
        """Return nDCG@10 of ranking the pool by similarity."""
        scores = dense_ndcg(*self.vectors(), self.pool.queries, self._sources)
        return float(scores.mean())


def save_embedder(model: Any, folder: Path, max_tokens: int | None) -> None:
    """Write a sentence-transformers folder: ``modules.json``, ``1_Pooling``, weights, tokenizer."""
    if max_tokens is not None:
        model.max_seq_length = max_tokens
    model.save_pretrained(str(folder), create_model_card=False)
