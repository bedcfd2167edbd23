"""Questions with known right documents, and how well a knowledge base answers them."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tailorbird.records.scores import Score
from tailorbird.records.tuning import Comparison


@dataclass(frozen=True, slots=True)
class Question:
    """One question whose right documents are known.

    Attributes:
        id: What it is known by.
        text: Its words.
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
        right: The relevant documents.
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
class JudgeReport:
    """What `tailor evaluate --store` found.

    Attributes:
        weight: Of the dense side, as it is kept for questions from now on.
        how: How the weight was chosen, in words.
        by_weight: Mean nDCG@10 of the queries that chose, by weight.
        threshold: For "I don't know"; None: too few questions.
        sides: Ways of ranking, best first.
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
    sides: tuple[SideReport, ...]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...] = ()
    answers: dict[str, Score] = field(default_factory=dict)
    answered_by: str = ""
    notes: tuple[str, ...] = ()
    headline: str = "ndcg@10"
    command: str = ""
    created: str = ""
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    schema_version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, ``schema_version`` and ``kind`` first."""
        plain = asdict(self)
        plain["by_weight"] = {str(weight): score for weight, score in self.by_weight.items()}
        return {"schema_version": plain.pop("schema_version"), "kind": "rag"} | plain
