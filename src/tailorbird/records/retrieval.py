"""Records of judged questions, and of retrieval before and after tuning."""

from dataclasses import dataclass, field

from tailorbird.records.scores import Score


@dataclass(frozen=True, slots=True)
class Question:
    """One question with known relevant documents.

    Attributes:
        judged: Grades by document; above 0: relevant.
        answers: Correct answers, any of which suffices; empty if unknown.
        answerable: Whether the documents contain an answer.
        changed: Correct answers after a change of documents; empty: the same.
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
    """The scores of one way of ranking: words, dense, hybrid, reranked.

    Attributes:
        scores: By name, e.g. ``ndcg@10``, means over queries.
    """

    name: str
    scores: dict[str, Score]


@dataclass(frozen=True, slots=True)
class Failure:
    """A question without a relevant document in the top ten.

    Attributes:
        ranks: By side, the rank of the first relevant document; None: not among the candidates.
        why: The side that missed it, in words.
        found: The top results instead, best first.
    """

    id: str
    question: str
    right: tuple[str, ...]
    ranks: dict[str, int | None]
    why: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The confidence below which the answer is "I don't know".

    Attributes:
        value: The best passage's cosine (BM25 without a dense search).
        refused: Share of the questions refused although a relevant passage was found.
        caught: Share refused of the same questions without their relevant documents.
    """

    value: float
    refused: float
    caught: float


@dataclass(frozen=True, slots=True)
class RankingSections:
    """The sections of a report of `tailor evaluate --store`.

    Attributes:
        weight: The dense side's weight, saved for further questions.
        how: How the weight was chosen, in words.
        by_weight: Mean nDCG@10 of the tuning queries, by weight.
        threshold: For "I don't know"; None: too few questions.
        answers: Scores of the generated answers; empty if none are known.
        answered_by: The generator of the answers.
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
    """A training example of a retriever: a query and a text that answers it.

    Attributes:
        source: The document of that text.
        others: Further relevant documents: never negatives of this query.
        negatives: Similar but irrelevant texts.
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
    """One held-out query before and after tuning.

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
    """The sections of a report on a tuned embedder or reranker.

    Attributes:
        tuned: ``embedder`` or ``reranker``.
        words: The gate's decision with its figures.
        before, after: nDCG@10 with intervals by name: ``dense``, ``hybrid``; for a reranker
            ``none``, ``old``.
        weights: The dense side's weight before and after; None without fusion.
        pairs: Numbers of training pairs by origin.
        left_out: Generated pairs that repeat a held-out query.
        share: Weight of the tuned model in the average with the old one.
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
