"""Questions with known right documents: how well they are answered, before and after tuning."""

from dataclasses import dataclass, field

from tailorbird.records.scores import Score


@dataclass(frozen=True, slots=True)
class Question:
    """One question whose right documents are known.

    Attributes:
        judged: Grades by document; above 0: relevant.
        answers: Right answers, any of which will do; empty where none are known.
        answerable: Whether the documents hold an answer.
        changed: Right answers once the documents are changed; empty: the same.
        document: What its source is a part of, as a paragraph is of an article; else empty.
    """

    id: str
    text: str
    judged: dict[str, int] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    answerable: bool = True
    document: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SideReport:
    """How one way of ranking fared: words, dense, hybrid, reranked.

    Attributes:
        scores: By name, e.g. ``ndcg@10``, means over queries.
    """

    name: str
    scores: dict[str, Score]


@dataclass(frozen=True, slots=True)
class Failure:
    """A question whose right documents are not among the first ten.

    Attributes:
        ranks: By side, the rank of the first relevant document; None: not among the candidates.
        why: Which side missed it, in words.
        found: What stands first instead, best first.
    """

    id: str
    question: str
    right: tuple[str, ...]
    ranks: dict[str, int | None]
    why: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Below which confidence the answer is "I don't know".

    Attributes:
        value: The best passage's cosine (BM25 where no vectors are asked).
        refused: Share of the questions refused though a right passage was found.
        caught: Share refused of the same questions with their right documents left out.
    """

    value: float
    refused: float
    caught: float


@dataclass(frozen=True, slots=True)
class RankingSections:
    """What the report of `tailor evaluate --store` has of its own.

    Attributes:
        weight: Of the dense side, as it is kept for questions from now on.
        how: How the weight was chosen, in words.
        by_weight: Mean nDCG@10 of the queries that chose, by weight.
        threshold: For "I don't know"; None: too few questions.
        answers: Scores of the written answers; empty where none are known.
        answered_by: What wrote them.
    """

    store: str
    questions: int
    judged_documents: int
    weight: float
    how: str
    by_weight: dict[float, float]
    threshold: Threshold | None
    failures: tuple[Failure, ...] = ()
    answers: dict[str, Score] = field(default_factory=dict)
    answered_by: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RankingPair:
    """What a retriever learns from: a query and a text that answers it.

    Attributes:
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
        found: The first documents after tuning.
    """

    id: str
    text: str
    before: float
    after: float
    right: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetrieverSections:
    """A tuned embedder or reranker, and whether it was published.

    Attributes:
        tuned: ``embedder`` or ``reranker``.
        words: The gate's decision with its figures.
        before, after: What was compared, nDCG@10 with intervals by name: ``dense``, ``hybrid``;
            of a reranker ``none``, ``old``.
        weights: Of the dense side in the fusion, before and after; None where there is no fusion.
        pairs: Training pairs by where they come from.
        left_out: Generated pairs that said what a kept-out query says.
        share: Of the tuned weights in the mean with the old ones.
        changes: Held-out queries, the largest differences first.
    """

    tuned: str
    published: bool
    words: str
    before: dict[str, Score]
    after: dict[str, Score]
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
    curve: tuple[RetrieverPoint, ...]
    changes: tuple[QueryChange, ...]
    store: str = ""
