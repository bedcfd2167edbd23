"""What tuning a retriever found: before and after, on queries that nothing was chosen on."""

from dataclasses import asdict, dataclass
from typing import Any

from tailorbird.records.scores import Score
from tailorbird.records.tuning import Comparison


@dataclass(frozen=True, slots=True)
class RankingPair:
    """What a retriever learns from: a query and a text that answers it.

    Attributes:
        query: Its words.
        positive: The text that answers it, as it is trained on.
        source: The document of that text.
        others: Further documents that are right: never negatives of this query.
        negatives: Texts that look right and are not.
        negative_sources: Their documents.
    """

    query: str
    positive: str
    source: str
    others: frozenset[str] = frozenset()
    negatives: tuple[str, ...] = ()
    negative_sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrieverPoint:
    """One validation: mean loss since the last one, nDCG@10 on the validation queries."""

    step: int
    epoch: float
    loss: float
    ndcg: float


@dataclass(frozen=True, slots=True)
class QueryChange:
    """One held-out query before and after.

    Attributes:
        before, after: nDCG@10.
        right: Its relevant documents.
        found: The first documents after tuning.
    """

    id: str
    text: str
    before: float
    after: float
    right: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetrieverReport:
    """A tuned embedder or reranker, and whether it was published.

    Attributes:
        kind: ``embedder`` or ``reranker``.
        base: The model before.
        published: Whether the knowledge base uses it.
        words: The gate's decision with its figures.
        before, after: What was compared, nDCG@10 with intervals by name: ``dense``, ``hybrid``;
            of a reranker ``none``, ``old``.
        tests: The tuned one against what was there.
        weights: Of the dense side in the fusion, before and after; None where there is no fusion.
        pairs: Training pairs by where they come from.
        queries: How many are in each part.
        left_out: Generated pairs that said what a kept-out query says.
        share: Of the tuned weights in the mean with the old ones.
        changes: Held-out queries, the largest differences first.
    """

    kind: str
    base: str
    published: bool
    words: str
    before: dict[str, Score]
    after: dict[str, Score]
    tests: tuple[Comparison, ...]
    wins: int
    losses: int
    ties: int
    weights: tuple[float, float] | None
    pairs: dict[str, int]
    queries: dict[str, int]
    left_out: int
    share: float
    averages: dict[str, float]
    steps: int
    best_step: int
    seconds: float
    curve: tuple[RetrieverPoint, ...]
    changes: tuple[QueryChange, ...]
    command: str = ""
    store: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"schema_version": 1, **asdict(self), "kind": "retriever", "tuned": self.kind}
