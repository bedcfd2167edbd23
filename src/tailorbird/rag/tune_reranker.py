"""A cross-encoder tuned on pairs: right texts against mined wrong ones, binary cross-entropy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.metrics.ranking import ndcg
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device
from tailorbird.models.weights import explained, keep_exact
from tailorbird.rag.pairs import Corpus, Pair, Queries
from tailorbird.rag.tune import DEPTH, rank_sources

if TYPE_CHECKING:
    import torch

Scores = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""(query, text) pairs to scores ``[n]``."""

RATE = 2e-5
NEGATIVES = 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """Per query the places of the chunks that the reranker reads, the best first."""

    queries: Queries
    places: Mapping[str, Sequence[int]]

    def values(self, rankings: Sequence[Sequence[str]]) -> np.ndarray:
        """Return nDCG@10 ``[queries]`` of the documents in these orders."""
        grades = self.queries.grades
        pairs = zip(self.queries.texts, rankings, strict=True)
        return np.asarray([ndcg(ranking, grades[query], DEPTH) for query, ranking in pairs])


def load_reranker(name: str, device: Device, max_tokens: int) -> Any:
    """Return a cross-encoder; one with a new head where `name` is a plain encoder.

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


class RerankerLearner:
    """A cross-encoder, the loss of a batch, and its validation on the first hits."""

    def __init__(self, model: Any, candidates: Candidates, corpus: Corpus, device: Device) -> None:
        from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

        self.model, self.candidates, self.corpus = model, candidates, corpus
        self._loss: Any = BinaryCrossEntropyLoss(model)
        self._device = device

    def loss(self, batch: Sequence[Pair]) -> "torch.Tensor":
        """Return binary cross-entropy over each pair's positive and its negatives."""
        import torch

        rows = [
            (pair.query, text, float(n == 0))
            for pair in batch
            for n, text in enumerate((pair.positive, *pair.negatives))
        ]
        columns: list[list[str]] = [[row[0] for row in rows], [row[1] for row in rows]]
        labels = torch.tensor([row[2] for row in rows], device=self.model.device)
        with self._device.autocast():
            found: torch.Tensor = self._loss(columns, labels)
        return found

    def validate(self) -> float:
        """Return nDCG@10 after reranking."""
        found = reranked(self._scores, self.candidates, self.corpus)
        return float(self.candidates.values(found).mean())

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.asarray(self.model.predict(list(pairs), show_progress_bar=False))


def reranked(score: Scores, candidates: Candidates, corpus: Corpus) -> list[list[str]]:
    """Return each query's documents in the order of their scores.

    Args:
        score: (query, text) pairs to scores ``[n]``.
        candidates: What is ordered.
        corpus: The texts.
    """
    texts, places = candidates.queries.texts, candidates.places
    pairs = [(text, corpus.texts[p]) for query, text in texts.items() for p in places[query]]
    scores = score(pairs) if pairs else np.zeros(0)
    rankings, start = [], 0
    for query in texts:
        stop = start + len(places[query])
        sources = [corpus.sources[place] for place in places[query]]
        rankings.append(rank_sources(scores[start:stop].reshape(-1), sources, DEPTH))
        start = stop
    return rankings


def unranked(candidates: Candidates, corpus: Corpus) -> list[list[str]]:
    """Return each query's documents as they came."""
    return [
        list(dict.fromkeys(corpus.sources[p] for p in candidates.places[query]))[:DEPTH]
        for query in candidates.queries.texts
    ]


def save_reranker(model: Any, folder: Path) -> None:
    """Write a sentence-transformers cross-encoder folder."""
    model.save_pretrained(str(folder), create_model_card=False)
